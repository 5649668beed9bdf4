//! What an export asks, and who answers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use touchline_schemas::Tenant;
use touchline_schemas::control::TableVersions;
use touchline_schemas::export::{ExportFormat, ExportMode, ExportSource};
use touchline_schemas::tables::Table;

use crate::manifest::Range;

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whose rows.
    pub tenant: Tenant,
    /// The report or the statement.
    pub source: &'a ExportSource,
    /// The form of the answer. What is to be compressed is asked for as it is before that.
    pub format: ExportFormat,
    /// Whether it is about whole days of UTC, one at a time.
    pub mode: ExportMode,
    /// The range of time that it is about, if the export does not say so itself.
    pub range: Option<Range>,
}

/// An answer.
pub struct Rows {
    /// Its columns.
    pub schema: SchemaRef,
    /// The tables that it was read from.
    pub tables: TableVersions,
    /// Up to when what was received is in them.
    pub watermark: Option<DateTime<Utc>>,
    /// Name and version of the metric's definition.
    pub definition: String,
    /// How many rows were written so far.
    pub rows: Arc<AtomicU64>,
    /// The bytes, while they are computed.
    pub bytes: BoxStream<'static, Result<Bytes, AskError>>,
}

/// Why there is no answer. It is told to the account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The question is not understood, and never will be.
    #[error("{0}")]
    Refused(String),
    /// The answer failed, and may not the next time.
    #[error("{0}")]
    Failed(String),
}

/// Answers questions.
#[async_trait]
pub trait Questions: Send + Sync {
    /// The tables from whose rows of a day the answer about that day follows.
    ///
    /// # Errors
    ///
    /// [`AskError::Refused`]: its answer about a day depends on other days as well.
    fn tables_by_day(&self, source: &ExportSource) -> Result<Vec<Table>, AskError>;

    /// Answers.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    async fn ask(&self, question: Question<'_>) -> Result<Rows, AskError>;
}

impl Range {
    /// One day of UTC.
    pub fn of_day(day: NaiveDate) -> Self {
        let from = day.and_time(NaiveTime::MIN).and_utc();
        Self { from, to: from.checked_add_signed(TimeDelta::days(1)).unwrap_or(from) }
    }

    /// A day on which nobody has anything: for a question of which only the columns are wanted, or whether it is one.
    pub fn without_rows() -> Self {
        Self::of_day(DateTime::UNIX_EPOCH.date_naive())
    }
}
