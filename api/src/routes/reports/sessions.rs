//! `GET /api/v1/reports/sessions`: sessions, one by one.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::sessions;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, BotsParam, PageParams, Parameter, RangeParams};
use crate::report::{Asked, ReportRows};

const TAKEN: [Parameter; 4] = [Parameter::Bots, Parameter::Filter, Parameter::Limit, Parameter::Cursor];

/// Lists sessions
///
/// Needs the scope `can_view_reports`. Sessions that began in the range, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/reports/sessions",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, BotsParam, PageParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_sessions(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let default_limit = state.config.query.default_limit;
    let params = sessions::Params {
        range: asked.query.range,
        bots: asked.query.bots,
        filters: asked.query.filters.clone(),
        page: asked.list_page(default_limit),
    };
    let engine = asked.engine(&state, &caller, &sessions::TABLES).await?;
    let compute = async {
        let found = sessions::query(&engine, caller.tenant(), &params).await?;
        answer::list(&asked, found, sessions::KEY, default_limit).await
    };
    asked.once(&state, sessions::DEFINITION, compute).await
}
