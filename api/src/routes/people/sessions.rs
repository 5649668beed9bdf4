//! `GET /api/v1/people/{id}/sessions`: a person's sessions.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::people::sessions;
use touchline_pipeline::reports::sessions::{KEY, Params};

use super::find;
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, PersonProblems};
use crate::report::answer;
use crate::report::params::{AllTimeParams, AnswerParams, BotsParam, PageParams, Parameter};
use crate::report::{Asked, ReportRows};

const TAKEN: [Parameter; 5] =
    [Parameter::AllTime, Parameter::Bots, Parameter::Filter, Parameter::Limit, Parameter::Cursor];

/// Lists the sessions of a person
///
/// Needs the scope `can_view_reports`. Sessions of the person, newest first, with the columns of the report `sessions`.
#[utoipa::path(
    get,
    path = "/api/v1/people/{id}/sessions",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(
        ("id" = String, Path, description = "A person id, a user id or a visitor id"),
        AllTimeParams, AnswerParams, BotsParam, PageParams
    ),
    responses(ReportRows, PersonProblems)
)]
pub async fn get_sessions(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let default_limit = state.config.query.default_limit;
    let params = Params {
        range: asked.query.range,
        bots: asked.query.bots,
        filters: asked.query.filters.clone(),
        page: asked.list_page(default_limit),
    };
    let engine = asked.engine(&state, &caller, &sessions::TABLES).await?;
    let compute = async {
        let person = find(&engine, &caller, &id).await?;
        let found = sessions::query(&engine, caller.tenant(), &person, &params).await?;
        answer::list(&asked, found, KEY, default_limit).await
    };
    asked.once(&state, sessions::DEFINITION, compute).await
}
