//! Going over the rows of a query by hand: batch by batch while they come, then at leisure.

use arrow::array::RecordBatch;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::TryStreamExt;

use crate::PipelineError;

/// What was gathered from a query's rows. Until it is dropped, its bytes count towards the memory of all queries.
pub(crate) struct Gathered<T> {
    /// What was gathered.
    pub found: T,
    _memory: MemoryReservation,
}

impl<T> Gathered<T> {
    /// What was gathered, made into something else of about the same size.
    pub fn try_map<U, E>(self, work: impl FnOnce(T) -> Result<U, E>) -> Result<Gathered<U>, E> {
        Ok(Gathered { found: work(self.found)?, _memory: self._memory })
    }
}

/// Gathers from every batch of `frame`. It fails once what is gathered no longer fits the memory of queries.
pub(crate) async fn gather<T>(
    context: &SessionContext,
    frame: DataFrame,
    name: &str,
    mut found: T,
    mut read: impl FnMut(&mut T, &RecordBatch) -> Result<(), DataFusionError>,
    size_bytes: impl Fn(&T) -> usize,
) -> Result<Gathered<T>, PipelineError> {
    let memory = MemoryConsumer::new(name).register(&context.runtime_env().memory_pool);
    let mut batches = frame.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        read(&mut found, &batch)?;
        memory.try_resize(size_bytes(&found))?;
    }
    Ok(Gathered { found, _memory: memory })
}

/// Long work of the processor, away from the threads that answer requests.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PipelineError> {
    let done = SpawnedTask::spawn_blocking(work).join().await;
    Ok(done.map_err(|error| exec_datafusion_err!("work on rows was interrupted: {error}"))?)
}
