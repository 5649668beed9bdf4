//! `GET /api/v1/reports/events`: what happened, by type.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::events;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{
    AnswerParams, BotsParam, FilterParam, LimitParam, Parameter, RangeParams, SORT, SortParam,
};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 4] = [Parameter::Bots, Parameter::Filter, Parameter::Limit, Parameter::Own(SORT)];

/// Counts events by type
///
/// Needs the scope `can_view_reports`. Types of events of the range, those of messages too, most first: how many, whose,
/// and when the last was. Filters take columns of `events`.
#[utoipa::path(
    get,
    path = "/api/v1/reports/events",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, BotsParam, FilterParam, SortParam, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_events(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = events::Params {
        range: asked.query.range,
        bots: asked.query.bots,
        filters: asked.query.filters.clone(),
        sort: asked.query.own(SORT),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &events::TABLES).await?;
    let compute = async {
        let found = events::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, events::DEFINITION, compute).await
}
