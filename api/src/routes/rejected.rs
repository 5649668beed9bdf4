//! `GET /api/v1/rejected`: refused events, one by one.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::rejected;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, PageParams, Parameter, RangeParams};
use crate::report::{Asked, ReportRows};

pub mod event;
pub mod reasons;
pub mod replay;

const TAKEN: [Parameter; 3] = [Parameter::Filter, Parameter::Limit, Parameter::Cursor];

/// Lists refused events
///
/// Needs the scope `can_view_reports`. Events that arrived in the range and were refused, newest first, each with its
/// reasons and its bytes as they came. `filter[…]` takes `rejected_id`, `event_id`, `event_type`, `code` and `source`.
#[utoipa::path(
    get,
    path = "/api/v1/rejected",
    tag = "administration",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, PageParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_rejected(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let default_limit = state.config.query.default_limit;
    let params = rejected::Params {
        range: asked.query.range,
        filters: asked.query.filters.clone(),
        page: asked.list_page(default_limit),
    };
    let engine = asked.engine(&state, &caller, &rejected::TABLES).await?;
    let compute = async {
        let found = rejected::query(&engine, caller.tenant(), &params).await?;
        answer::list(&asked, found, rejected::KEY, default_limit).await
    };
    asked.once(&state, rejected::DEFINITION, compute).await
}
