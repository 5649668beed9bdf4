//! `[query]`: reading the tables.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// Reading the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// Bytes of memory that all running queries may use together. Default 1,073,741,824.
    pub memory_limit_bytes: usize,
    /// Threads of one query; 0 means one for each core. Default 0.
    pub threads: usize,
    /// Rows of a page when the request does not say. Default 1,000.
    pub default_limit: usize,
    /// Most rows of a page that a request may ask for. Default 100,000.
    pub max_limit: usize,
    /// Reports that are computed at once; others wait for their turn. 1 to 1,024, default 2.
    pub max_running: usize,
    /// Bytes of memory for answers that are kept for whoever asks the same of the same tables again; 0 keeps none. Default
    /// 67,108,864.
    pub kept_answers_bytes: usize,
    /// Largest answer that is kept, in bytes. Default 4,194,304.
    pub largest_kept_answer_bytes: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            memory_limit_bytes: 1_073_741_824,
            threads: 0,
            default_limit: 1_000,
            max_limit: 100_000,
            max_running: 2,
            kept_answers_bytes: 67_108_864,
            largest_kept_answer_bytes: 4_194_304,
        }
    }
}

impl QueryConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("query.memory_limit_bytes", self.memory_limit_bytes, 16_777_216..=17_592_186_044_416)?;
        within("query.threads", self.threads, 0..=1_024)?;
        within("query.max_limit", self.max_limit, 1..=10_000_000)?;
        within("query.max_running", self.max_running, 1..=1_024)?;
        within("query.kept_answers_bytes", self.kept_answers_bytes, 0..=17_592_186_044_416)?;
        within("query.largest_kept_answer_bytes", self.largest_kept_answer_bytes, 0..=1_073_741_824)?;
        within("query.default_limit", self.default_limit, 1..=self.max_limit)
    }
}
