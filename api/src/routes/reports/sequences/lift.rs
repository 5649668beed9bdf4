//! `GET /api/v1/reports/sequences/{id}/lift`: what a sequence changed.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::sequences::lift;
use utoipa::IntoParams;

use super::{ALPHA, GOAL, GoalParams, VERSION, WINDOW_DAYS, alpha, version, window_days};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const CONTROL: &str = "control";
const TAKEN: [Parameter; 6] = [
    Parameter::AllTime,
    Parameter::Own(GOAL),
    Parameter::Own(WINDOW_DAYS),
    Parameter::Own(ALPHA),
    Parameter::Own(CONTROL),
    Parameter::Own(VERSION),
];

/// Which arms are compared.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct LiftParams {
    /// The arm that others are compared with. Default: `control`, or else `holdout`.
    #[param(example = "holdout")]
    pub control: Option<String>,
}

/// Compares the arms of a sequence
///
/// Needs the scope `can_view_reports`. People who entered in the range, in the arm of their first entry, whatever became
/// of their run; and of each goal the share of people who reached it within the window after that, and its value per
/// person. Without `from`, everybody who ever entered. The verdict is always valid: it may be looked at every day, as long
/// as `from` stays the same. It is withheld when people did not come to the arms
/// in the shares that were drawn with.
#[utoipa::path(
    get,
    path = "/api/v1/reports/sequences/{id}/lift",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(("id" = String, Path, description = "The sequence"), RangeParams, AnswerParams, GoalParams, LiftParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_lift(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = lift::Params {
        sequence_id: id,
        range: asked.query.range,
        goals: caller.key().settings.goals.clone(),
        goal: asked.query.own(GOAL),
        window_days: window_days(&asked.query)?,
        sequence_version: version(&asked.query)?,
        control: asked.query.own(CONTROL),
        alpha: alpha(&asked.query)?,
    };
    let engine = asked.engine(&state, &caller, &lift::TABLES).await?;
    let compute = async {
        let found = lift::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, lift::DEFINITION, compute).await
}
