//! The plan node that merges fragments, in both of its phases.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{Stream, StreamExt, TryFutureExt, TryStreamExt};

use super::merge::{DEVICE_HASH, merge};
use super::{SessionParams, finish, fragment, ordered};
use crate::channels::RuleSet;
use crate::lean::{concat_lean, lean_batch, own_batch, own_bytes};

/// Rows that the first phase gathers before it merges them: enough to find most of a session's events together, few
/// enough to stay near the processor.
const ROWS_PER_MERGE: usize = 1 << 20;
/// Rows of one batch of the result.
const ROWS_PER_BATCH: usize = 1 << 16;
/// Bytes after which it merges whatever it has.
const BYTES_PER_MERGE: usize = 128 << 20;

/// Which half of the work a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Events in, fragments out; any partitioning, bounded memory.
    Partial,
    /// Fragments in, sessions out; all fragments of a visitor in one partition.
    Final,
}

/// Merges fragments.
#[derive(Debug, Clone)]
pub(super) struct SessionExec {
    phase: Phase,
    input: Arc<dyn ExecutionPlan>,
    params: Arc<SessionParams>,
    /// Columns of the fragments.
    fragments: SchemaRef,
    /// Columns of the result: the fragments' in the first phase, the wanted sessions' in the last.
    output: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl SessionExec {
    pub(super) fn new(
        phase: Phase,
        input: Arc<dyn ExecutionPlan>,
        params: Arc<SessionParams>,
        fragments: SchemaRef,
        output: SchemaRef,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&output)),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { phase, input, params, fragments, output, properties: Arc::new(properties) }
    }

    /// What shuffles fragments between the phases.
    pub(super) fn by_visitor(fragments: &SchemaRef, partitions: usize) -> Result<Partitioning> {
        Ok(Partitioning::Hash(vec![device_hash(fragments)?], partitions))
    }
}

fn device_hash(fragments: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
    Ok(Arc::new(Column::new_with_schema(DEVICE_HASH, fragments)?))
}

impl DisplayAs for SessionExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionExec: phase={:?}, rules={}", self.phase, self.params.rules.definition())
    }
}

#[async_trait]
impl ExecutionPlan for SessionExec {
    fn name(&self) -> &'static str {
        "SessionExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        // Without this the shuffle, which nothing above it asks for, would be optimised away, and a visitor's session
        // would come out in two parts.
        match (self.phase, device_hash(&self.fragments)) {
            (Phase::Final, Ok(hash)) => vec![Distribution::KeyPartitioned(vec![hash])],
            _ => vec![Distribution::UnspecifiedDistribution],
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| exec_datafusion_err!("SessionExec has one input"))?;
        Ok(Arc::new(Self::new(
            self.phase,
            input,
            Arc::clone(&self.params),
            Arc::clone(&self.fragments),
            Arc::clone(&self.output),
        )))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let memory = MemoryConsumer::new(format!("SessionExec[{partition}]")).register(context.memory_pool());
        let (params, fragments) = (Arc::clone(&self.params), Arc::clone(&self.fragments));
        let work = Work { phase: self.phase, params, fragments, memory };
        let output = Arc::clone(&self.output);
        let stream = match self.phase {
            Phase::Partial => work.partial(input).boxed(),
            Phase::Final => work.finish(input, output).boxed(),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.output), stream)))
    }
}

/// One partition's work.
struct Work {
    phase: Phase,
    params: Arc<SessionParams>,
    fragments: SchemaRef,
    memory: MemoryReservation,
}

impl Work {
    fn partial(self, input: SendableRecordBatchStream) -> impl Stream<Item = Result<RecordBatch>> {
        let gathered = Gathered::default();
        futures::stream::try_unfold((self, input, gathered), |(work, mut input, mut gathered)| async move {
            while let Some(batch) = input.try_next().await? {
                let batch = fragment::fragments(&batch, &work.fragments, &work.params)?;
                gathered.push(batch, &work.memory)?;
                if gathered.rows >= ROWS_PER_MERGE || gathered.bytes >= BYTES_PER_MERGE {
                    break;
                }
            }
            if gathered.rows == 0 {
                return Ok(None);
            }
            let merged = gathered.merge(&work).await?;
            Ok(Some((merged, (work, input, Gathered::default()))))
        })
    }

    fn finish(
        self,
        mut input: SendableRecordBatchStream,
        output: SchemaRef,
    ) -> impl Stream<Item = Result<RecordBatch>> {
        let rules = self.params.channel_rules;
        let merged = async move {
            let mut gathered = Gathered::default();
            while let Some(batch) = input.try_next().await? {
                gathered.push(batch, &self.memory)?;
            }
            if gathered.rows == 0 {
                return Ok(RecordBatch::new_empty(Arc::clone(&self.fragments)));
            }
            gathered.merge(&self).await
        };
        merged.map_ok(move |whole| in_parts(whole, output, rules)).try_flatten_stream()
    }
}

/// The session columns of whole fragments, some rows at a time.
fn in_parts(whole: RecordBatch, output: SchemaRef, rules: RuleSet) -> impl Stream<Item = Result<RecordBatch>> {
    let starts = (0..whole.num_rows()).step_by(ROWS_PER_BATCH);
    futures::stream::iter(starts.map(move |start| {
        let part = whole.slice(start, ROWS_PER_BATCH.min(whole.num_rows() - start));
        Ok(finish::finish(&part, &output, rules)?)
    }))
}

/// Fragments that wait to be merged.
#[derive(Default)]
struct Gathered {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, batch: RecordBatch, memory: &MemoryReservation) -> Result<()> {
        let batch = lean_batch(&batch)?;
        let bytes = own_bytes(&batch);
        memory.try_grow(bytes)?;
        self.rows += batch.num_rows();
        self.bytes += bytes;
        self.batches.push(batch);
        Ok(())
    }

    async fn merge(self, work: &Work) -> Result<RecordBatch> {
        let (schema, params, phase) = (Arc::clone(&work.fragments), Arc::clone(&work.params), work.phase);
        // Sorting and cutting takes long enough to keep a worker from requests that wait for it.
        let merged = SpawnedTask::spawn_blocking(move || {
            let batch = concat_lean(&schema, &self.batches)?;
            drop(self.batches);
            match (params.rules.is_mergeable(), phase) {
                (true, _) => merge(&batch, &params.rules),
                // Where order decides, all events of a visitor must be seen together.
                (false, Phase::Partial) => own_batch(&batch),
                (false, Phase::Final) => ordered::merge(&batch, &params.rules),
            }
        });
        let merged = merged.join().await.map_err(|error| exec_datafusion_err!("merging sessions: {error}"))??;
        work.memory.free();
        Ok(merged)
    }
}
