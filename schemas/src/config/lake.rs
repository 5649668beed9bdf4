//! `[lake]`: where the tables lie.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;
use crate::paths::DataDir;

/// Hours for which the entries of a table's log are kept at least: jobs find in them what is new since their last run.
/// One that has not run for so long runs over everything. Each look at a table lists the log's folder, so that it must
/// not grow without end.
pub const LOG_KEPT_HOURS: u64 = 48;
/// Jobs read the files that the entries of the log name, also after they were merged into others: so these stay longer
/// than the entries, which may go as late as the next night's vacuum.
const MIN_VACUUM_AFTER_HOURS: u64 = LOG_KEPT_HOURS + 24;

/// The tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LakeConfig {
    /// The directory of the tables. Default: `lake` inside the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Commits to a table between two checkpoints of its log. Default 20.
    pub checkpoint_interval: u64,
    /// Bytes that merged files of events come near to; files of half that size are left alone. Default 134,217,728
    /// (128 MiB).
    pub target_file_bytes: u64,
    /// Hours for which a file that no version names any more is kept for those who read an older version, jobs among
    /// them: at least 72. Default 168 (a week).
    pub vacuum_after_hours: u64,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self { uri: None, checkpoint_interval: 20, target_file_bytes: 128 << 20, vacuum_after_hours: 168 }
    }
}

impl LakeConfig {
    /// The directory of the tables.
    pub fn root(&self, data_dir: &DataDir) -> PathBuf {
        self.uri.as_ref().map_or_else(|| data_dir.lake(), PathBuf::from)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("lake.checkpoint_interval", self.checkpoint_interval, 1..=10_000)?;
        within("lake.target_file_bytes", self.target_file_bytes, 1 << 20..=1 << 30)?;
        within("lake.vacuum_after_hours", self.vacuum_after_hours, MIN_VACUUM_AFTER_HOURS..=8_760)?;
        match self.uri.as_deref() {
            // Without this check, `s3://bucket` would quietly become a local directory called `s3:`.
            Some(uri) if uri.is_empty() || uri.contains("://") => Err(ConfigError::Limit {
                field: "lake.uri".to_owned(),
                limit: "a directory".to_owned(),
                given: format!("`{}`", super::redact::text(uri)),
            }),
            Some(_) | None => Ok(()),
        }
    }
}
