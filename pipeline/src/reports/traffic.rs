//! `traffic`: sessions and what happened in them, by one dimension.

use arrow::datatypes::DataType;
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, sum};
use datafusion::logical_expr::{cast, lit};
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, sessions as column};

use super::{Answer, Bots, TimeRange, count_where, dimension, only, rows_in, run};
use crate::sessions::DEFINITION;
use crate::{PipelineError, QueryEngine};

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the session's start.
    pub range: TimeRange,
    /// One of [`DIMENSIONS`].
    pub by: String,
    /// By who made it.
    pub bots: Bots,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// What sessions can be grouped by.
pub const DIMENSIONS: [&str; 14] = [
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "referrer_host",
    "landing_page",
    "exit_page",
    "country",
    "device_type",
    "browser",
    "os",
    "day",
];

/// Sessions that started in the range, most first (days in order).
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let by = dimension("by", &params.by, &DIMENSIONS)?;
    let (_, frame, meta) = rows_in(engine, Table::Sessions, tenant, params.range, DEFINITION).await?;
    let group = match by {
        "landing_page" => col(column::ENTRY_PAGE),
        "day" => cast(col(column::STARTED_AT), DataType::Date32),
        other => col(other),
    };
    let device = coalesce(vec![col(TextField::VisitorId.column()), col(TextField::UserId.column())]);
    let measures = vec![
        count_distinct(device).alias("visitors"),
        count(lit(1_i64)).alias("sessions"),
        sum(col(column::EVENT_COUNT)).alias("events"),
        sum(col(column::PAGE_VIEW_COUNT)).alias("page_views"),
        count_where(col(column::IS_BOUNCE))?.alias("bounces"),
        count_where(col(column::IS_ENGAGED))?.alias("engaged_sessions"),
        sum(col(column::DURATION_S)).alias("duration_s"),
        sum(col(column::CONVERSION_COUNT)).alias("conversions"),
        sum(col(column::REVENUE)).alias("revenue"),
    ];
    let order = if by == "day" {
        vec![col(by).sort(true, true)]
    } else {
        vec![col("sessions").sort(false, false), col(by).sort(true, true)]
    };
    let frame =
        only(frame, params.bots)?.aggregate(vec![group.alias(by)], measures)?.sort(order)?.limit(0, params.limit)?;
    run(frame, meta).await
}
