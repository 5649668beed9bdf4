//! `GET /api/v1/rejected`: refused events, one by one.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::rejected;
use touchline_schemas::tables::rejected_events as column;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{CommonParams, PageParams, Parameter};
use crate::report::{Asked, Meta, Page, ReportRows};

pub mod reasons;

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
    params(CommonParams, PageParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_rejected(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let limit = asked.page_limit(state.config.query.default_limit);
    let params = rejected::Params {
        range: asked.query.range,
        filters: asked.query.filters.clone(),
        after: asked.query.after.clone().map(|cursor| (cursor.at, cursor.id)),
        limit: limit.map(Page::query_limit),
    };
    let engine = asked.engine(&state, &caller, &rejected::TABLES).await?;
    if let Some(unchanged) = asked.unchanged(rejected::DEFINITION) {
        return Ok(unchanged);
    }
    let found = rejected::query(&engine, caller.tenant(), &params).await?;
    let meta = Meta::of(&found.meta, &asked.query);
    match limit {
        None => answer::all(&asked, &found.schema, found.batches, &meta).await,
        Some(limit) => {
            let page = Page::collect(found.batches, limit, [column::RECEIVED_AT, column::REJECTED_ID]).await?;
            answer::page(&asked, &found.schema, page, &meta)
        }
    }
}
