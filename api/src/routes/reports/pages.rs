//! `GET /api/v1/reports/pages`: what was looked at, and where sessions began and ended.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::pages;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{
    AnswerParams, BotsParam, FilterParam, LimitParam, Parameter, RangeParams, SORT, SortParam,
};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 4] = [Parameter::Bots, Parameter::Filter, Parameter::Limit, Parameter::Own(SORT)];

/// Counts pages
///
/// Needs the scope `can_view_reports`. Paths by views of the range and who looked, most views first; of the sessions that
/// began in the range, how many began and ended there, and how many saw no more. Filters take the columns of the report.
#[utoipa::path(
    get,
    path = "/api/v1/reports/pages",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, BotsParam, FilterParam, SortParam, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_pages(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = pages::Params {
        range: asked.query.range,
        bots: asked.query.bots,
        filters: asked.query.filters.clone(),
        sort: asked.query.own(SORT),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &pages::TABLES).await?;
    let compute = async {
        let found = pages::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, pages::DEFINITION, compute).await
}
