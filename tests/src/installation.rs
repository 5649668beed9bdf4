//! The parts of a server put together without one, over a directory that a test owns.

use std::path::Path;
use std::sync::Arc;

use chrono::Duration;
use tokio_util::sync::CancellationToken;
use touchline_ingest::event_ids::EventIdIndex;
use touchline_ingest::lake_writer::LakeWriter;
use touchline_jobs::{
    AttributionJob, IdentitiesJob, Job, JobContext, JobReport, MessagesJob, RunRequest, SequencesJob, SessionsJob,
    TrafficJob, VisitorsJob,
};
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

    /// The jobs of derived tables, in the order in which they need each other.
    pub fn jobs(&self) -> Vec<Arc<dyn Job>> {
        let timeout = Duration::minutes(30);
        vec![
            Arc::new(IdentitiesJob::new(self.engine.clone())),
            Arc::new(SessionsJob::new(self.engine.clone(), self.control.clone(), timeout)),
            Arc::new(VisitorsJob::new(self.engine.clone())),
            Arc::new(AttributionJob::new(self.engine.clone(), self.control.clone())),
            Arc::new(TrafficJob::new(self.engine.clone(), self.control.clone())),
            Arc::new(MessagesJob::new(self.engine.clone(), self.control.clone())),
            Arc::new(SequencesJob::new(self.engine.clone())),
        ]
    }

    /// Runs one job.
    pub async fn run_job(&self, job: &dyn Job, full: bool) -> anyhow::Result<JobReport> {
        Ok(job.run(RunRequest { full, ..RunRequest::default() }, &self.job_context()).await?)
    }

    /// Runs all jobs of derived tables.
    pub async fn run_jobs(&self, full: bool) -> anyhow::Result<Vec<JobReport>> {
        let mut reports = Vec::new();
        for job in self.jobs() {
            reports.push(self.run_job(&*job, full).await?);
        }
        Ok(reports)
    }

    /// Runs the job `attribution`.
    pub async fn run_attribution(&self, request: RunRequest) -> anyhow::Result<JobReport> {
        let job = AttributionJob::new(self.engine.clone(), self.control.clone());
        Ok(job.run(request, &self.job_context()).await?)
    }

    /// What a job that is run by hand gets.
    pub fn job_context(&self) -> JobContext {
        JobContext { clock: Arc::clone(&self.clock), cancellation: CancellationToken::new(), progress: Arc::default() }
    }
}
