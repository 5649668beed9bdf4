//! `realtime`: the last half hour by the clock, straight from `events`: no job has to have run.

use chrono::{DateTime, TimeDelta, Utc};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{cast, lit, when};
use datafusion::prelude::{Expr, col};
use datafusion::scalar::ScalarValue;
use touchline_schemas::Tenant;
use touchline_schemas::event::{PAGE_VIEW, TextField};
use touchline_schemas::tables::{Table, events as column, instant_type};

use super::rows::{devices, of_somebody, sorted, visitors};
use super::{Answer, Bots, TimeRange, count_where, dimension, only, rows_in, run};
use crate::days::MINUTE_US;
use crate::{PipelineError, QueryEngine};

/// Names this definition in answers.
pub const DEFINITION: &str = "realtime/1";

/// How far back it looks.
pub const MINUTES: i64 = 30;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// The time by the clock.
    pub now: DateTime<Utc>,
    /// One of [`DIMENSIONS`]; without it all is one row.
    pub by: Option<String>,
    /// By who did it.
    pub bots: Bots,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Events];

/// What events can be grouped by: the minute, the path of page views, or what brought their visitors.
pub const DIMENSIONS: [&str; 4] = [MINUTE, PAGE, "source", TextField::EventType.column()];

const MINUTE: &str = "minute";
const PAGE: &str = "page";

/// The range of [`MINUTES`] before `now`.
pub fn range(now: DateTime<Utc>) -> TimeRange {
    TimeRange { from: now.checked_sub_signed(TimeDelta::minutes(MINUTES)), to: Some(now) }
}

/// What is in the lake of the last minutes: minutes in order, else most events first.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let by = params.by.as_deref().map(|by| dimension("by", by, &DIMENSIONS)).transpose()?;
    let (_, frame, meta) = rows_in(engine, Table::Events, tenant, range(params.now), DEFINITION).await?;
    let mut frame = only(frame, params.bots)?.filter(of_somebody())?;
    let is_view = || col(TextField::EventType.column()).eq(lit(PAGE_VIEW));
    if by == Some(PAGE) {
        frame = frame.filter(is_view())?;
    }
    let [with_id, without_id] = devices()?;
    let views = count_where(is_view())?.alias(VIEWS);
    let measures = vec![count(lit(1_i64)).alias("events"), views, with_id, without_id];
    let views = when(col(VIEWS).is_null(), lit(0_i64)).otherwise(col(VIEWS))?.alias(VIEWS);
    let mut columns = vec![col("events"), views, visitors()];
    let Some(by) = by else {
        // How fresh it is, for callers that see no `meta`.
        columns.extend([watermark(meta.watermark), lag_s(meta.watermark, params.now)]);
        return run(frame.aggregate(Vec::new(), measures)?.select(columns)?, meta).await;
    };
    columns.insert(0, col(by));
    let frame = frame.with_column(by, value(by)?)?.aggregate(vec![col(by)], measures)?.select(columns)?;
    let mut own = vec![col("events").sort(false, false), col(by).sort(true, true)];
    if by == MINUTE {
        own.reverse();
    }
    run(sorted(frame, None, own)?.limit(0, params.limit)?, meta).await
}

const VIEWS: &str = "page_views";

/// What an event counts to.
fn value(by: &str) -> Result<Expr, PipelineError> {
    let text = |field: TextField| col(field.column());
    Ok(match by {
        MINUTE => {
            let at_us = cast(col(column::OCCURRED_AT), arrow::datatypes::DataType::Int64);
            cast(at_us / lit(MINUTE_US) * lit(MINUTE_US), instant_type())
        }
        PAGE => text(TextField::Path),
        "source" => {
            let campaign = text(TextField::UtmSource);
            let referrer = text(TextField::ReferrerHost);
            // Who comes from page to page of one site comes from nowhere else.
            let elsewhere = text(TextField::Host).is_null().or(referrer.clone().not_eq(text(TextField::Host)));
            let referrer = when(elsewhere, referrer).end()?;
            when(campaign.clone().is_not_null(), campaign).otherwise(referrer)?
        }
        other => col(other),
    })
}

fn watermark(watermark: Option<DateTime<Utc>>) -> Expr {
    let micros = watermark.map(|at| at.timestamp_micros());
    lit(ScalarValue::TimestampMicrosecond(micros, Some("UTC".into()))).alias("watermark")
}

/// Whole seconds since the watermark, by which the answer may lag behind.
fn lag_s(watermark: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Expr {
    let lag_s = watermark.map(|at| (now - at).num_seconds().max(0));
    lit(ScalarValue::Int64(lag_s)).alias("lag_s")
}
