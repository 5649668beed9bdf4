//! The messages that were sent for steps of runs, counted by step, as messages are counted by day.
//!
//! A message belongs to the run and step whose `delivery_id` it has. Its attempt is counted by the rollup of messages,
//! with the version, step (or sequence), arm and channel of the run in the places of system, message, variant and channel.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Date32Type};
use datafusion::error::Result;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, SessionContext, col};
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::message_deliveries as attempt;
use touchline_schemas::tables::message_rollups::{
    AMOUNTS, CALENDAR, CALENDAR_COHORT, COUNTS, DAY_AT, DIMENSIONS, FAILED_CHECKS,
};
use touchline_schemas::tables::{Table, money_type, sequence_metrics as metric};

use super::counted::{Attempt, Counted, Question};
use super::grouping::{Column, Grouping, column_of};
use crate::columns::{amounts, counts, texts};
use crate::gather::{blocking, gather};
use crate::messages::rollup::{self, CountedRows, DayRollup};
use crate::{PipelineError, QueryEngine};

/// Day, version, step or sequence, arm, channel.
type Key = (Option<i32>, [Option<String>; DIMENSIONS.len()]);

/// Counts of messages by group.
#[derive(Debug, Default)]
pub(super) struct Messages(HashMap<Key, Sums>);

#[derive(Debug, Clone, Default)]
struct Sums {
    counts: Vec<i64>,
    amounts_e4: Vec<i128>,
    failed_checks: Option<String>,
}

/// Counts the messages of the runs that were found: all that became of them, whenever.
pub(super) async fn count(
    engine: &QueryEngine,
    tenant: Tenant,
    question: &Question,
    found: &Counted,
) -> Result<Messages, PipelineError> {
    if found.attempts.is_empty() {
        return Ok(Messages::default());
    }
    let delivery_id = TextField::DeliveryId.column();
    let mut names = rollup::column_names();
    names.push(delivery_id);
    let ids = found.attempts.keys().map(String::as_str);
    let (context, frame) = deliveries(engine, tenant, ids, &names).await?;
    let by_day = question.grouping.has_day();
    let read = |counted: &mut CountedRows, batch: &RecordBatch| {
        counted.read(&of_steps(batch, texts(batch, delivery_id)?, &found.attempts, by_day)?)
    };
    let counted = CountedRows::default();
    let gathered = gather(&context, frame, "messages of steps", counted, read, CountedRows::size_bytes).await?;
    let mut messages = Messages::default();
    for DayRollup { rows, .. } in blocking(move || gathered.found.finish()).await?? {
        messages.read(&rows, by_day)?;
    }
    Ok(messages)
}

/// Ids that a file is searched for one by one; of more, it is read whole.
const MOST_IDS: usize = 10_000;

/// Columns of the deliveries with these ids; if there are many ids, of all deliveries.
pub(super) async fn deliveries<'a>(
    engine: &QueryEngine,
    tenant: Tenant,
    ids: impl ExactSizeIterator<Item = &'a str>,
    names: &[&str],
) -> Result<(SessionContext, DataFrame), PipelineError> {
    let (scan, _) = engine.scan(Table::MessageDeliveries, tenant).await?;
    let context = engine.context();
    // Of deliveries that are not asked for, the id alone is read.
    context.state_ref().write().config_mut().options_mut().execution.parquet.pushdown_filters = true;
    let id = col(TextField::DeliveryId.column());
    let is_asked = if ids.len() > MOST_IDS { id.is_not_null() } else { id.in_list(ids.map(lit).collect(), false) };
    let frame = scan.frame(&context)?.filter(is_asked)?.select_columns(names)?;
    Ok((context, frame))
}

/// The attempts of a batch that were made for steps, with the run's dimensions in the place of their own.
fn of_steps(
    batch: &RecordBatch,
    ids: &StringViewArray,
    attempts: &HashMap<String, Attempt>,
    by_day: bool,
) -> Result<RecordBatch> {
    let known = |row: usize| ids.is_valid(row).then(|| attempts.get(ids.value(row))).flatten();
    let (rows, theirs): (Vec<u32>, Vec<&Attempt>) =
        (0..batch.num_rows()).filter_map(|row| Some((row as u32, known(row)?))).unzip();
    let batch = take_record_batch(batch, &UInt32Array::from(rows))?;
    let text = |of: &dyn Fn(&Attempt) -> Option<String>| -> ArrayRef {
        Arc::new(theirs.iter().map(|attempt| of(attempt)).collect::<StringViewArray>())
    };
    let dimensions = [
        text(&|attempt| attempt.sequence_version.map(|version| version.to_string())),
        text(&|attempt| attempt.step_id.clone().or_else(|| attempt.sequence_id.clone())),
        text(&|attempt| attempt.arm.clone()),
        text(&|attempt| attempt.channel.clone()),
    ];
    let cohorts = theirs.iter().map(|attempt| if by_day { attempt.began_at_us } else { 0 });
    let cohorts: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(cohorts).with_timezone("UTC"));
    let replaced = DIMENSIONS.into_iter().zip(dimensions).chain([(attempt::COHORT_AT, cohorts)]);
    let replaced: HashMap<&str, ArrayRef> = replaced.collect();
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, own)| Arc::clone(replaced.get(field.name().as_str()).unwrap_or(own)));
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect())?)
}

impl Messages {
    fn read(&mut self, rows: &RecordBatch, by_day: bool) -> Result<()> {
        let calendars = text_column(rows, CALENDAR)?;
        let failed = text_column(rows, FAILED_CHECKS)?;
        let keys = keys(rows, DAY_AT, DIMENSIONS, by_day)?;
        for (row, key) in keys.into_iter().enumerate().filter(|(row, _)| calendars.value(*row) == CALENDAR_COHORT) {
            let mut sums = Sums::default();
            for name in COUNTS {
                sums.counts.push(counts(rows, name)?.value(row));
            }
            for name in AMOUNTS {
                sums.amounts_e4.push(amounts(rows, name)?.value(row));
            }
            sums.failed_checks = failed.is_valid(row).then(|| failed.value(row).to_owned());
            self.0.insert(key, sums);
        }
        Ok(())
    }

    /// Columns beside `rows`, which have the columns of `sequence_metrics`. Their names are those of message rollups, with
    /// a prefix, because some counts of steps are called like counts of messages.
    pub fn columns(&self, rows: &RecordBatch, grouping: &Grouping) -> Result<Vec<Column>> {
        let named = if grouping.has(metric::STEP_ID) { metric::STEP_ID } else { metric::SEQUENCE_ID };
        let dimensions = [metric::SEQUENCE_VERSION, named, metric::ARM, metric::CHANNEL];
        let keys = keys(rows, metric::DAY_AT, dimensions, grouping.has_day())?;
        let sums: Vec<Option<&Sums>> = keys.iter().map(|key| self.0.get(key)).collect();
        let count = |place: usize| -> ArrayRef {
            let count = |sums: &Option<&Sums>| sums.map_or(0, |sums| sums.counts[place]);
            Arc::new(Int64Array::from_iter_values(sums.iter().map(count)))
        };
        let amount = |place: usize| -> ArrayRef {
            let amount = |sums: &Option<&Sums>| Some(sums.map_or(0, |sums| sums.amounts_e4[place]));
            Arc::new(sums.iter().map(amount).collect::<Decimal128Array>().with_data_type(money_type()))
        };
        let failed: StringArray = sums.iter().map(|sums| sums.and_then(|sums| sums.failed_checks.as_deref())).collect();
        let values = (0..COUNTS.len()).map(count).chain((0..AMOUNTS.len()).map(amount));
        let names = COUNTS.into_iter().chain(AMOUNTS).chain([FAILED_CHECKS]);
        let columns = names.zip(values.chain([Arc::new(failed) as ArrayRef]));
        Ok(columns.map(|(name, values)| (format!("messages_{name}"), values, true)).collect())
    }
}

fn keys(rows: &RecordBatch, day_at: &str, dimensions: [&str; DIMENSIONS.len()], by_day: bool) -> Result<Vec<Key>> {
    let days = cast(&column_of(rows, day_at)?, &DataType::Date32)?;
    let days = days.as_primitive::<Date32Type>();
    let mut columns = Vec::with_capacity(dimensions.len());
    for name in dimensions {
        columns.push(text_column(rows, name)?);
    }
    let key = |row: usize| {
        let mut values: [Option<String>; DIMENSIONS.len()] = Default::default();
        for (value, column) in values.iter_mut().zip(&columns) {
            *value = column.is_valid(row).then(|| column.value(row).to_owned());
        }
        (by_day.then(|| days.value(row)), values)
    };
    Ok((0..rows.num_rows()).map(key).collect())
}

/// A column as text, whatever it holds.
fn text_column(rows: &RecordBatch, name: &str) -> Result<StringViewArray> {
    Ok(cast(&column_of(rows, name)?, &DataType::Utf8View)?.as_string_view().clone())
}
