//! `GET /api/v1/reports/messages/reasons`: why messages were held back, failed, were closed and so on.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::messages::reasons;

use super::{MessageParams, TAKEN, params};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, LimitParam, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

/// Counts the reasons that were given
///
/// Needs the scope `can_view_reports`. Of the outcomes of messages that have reasons (`suppressed`, `failures`,
/// `dismissals`, `bounces`, `unsubscribes`, `complaints`, `submissions`): which reason was given how often.
#[utoipa::path(
    get,
    path = "/api/v1/reports/messages/reasons",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, MessageParams, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_reasons(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let engine = asked.engine(&state, &caller, &reasons::TABLES).await?;
    let compute = async {
        let found = reasons::query(&engine, caller.tenant(), &params(&asked)).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, reasons::DEFINITION, compute).await
}
