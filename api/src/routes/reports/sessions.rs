//! `GET /api/v1/reports/sessions`: sessions, one by one.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::sessions;
use touchline_schemas::tables::sessions as column;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{BotsParam, CommonParams, PageParams, Parameter};
use crate::report::{Asked, Meta, Page, ReportQuery, ReportRows};

const TAKEN: [Parameter; 4] = [Parameter::Bots, Parameter::Filter, Parameter::Limit, Parameter::Cursor];

/// Lists sessions
///
/// Needs the scope `can_view_reports`. Sessions that began in the range, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/reports/sessions",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(CommonParams, BotsParam, PageParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_sessions(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let limit = asked.page_limit(state.config.query.default_limit);
    let params = params(&asked.query, limit);
    let engine = asked.engine(&state, &caller, &sessions::TABLES).await?;
    if let Some(unchanged) = asked.unchanged(sessions::DEFINITION) {
        return Ok(unchanged);
    }
    let found = sessions::query(&engine, caller.tenant(), &params).await?;
    let meta = Meta::of(&found.meta, &asked.query);
    match limit {
        None => answer::all(&asked, &found.schema, found.batches, &meta).await,
        Some(limit) => {
            let page = Page::collect(found.batches, limit, [column::STARTED_AT, column::SESSION_ID]).await?;
            answer::page(&asked, &found.schema, page, &meta)
        }
    }
}

fn params(query: &ReportQuery, limit: Option<usize>) -> sessions::Params {
    sessions::Params {
        range: query.range,
        bots: query.bots,
        filters: query.filters.clone(),
        after: query.after.clone().map(|cursor| (cursor.at, cursor.id)),
        limit: limit.map(Page::query_limit),
    }
}
