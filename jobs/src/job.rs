//! What a job is: something with a name that can be run again at any time without doing harm.

use std::error::Error;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use touchline_schemas::clock::SharedClock;

/// A unit of scheduled work. Its handles on tables are its own; the runner gives it time and the wish to stop.
///
/// A run may be aborted at any `.await`: what it writes must become visible in one step.
#[async_trait]
pub trait Job: Send + Sync {
    /// Its name in the configuration, in the ledger and in metrics.
    fn name(&self) -> &'static str;

    /// Does the work once.
    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError>;
}

/// What a run is asked to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Compute everything anew instead of only what has changed.
    pub full: bool,
}

/// What a run gets from the runner.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The time.
    pub clock: SharedClock,
    /// Cancelled when the run should stop: it is shutting down, took too long, or lost its lease.
    pub cancellation: CancellationToken,
}

impl JobContext {
    /// An error once the run should stop, for the places of a job where stopping is easy.
    pub fn check_cancelled(&self) -> Result<(), JobError> {
        if self.cancellation.is_cancelled() { Err(JobError::Cancelled) } else { Ok(()) }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JobReport {
    /// Rows read.
    pub rows_read: u64,
    /// Rows written.
    pub rows_written: u64,
    /// Bytes of files read.
    pub bytes_read: u64,
    /// Bytes of files written.
    pub bytes_written: u64,
    /// The version of the table that it read.
    pub source_version: Option<i64>,
    /// Everything received before this time is in what it wrote.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether there was nothing to do.
    pub unchanged: bool,
}

/// Why a job stopped without a report.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It was asked to stop.
    #[error("the run was cancelled")]
    Cancelled,
    /// Something that it needed did not work.
    #[error("{source}")]
    Failed {
        /// What.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl JobError {
    /// A failure with this cause.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { source: source.into() }
    }
}
