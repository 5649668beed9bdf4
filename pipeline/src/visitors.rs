//! Visitors: per person the first and last sessions in time, and totals.
//!
//! Definition, version 2: a row per person (see `identities`) who has a session and is no bot. `first_touch` is the
//! session that began first; `first_utm_touch` the first that carries any campaign parameter, so that a later null
//! never hides an earlier value and a later value never replaces it; `last_touch` is the session that ended last,
//! `last_non_direct_touch` the last whose channel is not `direct`. Ties in time are ordered by session id.
//!
//! Like sessions, visitors are a commutative merge: a session is the smallest visitor, and rows of one person merge by
//! adding counts and choosing touches. So a stored row can take up new sessions, and the order in which events arrived
//! cannot matter.

mod changes;
mod fragment;
mod merge;
mod update;

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use datafusion::catalog::TableProvider;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use futures::future::try_join_all;
use touchline_schemas::tables::{Table, sessions as session};

pub use changes::SessionChanges;
pub use update::{Updated, update};

use crate::identities::People;
use crate::lean::{concat_lean, lean_batch, own_bytes};
use crate::scan::scan_schema;

/// Names this definition in answers.
pub const DEFINITION: &str = "visitors/2";

/// Rows that are gathered before they are merged.
const ROWS_PER_MERGE: usize = 1 << 18;

/// Which people are computed.
#[derive(Debug, Clone)]
pub enum Who {
    /// One of `of` parts of all people, numbered from 0: a part needs memory for its own people only.
    Part {
        /// Which part.
        number: u64,
        /// How many there are.
        of: u64,
    },
    /// Exactly these.
    People(Arc<HashSet<String>>),
}

impl Who {
    /// Everybody at once.
    pub const ALL: Self = Self::Part { number: 0, of: 1 };

    fn takes(&self, person: &str) -> bool {
        match self {
            Self::Part { of: 0 | 1, .. } => true,
            Self::Part { number, of } => hash(person) % of == *number,
            Self::People(people) => people.contains(person),
        }
    }
}

/// A hash that is the same in every process of a build.
fn hash(person: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(person)
}

/// The visitors of `sessions` (the columns of the table `sessions`, one tenant), with the columns of a scan of
/// `visitors`.
pub async fn visitors(
    context: &SessionContext,
    sessions: Arc<dyn TableProvider>,
    people: &Arc<People>,
    who: &Who,
) -> Result<Vec<RecordBatch>> {
    let state = context.state();
    let columns = fragment::session_columns(&sessions.schema())?;
    let plan = sessions.scan(&state, Some(&columns), &[], None).await?;
    let streams = execute_stream_partitioned(plan, context.task_ctx())?;
    let partitions = streams.len().max(1) as u64;
    let memory = MemoryConsumer::new("visitors").register(&context.runtime_env().memory_pool);
    let merging = streams.into_iter().map(|stream| {
        let (people, who, memory) = (Arc::clone(people), who.clone(), memory.new_empty());
        SpawnedTask::spawn(async move { merged(stream, people, who, memory).await }).join()
    });
    let mut parts = Vec::new();
    for part in try_join_all(merging).await.map_err(|error| exec_datafusion_err!("visitors: {error}"))? {
        parts.extend(part?);
    }
    // A person's sessions may lie in all partitions, so that the rest is merged by person.
    let parts = Arc::new(parts);
    let merging = (0..partitions).map(|number| {
        let parts = Arc::clone(&parts);
        SpawnedTask::spawn_blocking(move || {
            let theirs = parts.iter().map(|batch| of_part(batch, number, partitions));
            let theirs = theirs.collect::<Result<Vec<_>>>()?;
            Ok(merge::merge(&concat_lean(&scan_schema(Table::Visitors), &theirs)?)?)
        })
        .join()
    });
    let merged = try_join_all(merging).await.map_err(|error| exec_datafusion_err!("visitors: {error}"))?;
    merged.into_iter().collect()
}

/// Rows that went from or came to `sessions`, as visitors of one session each, people only.
pub fn of_changes(sessions: &RecordBatch, people: &People) -> Result<RecordBatch> {
    let ids = people.of_sessions(sessions)?;
    let rows = humans(sessions, &ids, |_| true)?;
    Ok(fragment::fragments(&rows, &people.of_sessions(&rows)?)?)
}

/// One partition's sessions, merged some at a time.
async fn merged(
    mut stream: SendableRecordBatchStream,
    people: Arc<People>,
    who: Who,
    memory: MemoryReservation,
) -> Result<Vec<RecordBatch>> {
    let mut done = Vec::new();
    let (mut gathered, mut rows) = (Vec::new(), 0);
    while let Some(batch) = stream.try_next().await? {
        let ids = people.of_sessions(&batch)?;
        let theirs = lean_batch(&humans(&batch, &ids, |person| who.takes(person))?)?;
        rows += theirs.num_rows();
        gathered.push(theirs);
        if rows >= ROWS_PER_MERGE {
            done.push(merge_all(std::mem::take(&mut gathered), &people, &memory).await?);
            rows = 0;
        }
    }
    if rows > 0 {
        done.push(merge_all(gathered, &people, &memory).await?);
    }
    Ok(done)
}

/// The visitors of some sessions. Sessions are put together before they become visitors, who look at each of them up
/// to four times.
async fn merge_all(
    sessions: Vec<RecordBatch>,
    people: &Arc<People>,
    memory: &MemoryReservation,
) -> Result<RecordBatch> {
    let people = Arc::clone(people);
    let merged = SpawnedTask::spawn_blocking(move || {
        let rows = match sessions.first() {
            Some(first) => concat_lean(&first.schema(), &sessions)?,
            None => return Ok(RecordBatch::new_empty(scan_schema(Table::Visitors))),
        };
        drop(sessions);
        merge::merge(&fragment::fragments(&rows, &people.of_sessions(&rows)?)?)
    });
    let merged = merged.join().await.map_err(|error| exec_datafusion_err!("visitors: {error}"))??;
    memory.try_grow(own_bytes(&merged))?;
    Ok(merged)
}

/// Sessions of people, not bots, whom `takes` accepts.
fn humans(sessions: &RecordBatch, people: &StringViewArray, takes: impl Fn(&str) -> bool) -> Result<RecordBatch> {
    let bots = sessions.column_by_name(session::IS_BOT).and_then(|bots| bots.as_boolean_opt());
    let bots = bots.ok_or_else(|| exec_datafusion_err!("sessions have no `{}`", session::IS_BOT))?;
    let taken = (0..sessions.num_rows()).map(|row| {
        let is_bot = bots.is_valid(row) && bots.value(row);
        Some(!is_bot && people.is_valid(row) && takes(people.value(row)))
    });
    Ok(filter_record_batch(sessions, &taken.collect::<BooleanArray>())?)
}

fn of_part(visitors: &RecordBatch, number: u64, of: u64) -> Result<RecordBatch> {
    if of == 1 {
        return Ok(visitors.clone());
    }
    let people = merge::people(visitors)?;
    // The lower bits choose among the parts of everybody, so that these must choose otherwise.
    let theirs = people.iter().map(|person| Some((hash(person.unwrap_or_default()) >> 32) % of == number));
    Ok(filter_record_batch(visitors, &theirs.collect::<BooleanArray>())?)
}

/// The people of visitors, as views.
pub fn person_ids(visitors: &RecordBatch) -> Result<&StringViewArray> {
    Ok(merge::people(visitors)?)
}

/// Of `visitors`, those of whom `takes` says yes, and the others.
pub fn split(visitors: &RecordBatch, takes: impl Fn(&str) -> bool) -> Result<(RecordBatch, RecordBatch)> {
    let people = merge::people(visitors)?;
    let taken: BooleanArray = people.iter().map(|person| Some(person.is_some_and(&takes))).collect();
    let others = arrow::compute::not(&taken)?;
    Ok((filter_record_batch(visitors, &taken)?, filter_record_batch(visitors, &others)?))
}
