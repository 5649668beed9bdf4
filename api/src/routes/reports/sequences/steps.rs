//! `GET /api/v1/reports/sequences/{id}`: the steps of a sequence.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::sequences::steps;
use utoipa::IntoParams;

use super::{CALENDAR, calendar};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};
use crate::routes::reports::without_suffix;

const TAKEN: [Parameter; 2] = [Parameter::By, Parameter::Own(CALENDAR)];

/// What steps are grouped by, and which runs are counted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct StepParams {
    /// Besides the step, some of `day` (UTC), `sequence_version`, `arm`, `channel`, separated by commas. Default: the step
    /// alone.
    #[param(example = "arm,channel")]
    pub by: Option<String>,
    /// `cohort` (default): runs that were entered in the range, and what has become of them by now. `event`: what happened
    /// in the range, day by day; the range is of whole days of UTC.
    #[param(example = "cohort")]
    pub calendar: Option<String>,
}

/// Counts the steps of a sequence
///
/// Needs the scope `can_view_reports`. How many runs reached each step, got through it, wait in it or ended there; in the
/// calendar `cohort` also the shares of that, quartiles of the time to the step and in it (Kaplan–Meier, waiting runs
/// censored), and what became of the step's messages.
#[utoipa::path(
    get,
    path = "/api/v1/reports/sequences/{id}",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(
        ("id" = String, Path, description = "The sequence; `.csv` or `.json` behind it names the format"),
        RangeParams, AnswerParams, StepParams
    ),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_steps(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = steps::Params {
        sequence_id: without_suffix(&id),
        range: asked.query.range,
        by: asked.query.by.clone().unwrap_or_default(),
        calendar: calendar(&asked.query),
    };
    let engine = asked.engine(&state, &caller, &steps::TABLES).await?;
    let compute = async {
        let found = steps::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, steps::DEFINITION, compute).await
}
