//! `GET /api/v1/jobs`: how the jobs are doing.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use touchline_jobs::JobState;
use touchline_schemas::config::JobsConfig;
use touchline_schemas::control::{JobRun, RunStatus, Scope, Trigger};
use utoipa::ToSchema;

use crate::AppState;
use crate::administration::{Listed, Numbered, Parameters};
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};
use crate::report::params::instant_text;

pub mod history;
pub mod run;

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobAnswer {
    /// Its name.
    #[schema(example = "sessions")]
    pub job: &'static str,
    /// Its cron expression, with seconds; or `never`.
    #[schema(example = "0 */5 * * * *")]
    pub schedule: String,
    /// IANA name of the time zone of its schedule.
    #[schema(example = "UTC")]
    pub time_zone: String,
    /// The next time of its schedule; null if it has none, or if this process runs no jobs by schedule.
    pub next_run_at: Option<String>,
    /// `well`; `late`, if no run has succeeded in time; `failed`, if it has failed as often as makes an alert.
    #[schema(value_type = String, example = "well")]
    pub health: &'static str,
    /// Failed runs since the last that succeeded.
    pub failures_in_a_row: u64,
    /// Everything received before this time is in what it wrote.
    pub watermark: Option<String>,
    /// Its newest run.
    pub last_run: Option<RunAnswer>,
}

impl JobAnswer {
    fn of(state: JobState, config: &JobsConfig) -> Self {
        let JobState { job, health, condition, next_run_at } = state;
        let section = config.job(job);
        let watermark = health.last_success.as_ref().and_then(|run| run.watermark);
        let last_run = health.runs_since.into_iter().next().or(health.last_success);
        Self {
            job,
            schedule: section.map(|section| section.schedule.clone()).unwrap_or_default(),
            time_zone: section.map(|section| section.time_zone.clone()).unwrap_or_default(),
            next_run_at: next_run_at.map(instant_text),
            health: condition.as_str(),
            failures_in_a_row: health.failures_in_a_row,
            watermark: watermark.map(instant_text),
            last_run: last_run.map(RunAnswer::from),
        }
    }
}

/// A run of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunAnswer {
    /// Its number; later runs have greater ones.
    pub run_id: i64,
    /// The job's name.
    pub job: String,
    /// Why it was started: `schedule`, `catch_up` or `manual`.
    #[schema(value_type = String, example = "schedule")]
    pub trigger: Trigger,
    /// `running`, `succeeded`, `failed`, or `abandoned`: its process died.
    #[schema(value_type = String, example = "succeeded")]
    pub status: RunStatus,
    /// Which attempt at its time in the schedule it is, counted from 1.
    pub attempt: u16,
    /// What it was asked to do, if anything besides what is new.
    #[schema(value_type = Option<Object>)]
    pub request: Option<Value>,
    /// The time in the schedule that it stands for; null if somebody asked for it.
    pub scheduled_for: Option<String>,
    /// When it was started.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub started_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
    /// Milliseconds that it took.
    pub duration_ms: Option<u64>,
    /// Rows read.
    pub rows_read: Option<u64>,
    /// Rows written.
    pub rows_written: Option<u64>,
    /// Bytes of files read.
    pub bytes_read: Option<u64>,
    /// Bytes of files written.
    pub bytes_written: Option<u64>,
    /// Everything received before this time is in what it wrote.
    pub watermark: Option<String>,
    /// Milliseconds from the watermark to its end.
    pub lag_ms: Option<u64>,
    /// What it said when it failed.
    pub error: Option<String>,
}

impl From<JobRun> for RunAnswer {
    fn from(run: JobRun) -> Self {
        Self {
            run_id: run.id.0,
            job: run.job,
            trigger: run.trigger,
            status: run.status,
            attempt: run.attempt,
            request: run.request,
            scheduled_for: run.scheduled_for.map(instant_text),
            started_at: instant_text(run.started_at),
            finished_at: run.finished_at.map(instant_text),
            duration_ms: run.duration_ms,
            rows_read: run.rows_read,
            rows_written: run.rows_written,
            bytes_read: run.bytes_read,
            bytes_written: run.bytes_written,
            watermark: run.watermark.map(instant_text),
            lag_ms: run.lag_ms,
            error: run.error,
        }
    }
}

impl Numbered for RunAnswer {
    fn number(&self) -> i64 {
        self.run_id
    }
}

/// Lists the jobs: schedule, last run, next run, health
///
/// Needs the scope `admin`: jobs work for all accounts at once. In the order in which they need each other.
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "administration",
    security(("key" = ["admin"])),
    responses((status = 200, description = "The jobs", body = Listed<JobAnswer>), AdminProblems)
)]
pub async fn get_jobs(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::Admin)?;
    Parameters::read(&uri, &[])?;
    let states = state.runner.states(&state.config.alerts).await?;
    Listed::all(states.into_iter().map(|job| JobAnswer::of(job, &state.config.jobs)).collect()).answer()
}
