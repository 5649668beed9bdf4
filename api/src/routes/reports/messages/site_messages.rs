//! `GET /api/v1/reports/messages/site-messages`: site messages as their builder shows them.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::messages::site_messages;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const MESSAGE: &str = "message_id";
const TAKEN: [Parameter; 1] = [Parameter::Own(MESSAGE)];

/// Which messages.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct SiteMessageParams {
    /// This message only. Default: all of them.
    #[param(example = "spring_banner")]
    pub message_id: Option<String>,
}

/// Counts site messages
///
/// Needs the scope `can_view_reports`. Messages and variants delivered in the range, which is of whole days of UTC, with
/// their views and clicks, and the number of each per delivery, to four decimals: 0 if nothing was delivered.
#[utoipa::path(
    get,
    path = "/api/v1/reports/messages/site-messages",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, SiteMessageParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_site_messages(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = site_messages::Params { range: asked.query.range, message_id: asked.query.own(MESSAGE) };
    let engine = asked.engine(&state, &caller, &site_messages::TABLES).await?;
    let compute = async {
        let found = site_messages::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, site_messages::DEFINITION, compute).await
}
