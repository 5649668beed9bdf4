//! `GET /api/v1/jobs/{job}/history`: past runs of a job.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use touchline_schemas::control::{RunId, Scope};

use super::RunAnswer;
use crate::AppState;
use crate::administration::{CURSOR, LIMIT, Listed, PagingParams, Parameters};
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};
use crate::report::Page;

/// Lists past runs of a job
///
/// Needs the scope `admin`. Newest first. Runs are kept for `jobs.history_days`.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{job}/history",
    tag = "administration",
    security(("key" = ["admin"])),
    params(("job" = String, Path, description = "Name of the job", example = "sessions"), PagingParams),
    responses((status = 200, description = "A page of runs", body = Listed<RunAnswer>), AdminProblems)
)]
pub async fn get_history(
    State(state): State<AppState>,
    caller: Caller,
    Path(job): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    caller.require(Scope::Admin)?;
    let parameters = Parameters::read(&uri, &[LIMIT, CURSOR])?;
    if !state.runner.job_names().contains(&job.as_str()) {
        return Err(ApiError::NotFound);
    }
    let query = &state.config.query;
    let limit = parameters.limit(query.default_limit, query.max_limit)?;
    let asked = u64::try_from(Page::query_limit(limit)).unwrap_or(u64::MAX);
    let runs = state.control.runs_before(&job, parameters.cursor()?.map(RunId), asked).await?;
    Listed::page(runs.into_iter().map(RunAnswer::from).collect(), limit, &uri).answer()
}
