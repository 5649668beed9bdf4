//! `GET /api/v1/reports/overview`: what a range came to.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::overview;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{
    AnswerParams, BotsParam, COMPARE, CompareParam, INTERVAL, IntervalParam, Parameter, RangeParams, TIME_ZONE,
    TimeZoneParam,
};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 4] =
    [Parameter::Bots, Parameter::Own(TIME_ZONE), Parameter::Own(COMPARE), Parameter::Own(INTERVAL)];

/// Sums a range up
///
/// Needs the scope `can_view_reports`. One row: sessions that began in the range, who made them, what happened in them, and
/// what that is for each session.
#[utoipa::path(
    get,
    path = "/api/v1/reports/overview",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, IntervalParam, TimeZoneParam, CompareParam, BotsParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_overview(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = overview::Params {
        range: asked.query.range,
        interval: asked.query.own(INTERVAL),
        bots: asked.query.bots,
        time_zone: asked.query.time_zone(&caller.key().settings),
        compare: asked.query.compare()?,
    };
    let engine = asked.engine(&state, &caller, &overview::TABLES).await?;
    let compute = async {
        let found = overview::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, overview::DEFINITION, compute).await
}
