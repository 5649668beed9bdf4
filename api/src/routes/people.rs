//! `GET /api/v1/people/{id}`: one person.

pub mod events;
pub mod ids;
pub mod sessions;
pub mod touches;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::QueryEngine;
use touchline_pipeline::reports::people::{self, Person};

use super::reports::without_suffix;
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, PersonProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 1] = [Parameter::NoRange];

/// Shows a person
///
/// Needs the scope `can_view_reports`. One row: ids, first and last touch, and totals over all sessions, as in the report
/// `visitors`. Who has events and no sessions (only messages, say) has the id alone.
#[utoipa::path(
    get,
    path = "/api/v1/people/{id}",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(
        ("id" = String, Path, description = "A person id (`u:…`, `v:…`), a user id or a visitor id, in this order; a format's suffix behind it names the format"),
        AnswerParams
    ),
    responses(ReportRows, PersonProblems)
)]
pub async fn get_person(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let engine = asked.engine(&state, &caller, &people::TABLES).await?;
    let compute = async {
        let person = find(&engine, &caller, &without_suffix(&id)).await?;
        let found = people::query(&engine, caller.tenant(), &person).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, people::DEFINITION, compute).await
}

/// The person whose id it is. An id that nobody has and one of another account are one and the same.
async fn find(engine: &QueryEngine, caller: &Caller, id: &str) -> Result<Person, ApiError> {
    people::find(engine, caller.tenant(), id).await?.ok_or(ApiError::NotFound)
}
