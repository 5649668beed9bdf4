//! `[log]`: the write-ahead log.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// The write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Bytes after which a segment is closed and written to the tables. Default 33,554,432.
    pub segment_bytes: u64,
    /// Milliseconds after which a segment that is not empty is closed, however small. Default 2,000.
    pub segment_age_ms: u64,
    /// Bytes of events that may wait for the tables before ingest answers 503. Default 10,737,418,240.
    pub quota_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 33_554_432, segment_age_ms: 2_000, quota_bytes: 10_737_418_240 }
    }
}

impl LogConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("log.quota_bytes", self.quota_bytes, 65_536..=1_125_899_906_842_624)?;
        within("log.segment_bytes", self.segment_bytes, 4_096..=self.quota_bytes.min(1_073_741_824))?;
        within("log.segment_age_ms", self.segment_age_ms, 10..=600_000)
    }
}
