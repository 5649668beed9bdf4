//! `GET /api/v1/reports/messages`: what became of messages, by what they are and when.

pub mod frequency;
pub mod overlap;
pub mod reasons;
pub mod site_messages;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::messages;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, LimitParam, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const CALENDAR: &str = "calendar";
const TAKEN: [Parameter; 4] = [Parameter::By, Parameter::Limit, Parameter::Filter, Parameter::Own(CALENDAR)];
/// What messages are grouped by when the request does not say.
const DEFAULT_BY: &str = "message_id,variant";

/// What messages are grouped by, and which are counted.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct MessageParams {
    /// Some of `day` (UTC), `system`, `message_id`, `variant`, `channel`, separated by commas. Default:
    /// `message_id,variant`.
    #[param(example = "channel,day")]
    pub by: Option<String>,
    /// `cohort` (default): all that became of an attempt counts on the day of the attempt. `event`: each thing counts on
    /// its own day.
    #[param(example = "event")]
    pub calendar: Option<String>,
    /// `filter[column]=value`: only messages with this value; `system`, `message_id`, `variant` or `channel`.
    #[param(rename = "filter[column]", example = "email")]
    pub filter: Option<String>,
}

/// Sums messages up
///
/// Needs the scope `can_view_reports`. Attempts of the range, what became of them, goals reached after them, and rates;
/// the range is of whole days of UTC. Rows in which counts do not add up name the checks that they fail in
/// `failed_checks`.
#[utoipa::path(
    get,
    path = "/api/v1/reports/messages",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, MessageParams, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_messages(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let engine = asked.engine(&state, &caller, &messages::TABLES).await?;
    let compute = async {
        let found = messages::query(&engine, caller.tenant(), &params(&asked)).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, messages::DEFINITION, compute).await
}

fn params(asked: &Asked) -> messages::Params {
    messages::Params {
        range: asked.query.range,
        by: asked.query.by.clone().unwrap_or_else(|| DEFAULT_BY.to_owned()),
        calendar: asked.query.own(CALENDAR).unwrap_or_else(|| messages::CALENDARS[0].to_owned()),
        filters: asked.query.filters.clone(),
        limit: asked.query.limit,
    }
}
