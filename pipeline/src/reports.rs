//! Reports: one file each. A report is a query over a derived table, its parameters, and what its answer came from.

pub mod attribution;
pub mod compared;
pub mod data;
pub mod events;
pub mod first_touch;
pub mod funnel;
mod listed;
pub mod messages;
pub mod overview;
pub mod pages;
pub mod paths;
pub mod people;
pub mod realtime;
pub mod rejected;
pub mod retention;
pub mod rows;
pub mod sequences;
pub mod sessions;
pub mod traffic;
pub mod utm;
pub mod visitors;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{lit, when};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, Expr, SessionContext, col};
use datafusion::scalar::ScalarValue;
use touchline_lake::Snapshot;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, sessions as column};

use crate::{PipelineError, QueryEngine};

/// Rows, and where they came from.
pub struct Answer {
    /// Columns of the rows.
    pub schema: SchemaRef,
    /// The rows, as they are computed.
    pub batches: SendableRecordBatchStream,
    /// Where they came from.
    pub meta: AnswerMeta,
}

/// What an answer was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerMeta {
    /// The version of the table that was read.
    pub lake_version: i64,
    /// The version of `events` that this table was computed from.
    pub source_version: Option<i64>,
    /// Everything received up to then is in the answer.
    pub watermark: Option<DateTime<Utc>>,
    /// Name and version of the definition behind the numbers.
    pub definition: &'static str,
    /// Whether its rows are those of the last plan that was made for it; else they were counted by hand from such rows.
    pub is_of_last_plan: bool,
}

impl AnswerMeta {
    fn new(snapshot: &Snapshot, definition: &'static str) -> Self {
        let info = snapshot.info.as_ref();
        Self {
            lake_version: snapshot.version,
            source_version: info.and_then(|info| info.source_version),
            watermark: info.and_then(|info| info.watermark),
            definition,
            is_of_last_plan: false,
        }
    }
}

/// A half-open range of time; without an end on the sides that are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// Inclusive.
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub to: Option<DateTime<Utc>>,
}

/// Which sessions count by who made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bots {
    /// People only.
    #[default]
    Exclude,
    /// Bots only.
    Only,
    /// Both.
    Include,
}

async fn run(frame: DataFrame, meta: AnswerMeta) -> Result<Answer, PipelineError> {
    let batches = frame.execute_stream().await?;
    Ok(Answer { schema: batches.schema(), batches, meta: AnswerMeta { is_of_last_plan: true, ..meta } })
}

/// One tenant's rows of a derived table in a range of time.
async fn rows_in(
    engine: &QueryEngine,
    table: Table,
    tenant: Tenant,
    range: TimeRange,
    definition: &'static str,
) -> Result<(SessionContext, DataFrame, AnswerMeta), PipelineError> {
    let (scan, snapshot) = engine.scan(table, tenant).await?;
    let context = engine.context();
    let mut frame = scan.frame(&context)?;
    for filter in range_filters(table, range) {
        frame = frame.filter(filter)?;
    }
    Ok((context, frame, AnswerMeta::new(&snapshot, definition)))
}

/// What holds for the rows of a range of time.
pub(crate) fn range_filters(table: Table, range: TimeRange) -> Vec<Expr> {
    let time = || col(table.time_column());
    let from = range.from.map(|from| time().gt_eq(instant(from)));
    from.into_iter().chain(range.to.map(|to| time().lt(instant(to)))).collect()
}

/// An answer whose rows are already here.
fn computed(rows: RecordBatch, meta: AnswerMeta) -> Answer {
    let schema = rows.schema();
    let rows = futures::stream::iter([Ok(rows)]);
    Answer { batches: Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&schema), rows)), schema, meta }
}

fn only(frame: DataFrame, bots: Bots) -> Result<DataFrame, PipelineError> {
    Ok(match bots {
        Bots::Exclude => frame.filter(col(column::IS_BOT).is_not_true())?,
        Bots::Only => frame.filter(col(column::IS_BOT).is_true())?,
        Bots::Include => frame,
    })
}

pub(crate) fn instant(time: DateTime<Utc>) -> Expr {
    instant_us(time.timestamp_micros())
}

fn instant_us(time_us: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(time_us), Some("UTC".into())))
}

/// Rejects what is not in `allowed`, in words that name it all.
fn dimension(name: &'static str, given: &str, allowed: &[&'static str]) -> Result<&'static str, PipelineError> {
    allowed.iter().find(|known| **known == given).copied().ok_or_else(|| PipelineError::BadParameter {
        name,
        detail: format!("`{given}` is none of {}", allowed.join(", ")),
    })
}

/// How many rows a condition holds for.
fn count_where(condition: Expr) -> Result<Expr, PipelineError> {
    Ok(sum(when(condition, lit(1_i64)).otherwise(lit(0_i64))?))
}
