//! Runs jobs: by their schedule or when asked, one run of a job at a time in all processes, each in the ledger.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use tokio::sync::{Mutex, RwLock, oneshot};
use tokio_util::sync::CancellationToken;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::{AlertsConfig, JobsConfig};
use touchline_schemas::control::{ControlDb, ControlError, NewRun, RunId, Trigger};

use crate::alerts::{Condition, Rules};
use crate::health::Health;
use crate::job::{Job, JobContext, JobPlan, JobReport, Progress, RunRequest};
use crate::lease::Lease;
use crate::ledger::{self, Due, Plan};
use crate::schedule::Schedule;
use crate::watcher::Watcher;

mod error;
mod run;

pub use error::{RunError, RunnerError};
use run::ended_badly;

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
    /// For how long the ledger keeps runs.
    history: TimeDelta,
    pruned_at: Mutex<Option<DateTime<Utc>>>,
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
}

/// A run that somebody asked for and that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its line in the ledger.
    pub run_id: RunId,
    /// What it did, or why it failed.
    pub result: Result<JobReport, RunError>,
}

/// How a job is doing.
#[derive(Debug, Clone)]
pub struct JobState {
    /// Its name.
    pub job: &'static str,
    /// What the ledger says.
    pub health: Health,
    /// The state that it is in.
    pub condition: Condition,
    /// The next time of its schedule; none if it has none, or if jobs do not run by schedule here.
    pub next_run_at: Option<DateTime<Utc>>,
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
                let schedule =
                    Schedule::of_job(config).map_err(|source| RunnerError::Schedule { job: name, source })?;
                let plan = Plan::new(name, schedule, config, number, since);
                Ok(Planned { job, plan, timeout_s: config.timeout_s, alone: Arc::default() })
            })
            .collect::<Result<Vec<Planned>, RunnerError>>()?;
        let inner = Inner {
            control,
            clock,
            jobs,
            enabled: config.enabled,
            poll_interval: Duration::from_secs(config.poll_interval_s),
            lease_ttl: Duration::from_secs(config.lease_ttl_s),
            history: TimeDelta::days(i64::from(config.history_days)),
            pruned_at: Mutex::default(),
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

    /// How the jobs are doing at this moment, by the ledger, in the order given. `config` says which state they are in.
    pub async fn states(&self, config: &AlertsConfig) -> Result<Vec<JobState>, ControlError> {
        let (inner, now) = (&self.inner, self.inner.clock.now());
        let rules = Rules::of(config, inner.enabled);
        let mut states = Vec::with_capacity(inner.jobs.len());
        for Planned { plan, .. } in &inner.jobs {
            let health = Health::read(&inner.control, plan.job, rules.runs_needed(plan)).await?;
            let before = rules.known_before(&health, plan);
            let next = plan.schedule.next_after(now - plan.delay).and_then(|next| next.checked_add_signed(plan.delay));
            states.push(JobState {
                job: plan.job,
                condition: rules.condition(before, &health, plan, now),
                next_run_at: next.filter(|_| inner.enabled),
                health,
            });
        }
        Ok(states)
    }

    /// What keeps an eye on these jobs: gauges, and alerts by `config`.
    pub fn watcher(&self, config: &AlertsConfig) -> Result<Watcher, RunnerError> {
        let inner = &self.inner;
        let plans = inner.jobs.iter().map(|planned| planned.plan.clone()).collect();
        Ok(Watcher::new(inner.control.clone(), inner.clock.clone(), plans, inner.enabled, config)?)
    }

    /// What a run of the job would read. Takes no lease and leaves no line in the ledger, so it may be asked for at any
    /// time, also beside a run.
    pub async fn plan(&self, name: &str, request: RunRequest) -> Result<JobPlan, RunError> {
        let planned = self.planned(name)?;
        let context = JobContext {
            clock: self.inner.clock.clone(),
            cancellation: self.inner.stop.child_token(),
            progress: Arc::default(),
        };
        let job = planned.job.name();
        planned.job.plan(request, &context).await.map_err(|source| RunError::Failed { job, source })
    }

    /// Runs a job at once, and waits for its report. The run goes on if the caller does not wait to the end.
    pub async fn run_now(&self, name: &str, request: RunRequest, trigger: Trigger) -> Result<JobReport, RunError> {
        self.run_now_watched(name, request, trigger, Arc::default()).await?.result
    }

    /// Starts a run of a job and returns its line in the ledger, which says what becomes of it; nobody waits for its end.
    /// An error means that there is no run.
    pub async fn start(&self, name: &str, request: RunRequest, trigger: Trigger) -> Result<RunId, RunError> {
        let planned = self.planned(name)?.clone();
        let job = planned.job.name();
        let inner = self.inner.clone();
        let (sender, started) = oneshot::channel();
        let run = tokio::spawn(async move {
            let ended = inner.run_requested(&planned, request, trigger, Arc::default(), Some(sender)).await?;
            if let Err(error) = &ended.result {
                tracing::warn!(job, run_id = %ended.run_id, %error, "job run failed");
            }
            Ok(ended.run_id)
        });
        if let Ok(run_id) = started.await {
            return Ok(run_id);
        }
        match run.await {
            Ok(result) => result,
            Err(error) => Err(ended_badly(job, error)),
        }
    }

    /// As [`Runner::run_now`]; the run says in `progress`, which must be fresh, how far it has come. An error means
    /// that there was no run.
    pub async fn run_now_watched(
        &self,
        name: &str,
        request: RunRequest,
        trigger: Trigger,
        progress: Arc<Progress>,
    ) -> Result<Ended, RunError> {
        let planned = self.planned(name)?.clone();
        let job = planned.job.name();
        let inner = self.inner.clone();
        let run = tokio::spawn(async move { inner.run_requested(&planned, request, trigger, progress, None).await });
        match run.await {
            Ok(result) => result,
            Err(error) => Err(ended_badly(job, error)),
        }
    }

    fn planned(&self, name: &str) -> Result<&Planned, RunError> {
        let found = self.inner.jobs.iter().find(|planned| planned.job.name() == name);
        found.ok_or_else(|| RunError::UnknownJob { job: name.to_owned() })
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
        let Some(due) = planned.plan.due(&self.control, self.clock.now()).await? else {
            return Ok(false);
        };
        let Due { scheduled_for, trigger, attempt, request } = due;
        let new = NewRun {
            job: planned.job.name(),
            trigger,
            scheduled_for: Some(scheduled_for),
            attempt,
            request: ledger::request_entry(request),
        };
        let run_id = self.control.start_run(new, self.clock.now()).await?;
        let ended = self.run(planned, request, run_id, lease, Arc::default()).await;
        ended.result.map(|_| true)
    }

    async fn run_requested(
        &self,
        planned: &Planned,
        request: RunRequest,
        trigger: Trigger,
        progress: Arc<Progress>,
        started: Option<oneshot::Sender<RunId>>,
    ) -> Result<Ended, RunError> {
        let _running = self.running.read().await;
        let _alone = planned.alone.try_lock().map_err(|_| RunError::AlreadyRunning { job: planned.job.name() })?;
        let lease = self.take_lease(planned).await?;
        let asked = NewRun::first(planned.job.name(), trigger, None);
        let new = NewRun { request: ledger::request_entry(request), ..asked };
        let ended = match self.control.start_run(new, self.clock.now()).await {
            Ok(run_id) => {
                // Whoever asked may have gone; the run goes on.
                let _ = started.map(|started| started.send(run_id));
                Ok(self.run(planned, request, run_id, &lease, progress).await)
            }
            Err(error) => Err(error.into()),
        };
        lease.release().await;
        ended
    }
}

#[cfg(test)]
mod tests;
