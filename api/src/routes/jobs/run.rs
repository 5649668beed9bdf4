//! `POST /api/v1/jobs/{job}/run`: a run of a job, now.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value;
use touchline_jobs::{RunError, RunRequest};
use touchline_schemas::AccountId;
use touchline_schemas::control::{Scope, Trigger};
use utoipa::ToSchema;

use crate::AppState;
use crate::administration::{Fields, Parameters};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, ApiError};

/// What a run shall compute anew, besides everything that is new.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct RunJobRequest {
    /// Everything. Default false.
    pub full: Option<bool>,
    /// The rows of this account.
    pub account_id: Option<uuid::Uuid>,
    /// Rows of this day and later ones.
    pub from: Option<NaiveDate>,
    /// Rows of days before this one.
    pub to: Option<NaiveDate>,
}

/// A run that was started.
#[derive(Debug, Serialize, ToSchema)]
pub struct StartedRun {
    /// The job.
    #[schema(example = "sessions")]
    pub job: String,
    /// The number of the run: its history says what becomes of it.
    pub run_id: i64,
}

/// Runs a job now
///
/// Needs the scope `admin`. The run goes on in the process that answers; nobody waits for it. 409 `already_running` while
/// the job runs, in whichever process.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{job}/run",
    tag = "administration",
    security(("key" = ["admin"])),
    params(("job" = String, Path, description = "Name of the job", example = "sessions")),
    request_body = Option<RunJobRequest>,
    responses((status = 202, description = "The run has begun", body = StartedRun), AdminChangeProblems)
)]
pub async fn post_run(
    State(state): State<AppState>,
    caller: Caller,
    Path(job): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(Scope::Admin)?;
    Parameters::read(request.uri(), &[])?;
    if !state.runner.job_names().contains(&job.as_str()) {
        return Err(ApiError::NotFound);
    }
    let asked = read(&state, request).await?;
    let run_id = state.runner.start(&job, asked, Trigger::Manual).await.map_err(refusal)?;
    Ok((StatusCode::ACCEPTED, Json(StartedRun { job, run_id: run_id.0 })).into_response())
}

async fn read(state: &AppState, request: Request) -> Result<RunRequest, ApiError> {
    const DAY: &str = "a day, as in 2026-01-31";
    let mut fields = Fields::read(state, "run", request).await?;
    let full = fields.optional("full", "true or false", Value::as_bool).unwrap_or(false);
    let account: Option<AccountId> =
        fields.optional("account_id", "the id of an account", |value| value.as_str()?.parse().ok());
    let from: Option<NaiveDate> = fields.optional("from", DAY, |value| value.as_str()?.parse().ok());
    let to: Option<NaiveDate> = fields.optional("to", DAY, |value| value.as_str()?.parse().ok());
    if let (Some(from), Some(to)) = (from, to)
        && to <= from
    {
        fields.refuse("to", "invalid_value", "`to` must be a later day than `from`".to_owned());
    }
    if let Some(account) = account
        && state.control.account(account).await?.is_none()
    {
        fields.refuse("account_id", "invalid_value", "there is no such account".to_owned());
    }
    fields.finish()?;
    Ok(RunRequest::of(full, account, from, to))
}

fn refusal(error: RunError) -> ApiError {
    match error {
        RunError::UnknownJob { .. } => ApiError::NotFound,
        RunError::AlreadyRunning { .. } => {
            ApiError::Conflict { code: "already_running", detail: "the job is running already" }
        }
        RunError::ShuttingDown { .. } => ApiError::Unavailable("the process is shutting down"),
        RunError::Control(source) => ApiError::Control(source),
        RunError::TimedOut { .. }
        | RunError::LeaseLost { .. }
        | RunError::Panicked { .. }
        | RunError::Failed { .. } => ApiError::Internal("a run that did not begin has failed"),
    }
}
