//! One run, from the lease to the line in the ledger.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use touchline_schemas::control::RunId;

use super::{Ended, Inner, Planned, RunError};
use crate::job::{JobContext, JobError, JobReport, Progress, RunRequest};
use crate::lease::Lease;
use crate::{job_metrics, ledger};

/// How long a run that should stop may take to do so by itself.
const STOP_GRACE: Duration = Duration::from_secs(2);

impl Inner {
    /// Takes the job's lease, which proves that runs which the ledger believes to be running are dead.
    pub(super) async fn take_lease(&self, planned: &Planned) -> Result<Lease, RunError> {
        let job = planned.job.name();
        if self.stop.is_cancelled() {
            return Err(RunError::ShuttingDown { job });
        }
        let (name, holder) = (format!("job:{job}"), self.holder.clone());
        let lease = Lease::acquire(&self.control, &self.clock, name, holder, self.lease_ttl).await?;
        let lease = lease.ok_or(RunError::AlreadyRunning { job })?;
        match self.control.abandon_unfinished(job, self.clock.now()).await {
            Ok(0) => Ok(lease),
            Ok(runs) => {
                tracing::warn!(job, runs, "runs of a process that died were abandoned");
                Ok(lease)
            }
            Err(error) => {
                lease.release().await;
                Err(error.into())
            }
        }
    }

    /// Runs the job and writes down what came of it.
    pub(super) async fn run(
        &self,
        planned: &Planned,
        request: RunRequest,
        run_id: RunId,
        lease: &Lease,
        progress: Arc<Progress>,
    ) -> Ended {
        let job = planned.job.name();
        let started = Instant::now();
        let result = self.supervise(planned, request, lease, progress).await;
        let (duration, now) = (started.elapsed(), self.clock.now());
        let (outcome, label) = match &result {
            Ok(report) => (ledger::succeeded(report, now), "succeeded"),
            Err(error) => (ledger::failed(error), error.outcome()),
        };
        job_metrics::ran(job, label, duration, result.as_ref().ok());
        if let Ok(report) = &result {
            let (rows_written, unchanged) = (report.rows_written, report.unchanged);
            tracing::info!(job, %run_id, rows_written, unchanged, "job run succeeded");
        }
        let result = match (self.control.finish_run(run_id, outcome, duration, now).await, result) {
            (Ok(()), result) => result,
            // The run's own error says more than that it could not be written down.
            (Err(finish), Err(error)) => {
                tracing::error!(job, %run_id, error = %finish, "failed run could not be written down");
                Err(error)
            }
            (Err(finish), Ok(_)) => Err(finish.into()),
        };
        self.prune_history().await;
        Ended { run_id, result }
    }

    /// Removes runs from the ledger that are older than it keeps them, once a day.
    async fn prune_history(&self) {
        let now = self.clock.now();
        let mut pruned_at = self.pruned_at.lock().await;
        if pruned_at.is_some_and(|pruned_at| now - pruned_at < TimeDelta::days(1)) {
            return;
        }
        *pruned_at = Some(now);
        match self.control.prune_runs(now - self.history).await {
            Ok(0) => {}
            Ok(runs) => tracing::info!(runs, "old runs were removed from the history"),
            // The next day is soon enough.
            Err(error) => tracing::warn!(%error, "old runs could not be removed from the history"),
        }
    }

    /// Runs the job in a task of its own, so that its computing does not keep the lease from being renewed, until it
    /// ends or has to be stopped.
    async fn supervise(
        &self,
        planned: &Planned,
        request: RunRequest,
        lease: &Lease,
        progress: Arc<Progress>,
    ) -> Result<JobReport, RunError> {
        let job = planned.job.name();
        let cancellation = CancellationToken::new();
        let context = JobContext { clock: self.clock.clone(), cancellation: cancellation.clone(), progress };
        let work = planned.job.clone();
        let mut task = AbortOnDrop(tokio::spawn(async move { work.run(request, &context).await }));
        let reason = tokio::select! {
            ended = &mut task.0 => return report_of(job, ended),
            () = lease.keep() => RunError::LeaseLost { job },
            () = self.stop.cancelled() => RunError::ShuttingDown { job },
            () = tokio::time::sleep(Duration::from_secs(planned.timeout_s)) => {
                RunError::TimedOut { job, timeout_s: planned.timeout_s }
            }
        };
        cancellation.cancel();
        if let Ok(ended) = tokio::time::timeout(STOP_GRACE, &mut task.0).await {
            // It may have reached its end just now, and then its work is done, whatever it was asked.
            return report_of(job, ended).map_err(|_| reason);
        }
        task.0.abort();
        // The next run must not begin before this one has really ended.
        tokio::select! {
            _ = &mut task.0 => {}
            () = lease.keep() => {}
        }
        Err(reason)
    }
}

/// A task that does not outlive whoever waits for it.
struct AbortOnDrop(JoinHandle<Result<JobReport, JobError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn report_of(job: &'static str, ended: Result<Result<JobReport, JobError>, JoinError>) -> Result<JobReport, RunError> {
    match ended {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(source)) => Err(RunError::Failed { job, source }),
        Err(error) => Err(ended_badly(job, error)),
    }
}

/// The error of a task that panicked or was aborted.
pub(super) fn ended_badly(job: &'static str, error: JoinError) -> RunError {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            RunError::Panicked { job, message }
        }
        Err(_) => RunError::ShuttingDown { job },
    }
}
