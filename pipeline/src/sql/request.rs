//! What a worker is told: once of the installation, then of each statement.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use touchline_schemas::Tenant;

use super::TableFiles;

/// The first frame that a worker gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The directory of the lake.
    pub lake: PathBuf,
    /// Threads of a statement.
    pub threads: usize,
    /// Bytes that the process may take from the system from now on, beside the stacks of its threads.
    pub process_memory_bytes: usize,
}

/// A statement, whose it is, and what it may read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Whose rows it reads.
    pub tenant: Tenant,
    /// The statement.
    pub sql: String,
    /// Values for its placeholders: an array for `$1`, `$2`, …, an object for `$name`; null for none.
    pub params: Value,
    /// The files of the tables that it may name.
    pub tables: Vec<TableFiles>,
    /// What it may use.
    pub limits: Limits,
}

/// What a statement may use. Time is not among it: who waits for the answer ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the statement.
    pub statement_bytes: usize,
    /// Words and signs of the statement.
    pub tokens: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Bytes that its operators may hold.
    pub memory_bytes: usize,
    /// Rows of the answer.
    pub rows: usize,
    /// Bytes of one row, and of the names of the columns.
    pub row_bytes: usize,
    /// Bytes of the answer.
    pub answer_bytes: usize,
}
