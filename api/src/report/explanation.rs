//! `explain=sql`: how an answer comes about, instead of the answer.

use serde::Serialize;
use touchline_pipeline::scan::PlannedFile;
use touchline_pipeline::{Statement, View};
use utoipa::ToSchema;

use super::Meta;

/// What was asked of the tables, and what that plans to read.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation<'a> {
    /// The queries, in the order in which they were made.
    pub statements: Vec<ExplainedStatement>,
    /// The files, each once.
    pub files: Vec<ExplainedFile>,
    /// What stands in the answer, too.
    pub meta: &'a Meta,
}

/// A query.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedStatement {
    /// It in the dialect of `POST /api/v1/sql`, which takes it.
    pub sql: String,
    /// `answer`: its rows are those of the answer. `input`: they are what the answer is counted from, by the definition
    /// that `meta` names.
    pub gives: &'static str,
}

/// A file of the lake.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedFile {
    /// Its table.
    pub table: &'static str,
    /// The version of the table.
    pub version: i64,
    /// Path relative to the table's folder.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl<'a> Explanation<'a> {
    /// What `view` has noted of a question with this answer.
    pub fn of(view: &View, meta: &'a Meta) -> Self {
        let statement = |Statement { sql, gives_answer }| ExplainedStatement {
            sql,
            gives: if gives_answer { "answer" } else { "input" },
        };
        let file =
            |PlannedFile { table, version, path, rows, bytes }| ExplainedFile { table, version, path, rows, bytes };
        Self {
            statements: view.statements(meta.is_of_last_plan).into_iter().map(statement).collect(),
            files: view.planned_files().into_iter().map(file).collect(),
            meta,
        }
    }
}
