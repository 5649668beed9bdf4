//! `sequences/{id}`: the steps of a sequence: how many runs came to each, how they left it, how long it took, and what
//! became of its messages.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::Int64Type;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::Tenant;
use touchline_schemas::event::messaging::{OUTCOME_EXECUTED, OUTCOME_FAILED};
use touchline_schemas::tables::sequence_metrics as column;

use super::counted::{Counted, Question, count};
use super::grouping::{Column, DIMENSIONS_OF_STEPS, Grouping, batch, column_of, with_columns};
use super::messages;
pub use super::{CALENDARS, DEFINITION, TABLES};
use crate::reports::{Answer, TimeRange, computed, dimension};
use crate::{PipelineError, QueryEngine};

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// The sequence.
    pub sequence_id: String,
    /// When runs were entered; in the calendar `event`, whole days of UTC on which things happened.
    pub range: TimeRange,
    /// Besides the step: some of `day`, `sequence_version`, `arm` and `channel`, separated by commas, or nothing.
    pub by: String,
    /// One of [`CALENDARS`].
    pub calendar: String,
}

/// A row for each step, in the order in which runs come to them.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let calendar = dimension("calendar", &params.calendar, &CALENDARS)?;
    let grouping = Grouping::read(&params.by, &DIMENSIONS_OF_STEPS, calendar)?.behind(column::STEP_ID);
    let sequence_id = Some(params.sequence_id.clone());
    let question = Question { sequence_id, range: params.range, calendar, grouping: grouping.clone() };
    let gathered = count(engine, tenant, &question).await?;
    let found = &gathered.found;
    let rows = in_order(found, &grouping)?;
    let mut columns = grouping.columns(&rows)?;
    columns.extend(with_columns(&rows, columns_of_steps().iter().map(String::as_str))?);
    if calendar == column::CALENDAR_COHORT {
        columns.extend(shares_of_runs(&rows, found)?);
    }
    columns.extend(shares_of_steps(&rows)?);
    if calendar == column::CALENDAR_COHORT {
        columns.extend(with_columns(&rows, column::TIME_TO_STEP.into_iter().chain(column::TIME_IN_STEP))?);
        columns.extend(messages::count(engine, tenant, &question, found).await?.columns(&rows, &grouping)?);
    }
    columns.extend(with_columns(&rows, [column::FAILED_CHECKS].into_iter())?);
    Ok(computed(batch(columns)?, found.meta.clone()))
}

/// The counts of steps.
fn columns_of_steps() -> Vec<String> {
    let mut names = [column::REACHED, column::ADVANCED, column::ACTIVE, column::EXITS].map(str::to_owned).to_vec();
    names.extend(column::exits_by_reason());
    names.extend(column::steps_by_outcome());
    names.extend(column::suppressed_by_reason());
    names.extend([column::DUE, column::IN_TIME, column::OVERDUE].map(str::to_owned));
    names
}

/// By day, then in the order in which runs come to the steps, then by what rows are grouped by.
fn in_order(found: &Counted, grouping: &Grouping) -> Result<RecordBatch> {
    let rows = found.rows_of_steps()?;
    let steps = column_of(&rows, column::STEP_ID)?;
    let steps = steps.as_string_opt::<i32>().ok_or_else(|| exec_datafusion_err!("steps have no names"))?;
    let place = |step: Option<&str>| step.and_then(|step| found.places.get(step).copied());
    let places: ArrayRef = Arc::new(steps.iter().map(place).collect::<Float64Array>());
    let options = Some(SortOptions { descending: false, nulls_first: true });
    let mut by = Vec::new();
    if grouping.has_day() {
        by.push(SortColumn { values: column_of(&rows, column::DAY_AT)?, options });
    }
    by.push(SortColumn { values: places, options });
    for name in [column::STEP_ID, column::SEQUENCE_VERSION, column::ARM, column::CHANNEL] {
        by.push(SortColumn { values: column_of(&rows, name)?, options });
    }
    Ok(take_record_batch(&rows, &lexsort_to_indices(&by, None)?)?)
}

/// Of the runs that were entered: the share that reached the step; of those that do not wait in it, the shares that got
/// through and that ended there.
fn shares_of_runs(rows: &RecordBatch, found: &Counted) -> Result<Vec<Column>> {
    let entries = entries(rows, &found.rows_of_runs()?)?;
    let [reached, advanced, active, exits] =
        [column::REACHED, column::ADVANCED, column::ACTIVE, column::EXITS].map(|name| whole(rows, name));
    let (reached, advanced, active, exits) = (reached?, advanced?, active?, exits?);
    let settled = |row: usize| reached.value(row) - active.value(row);
    let all = || 0..rows.num_rows();
    Ok(vec![
        ("entries".to_owned(), Arc::new(entries.iter().copied().collect::<Int64Array>()), true),
        shares("cumulative_reach", all().map(|row| (reached.value(row), entries[row].unwrap_or(0)))),
        shares("step_through", all().map(|row| (advanced.value(row), settled(row)))),
        shares("drop_off", all().map(|row| (exits.value(row), settled(row)))),
    ])
}

/// How many runs of the group of each row were entered, whatever the channel of the step.
fn entries(rows: &RecordBatch, runs: &RecordBatch) -> Result<Vec<Option<i64>>> {
    let of_runs = keys(runs)?;
    let entered = whole(runs, column::ENTRIES)?;
    let known: HashMap<&OwnedRow, i64> = of_runs.iter().zip(entered.values().iter().copied()).collect();
    Ok(keys(rows)?.iter().map(|key| known.get(key).copied()).collect())
}

fn keys(rows: &RecordBatch) -> Result<Vec<OwnedRow>> {
    let mut columns = Vec::new();
    for name in [column::DAY_AT, column::SEQUENCE_VERSION, column::ARM] {
        columns.push(column_of(rows, name)?);
    }
    let fields = columns.iter().map(|values| SortField::new(values.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    Ok(rows.iter().map(|row| row.owned()).collect())
}

/// Of the steps: the share executed in time, of those due; the share that failed, of those tried.
fn shares_of_steps(rows: &RecordBatch) -> Result<Vec<Column>> {
    let (due, in_time) = (whole(rows, column::DUE)?, whole(rows, column::IN_TIME)?);
    let (executed, failed) = (whole(rows, OUTCOME_EXECUTED)?, whole(rows, OUTCOME_FAILED)?);
    let all = || 0..rows.num_rows();
    let tried = |row: usize| executed.value(row) + failed.value(row);
    Ok(vec![
        shares("reliability", all().map(|row| (in_time.value(row), due.value(row)))),
        shares("error_rate", all().map(|row| (failed.value(row), tried(row)))),
    ])
}

fn shares(name: &str, parts: impl Iterator<Item = (i64, i64)>) -> Column {
    let share = |(part, whole): (i64, i64)| (whole > 0).then(|| part as f64 / whole as f64);
    (name.to_owned(), Arc::new(parts.map(share).collect::<Float64Array>()), true)
}

fn whole(rows: &RecordBatch, name: &str) -> Result<Int64Array> {
    let values = column_of(rows, name)?;
    let values = values.as_primitive_opt::<Int64Type>().cloned();
    values.ok_or_else(|| exec_datafusion_err!("`{name}` is no count"))
}
