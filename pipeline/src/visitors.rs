//! Visitors: per person the first and last sessions in time, and totals.
//!
//! Definition, version 3: a row per person (see `identities`) who has a session and is no bot. `first_touch` is the
//! session that began first; `first_utm_touch` the first that carries any campaign parameter, so that a later null
//! never hides an earlier value and a later value never replaces it; `last_touch` is the session that ended last,
//! `last_non_direct_touch` the last whose channel is not `direct`. Of sessions of the same time the one whose anchor is
//! smaller holds, by `(received_at, event_id)`.
//!
//! Like sessions, visitors are a commutative merge: a session is the smallest visitor, and rows of one person merge by
//! adding counts and choosing touches. So a stored row can take up new sessions, and the order in which events arrived
//! cannot matter.

mod changes;
mod fragment;
mod merge;
mod shards;
mod update;

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::functions_aggregate::expr_fn::approx_distinct;
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::prelude::{SessionContext, col, when};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::sessions as session;

pub use changes::SessionChanges;
pub use update::{Updated, update};

use self::shards::{SHARDS, Shards};
use crate::identities::People;
use crate::lean::{concat_lean, lean_batch};

/// Names this definition in answers.
pub const DEFINITION: &str = "visitors/3";

/// Rows that are gathered before they are merged.
const ROWS_PER_MERGE: usize = 1 << 18;

/// Memory that a person takes, on the average, while people are computed.
const BYTES_PER_PERSON: u64 = 2_048;

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
    /// So many people are computed at once within a limit of memory.
    pub fn at_once(memory_limit_bytes: usize) -> u64 {
        (memory_limit_bytes as u64 / BYTES_PER_PERSON).max(1)
    }

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
    let partitions = streams.len().max(1);
    let memory = MemoryConsumer::new("visitors").register(&context.runtime_env().memory_pool);
    let shards = Arc::new(Shards::new(&memory, ROWS_PER_MERGE / SHARDS));
    let merging = streams.into_iter().map(|stream| {
        let (people, who, shards) = (Arc::clone(people), who.clone(), Arc::clone(&shards));
        SpawnedTask::spawn(async move { gather(stream, people, who, shards).await }).join()
    });
    let gathered = try_join_all(merging).await.map_err(interrupted)?;
    gathered.into_iter().collect::<Result<()>>()?;
    let finished = (0..SHARDS).map(|number| {
        let shards = Arc::clone(&shards);
        SpawnedTask::spawn_blocking(move || shards.finish(number)).join()
    });
    let finished = futures::stream::iter(finished).buffered(partitions).try_collect::<Vec<_>>();
    finished.await.map_err(interrupted)?.into_iter().collect()
}

fn interrupted(error: JoinError) -> DataFusionError {
    exec_datafusion_err!("visitors: {error}")
}

/// About how many people there are in `sessions` (the columns of the table `sessions`, one tenant).
pub async fn people_estimate(context: &SessionContext, sessions: Arc<dyn TableProvider>) -> Result<u64> {
    let [user, visitor] = [TextField::UserId, TextField::VisitorId].map(TextField::column);
    let device = when(col(user).is_not_null(), col(user)).otherwise(col(visitor))?;
    let humans = context.read_table(sessions)?.filter(col(session::IS_BOT).is_not_true())?;
    let counted = humans.aggregate(Vec::new(), vec![approx_distinct(device)])?.collect().await?;
    let count = counted.first().and_then(|batch| batch.column(0).as_primitive_opt::<UInt64Type>()?.iter().next()?);
    Ok(count.unwrap_or_default())
}

/// Rows that went from or came to `sessions`, as visitors of one session each, people only.
pub fn of_changes(sessions: &RecordBatch, people: &People) -> Result<RecordBatch> {
    let ids = people.of_sessions(sessions)?;
    let rows = humans(sessions, &ids, |_| true)?;
    Ok(fragment::fragments(&rows, &people.of_sessions(&rows)?)?)
}

/// Takes one partition's sessions to the shards of their people, merged some at a time.
async fn gather(
    mut stream: SendableRecordBatchStream,
    people: Arc<People>,
    who: Who,
    shards: Arc<Shards>,
) -> Result<()> {
    let (mut gathered, mut rows) = (Vec::new(), 0);
    while let Some(batch) = stream.try_next().await? {
        let ids = people.of_sessions(&batch)?;
        let theirs = lean_batch(&humans(&batch, &ids, |person| who.takes(person))?)?;
        rows += theirs.num_rows();
        gathered.push(theirs);
        if rows >= ROWS_PER_MERGE {
            merge_all(std::mem::take(&mut gathered), &people, &shards).await?;
            rows = 0;
        }
    }
    if rows > 0 { merge_all(gathered, &people, &shards).await } else { Ok(()) }
}

/// Merges the visitors of some sessions. Sessions are put together before they become visitors, who look at each of
/// them up to four times.
async fn merge_all(sessions: Vec<RecordBatch>, people: &Arc<People>, shards: &Arc<Shards>) -> Result<()> {
    let (people, shards) = (Arc::clone(people), Arc::clone(shards));
    let merged = SpawnedTask::spawn_blocking(move || {
        let Some(first) = sessions.first() else { return Ok(()) };
        let rows = concat_lean(&first.schema(), &sessions)?;
        drop(sessions);
        let visitors = merge::merge(&fragment::fragments(&rows, &people.of_sessions(&rows)?)?)?;
        drop(rows);
        shards.add(&visitors)
    });
    merged.join().await.map_err(interrupted)?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_sized_by_people_and_memory() {
        let check = |people: u64, memory_limit_bytes: usize, parts: u64| {
            assert_eq!(people.div_ceil(Who::at_once(memory_limit_bytes)), parts, "{people} in {memory_limit_bytes}");
        };
        // 14 million sessions are those of about 3.5 million people.
        check(3_500_000, 2 << 30, 4);
        check(500_000, 1 << 30, 1);
        check(1, 1, 1);
    }
}
