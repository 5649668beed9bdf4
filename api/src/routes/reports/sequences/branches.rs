//! `GET /api/v1/reports/sequences/{id}/branches`: what the ways out of branching steps are worth.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::sequences::branches;

use super::{ALPHA, GOAL, GoalParams, VERSION, WINDOW_DAYS, alpha, version, window_days};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 5] = [
    Parameter::AllTime,
    Parameter::Own(GOAL),
    Parameter::Own(WINDOW_DAYS),
    Parameter::Own(ALPHA),
    Parameter::Own(VERSION),
];

/// Weighs the ways out of branching steps
///
/// Needs the scope `can_view_reports`. The choices of runs entered in the range (without `from`, of all), and of each way: how many of those sent
/// that way reached the goal within the window after the choice, how probably it is the best, with which probability
/// Thompson sampling would choose it next, and what sending everybody that way would have brought, from the probabilities
/// that were logged. That last answer is refused where it would rest on too few choices.
#[utoipa::path(
    get,
    path = "/api/v1/reports/sequences/{id}/branches",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(("id" = String, Path, description = "The sequence"), RangeParams, AnswerParams, GoalParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_branches(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = branches::Params {
        sequence_id: id,
        range: asked.query.range,
        goals: caller.key().settings.goals.clone(),
        goal: asked.query.own(GOAL),
        window_days: window_days(&asked.query)?,
        sequence_version: version(&asked.query)?,
        alpha: alpha(&asked.query)?,
    };
    let engine = asked.engine(&state, &caller, &branches::TABLES).await?;
    let compute = async {
        let found = branches::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, branches::DEFINITION, compute).await
}
