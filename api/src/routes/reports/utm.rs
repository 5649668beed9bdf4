//! `GET /api/v1/reports/utm`: sessions by their campaigns.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::utm;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{
    AnswerParams, BotsParam, FilterParam, LimitParam, Parameter, RangeParams, SORT, SortParam,
};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 5] =
    [Parameter::By, Parameter::Bots, Parameter::Filter, Parameter::Limit, Parameter::Own(SORT)];

/// What sessions are grouped by.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct UtmParams {
    /// Some of `utm_source`, `utm_medium`, `utm_campaign`, `utm_content`, `utm_term`, separated by commas. Default: all.
    #[param(example = "utm_source,utm_medium")]
    pub by: Option<String>,
}

/// Sums sessions up by their campaigns
///
/// Needs the scope `can_view_reports`. Sessions that began in the range by what their campaign says, most first; null
/// stands for what it does not say. Filters take the columns of `sessions`.
#[utoipa::path(
    get,
    path = "/api/v1/reports/utm",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(RangeParams, AnswerParams, UtmParams, BotsParam, FilterParam, SortParam, LimitParam),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_utm(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = utm::Params {
        range: asked.query.range,
        by: asked.query.by.clone(),
        bots: asked.query.bots,
        filters: asked.query.filters.clone(),
        sort: asked.query.own(SORT),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &utm::TABLES).await?;
    let compute = async {
        let found = utm::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, utm::DEFINITION, compute).await
}
