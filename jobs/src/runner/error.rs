//! What can go wrong with running jobs.

use touchline_schemas::control::ControlError;

use crate::alerts::webhook::AlertsError;
use crate::job::JobError;
use crate::schedule::ScheduleError;

/// A set of jobs that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// A job has no section in the configuration.
    #[error("the job `{job}` has no section in the configuration")]
    NotConfigured {
        /// The job.
        job: &'static str,
    },
    /// A job's schedule cannot be used.
    #[error("jobs.{job}: {source}")]
    Schedule {
        /// The job.
        job: &'static str,
        /// Why.
        source: ScheduleError,
    },
    /// Alerts cannot be sent as configured.
    #[error(transparent)]
    Alerts(#[from] AlertsError),
}

/// Why a run gave no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such job.
    #[error("there is no job `{job}`")]
    UnknownJob {
        /// What was asked for.
        job: String,
    },
    /// The job is running, here or in another process.
    #[error("the job `{job}` is running already")]
    AlreadyRunning {
        /// The job.
        job: &'static str,
    },
    /// The process is stopping.
    #[error("the job `{job}` was stopped because the process is shutting down")]
    ShuttingDown {
        /// The job.
        job: &'static str,
    },
    /// The run took too long.
    #[error("the job `{job}` was stopped after {timeout_s} s")]
    TimedOut {
        /// The job.
        job: &'static str,
        /// Its limit in seconds.
        timeout_s: u64,
    },
    /// Another process may have started the job, because this one could not renew its lease.
    #[error("the job `{job}` was stopped because its lease was lost")]
    LeaseLost {
        /// The job.
        job: &'static str,
    },
    /// The job has a bug.
    #[error("the job `{job}` panicked: {message}")]
    Panicked {
        /// The job.
        job: &'static str,
        /// What it said.
        message: String,
    },
    /// The job gave an error.
    #[error("the job `{job}` failed: {source}")]
    Failed {
        /// The job.
        job: &'static str,
        /// Its error.
        source: JobError,
    },
    /// The ledger or the lease could not be read or written.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl RunError {
    /// The label of this outcome in metrics.
    pub(super) const fn outcome(&self) -> &'static str {
        match self {
            Self::UnknownJob { .. } => "unknown",
            Self::AlreadyRunning { .. } => "already_running",
            Self::ShuttingDown { .. } => "shut_down",
            Self::TimedOut { .. } => "timed_out",
            Self::LeaseLost { .. } => "lease_lost",
            Self::Panicked { .. } => "panicked",
            Self::Failed { .. } => "failed",
            Self::Control(_) => "control_error",
        }
    }
}
