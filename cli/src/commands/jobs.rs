//! `touchline jobs`: run, list, history.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use touchline_schemas::config::JobConfig;
use touchline_schemas::control::{JobRun, RunStatus};

use super::{Context, Outcome, Usage};
use crate::app::{App, JOB_NAMES};
use crate::output::{NOTHING, Row, count};

/// The word for all jobs.
const ALL: &str = "all";

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Runs a job now, or all of them in the order in which they need each other.
    Run {
        /// The job's name, or `all`.
        job: String,
        /// Recomputes everything instead of what is new.
        #[arg(long)]
        full: bool,
    },
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
    const HEADINGS: &[&str] =
        &["run", "job", "trigger", "started", "seconds", "status", "rows read", "rows written", "error"];

    fn cells(&self) -> Vec<String> {
        let run = &self.0;
        let duration_ms = run.finished_at.map(|finished_at| (finished_at - run.started_at).num_milliseconds());
        let seconds = duration_ms.map_or_else(dash, |ms| format!("{}.{}", ms / 1_000, ms % 1_000 / 100));
        vec![
            run.id.to_string(),
            run.job.clone(),
            run.trigger.as_str().to_owned(),
            time(Some(run.started_at)),
            seconds,
            run.status.as_str().to_owned(),
            run.rows_read.map_or_else(dash, count),
            run.rows_written.map_or_else(dash, count),
            run.error.clone().unwrap_or_default(),
        ]
    }
}

/// Does it.
pub async fn run(command: JobsCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        JobsCommand::Run { job, full } => run_now(context, &job, full).await,
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

async fn run_now(context: &Context, job: &str, full: bool) -> anyhow::Result<Outcome> {
    let jobs = if job == ALL { JOB_NAMES.to_vec() } else { vec![known(job)?] };
    let app = context.app().await?;
    let mut runs = Vec::new();
    for job in jobs {
        let run = app.run_job(job, full).await?;
        let failed = run.status != RunStatus::Succeeded;
        runs.push(RunRow(run));
        // What comes next reads what this one should have written.
        if failed {
            break;
        }
    }
    let succeeded = runs.iter().all(|run| run.0.status == RunStatus::Succeeded);
    context.output.rows(&runs)?;
    Ok(if succeeded { Outcome::Done } else { Outcome::Failed })
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
