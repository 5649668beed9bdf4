//! Runs exports: by their schedules or when asked, one at a time in all processes, each attempt in the ledger. And tells
//! their webhooks, which no run waits for.

mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use touchline_jobs::Schedule;
use touchline_jobs::lease::Lease;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::ExportsConfig;
use touchline_schemas::control::{
    ControlDb, ControlError, EXPORTS_LEASE, Export, ExportRun, ExportRunId, ExportTrigger,
};

use crate::destination::Places;
use crate::question::Questions;
use crate::run::{AttemptError, Workshop};
use crate::tables::Tables;
use crate::webhook::Announcer;

/// What is said of a run that was stopped with its process.
const SHUT_DOWN: &str = "the process that ran it was shut down";

/// How exports are run.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Between two looks at what is due.
    pub poll_interval: Duration,
    /// The life of a lease.
    pub lease_ttl: Duration,
    /// Whether schedules are followed.
    pub is_scheduled: bool,
    /// Names this process in leases; no two living ones may have the same name.
    pub holder: String,
}

/// Runs exports. Clones share everything.
#[derive(Clone)]
pub struct Exporter {
    inner: Arc<Inner>,
}

struct Inner {
    control: ControlDb,
    clock: SharedClock,
    questions: Arc<dyn Questions>,
    tables: Arc<dyn Tables>,
    places: Arc<dyn Places>,
    announcer: Announcer,
    config: ExportsConfig,
    pace: Pace,
    wake: Arc<Notify>,
    stop: CancellationToken,
}

/// What an exporter is made of.
pub struct Parts {
    /// The ledger.
    pub control: ControlDb,
    /// The time.
    pub clock: SharedClock,
    /// Who answers.
    pub questions: Arc<dyn Questions>,
    /// What has changed.
    pub tables: Arc<dyn Tables>,
    /// Where files go.
    pub places: Arc<dyn Places>,
    /// Who tells webhooks.
    pub announcer: Announcer,
    /// Attempts and pauses.
    pub config: ExportsConfig,
    /// How often, and as whom.
    pub pace: Pace,
    /// Told when somebody has asked for a run.
    pub wake: Arc<Notify>,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").field("pace", &self.inner.pace).finish_non_exhaustive()
    }
}

impl Exporter {
    /// Puts it together.
    pub fn new(parts: Parts) -> Self {
        let Parts { control, clock, questions, tables, places, announcer, config, pace, wake } = parts;
        let stop = CancellationToken::new();
        let inner = Inner { control, clock, questions, tables, places, announcer, config, pace, wake, stop };
        Self { inner: Arc::new(inner) }
    }

    /// Runs what is due and tells webhooks until `shutdown`; returns when both have ended.
    pub async fn serve(&self, shutdown: CancellationToken) {
        let stop = async {
            shutdown.cancelled().await;
            self.inner.stop.cancel();
        };
        tokio::join!(stop, self.inner.serve_runs(), self.inner.serve_webhooks());
    }

    /// Runs what is due, and returns when nothing is: the number of attempts.
    ///
    /// # Errors
    ///
    /// The ledger fails.
    pub async fn tick(&self) -> Result<usize, ControlError> {
        Ok(self.inner.tick(true).await?.unwrap_or_default())
    }

    /// Tells the webhooks that are due, and returns when none is: how many were tried.
    ///
    /// # Errors
    ///
    /// The ledger fails.
    pub async fn announce(&self) -> Result<usize, ControlError> {
        self.inner.announce().await
    }

    /// Works until the run has ended, and returns what became of it.
    ///
    /// # Errors
    ///
    /// The ledger fails, or has lost the run.
    pub async fn run_to_end(&self, run: ExportRunId) -> Result<ExportRun, ControlError> {
        loop {
            self.inner.tick(true).await?;
            if let Some(ended) = ended(&self.inner.control, run).await? {
                self.inner.announce().await?;
                return Ok(ended);
            }
            tokio::time::sleep(self.inner.pace.poll_interval).await;
        }
    }
}

/// The run, if it has ended.
///
/// # Errors
///
/// The ledger fails, or has lost the run.
pub async fn ended(control: &ControlDb, run: ExportRunId) -> Result<Option<ExportRun>, ControlError> {
    let found = control.export_run(run).await?.ok_or(ControlError::ExportRunLost { run_id: run })?;
    Ok(Some(found).filter(|run| run.ended_at.is_some()))
}

impl Inner {
    async fn serve_runs(self: &Arc<Self>) {
        // Whoever ran exports before may have died in a run. Until this process has had the lease, it does not know.
        let mut is_thorough = true;
        while !self.stop.is_cancelled() {
            match self.tick(is_thorough).await {
                Ok(attempts) => is_thorough = attempts.is_none(),
                Err(error) => {
                    tracing::error!(%error, "exports could not be looked after");
                    is_thorough = true;
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(self.pace.poll_interval) => {}
            }
        }
    }

    /// Runs what is due, and says how many attempts that were; none if somebody else has the lease. `is_thorough` is for
    /// who cannot know whether a dead process has left a run.
    async fn tick(self: &Arc<Self>, is_thorough: bool) -> Result<Option<usize>, ControlError> {
        if !is_thorough && !self.has_work().await? {
            return Ok(Some(0));
        }
        let (name, holder) = (EXPORTS_LEASE.to_owned(), self.pace.holder.clone());
        let lease = Lease::acquire(&self.control, &self.clock, name, holder, self.pace.lease_ttl).await?;
        let Some(lease) = lease else { return Ok(None) };
        let done = self.work(&lease).await;
        lease.release().await;
        done
    }

    async fn has_work(&self) -> Result<bool, ControlError> {
        let now = self.clock.now();
        Ok(self.control.next_export_run(now).await?.is_some() || !self.due(now).await?.is_empty())
    }

    /// Runs what is due; none if the lease was lost over it.
    async fn work(self: &Arc<Self>, lease: &Lease) -> Result<Option<usize>, ControlError> {
        let now = self.clock.now();
        // One more attempt than others have: the last may have been cut off when its files could be seen already.
        let most = self.config.max_attempts.saturating_add(1);
        let lost = self.control.reclaim_export_runs(most, now, now).await?;
        for run in lost {
            tracing::warn!(export = %run.export_id, run_id = %run.id, "a run of an export was left by a process that died");
        }
        let mut attempts = 0;
        while !self.stop.is_cancelled() {
            self.queue_due().await?;
            let Some(run) = self.control.next_export_run(self.clock.now()).await? else { break };
            attempts += 1;
            if !self.attempt(run, lease).await? {
                return Ok(self.stop.is_cancelled().then_some(attempts));
            }
        }
        Ok(Some(attempts))
    }

    /// The exports whose schedule has come to a time for which no run was asked yet, and the newest such time.
    async fn due(&self, now: DateTime<Utc>) -> Result<Vec<(Export, DateTime<Utc>)>, ControlError> {
        let mut due = Vec::new();
        if !self.pace.is_scheduled {
            return Ok(due);
        }
        for export in self.control.scheduled_exports().await? {
            let Some(schedule) = &export.definition.schedule else { continue };
            let schedule = match Schedule::of_export(schedule) {
                Ok(schedule) => schedule,
                Err(error) => {
                    tracing::error!(export = %export.id, %error, "the schedule of an export cannot be read");
                    continue;
                }
            };
            // A clock that was ahead for a while does not silence the schedule until then.
            let last = self.control.last_scheduled_export(export.id).await?.filter(|last| *last <= now);
            let since = last.map_or(export.scheduled_since, |last| last.max(export.scheduled_since));
            if let Some(scheduled_for) = schedule.latest_between(since, now) {
                due.push((export, scheduled_for));
            }
        }
        Ok(due)
    }

    async fn queue_due(&self) -> Result<(), ControlError> {
        let now = self.clock.now();
        for (export, scheduled_for) in self.due(now).await? {
            match self.control.queue_export_run(export.id, ExportTrigger::Schedule, scheduled_for, now).await {
                // One that has not ended yet, or an export that has just been deleted: the next look will tell.
                Ok(_) | Err(ControlError::ExportBusy { .. } | ControlError::UnknownExport) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Carries out one attempt, in a task of its own so that its computing does not keep the lease from being renewed.
    /// False if no other may follow: the lease is lost, or the process ends.
    async fn attempt(self: &Arc<Self>, run: ExportRun, lease: &Lease) -> Result<bool, ControlError> {
        let Some(run) = self.begin(run).await? else { return Ok(true) };
        let mut task = AbortOnDrop(tokio::spawn({
            let (inner, run) = (Arc::clone(self), run.clone());
            async move { inner.workshop().attempt(&run).await }
        }));
        let timeout = Duration::from_secs(self.config.timeout_s);
        let ended = tokio::select! {
            ended = &mut task.0 => ended,
            () = lease.keep() => {
                tracing::warn!(export = %run.export_id, run_id = %run.id, "the lease of exports was lost in a run");
                // Another process may already be at the same files.
                task.stop().await;
                return Ok(false);
            }
            () = self.stop.cancelled() => {
                task.stop().await;
                let now = self.clock.now();
                self.control.fail_export_run(&run, SHUT_DOWN, Some(now), now).await?;
                return Ok(false);
            }
            () = tokio::time::sleep(timeout) => {
                task.stop().await;
                self.failed(&run, &format!("it took longer than {} s", timeout.as_secs()), false).await?;
                return Ok(true);
            }
        };
        match ended {
            Ok(Ok(run)) => {
                let (rows, files) = (run.rows, run.files);
                tracing::info!(export = %run.export_id, run_id = %run.id, rows, files, "an export has run");
            }
            Ok(Err(AttemptError::Control(ControlError::ExportRunLost { run_id }))) => {
                tracing::warn!(%run_id, "a run of an export was taken over by another process");
            }
            Ok(Err(error)) => {
                log(&run, &error);
                self.failed(&run, &error.told(), error.is_final()).await?;
            }
            Err(error) => {
                tracing::error!(export = %run.export_id, run_id = %run.id, %error, "an export ended in a bug");
                self.failed(&run, "an error of the program", false).await?;
            }
        }
        Ok(true)
    }

    /// Begins the run's next attempt; none if the run is not to be had any more.
    async fn begin(&self, run: ExportRun) -> Result<Option<ExportRun>, ControlError> {
        let workshop = self.workshop();
        let found = async {
            let export = self.control.export(None, run.export_id).await?;
            let base = self.control.export_base(&export).await?;
            workshop.destination(&export, &run, &base).await
        };
        let folder = match found.await {
            Ok(destination) => destination.to_string(),
            // Without an export there is no folder; the attempt says so.
            Err(AttemptError::Control(ControlError::UnknownExport)) => String::new(),
            Err(AttemptError::Control(error)) => return Err(error),
            Err(error) => {
                tracing::error!(run_id = %run.id, %error, "a run of an export has no folder");
                String::new()
            }
        };
        match self.control.begin_export_run(run.id, &folder, self.clock.now()).await {
            Ok(run) => Ok(Some(run)),
            Err(ControlError::ExportRunLost { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn failed(&self, run: &ExportRun, told: &str, is_final: bool) -> Result<(), ControlError> {
        let now = self.clock.now();
        let retry_at = (!is_final && run.attempt < self.config.max_attempts).then(|| now + self.pause(run.attempt));
        if retry_at.is_none() {
            // What can be seen is not taken back: the next run would have its number once more.
            match self.workshop().adopt(run).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(error) => log(run, &error),
            }
        }
        match self.control.fail_export_run(run, told, retry_at, now).await {
            Ok(_) | Err(ControlError::ExportRunLost { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The pause after this many attempts: four times as long after each.
    fn pause(&self, attempts: u16) -> TimeDelta {
        const MAX_PAUSE_S: i64 = 6 * 3_600;
        let factor = 4_i64.checked_pow(u32::from(attempts.saturating_sub(1))).unwrap_or(i64::MAX);
        TimeDelta::seconds(i64::from(self.config.retry_pause_s).saturating_mul(factor).min(MAX_PAUSE_S))
    }

    fn workshop(&self) -> Workshop<'_> {
        Workshop {
            control: &self.control,
            clock: &self.clock,
            questions: &*self.questions,
            tables: &*self.tables,
            places: &*self.places,
        }
    }
}

fn log(run: &ExportRun, error: &AttemptError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(export = %run.export_id, run_id = %run.id, error, "an export failed");
}

/// A task that does not outlive whoever waits for it.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    /// Stops the task, and returns when it has really ended.
    async fn stop(&mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
