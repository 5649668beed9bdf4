//! Bringing events together by their keys.
//!
//! Each partition of the scan hands every event to the thread that has its key, and each of these threads has the whole
//! set of each of its keys. Nothing is sorted on the way, and nobody waits for all rows.

use std::hash::{Hash, Hasher};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::lit;
use datafusion::physical_plan::{ExecutionPlanProperties, execute_stream_partitioned};
use datafusion::prelude::col;
use futures::TryStreamExt;
use futures::future::try_join_all;
use tokio::sync::mpsc::{Sender, channel};
use touchline_schemas::event::TextField;

use super::events::{EventColumns, EventRow, Key, column_names};
use super::sets::EventSets;
use crate::scan::LakeScan;
use crate::{PipelineError, QueryEngine};

/// Batches that may wait for a thread.
const WAITING_BATCHES: usize = 8;

/// Which events make up the rows of a table, and what their key is.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Types of the events.
    pub event_types: &'static [&'static str],
    /// The key of an event; none if it belongs to no row.
    pub key: for<'a> fn(&EventRow<'a>) -> Option<Key<'a>>,
}

/// One of `of` parts of all keys, numbered from 0: a part needs memory for its own sets only.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Which part.
    pub number: u64,
    /// How many there are.
    pub of: u64,
}

impl Part {
    /// All keys at once.
    pub const ALL: Self = Self { number: 0, of: 1 };
}

/// How many events of a scan of `events` are of the source's types.
pub async fn count(engine: &QueryEngine, events: LakeScan, source: &Source) -> Result<u64, PipelineError> {
    let context = engine.context();
    let types = source.event_types.iter().map(|event_type| lit(*event_type)).collect();
    let frame = events.frame(&context)?;
    let frame = frame.select_columns(&[TextField::EventType.column()])?;
    Ok(frame.filter(col(TextField::EventType.column()).in_list(types, false))?.count().await? as u64)
}

/// The sets of a scan of `events` in one heap.
pub async fn read_together(
    engine: &QueryEngine,
    events: LakeScan,
    source: &Source,
) -> Result<EventSets, PipelineError> {
    Ok(read_into(engine, events, source, Part::ALL, Some(1)).await?.pop().unwrap_or_default())
}

/// The sets of a scan of `events`, in as many heaps as the engine has threads: each key is in one of them.
pub async fn read(
    engine: &QueryEngine,
    events: LakeScan,
    source: &Source,
    part: Part,
) -> Result<Vec<EventSets>, PipelineError> {
    read_into(engine, events, source, part, None).await
}

async fn read_into(
    engine: &QueryEngine,
    events: LakeScan,
    source: &Source,
    part: Part,
    heaps: Option<usize>,
) -> Result<Vec<EventSets>, PipelineError> {
    let context = engine.context();
    // Where few events are wanted, the other columns of the rest need not be decoded.
    context.state_ref().write().config_mut().options_mut().execution.parquet.pushdown_filters = true;
    let types = source.event_types.iter().map(|event_type| lit(*event_type)).collect();
    let frame = events
        .frame(&context)?
        .filter(col(TextField::EventType.column()).in_list(types, false))?
        .select_columns(&column_names())?;
    let plan = frame.create_physical_plan().await?;
    let heaps = heaps.unwrap_or_else(|| plan.output_partitioning().partition_count()).max(1);
    let memory = MemoryConsumer::new("event sets").register(&context.runtime_env().memory_pool);

    let (mut senders, mut gathering) = (Vec::new(), Vec::new());
    for _ in 0..heaps {
        let (sender, mut batches) = channel::<RecordBatch>(WAITING_BATCHES);
        let (source, memory) = (*source, memory.new_empty());
        senders.push(sender);
        gathering.push(SpawnedTask::spawn(async move {
            let mut sets = EventSets::default();
            while let Some(batch) = batches.recv().await {
                sets.push_events(&EventColumns::of(&batch)?, &source);
                memory.try_resize(sets.size_bytes())?;
            }
            // What is gathered belongs to the caller from here on.
            Ok::<_, PipelineError>(sets)
        }));
    }
    let streams = execute_stream_partitioned(plan, context.task_ctx())?;
    let reading = streams.into_iter().map(|mut rows| {
        let (senders, source) = (senders.clone(), *source);
        SpawnedTask::spawn(async move {
            while let Some(batch) = rows.try_next().await? {
                hand_out(&batch, &source, part, &senders).await?;
            }
            Ok::<_, PipelineError>(())
        })
    });
    let reading: Vec<_> = reading.collect();
    drop(senders);
    let interrupted = |error| exec_datafusion_err!("bringing events together: {error}");
    let mut sets = Vec::with_capacity(heaps);
    let (read, gathered) = futures::future::join(
        try_join_all(reading.into_iter().map(SpawnedTask::join)),
        try_join_all(gathering.into_iter().map(SpawnedTask::join)),
    )
    .await;
    for done in gathered.map_err(interrupted)? {
        sets.push(done?);
    }
    read.map_err(interrupted)?.into_iter().collect::<Result<(), _>>()?;
    Ok(sets)
}

async fn hand_out(
    batch: &RecordBatch,
    source: &Source,
    part: Part,
    heaps: &[Sender<RecordBatch>],
) -> Result<(), PipelineError> {
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); heaps.len()];
    {
        let columns = EventColumns::of(batch)?;
        for row in 0..columns.len() {
            let event = EventRow { columns: &columns, row };
            let Some(key) = (source.key)(&event) else { continue };
            let hash = hash(&key);
            if part.of < 2 || hash % part.of == part.number {
                // The parts are chosen by the lower bits.
                rows[((hash >> 32) as usize) % heaps.len()].push(row as u32);
            }
        }
    }
    for (rows, heap) in rows.into_iter().zip(heaps).filter(|(rows, _)| !rows.is_empty()) {
        let theirs = if rows.len() == batch.num_rows() {
            batch.clone()
        } else {
            take_record_batch(batch, &UInt32Array::from(rows))?
        };
        // Nobody receives any more: it failed, and says why.
        if heap.send(theirs).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The same for every run, so that the parts of one run fit together.
fn hash(key: &Key<'_>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (key.kind, key.id.as_bytes()).hash(&mut hasher);
    hasher.finish()
}
