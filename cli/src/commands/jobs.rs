//! `touchline jobs`: run, list, history.

mod plan;
mod run;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use touchline_jobs::RunRequest;
use touchline_schemas::config::JobConfig;
use touchline_schemas::control::JobRun;

use super::{Context, Outcome, Usage};
use crate::app::{App, JOB_NAMES};
use crate::output::{NOTHING, Row, bytes, count, span};

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Runs a job now, or all of them in the order in which they need each other.
    ///
    /// Every run does what is new; the options say what is computed anew besides. Prints a line for each job when it
    /// has ended, and a progress bar meanwhile. The first job that fails ends the command.
    Run(run::RunArgs),
    /// Lists the jobs, their schedules and their last runs.
    List,
    /// Lists past runs, the latest first.
    History {
        /// The job's name; all jobs without it.
        job: Option<String>,
        /// The most runs to list.
        #[arg(long, default_value_t = 20)]
        limit: u64,
    },
}

/// A job as it is printed.
#[derive(Debug, Serialize)]
struct JobRow {
    job: &'static str,
    schedule: String,
    time_zone: String,
    scheduled: bool,
    last_status: Option<&'static str>,
    last_started_at: Option<DateTime<Utc>>,
    watermark: Option<DateTime<Utc>>,
}

impl Row for JobRow {
    const HEADINGS: &[&str] = &["job", "schedule", "time zone", "last run", "status", "watermark"];

    fn cells(&self) -> Vec<String> {
        let schedule = if self.scheduled { self.schedule.clone() } else { "by hand only".to_owned() };
        vec![
            self.job.to_owned(),
            schedule,
            self.time_zone.clone(),
            time(self.last_started_at),
            self.last_status.unwrap_or(NOTHING).to_owned(),
            time(self.watermark),
        ]
    }
}

/// A run as it is printed.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct RunRow(JobRun);

impl Row for RunRow {
    const HEADINGS: &[&str] = &[
        "run",
        "job",
        "trigger",
        "attempt",
        "asked for",
        "started",
        "took",
        "status",
        "rows read",
        "read",
        "rows written",
        "written",
        "lag",
        "error",
    ];

    fn cells(&self) -> Vec<String> {
        let run = &self.0;
        // Of a run whose process died, the ledger knows only when that was noticed.
        let by_clock = run.finished_at.map(|finished_at| (finished_at - run.started_at).num_milliseconds());
        let duration_ms = run.duration_ms.or(by_clock.and_then(|ms| u64::try_from(ms).ok()));
        vec![
            run.id.to_string(),
            run.job.clone(),
            run.trigger.as_str().to_owned(),
            run.attempt.to_string(),
            asked_for(run),
            time(Some(run.started_at)),
            duration_ms.map_or_else(dash, span),
            run.status.as_str().to_owned(),
            run.rows_read.map_or_else(dash, count),
            run.bytes_read.map_or_else(dash, bytes),
            run.rows_written.map_or_else(dash, count),
            run.bytes_written.map_or_else(dash, bytes),
            run.lag_ms.map_or_else(dash, span),
            run.error.clone().unwrap_or_default(),
        ]
    }
}

/// What a run was asked for besides what is new, as the command line would spell it.
fn asked_for(run: &JobRun) -> String {
    let request = run.request.as_ref().and_then(|request| RunRequest::deserialize(request).ok()).unwrap_or_default();
    let words = [
        request.full.then(|| "full".to_owned()),
        request.account.map(|account| format!("account={account}")),
        request.from.map(|from| format!("from={from}")),
        request.to.map(|to| format!("to={to}")),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { dash() } else { words.join(" ") }
}

/// Does it.
pub async fn run(command: JobsCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        JobsCommand::Run(args) => run::run(args, context).await,
        JobsCommand::List => {
            let app = context.app().await?;
            let mut rows = Vec::new();
            for job in JOB_NAMES {
                rows.extend(job_row(&app, job).await?);
            }
            context.output.rows(&rows)?;
            Ok(Outcome::Done)
        }
        JobsCommand::History { job, limit } => {
            let job = job.as_deref().map(known).transpose()?;
            let runs = context.app().await?.control.runs(job, limit).await?;
            context.output.rows(&runs.into_iter().map(RunRow).collect::<Vec<_>>())?;
            Ok(Outcome::Done)
        }
    }
}

async fn job_row(app: &App, job: &'static str) -> anyhow::Result<Option<JobRow>> {
    let Some(JobConfig { schedule, time_zone, .. }) = app.config.jobs.job(job).cloned() else { return Ok(None) };
    let last = app.control.runs(Some(job), 1).await?.pop();
    Ok(Some(JobRow {
        job,
        schedule,
        time_zone,
        scheduled: app.config.jobs.enabled,
        last_status: last.as_ref().map(|run| run.status.as_str()),
        last_started_at: last.as_ref().map(|run| run.started_at),
        watermark: app.control.last_success(job).await?.and_then(|run| run.watermark),
    }))
}

/// The job of that name.
fn known(job: &str) -> Result<&'static str, Usage> {
    JOB_NAMES
        .into_iter()
        .find(|name| *name == job)
        .ok_or_else(|| Usage(format!("there is no job `{job}`: the jobs are {}", JOB_NAMES.join(", "))))
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(dash, |at| at.format("%F %T").to_string())
}

fn dash() -> String {
    NOTHING.to_owned()
}
