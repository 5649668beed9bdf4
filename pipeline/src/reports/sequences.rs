//! `sequences`: what became of the runs of sequences. The reports on one sequence, its steps, its lift and its branches,
//! lie below.
//!
//! Counts of people and quartiles cannot be added up over days and arms. So nothing is: the runs of the range are read
//! from `sequence_runs` and counted anew by what the rows are grouped by, as the job counts them by day.

pub mod branches;
mod counted;
mod grouping;
pub mod lift;
mod messages;
mod outcomes;
pub mod steps;

use arrow::array::RecordBatch;
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use datafusion::error::DataFusionError;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, sequence_metrics as column};

use super::{Answer, TimeRange, computed, dimension};
pub use crate::sequences::DEFINITION;
use crate::{PipelineError, QueryEngine};
use counted::{Question, count};
pub use grouping::DIMENSIONS;
use grouping::{Grouping, with_columns};

/// The tables that are read: the first is the one whose version an answer names.
pub const TABLES: [Table; 2] = [Table::SequenceRuns, Table::MessageDeliveries];

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// When runs were entered; in the calendar `event`, whole days of UTC on which things happened.
    pub range: TimeRange,
    /// Some of [`DIMENSIONS`], separated by commas.
    pub by: String,
    /// One of [`CALENDARS`].
    pub calendar: String,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// By which days things are counted: that of the run, or their own.
pub const CALENDARS: [&str; 2] = [column::CALENDAR_COHORT, column::CALENDAR_EVENT];

/// Runs of sequences, most entries first; days in order.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let calendar = dimension("calendar", &params.calendar, &CALENDARS)?;
    let grouping = Grouping::read(&params.by, &DIMENSIONS, calendar)?;
    let question = Question { sequence_id: None, range: params.range, calendar, grouping: grouping.clone() };
    let gathered = count(engine, tenant, &question).await?;
    let found = &gathered.found;
    let rows = found.rows_of_runs()?;
    let rows = in_order(&rows, &grouping, params.limit)?;
    let mut columns = grouping.columns(&rows)?;
    let counts = columns_of_runs();
    columns.extend(with_columns(&rows, counts.iter().map(String::as_str))?);
    if calendar == column::CALENDAR_COHORT {
        columns.extend(messages::count(engine, tenant, &question, found).await?.columns(&rows, &grouping)?);
    }
    columns.extend(with_columns(&rows, [column::FAILED_CHECKS].into_iter())?);
    Ok(computed(grouping::batch(columns)?, found.meta.clone()))
}

/// The counts of whole runs.
fn columns_of_runs() -> Vec<String> {
    let whole = [column::ENTRIES, column::UNIQUE_ENTRANTS, column::ORPHANS, column::ACTIVE, column::EXITS];
    whole.into_iter().map(str::to_owned).chain(column::exits_by_reason()).collect()
}

/// By day, then most entries, then by what rows are grouped by.
fn in_order(rows: &RecordBatch, grouping: &Grouping, limit: Option<usize>) -> Result<RecordBatch, DataFusionError> {
    let sorted = |name: &str, descending| {
        let values = rows.column_by_name(name).cloned();
        values.map(|values| SortColumn { values, options: Some(SortOptions { descending, nulls_first: true }) })
    };
    let mut by = Vec::new();
    if grouping.has_day() {
        by.extend(sorted(column::DAY_AT, false));
    }
    by.extend(sorted(column::ENTRIES, true));
    by.extend(
        [column::SEQUENCE_ID, column::SEQUENCE_VERSION, column::ARM].into_iter().filter_map(|name| sorted(name, false)),
    );
    Ok(take_record_batch(rows, &lexsort_to_indices(&by, limit)?)?)
}
