//! `GET /api/v1/reports/attribution`: conversions and their value, by what led to them.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::attribution;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, LimitParam, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 6] = [
    Parameter::By,
    Parameter::Limit,
    Parameter::Model,
    Parameter::Order,
    Parameter::EventType,
    Parameter::LookbackDays,
];
/// What touches are grouped by when the request does not say.
const DEFAULT_BY: &str = "channel";
/// The model when the request does not say.
const DEFAULT_MODEL: &str = "last_non_direct";

/// How credit is given, and by what it is summed up.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct AttributionParams {
    /// `first`, `last`, `last_non_direct` (default), `linear`, `position`, `time_decay`, `participation`, `markov` or
    /// `shapley`.
    #[param(example = "linear")]
    pub model: Option<String>,
    /// Touches that a state of the model `markov` remembers: 1 (default), 2 or 3.
    #[param(example = 1, minimum = 1, maximum = 3)]
    pub order: Option<u8>,
    /// `channel` (default), `utm_source`, `utm_medium`, `utm_campaign`, `utm_content`, `utm_term`, `referrer_host` or
    /// `landing_page` of the touch.
    #[param(example = "utm_campaign")]
    pub by: Option<String>,
    /// Conversions of this event type only.
    #[param(example = "purchase")]
    pub event_type: Option<String>,
    /// Days before a conversion in which sessions are touches, 1 to 365. Default: the account's look-back, beyond which
    /// there are none.
    #[param(example = 7, minimum = 1, maximum = 365)]
    pub lookback_days: Option<u16>,
}

/// Shares conversions out among what led to them
///
/// Needs the scope `can_view_reports`. Conversions in the range and their value, by one column of the sessions that led
/// to them, most first. Except for the model `participation` the rows sum to all conversions and to their value.
#[utoipa::path(
    get,
    path = "/api/v1/reports/attribution",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, AttributionParams, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_attribution(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = attribution::Params {
        range: asked.query.range,
        model: asked.query.model.clone().unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
        order: asked.query.order,
        by: asked.query.by.clone().unwrap_or_else(|| DEFAULT_BY.to_owned()),
        event_type: asked.query.event_type.clone(),
        lookback_days: asked.query.lookback_days,
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &[attribution::table(&params)?]).await?;
    let compute = async {
        let found = attribution::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, attribution::DEFINITION, compute).await
}
