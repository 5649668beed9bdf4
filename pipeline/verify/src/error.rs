//! Why nothing could be compared.

use polars::error::PolarsError;
use touchline_lake::LakeError;
use touchline_schemas::tables::Table;

/// A failure of the verification itself. That rows differ is no failure, but its result.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The lake could not say which files there are.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A data file could not be read.
    #[error("{table:?}: data file {path}: {detail}")]
    File {
        /// The table.
        table: Table,
        /// The file, relative to the table.
        path: String,
        /// The cause.
        detail: String,
    },
    /// Polars could not compute something.
    #[error("computing {what}: {source}")]
    Compute {
        /// What.
        what: &'static str,
        /// The cause.
        #[source]
        source: PolarsError,
    },
    /// A table that cannot be verified was asked for.
    #[error("{0:?} is no table that can be verified")]
    NotDerived(Table),
    /// An account's setting does not make sense.
    #[error("account setting {field}: {detail}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The work was cut off.
    #[error("the verification was interrupted: {0}")]
    Interrupted(String),
}

impl VerifyError {
    pub(crate) fn computing(what: &'static str) -> impl Fn(PolarsError) -> Self {
        move |source| Self::Compute { what, source }
    }
}
