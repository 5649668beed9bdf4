//! `GET /api/v1/reports/realtime`: the last half hour.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::realtime;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, BotsParam, LimitParam, Parameter};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 4] =
    [Parameter::LastMinutes(realtime::MINUTES), Parameter::By, Parameter::Bots, Parameter::Limit];

/// What events are grouped by.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct RealtimeParams {
    /// `minute` (in order), `page` (of page views), `source` (the campaign's, else the referring host) or `event_type`, most
    /// events first. Default: all in one row, with `watermark` and `lag_s`.
    #[param(example = "minute")]
    pub by: Option<String>,
}

/// Counts the last 30 minutes
///
/// Needs the scope `can_view_reports`. Events of the 30 minutes before now by the server's clock, as far as they are in the
/// lake: seconds after they were sent. `lag_s` is the age of the last one that was taken in, in seconds.
#[utoipa::path(
    get,
    path = "/api/v1/reports/realtime",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(AnswerParams, RealtimeParams, BotsParam, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_realtime(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = realtime::Params {
        now: asked.query.range.to.unwrap_or_else(|| state.clock.now()),
        by: asked.query.by.clone(),
        bots: asked.query.bots,
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &realtime::TABLES).await?;
    let compute = async {
        let found = realtime::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, realtime::DEFINITION, compute).await
}
