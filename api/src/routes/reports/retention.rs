//! `GET /api/v1/reports/retention`: how many of those who came first in a period came again.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::retention;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams, TIME_ZONE, TimeZoneParam};
use crate::report::{Asked, Meta, ReportRows};

const INTERVAL: &str = "interval";
const TAKEN: [Parameter; 2] = [Parameter::Own(INTERVAL), Parameter::Own(TIME_ZONE)];

/// How time is cut.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct RetentionParams {
    /// `day`, `week` (default; Monday to Sunday) or `month`.
    #[param(example = "week")]
    pub interval: Option<String>,
}

/// Counts visitors who came again
///
/// Needs the scope `can_view_reports`. Visitors whose first session began in the range, by the period in which it did,
/// and how many of them had sessions in that period and each later one up to `to`.
#[utoipa::path(
    get,
    path = "/api/v1/reports/retention",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, RetentionParams, TimeZoneParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_retention(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = retention::Params {
        range: asked.query.range,
        interval: asked.query.own(INTERVAL).unwrap_or_else(|| retention::DEFAULT_INTERVAL.to_owned()),
        time_zone: asked.query.time_zone(&caller.key().settings),
    };
    let engine = asked.engine(&state, &caller, &retention::TABLES).await?;
    let compute = async {
        let found = retention::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, retention::DEFINITION, compute).await
}
