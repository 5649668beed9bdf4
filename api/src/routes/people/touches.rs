//! `GET /api/v1/people/{id}/touches`: what led to a person's conversions.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::people::touches;
use utoipa::IntoParams;

use super::find;
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, PersonProblems};
use crate::report::answer;
use crate::report::params::{AllTimeParams, AnswerParams, LimitParam, Parameter};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 3] = [Parameter::AllTime, Parameter::Model, Parameter::Limit];

/// How credit is given.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct TouchParams {
    /// `first`, `last`, `last_non_direct` (default), `linear`, `position` or `time_decay`.
    #[param(example = "linear")]
    pub model: Option<String>,
}

/// Lists what led to the conversions of a person
///
/// Needs the scope `can_view_reports`. Touches of each conversion in order, newest conversion first, with the credit and value
/// that the model gives them (null: none); a conversion without touches has one row, without a session.
#[utoipa::path(
    get,
    path = "/api/v1/people/{id}/touches",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(
        ("id" = String, Path, description = "A person id, a user id or a visitor id"),
        AllTimeParams, AnswerParams, TouchParams, LimitParam
    ),
    responses(ReportRows, PersonProblems)
)]
pub async fn get_touches(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = touches::Params {
        range: asked.query.range,
        model: asked.query.model.clone().unwrap_or_else(|| touches::DEFAULT_MODEL.to_owned()),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &touches::TABLES).await?;
    let compute = async {
        let person = find(&engine, &caller, &id).await?;
        let found = touches::query(&engine, caller.tenant(), &person, &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, touches::DEFINITION, compute).await
}
