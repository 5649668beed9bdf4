//! Stored sessions as fragments: what lets new events be merged into them without reading their own events again.

use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType, UInt64Type};
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use hashbrown::HashSet;
use touchline_schemas::tables::{Table, sessions as column};

use super::exec::{Phase, SessionExec};
use super::fragment::{Shape, device_hashes};
use super::keys::key_column;
use super::merge::DEVICE_HASH;
use super::{SessionParams, SessionRules};
use crate::lean::lean;
use crate::scan::scan_schema;

/// Fragments with all columns of a session, some of the same session perhaps: what is left of events after a first
/// merge that needs little memory.
#[derive(Debug, Clone, Default)]
pub struct Fragments(Vec<RecordBatch>);

/// Devices, by a hash: two of them may share one, which costs time and nothing else.
#[derive(Debug, Default)]
pub struct Devices(HashSet<u64, BuildHasherDefault<Identity>>);

impl Fragments {
    /// The fragments of `events` (the columns of `events`, one tenant).
    pub async fn of_events(
        context: &SessionContext,
        events: Arc<dyn TableProvider>,
        params: &SessionParams,
    ) -> Result<Self> {
        let shape = whole_shape(&params.rules);
        let scan = events.scan(&context.state(), Some(&shape.events), &[], None).await?;
        let schema = shape.fragments;
        let partial =
            SessionExec::new(Phase::Partial, scan, Arc::new(params.clone()), Arc::clone(&schema), Arc::clone(&schema));
        Ok(Self(collect(Arc::new(partial), context.task_ctx()).await?))
    }

    /// Adds stored sessions (the columns of a scan of `sessions`).
    ///
    /// Under rules that are not mergeable, no event may fall into or before them that is not part of them.
    pub fn push_sessions(&mut self, sessions: &[RecordBatch], params: &SessionParams) -> Result<(), ArrowError> {
        let schema = whole_shape(&params.rules).fragments;
        for batch in sessions {
            self.0.push(as_fragments(batch, &schema, &params.rules)?);
        }
        Ok(())
    }

    /// Whose fragments they are.
    pub fn devices(&self) -> Devices {
        let hashes = self.0.iter().filter_map(|batch| batch.column_by_name(DEVICE_HASH));
        Devices(hashes.flat_map(|hashes| hashes.as_primitive::<UInt64Type>().values().iter().copied()).collect())
    }

    /// Merges them to the end: sessions, with the columns of a scan of `sessions`.
    pub async fn merge(self, context: &SessionContext, params: &SessionParams) -> Result<Vec<RecordBatch>> {
        let schema = whole_shape(&params.rules).fragments;
        let partitions = context.state().config().target_partitions();
        let mut inputs: Vec<Vec<RecordBatch>> = vec![Vec::new(); partitions.max(1)];
        let mut rows = vec![0; inputs.len()];
        for batch in self.0 {
            let least = (0..rows.len()).min_by_key(|place| rows[*place]).unwrap_or(0);
            rows[least] += batch.num_rows();
            inputs[least].push(batch);
        }
        let source = MemorySourceConfig::try_new_exec(&inputs, Arc::clone(&schema), None)?;
        drop(inputs);
        let by_visitor = SessionExec::by_visitor(&schema, partitions)?;
        let shuffled: Arc<dyn ExecutionPlan> = Arc::new(RepartitionExec::try_new(source, by_visitor)?);
        let sessions = scan_schema(Table::Sessions);
        let merged = SessionExec::new(Phase::Final, shuffled, Arc::new(params.clone()), schema, sessions);
        collect(Arc::new(merged), context.task_ctx()).await
    }
}

impl Devices {
    /// The sessions of these devices, and those of all others.
    pub fn split(&self, sessions: &RecordBatch) -> Result<(RecordBatch, RecordBatch), ArrowError> {
        let hashes = device_hashes(sessions)?;
        let hashes: &UInt64Array = hashes.as_primitive();
        let theirs: BooleanArray = hashes.values().iter().map(|hash| Some(self.0.contains(hash))).collect();
        Ok((filter_record_batch(sessions, &theirs)?, filter_record_batch(sessions, &not(&theirs)?)?))
    }
}

/// The sessions that an event at `next_us` or later can still extend, and those that are over.
pub fn open_and_over(
    sessions: &RecordBatch,
    next_us: i64,
    params: &SessionParams,
) -> Result<(RecordBatch, RecordBatch), ArrowError> {
    let timeout_us = params.rules.longest_pause().num_microseconds().unwrap_or(i64::MAX);
    let ends = column_of(sessions, column::ENDED_AT)?.as_primitive::<TimestampMicrosecondType>();
    let open: BooleanArray =
        ends.values().iter().map(|end_us| Some(next_us.saturating_sub(*end_us) <= timeout_us)).collect();
    Ok((filter_record_batch(sessions, &open)?, filter_record_batch(sessions, &not(&open)?)?))
}

fn as_fragments(sessions: &RecordBatch, schema: &SchemaRef, rules: &SessionRules) -> Result<RecordBatch, ArrowError> {
    let hashes = device_hashes(sessions)?;
    let starts = column_of(sessions, column::STARTED_AT)?;
    let client_session_ids = || column_of(sessions, column::CLIENT_SESSION_ID).cloned();
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        DEVICE_HASH => Ok(Arc::clone(&hashes)),
        name => match key_column(name, rules, starts, client_session_ids)? {
            Some(key) => Ok(key),
            None => column_of(sessions, name).map(lean),
        },
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>, ArrowError>>()?)
}

fn column_of<'a>(sessions: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    sessions.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("sessions have no column `{name}`")))
}

/// The fragments that give every column of a session.
fn whole_shape(rules: &SessionRules) -> Shape {
    let sessions = scan_schema(Table::Sessions);
    let names: Vec<&str> = sessions.fields().iter().map(|field| field.name().as_str()).collect();
    Shape::new(&names, rules)
}

/// What is hashed already needs no hashing.
#[derive(Debug, Default)]
struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
