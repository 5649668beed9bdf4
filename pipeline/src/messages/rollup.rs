//! Attempts counted by day, system, message, variant and channel, with distinct people.
//!
//! Every count but those of people is a sum over attempts, so that parts of the rows are counted anywhere and added.
//! People are kept as pairs of group and person, which are sorted in the end, and equal ones counted once.
//!
//! `columns` are those of a batch of attempts, `attempts` says what of an attempt counts as what, `tally` adds, `output`
//! makes rows of it, and `counts` has the places of the columns.

mod attempts;
mod columns;
mod counts;
mod output;
mod tally;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use datafusion::catalog::TableProvider;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::execute_stream_partitioned;
use futures::TryStreamExt;
use futures::future::try_join_all;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::event_sets::{EVENT_TYPE, IS_BOT, Member, OCCURRED_AT};
use touchline_schemas::tables::message_deliveries as attempt;
use touchline_schemas::tables::message_rollups::DIMENSIONS;

use self::tally::Tally;
use super::conversions::Conversions;
use super::rows::Attempts;
use crate::days::{DayNumber, number_of};
use crate::gather::blocking;
use crate::scan::{LakeScan, scan_schema};
use crate::{PipelineError, QueryEngine};

/// Names this definition in answers.
pub const DEFINITION: &str = "message_rollups/1";

/// The rows of a day, in the columns of the table's files.
#[derive(Debug, Clone)]
pub struct DayRollup {
    /// The day, of both calendars.
    pub day: NaiveDate,
    /// Its rows.
    pub rows: RecordBatch,
    /// Rows that fail a check.
    pub failed: u64,
}

/// The rollups of attempts (some files of `message_deliveries`, one tenant) on some days, or on all of them.
///
/// The scan must hold every attempt of which anything happened on these days.
pub async fn rollups(
    engine: &QueryEngine,
    scan: LakeScan,
    days: Option<Arc<BTreeSet<NaiveDate>>>,
) -> Result<Vec<DayRollup>, PipelineError> {
    let context = engine.context();
    let plan = scan.scan(&context.state(), Some(&projection()?), &[], None).await?;
    let memory = MemoryConsumer::new("message rollups").register(&context.runtime_env().memory_pool);
    let wanted: Option<Arc<HashSet<DayNumber>>> =
        days.map(|days| Arc::new(days.iter().map(|day| number_of(*day)).collect()));
    let tallies = execute_stream_partitioned(plan, context.task_ctx())?.into_iter().map(|mut rows| {
        let (wanted, memory) = (wanted.clone(), memory.new_empty());
        SpawnedTask::spawn(async move {
            let mut tally = Tally::on(wanted);
            while let Some(batch) = rows.try_next().await? {
                tally.read(&batch)?;
                memory.try_resize(tally.size_bytes())?;
            }
            Ok::<_, PipelineError>((tally, memory))
        })
        .join()
    });
    let mut parts = Vec::new();
    let mut reserved = Vec::new();
    for part in try_join_all(tallies).await.map_err(|error| exec_datafusion_err!("counting attempts: {error}"))? {
        let (tally, memory) = part?;
        parts.push(tally);
        reserved.push(memory);
    }
    let rows = blocking(move || Tally::finish(parts)).await??;
    drop(reserved);
    Ok(rows)
}

/// The rollups of attempts that are in memory, in parts that may be counted at the same time.
pub async fn rollups_of(parts: Vec<Attempts>, conversions: &Arc<Conversions>) -> Result<Vec<DayRollup>, PipelineError> {
    let schema = counted_schema()?;
    let tallies = parts.into_iter().map(|attempts| {
        let (conversions, schema) = (Arc::clone(conversions), Arc::clone(&schema));
        blocking(move || {
            let mut tally = Tally::default();
            attempts.each_batch(&conversions, &schema, |batch| tally.read(&batch))?;
            Ok::<_, PipelineError>(tally)
        })
    });
    let tallies = try_join_all(tallies).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(blocking(move || Tally::finish(tallies)).await??)
}

/// Stored attempts, counted batch by batch, whoever chose or changed them.
#[derive(Debug, Default)]
pub struct CountedRows(Tally);

impl CountedRows {
    /// Counts a batch, which has [`column_names`].
    pub fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.read(batch)
    }

    /// Bytes of memory that it takes.
    pub fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }

    /// The rollups, day by day.
    pub fn finish(self) -> Result<Vec<DayRollup>> {
        Tally::finish(vec![self.0])
    }
}

/// The columns of attempts that are counted.
pub fn column_names() -> Vec<&'static str> {
    let mut names = vec![attempt::COHORT_AT, attempt::PERSON_ID, attempt::IS_PENDING, attempt::IS_ORPHAN];
    names.extend(DIMENSIONS);
    names.extend(attempt::TIMES.into_iter().filter(|name| *name != attempt::EXPOSED_AT));
    names.extend([EVENT_TYPE, OCCURRED_AT, IS_BOT, Member::Reason.column(), Member::Element.column()]);
    names.extend([Member::Outcome.column(), Member::Cost.column()]);
    names.extend([attempt::CONVERSION_GOAL, attempt::CONVERSION_OCCURRED_AT, attempt::CONVERSION_VALUE]);
    names.extend([attempt::CONVERSION_IS_LAST_TOUCH, attempt::CONVERSION_IS_CREDITED]);
    names
}

fn projection() -> Result<Vec<usize>> {
    let schema = scan_schema(Table::MessageDeliveries);
    let mut places = Vec::new();
    for name in column_names() {
        places.push(schema.index_of(name)?);
    }
    places.sort_unstable();
    Ok(places)
}

/// These columns, as a scan has them.
fn counted_schema() -> Result<SchemaRef> {
    Ok(Arc::new(scan_schema(Table::MessageDeliveries).project(&projection()?)?))
}
