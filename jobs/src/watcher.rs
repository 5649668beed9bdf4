//! Keeps an eye on the jobs by reading the ledger: gauges for `/metrics`, and alerts when a job's state changes. It
//! sees the runs of all processes, and after a restart it knows what was known before.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::AlertsConfig;
use touchline_schemas::control::{ControlDb, ControlError};

use crate::alerts::webhook::{AlertsError, Webhook};
use crate::alerts::{Alert, AlertKind, Condition, Rules};
use crate::health::Health;
use crate::job_metrics;
use crate::ledger::Plan;

/// Time between two looks at the ledger.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Alerts that may wait for a receiver that does not answer.
const MAX_WAITING_ALERTS: usize = 1_000;
/// How long alerts that still wait may take when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Watches the jobs of a [`crate::Runner`], which makes it.
#[derive(Debug)]
pub struct Watcher {
    control: ControlDb,
    clock: SharedClock,
    jobs: Vec<Watched>,
    rules: Rules,
    webhook: Option<Webhook>,
}

/// A job, and what has been told of it.
#[derive(Debug)]
struct Watched {
    plan: Plan,
    told: Option<Condition>,
}

impl Watcher {
    /// Watches the jobs of these plans, which run by schedule if `scheduled`.
    pub(crate) fn new(
        control: ControlDb,
        clock: SharedClock,
        plans: Vec<Plan>,
        scheduled: bool,
        config: &AlertsConfig,
    ) -> Result<Self, AlertsError> {
        let webhook = Webhook::new(config, clock.clone())?;
        let jobs = plans.into_iter().map(|plan| Watched { plan, told: None }).collect();
        Ok(Self { control, clock, jobs, rules: Rules::of(config, scheduled), webhook })
    }

    /// Looks every few seconds until `shutdown`, and delivers alerts meanwhile.
    pub async fn serve(mut self, shutdown: CancellationToken) {
        job_metrics::describe();
        let (sender, receiver) = mpsc::channel(MAX_WAITING_ALERTS);
        let webhook = self.webhook.take();
        let work = async {
            let look = async {
                self.look_until(&shutdown, &sender).await;
                drop(sender);
            };
            tokio::join!(look, deliver(webhook, receiver));
        };
        let give_up = async {
            shutdown.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            () = work => {}
            () = give_up => tracing::warn!("alerts that still waited were not delivered"),
        }
    }

    async fn look_until(&mut self, shutdown: &CancellationToken, alerts: &mpsc::Sender<Alert>) {
        while !shutdown.is_cancelled() {
            for alert in self.look().await {
                if alerts.try_send(alert).is_err() {
                    tracing::error!("too many alerts wait for their receiver; one was dropped");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Looks at all jobs once: sets their gauges, and returns what is to be told.
    pub async fn look(&mut self) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for job in &mut self.jobs {
            match look_at(&self.control, &self.clock, &self.rules, job).await {
                Ok(alert) => alerts.extend(alert),
                Err(error) => tracing::warn!(job = job.plan.job, %error, "the job's history cannot be read"),
            }
        }
        alerts
    }
}

async fn look_at(
    control: &ControlDb,
    clock: &SharedClock,
    rules: &Rules,
    job: &mut Watched,
) -> Result<Option<Alert>, ControlError> {
    let plan = &job.plan;
    let health = Health::read(control, plan.job, rules.runs_needed(plan)).await?;
    let now = clock.now();
    job_metrics::seen(plan.job, &health, rules.is_late(&health, plan, now), now);
    let told = job.told.unwrap_or_else(|| rules.known_before(&health, plan));
    let condition = rules.condition(told, &health, plan, now);
    job.told = Some(condition);
    let Some(kind) = AlertKind::of_change(told, condition) else { return Ok(None) };
    let alert = Alert::about(kind, plan, &health, now);
    log(&alert);
    Ok(Some(alert))
}

/// Alerts are in the log as well, whether or not there is a webhook.
fn log(alert: &Alert) {
    let (kind, job) = (alert.kind.as_str(), alert.job.as_deref());
    match alert.kind {
        AlertKind::Failed | AlertKind::Late => {
            tracing::error!(alert = kind, job, error = alert.error.as_deref(), "a job is in trouble");
        }
        AlertKind::Recovered | AlertKind::Test => tracing::info!(alert = kind, job, "a job is well again"),
    }
}

/// Delivers alerts one after the other, so that "recovered" never overtakes "failed".
async fn deliver(webhook: Option<Webhook>, mut alerts: mpsc::Receiver<Alert>) {
    while let Some(alert) = alerts.recv().await {
        let Some(webhook) = &webhook else { continue };
        let kind = alert.kind.as_str();
        let outcome = match webhook.deliver(&alert).await {
            Ok(()) => "delivered",
            Err(error) => {
                tracing::error!(alert = kind, %error, "alert was given up");
                "given_up"
            }
        };
        metrics::counter!("touchline_alerts_total", "type" => kind, "outcome" => outcome).increment(1);
    }
}
