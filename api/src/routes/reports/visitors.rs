//! `GET /api/v1/reports/visitors`: people, one by one.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::visitors;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, PageParams, Parameter, RangeParams};
use crate::report::{Asked, ReportRows};

const TAKEN: [Parameter; 3] = [Parameter::Filter, Parameter::Limit, Parameter::Cursor];

/// Lists people
///
/// Needs the scope `can_view_reports`. People whose first session began in the range, newest first: first and last touch,
/// and totals over all their sessions.
#[utoipa::path(
    get,
    path = "/api/v1/reports/visitors",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, PageParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_visitors(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let default_limit = state.config.query.default_limit;
    let params = visitors::Params {
        range: asked.query.range,
        filters: asked.query.filters.clone(),
        page: asked.list_page(default_limit),
    };
    let engine = asked.engine(&state, &caller, &visitors::TABLES).await?;
    let compute = async {
        let found = visitors::query(&engine, caller.tenant(), &params).await?;
        answer::list(&asked, found, visitors::KEY, default_limit).await
    };
    asked.once(&state, visitors::DEFINITION, compute).await
}
