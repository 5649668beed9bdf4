//! `GET /api/v1/reports/first-touch`: visitors by where they first came from.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::first_touch;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, LimitParam, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 2] = [Parameter::By, Parameter::Limit];
/// What visitors are grouped by when the request does not say.
const DEFAULT_BY: &str = "channel";

/// What visitors are grouped by.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct FirstTouchParams {
    /// `channel` (default), `utm_source`, `utm_medium`, `utm_campaign`, `utm_content`,
    /// `utm_term`, `referrer` or `landing_page` of the first touch.
    #[param(example = "utm_source")]
    pub by: Option<String>,
}

/// Counts visitors by their first touch
///
/// Needs the scope `can_view_reports`. Visitors who were first seen in the range, most
/// first, with their sessions and page views.
#[utoipa::path(
    get,
    path = "/api/v1/reports/first-touch",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, FirstTouchParams, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_first_touch(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = first_touch::Params {
        range: asked.query.range,
        by: asked.query.by.clone().unwrap_or_else(|| DEFAULT_BY.to_owned()),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &first_touch::TABLES).await?;
    let compute = async {
        let found = first_touch::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, first_touch::DEFINITION, compute).await
}
