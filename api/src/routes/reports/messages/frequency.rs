//! `GET /api/v1/reports/messages/frequency`: how many messages people received in a week and in four weeks.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::messages::frequency;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportQuery, ReportRows};

/// Counts messages per person
///
/// Needs the scope `can_view_reports`. Of the 7 and of the 28 days before `to` (by default, before the time up to which the
/// table is complete; `from` is not looked at): people who received a message, messages per person, and how many people
/// received how many.
#[utoipa::path(
    get,
    path = "/api/v1/reports/messages/frequency",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_frequency(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &[Parameter::AllTime])?;
    let params = frequency::Params { to: asked.query.range.to };
    let engine = asked.engine(&state, &caller, &frequency::TABLES).await?;
    let compute = async {
        let found = frequency::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.answer.meta, &ReportQuery { range: found.range, ..asked.query.clone() });
        answer::all(&asked, &found.answer.schema, found.answer.batches, &meta).await
    };
    asked.once(&state, frequency::DEFINITION, compute).await
}
