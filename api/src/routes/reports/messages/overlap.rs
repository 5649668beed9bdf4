//! `GET /api/v1/reports/messages/overlap`: people by the set of channels that reached them.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::messages::overlap;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

/// Counts people by the channels that reached them
///
/// Needs the scope `can_view_reports`. People who received messages in the range, each in one row: that of all channels
/// through which they did, in the order of the alphabet, joined by `+`.
#[utoipa::path(
    get,
    path = "/api/v1/reports/messages/overlap",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_overlap(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &[])?;
    let engine = asked.engine(&state, &caller, &overlap::TABLES).await?;
    let compute = async {
        let found = overlap::query(&engine, caller.tenant(), asked.query.range).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, overlap::DEFINITION, compute).await
}
