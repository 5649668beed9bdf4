//! `GET /api/v1/people/{id}/events`: what a person did and got.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::people::events;

use super::find;
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, PersonProblems};
use crate::report::answer;
use crate::report::params::{AllTimeParams, AnswerParams, PageParams, Parameter};
use crate::report::{Asked, ReportRows};

const TAKEN: [Parameter; 4] = [Parameter::AllTime, Parameter::Filter, Parameter::Limit, Parameter::Cursor];

/// Lists the events of a person
///
/// Needs the scope `can_view_reports`. The timeline, newest first, messages among it, and what was taken for a bot's too: an
/// event is the person's by its user id, or, without one, by its visitor id while that is the person's.
#[utoipa::path(
    get,
    path = "/api/v1/people/{id}/events",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(("id" = String, Path, description = "A person id, a user id or a visitor id"), AllTimeParams, AnswerParams, PageParams),
    responses(ReportRows, PersonProblems)
)]
pub async fn get_events(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let default_limit = state.config.query.default_limit;
    let params = events::Params {
        range: asked.query.range,
        filters: asked.query.filters.clone(),
        page: asked.list_page(default_limit),
    };
    let engine = asked.engine(&state, &caller, &events::TABLES).await?;
    let compute = async {
        let person = find(&engine, &caller, &id).await?;
        let found = events::query(&engine, caller.tenant(), &person, &params).await?;
        answer::list(&asked, found, events::KEY, default_limit).await
    };
    asked.once(&state, events::DEFINITION, compute).await
}
