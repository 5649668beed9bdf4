//! `GET /api/v1/rejected/reasons`: why events were refused.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::rejected::{DEFINITION, TABLES, reasons};

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

/// Counts refused events by reason
///
/// Needs the scope `can_view_reports`. Events that arrived in the range and were refused, by their first reason (`code`)
/// and endpoint (`source`), most first.
#[utoipa::path(
    get,
    path = "/api/v1/rejected/reasons",
    tag = "administration",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_rejected_reasons(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &[])?;
    let engine = asked.engine(&state, &caller, &TABLES).await?;
    let compute = async {
        let found = reasons::query(&engine, caller.tenant(), asked.query.range).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, DEFINITION, compute).await
}
