//! Runs jobs: by their schedule or when asked, one run of a job at a time in all processes, each in the ledger.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Mutex, RwLock};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::JobsConfig;
use touchline_schemas::control::{ControlDb, ControlError, RunId, Trigger};

use crate::job::{Job, JobContext, JobError, JobReport, Progress, RunRequest};
use crate::lease::Lease;
use crate::ledger::{self, Due, Plan};
use crate::schedule::{Schedule, ScheduleError};

/// How long a run that should stop may take to do so by itself.
const STOP_GRACE: Duration = Duration::from_secs(2);

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
    const fn outcome(&self) -> &'static str {
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

/// Runs jobs. Clones share everything.
#[derive(Clone)]
pub struct Runner {
    inner: Arc<Inner>,
}

struct Inner {
    control: ControlDb,
    clock: SharedClock,
    jobs: Vec<Planned>,
    enabled: bool,
    poll_interval: Duration,
    lease_ttl: Duration,
    holder: String,
    stop: CancellationToken,
    /// Read by every run, written when all have ended.
    running: RwLock<()>,
}

/// A job and when to run it.
#[derive(Clone)]
struct Planned {
    job: Arc<dyn Job>,
    plan: Plan,
    timeout_s: u64,
    /// Locked while the job runs in this process. The lease alone would not do: after the machine was suspended it has
    /// expired while the run goes on.
    alone: Arc<Mutex<()>>,
    progress: Arc<Progress>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("jobs", &self.job_names()).field("holder", &self.inner.holder).finish()
    }
}

impl Runner {
    /// A runner of `jobs`, each of which must have its section in `config`. `holder` names this runner in leases;
    /// no two living runners may have the same.
    pub fn new(
        control: ControlDb,
        clock: SharedClock,
        jobs: Vec<Arc<dyn Job>>,
        config: &JobsConfig,
        holder: String,
    ) -> Result<Self, RunnerError> {
        let since = clock.now();
        let jobs = jobs
            .into_iter()
            .zip(0_u64..)
            .map(|(job, number)| {
                let name = job.name();
                let config = config.job(name).ok_or(RunnerError::NotConfigured { job: name })?;
                let schedule = Schedule::parse(&config.schedule, &config.time_zone)
                    .map_err(|source| RunnerError::Schedule { job: name, source })?;
                let plan = Plan::new(name, schedule, config, number, since);
                Ok(Planned { job, plan, timeout_s: config.timeout_s, alone: Arc::default(), progress: Arc::default() })
            })
            .collect::<Result<Vec<Planned>, RunnerError>>()?;
        let inner = Inner {
            control,
            clock,
            jobs,
            enabled: config.enabled,
            poll_interval: Duration::from_secs(config.poll_interval_s),
            lease_ttl: Duration::from_secs(config.lease_ttl_s),
            holder,
            stop: CancellationToken::new(),
            running: RwLock::new(()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The names of the jobs, in the order given.
    pub fn job_names(&self) -> Vec<&'static str> {
        self.inner.jobs.iter().map(|planned| planned.job.name()).collect()
    }

    /// Runs a job at once, and waits for its report. The run goes on if the caller does not wait to the end.
    pub async fn run_now(&self, name: &str, request: RunRequest, trigger: Trigger) -> Result<JobReport, RunError> {
        let found = self.inner.jobs.iter().find(|planned| planned.job.name() == name);
        let planned = found.cloned().ok_or_else(|| RunError::UnknownJob { job: name.to_owned() })?;
        let job = planned.job.name();
        let inner = self.inner.clone();
        let run = tokio::spawn(async move { inner.run_requested(&planned, request, trigger).await });
        match run.await {
            Ok(result) => result,
            Err(error) => Err(ended_badly(job, error)),
        }
    }

    /// Runs what is due, all jobs side by side, and returns when that is done: the number of runs that were started.
    pub async fn tick(&self) -> usize {
        let started = join_all(self.inner.jobs.iter().map(|planned| self.inner.tick(planned))).await;
        started.into_iter().filter(|started| *started).count()
    }

    /// Looks for what is due every poll interval until `shutdown`, then stops all runs and returns when they have
    /// ended. Each job has a loop of its own, so that a long run holds up no other job.
    pub async fn serve(&self, shutdown: CancellationToken) {
        let stop = async {
            shutdown.cancelled().await;
            self.inner.stop.cancel();
        };
        let loops = join_all(self.inner.jobs.iter().map(|planned| self.inner.serve(planned)));
        tokio::join!(stop, loops);
        let _all_have_ended = self.inner.running.write().await;
    }
}

impl Inner {
    async fn serve(&self, planned: &Planned) {
        if !self.enabled {
            return;
        }
        while !self.stop.is_cancelled() {
            self.tick(planned).await;
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(self.poll_interval) => {}
            }
        }
    }

    /// Runs one job if it is due, and says whether it was. What went wrong is in the log and in the ledger.
    async fn tick(&self, planned: &Planned) -> bool {
        let job = planned.job.name();
        match self.run_due(planned).await {
            Ok(started) => started,
            Err(RunError::AlreadyRunning { .. }) => {
                tracing::debug!(job, "job is due but running already");
                false
            }
            Err(error @ (RunError::Control(_) | RunError::UnknownJob { .. })) => {
                tracing::error!(job, %error, "job could not be run");
                false
            }
            Err(
                error @ (RunError::ShuttingDown { .. }
                | RunError::TimedOut { .. }
                | RunError::LeaseLost { .. }
                | RunError::Panicked { .. }
                | RunError::Failed { .. }),
            ) => {
                tracing::warn!(job, %error, "job run failed");
                true
            }
        }
    }

    async fn run_due(&self, planned: &Planned) -> Result<bool, RunError> {
        if planned.plan.due(&self.control, self.clock.now()).await?.is_none() {
            return Ok(false);
        }
        let _running = self.running.read().await;
        let _alone = planned.alone.try_lock().map_err(|_| RunError::AlreadyRunning { job: planned.job.name() })?;
        let lease = self.take_lease(planned).await?;
        let result = self.run_if_still_due(planned, &lease).await;
        lease.release().await;
        result
    }

    /// Between the first look and the lease, another process may have done this very run.
    async fn run_if_still_due(&self, planned: &Planned, lease: &Lease) -> Result<bool, RunError> {
        let Some(Due { scheduled_for, trigger }) = planned.plan.due(&self.control, self.clock.now()).await? else {
            return Ok(false);
        };
        let job = planned.job.name();
        let run_id = self.control.start_run(job, trigger, Some(scheduled_for), self.clock.now()).await?;
        self.run(planned, RunRequest::default(), run_id, lease).await.map(|_| true)
    }

    async fn run_requested(
        &self,
        planned: &Planned,
        request: RunRequest,
        trigger: Trigger,
    ) -> Result<JobReport, RunError> {
        let _running = self.running.read().await;
        let _alone = planned.alone.try_lock().map_err(|_| RunError::AlreadyRunning { job: planned.job.name() })?;
        let lease = self.take_lease(planned).await?;
        let job = planned.job.name();
        let result = match self.control.start_run(job, trigger, None, self.clock.now()).await {
            Ok(run_id) => self.run(planned, request, run_id, &lease).await,
            Err(error) => Err(error.into()),
        };
        lease.release().await;
        result
    }

    /// Takes the job's lease, which proves that runs which the ledger believes to be running are dead.
    async fn take_lease(&self, planned: &Planned) -> Result<Lease, RunError> {
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
    async fn run(
        &self,
        planned: &Planned,
        request: RunRequest,
        run_id: RunId,
        lease: &Lease,
    ) -> Result<JobReport, RunError> {
        let job = planned.job.name();
        let started = Instant::now();
        let result = self.supervise(planned, request, lease).await;
        let (outcome, label) = match &result {
            Ok(report) => (ledger::succeeded(report), "succeeded"),
            Err(error) => (ledger::failed(error), error.outcome()),
        };
        metrics::counter!("touchline_job_runs_total", "job" => job, "outcome" => label).increment(1);
        metrics::histogram!("touchline_job_duration_seconds", "job" => job).record(started.elapsed().as_secs_f64());
        if let Ok(report) = &result {
            let (rows_written, unchanged) = (report.rows_written, report.unchanged);
            tracing::info!(job, %run_id, rows_written, unchanged, "job run succeeded");
        }
        match (self.control.finish_run(run_id, outcome, self.clock.now()).await, result) {
            (Ok(()), result) => result,
            // The run's own error says more than that it could not be written down.
            (Err(finish), Err(error)) => {
                tracing::error!(job, %run_id, error = %finish, "failed run could not be written down");
                Err(error)
            }
            (Err(finish), Ok(_)) => Err(finish.into()),
        }
    }

    /// Runs the job in a task of its own, so that its computing does not keep the lease from being renewed, until it
    /// ends or has to be stopped.
    async fn supervise(&self, planned: &Planned, request: RunRequest, lease: &Lease) -> Result<JobReport, RunError> {
        let job = planned.job.name();
        let cancellation = CancellationToken::new();
        let context = JobContext {
            clock: self.clock.clone(),
            cancellation: cancellation.clone(),
            progress: Arc::clone(&planned.progress),
        };
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

fn ended_badly(job: &'static str, error: JoinError) -> RunError {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            RunError::Panicked { job, message }
        }
        Err(_) => RunError::ShuttingDown { job },
    }
}

#[cfg(test)]
mod tests;
