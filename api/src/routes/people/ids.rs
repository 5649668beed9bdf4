//! `GET /api/v1/people/{id}/ids`: by which ids a person is known.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::people::ids;

use super::find;
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, PersonProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 1] = [Parameter::NoRange];

/// Lists the ids of a person
///
/// Needs the scope `can_view_reports`. User ids, then visitor ids. A visitor id that several people share has a row for
/// each span of time in which it is this person's.
#[utoipa::path(
    get,
    path = "/api/v1/people/{id}/ids",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(("id" = String, Path, description = "A person id, a user id or a visitor id"), AnswerParams),
    responses(ReportRows, PersonProblems)
)]
pub async fn get_ids(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let engine = asked.engine(&state, &caller, &ids::TABLES).await?;
    let compute = async {
        let person = find(&engine, &caller, &id).await?;
        let found = ids::query(&engine, caller.tenant(), &person).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, ids::DEFINITION, compute).await
}
