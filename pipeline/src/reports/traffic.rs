//! `traffic`: sessions and what happened in them, by one dimension. Visitors are distinct over the whole range.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{MONEY_SCALE, Table};

use super::{Answer, AnswerMeta, Bots, TimeRange, computed, dimension};
use crate::days::number_of;
use crate::sessions::DEFINITION;
use crate::traffic::{Calendar, Dimension, Group, Question, groups};
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
    DAY,
];

const DAY: &str = "day";

/// Digits of a sum of money.
const SUM_PRECISION: u8 = 38;

/// Sessions that started in the range, most first (days in order).
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let by = dimension("by", &params.by, &DIMENSIONS)?;
    let (scan, snapshot) = engine.scan(Table::Sessions, tenant).await?;
    let column = Dimension::OF_SESSIONS.into_iter().chain([Dimension::ExitPage]).find(|known| known.name() == by);
    let question = Question {
        table: Table::Sessions,
        calendars: vec![if by == DAY { Calendar::Days(Tz::UTC) } else { Calendar::Whole }],
        dimensions: vec![column.unwrap_or(Dimension::Total)],
        amounts: true,
        range: params.range,
        bots: params.bots,
        days: None,
        conversion_event_types: Vec::new(),
    };
    let mut found = groups(engine, scan, &question).await?;
    found.sort_by(|a, b| {
        let by_size = if by == DAY { std::cmp::Ordering::Equal } else { b.rows.cmp(&a.rows) };
        by_size.then_with(|| (a.day, &a.value).cmp(&(b.day, &b.value)))
    });
    found.truncate(params.limit.unwrap_or(usize::MAX));
    Ok(computed(rows(by, &found)?, AnswerMeta::new(&snapshot, DEFINITION)))
}

fn rows(by: &'static str, found: &[Group]) -> Result<RecordBatch, DataFusionError> {
    let value: ArrayRef = if by == DAY {
        Arc::new(found.iter().map(|group| group.day.map(number_of)).collect::<Date32Array>())
    } else {
        Arc::new(found.iter().map(|group| group.value.as_deref()).collect::<StringArray>())
    };
    let count = |of: fn(&Group) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(found.iter().map(of))) };
    let revenue = |group: &Group| (group.amounts.with_revenue > 0).then_some(group.amounts.revenue_e4);
    let revenue = found.iter().map(revenue).collect::<Decimal128Array>();
    let revenue = revenue.with_data_type(DataType::Decimal128(SUM_PRECISION, MONEY_SCALE));
    Ok(RecordBatch::try_from_iter_with_nullable([
        (by, value, true),
        ("visitors", count(|group| group.visitors), false),
        ("sessions", count(|group| group.rows), false),
        ("events", count(|group| group.amounts.events), false),
        ("page_views", count(|group| group.amounts.page_views), false),
        ("bounces", count(|group| group.amounts.bounces), false),
        ("engaged_sessions", count(|group| group.amounts.engaged_sessions), false),
        ("duration_s", count(|group| group.amounts.duration_s), false),
        ("conversions", count(|group| group.amounts.conversions), false),
        ("revenue", Arc::new(revenue) as ArrayRef, true),
    ])?)
}
