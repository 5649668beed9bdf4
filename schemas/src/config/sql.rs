//! `[sql]`: statements that analysts send, and the processes that carry them out.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// Statements that analysts send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqlConfig {
    /// Processes that carry out statements, and so the most that run at once. Default 2.
    pub workers: usize,
    /// Statements that may wait for a worker. Default 16.
    pub max_queued: usize,
    /// Seconds that a statement waits for a worker at most. Default 10.
    pub queue_timeout_s: u64,
    /// Seconds that a statement may take, the sending of its answer included. Default 60.
    pub timeout_s: u64,
    /// Longest statement in bytes. Default 65,536.
    pub max_statement_bytes: usize,
    /// Most words, numbers, texts and signs of a statement. Default 4,000.
    pub max_tokens: usize,
    /// Deepest nesting of a statement, in levels of parentheses, subqueries or operators in a row. Default 100.
    pub max_depth: usize,
    /// Bytes of memory that the operators of one statement may hold. Default 268,435,456.
    pub memory_limit_bytes: usize,
    /// Bytes of memory that the process of one worker may take from the system, above what it has when it starts and
    /// the stacks of its threads. Default 1,073,741,824.
    pub process_memory_bytes: usize,
    /// Threads of one statement; 0 means one for each core, and 8 at most. Default 0.
    pub threads: usize,
    /// Most rows of an answer. Default 1,000,000.
    pub max_rows: usize,
    /// Most bytes of one row of an answer, and of the names of its columns, as the engine holds them. Default
    /// 8,388,608.
    pub max_row_bytes: usize,
    /// Most bytes of an answer, as the engine holds it. Default 268,435,456.
    pub max_answer_bytes: usize,
}

impl Default for SqlConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            max_queued: 16,
            queue_timeout_s: 10,
            timeout_s: 60,
            max_statement_bytes: 65_536,
            max_tokens: 4_000,
            max_depth: 100,
            memory_limit_bytes: 268_435_456,
            process_memory_bytes: 1_073_741_824,
            threads: 0,
            max_rows: 1_000_000,
            max_row_bytes: 8_388_608,
            max_answer_bytes: 268_435_456,
        }
    }
}

impl SqlConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("sql.workers", self.workers, 1..=256)?;
        within("sql.max_queued", self.max_queued, 0..=100_000)?;
        within("sql.queue_timeout_s", self.queue_timeout_s, 0..=3_600)?;
        within("sql.timeout_s", self.timeout_s, 1..=86_400)?;
        within("sql.max_statement_bytes", self.max_statement_bytes, 1_024..=1_048_576)?;
        within("sql.max_tokens", self.max_tokens, 16..=100_000)?;
        within("sql.max_depth", self.max_depth, 8..=500)?;
        within("sql.process_memory_bytes", self.process_memory_bytes, 268_435_456..=17_592_186_044_416)?;
        within("sql.memory_limit_bytes", self.memory_limit_bytes, 16_777_216..=self.process_memory_bytes)?;
        within("sql.threads", self.threads, 0..=64)?;
        within("sql.max_rows", self.max_rows, 1..=10_000_000_000)?;
        // Small rows are sent together in messages of a mebibyte, which must always pass.
        within("sql.max_row_bytes", self.max_row_bytes, 4_194_304..=1_073_741_824)?;
        within("sql.max_answer_bytes", self.max_answer_bytes, 65_536..=1_099_511_627_776)
    }
}
