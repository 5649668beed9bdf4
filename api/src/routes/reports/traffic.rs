//! `GET /api/v1/reports/traffic`: sessions summed up by one of their columns.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use touchline_pipeline::reports::traffic;
use utoipa::IntoParams;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ReportProblems};
use crate::report::answer;
use crate::report::params::{
    AnswerParams, BotsParam, COMPARE, CompareParam, FilterParam, INTERVAL, IntervalParam, LimitParam, Parameter,
    RangeParams, SORT, SortParam, TIME_ZONE, TimeZoneParam,
};
use crate::report::{Asked, Meta, ReportRows};

const TAKEN: [Parameter; 8] = [
    Parameter::By,
    Parameter::Bots,
    Parameter::Filter,
    Parameter::Limit,
    Parameter::Own(TIME_ZONE),
    Parameter::Own(COMPARE),
    Parameter::Own(INTERVAL),
    Parameter::Own(SORT),
];
/// What sessions are grouped by when the request does not say.
const DEFAULT_BY: &str = "channel";

/// What sessions are grouped by.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct TrafficParams {
    /// `channel` (default), `utm_source`, `utm_medium`, `utm_campaign`, `utm_content`, `utm_term`, `referrer_host`,
    /// `landing_page`, `exit_page`, `country`, `device_type`, `browser`, `os` or `day`.
    #[param(example = "utm_campaign")]
    pub by: Option<String>,
}

/// Sums sessions up by one dimension
///
/// Needs the scope `can_view_reports`. Sessions that began in the range, most first; days and intervals in
/// order. Filters take the columns of `sessions`.
#[utoipa::path(
    get,
    path = "/api/v1/reports/traffic",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(
        RangeParams, AnswerParams,
        TrafficParams,
        IntervalParam,
        TimeZoneParam,
        CompareParam,
        BotsParam,
        FilterParam,
        SortParam,
        LimitParam
    ),
    responses(ReportRows, ReportProblems)
)]
pub async fn get_traffic(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Asked::read(&state, &caller, &uri, &headers, &TAKEN)?;
    let params = traffic::Params {
        range: asked.query.range,
        by: asked.query.by.clone().unwrap_or_else(|| DEFAULT_BY.to_owned()),
        interval: asked.query.own(INTERVAL),
        bots: asked.query.bots,
        filters: asked.query.filters.clone(),
        time_zone: asked.query.time_zone(&caller.key().settings),
        compare: asked.query.compare()?,
        sort: asked.query.own(SORT),
        limit: asked.query.limit,
    };
    let engine = asked.engine(&state, &caller, &traffic::TABLES).await?;
    let compute = async {
        let found = traffic::query(&engine, caller.tenant(), &params).await?;
        let meta = Meta::of(&found.meta, &asked.query);
        answer::all(&asked, &found.schema, found.batches, &meta).await
    };
    asked.once(&state, traffic::DEFINITION, compute).await
}
