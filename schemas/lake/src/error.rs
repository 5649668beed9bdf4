//! What can go wrong between us and the lake.

use deltalake_core::DeltaTableError;
use touchline_schemas::tables::Table;

/// A failure of the lake, with the table it concerns.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Somebody else committed first: read the new version, decide again, commit again.
    #[error("{table:?}: version {expected} was taken by another commit")]
    Conflict {
        /// The table.
        table: Table,
        /// The version that this commit wanted to be.
        expected: i64,
    },
    /// The Delta log or the store behind it failed.
    #[error("{table:?}: {source}")]
    Delta {
        /// The table.
        table: Table,
        /// The cause.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// A data file could not be written or read.
    #[error("{table:?}: data file {path}: {detail}")]
    File {
        /// The table.
        table: Table,
        /// The file, relative to the table.
        path: String,
        /// The cause.
        detail: String,
    },
    /// The lake's root is not usable.
    #[error("lake at {root}: {detail}")]
    Root {
        /// The root as configured.
        root: String,
        /// The cause.
        detail: String,
    },
    /// The table has no such version, or had none yet at that time.
    #[error("{table:?}: there is no such version")]
    NoVersion {
        /// The table.
        table: Table,
    },
    /// The version cannot be told any more, or files of it are gone.
    #[error("{table:?}: the version is gone")]
    VersionGone {
        /// The table.
        table: Table,
    },
    /// The log holds something that Touchline did not write.
    #[error("{table:?} version {version}: {detail}")]
    Malformed {
        /// The table.
        table: Table,
        /// The version.
        version: i64,
        /// What was found.
        detail: String,
    },
}

impl LakeError {
    pub(crate) fn delta(table: Table) -> impl Fn(DeltaTableError) -> Self {
        move |source| Self::Delta { table, source: Box::new(source) }
    }
}
