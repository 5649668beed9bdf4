//! The parts of a server put together without one, over a directory that a test owns.

use std::path::Path;
use std::sync::Arc;

use chrono::Duration;
use tokio_util::sync::CancellationToken;
use touchline_ingest::event_ids::EventIdIndex;
use touchline_ingest::lake_writer::LakeWriter;
use touchline_jobs::{Job, JobContext, JobReport, RunRequest, SessionsJob, VisitorsJob};
use touchline_lake::{Lake, LakeOptions};
use touchline_pipeline::{QueryEngine, QueryOptions};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::ControlDb;
use touchline_schemas::paths::DataDir;

/// A lake, what writes it, and what reads it.
pub struct Installation {
    /// Runs queries.
    pub engine: QueryEngine,
    /// Writes events.
    pub writer: LakeWriter,
    /// Accounts and their settings.
    pub control: ControlDb,
    clock: SharedClock,
}

impl Installation {
    /// Opens the lake in `folder`; queries get `threads` threads.
    pub async fn open(folder: &Path, clock: SharedClock, threads: usize) -> anyhow::Result<Self> {
        let data_dir = DataDir::new(folder);
        let lake = Lake::open(&data_dir.lake(), LakeOptions { checkpoint_interval: 20 }).await?;
        let control = ControlDb::open_in_memory().await?;
        let index = EventIdIndex::open(&data_dir.event_ids(), 256 << 20)?;
        let node = format!("node-{}", uuid::Uuid::now_v7().simple());
        let writer = LakeWriter::new(lake.clone(), control.clone(), Arc::clone(&clock), node, index);
        let engine = QueryEngine::new(lake, QueryOptions { memory_limit_bytes: 2 << 30, threads })?;
        Ok(Self { engine, writer, control, clock })
    }

    /// Runs the jobs `sessions` and `visitors`, in this order.
    pub async fn run_jobs(&self, full: bool) -> anyhow::Result<Vec<JobReport>> {
        let timeout = Duration::minutes(30);
        let jobs: [Arc<dyn Job>; 2] = [
            Arc::new(SessionsJob::new(self.engine.clone(), self.control.clone(), timeout)),
            Arc::new(VisitorsJob::new(self.engine.clone())),
        ];
        let context = JobContext {
            clock: Arc::clone(&self.clock),
            cancellation: CancellationToken::new(),
            progress: Arc::default(),
        };
        let mut reports = Vec::new();
        for job in jobs {
            reports.push(job.run(RunRequest { full, ..RunRequest::default() }, &context).await?);
        }
        Ok(reports)
    }
}
