//! `GET /api/v1/reports/funnel`: how many visitors do one thing after the other.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::funnel;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{AnswerParams, Parameter, RangeParams};
use crate::report::{Asked, Meta, ReportRows};

const STEPS: &str = "steps";
const WINDOW: &str = "window";
const TAKEN: [Parameter; 3] = [Parameter::Own(STEPS), Parameter::Own(WINDOW), Parameter::By];

/// The funnel.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct FunnelParams {
    /// Up to 20 steps, separated by commas. A step is an event type, alone or with a path: `page_view:/cart`, or
    /// `page_view:/blog/*` for all paths that begin like this.
    #[param(example = "page_view:/cart,add_to_cart,purchase")]
    pub steps: String,
    /// The longest time from the first to the last step: a whole number and `s`, `m`, `h` or `d`. Default `7d`.
    #[param(example = "24h")]
    pub window: Option<String>,
    /// Whose steps belong together: `visitor` (default).
    #[param(example = "visitor")]
    pub by: Option<String>,
}

/// Counts visitors who do one thing after the other
///
/// Needs the scope `can_view_reports`. Visitors whose first step is in the range, by how far they came within the
/// window; shares of the first and of the previous step; median and 90th percentile of the seconds since the previous
/// step.
#[utoipa::path(
    get,
    path = "/api/v1/reports/funnel",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, FunnelParams),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_funnel(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = funnel::Params {
        range: asked.query.range,
        steps: asked.query.own(STEPS).unwrap_or_default(),
        window: asked.query.own(WINDOW).unwrap_or_else(|| funnel::DEFAULT_WINDOW.to_owned()),
        by: asked.query.by.clone(),
    };
    let engine = asked.engine(&state, &caller, &funnel::TABLES).await?;
    let compute = async {
        let found = funnel::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, funnel::DEFINITION, compute).await
}
