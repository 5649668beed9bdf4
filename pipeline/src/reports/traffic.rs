//! `traffic`: sessions and what happened in them, by one dimension. Visitors are distinct over the whole range.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::error::DataFusionError;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{MONEY_SCALE, Table};

use super::{Answer, AnswerMeta, Bots, TimeRange, computed, dimension};
use crate::days::{Days, date_of, number_of, time_zone};
use crate::scan::LakeScan;
use crate::traffic::{Calendar, Dimension, Group, Question, groups};
use crate::{PipelineError, QueryEngine};

pub use crate::sessions::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the session's start.
    pub range: TimeRange,
    /// One of [`DIMENSIONS`].
    pub by: String,
    /// By who made it.
    pub bots: Bots,
    /// IANA name of the time zone whose days count.
    pub time_zone: String,
    /// What stands beside, in columns that begin with `previous_`.
    pub compare: Option<Compare>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// What an answer can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// The range of the same length that ends where the range begins.
    Previous,
}

impl Compare {
    /// What a word names.
    pub fn from_word(word: &str) -> Result<Self, PipelineError> {
        match word {
            "previous" => Ok(Self::Previous),
            other => {
                Err(PipelineError::BadParameter { name: "compare", detail: format!("`{other}` is not `previous`") })
            }
        }
    }
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Sessions];

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
    let zone = time_zone(&params.time_zone)?;
    let before = params.compare.map(|Compare::Previous| previous(params.range)).transpose()?;
    let (scan, snapshot) = engine.scan(Table::Sessions, tenant).await?;
    let question = question(by, zone, params);
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for group in groups(engine, LakeScan::clone(&scan), &question).await? {
        let key = (group.day, group.value.clone());
        rows.entry(key).or_default().now = Some(group);
    }
    if let Some(before) = before {
        let days_between = days_between(zone, before, params.range);
        for group in groups(engine, scan, &Question { range: before, ..question }).await? {
            let day = group.day.map(|day| date_of(number_of(day).saturating_add(days_between)));
            let key = (day, group.value.clone());
            rows.entry(key).or_default().before = Some(group);
        }
    }
    // The map has them in the order of days and values, which decides among equals.
    let mut rows: Vec<(Key, Row)> = rows.into_iter().collect();
    if by != DAY {
        rows.sort_by_key(|(_, row)| Reverse(row.now.as_ref().map_or(0, |group| group.rows)));
    }
    rows.truncate(params.limit.unwrap_or(usize::MAX));
    Ok(computed(batch(by, &rows, before.is_some())?, AnswerMeta::new(&snapshot, DEFINITION)))
}

fn question(by: &str, zone: Tz, params: &Params) -> Question {
    let column = Dimension::OF_SESSIONS.into_iter().chain([Dimension::ExitPage]).find(|known| known.name() == by);
    Question {
        table: Table::Sessions,
        calendars: vec![if by == DAY { Calendar::Days(zone) } else { Calendar::Whole }],
        dimensions: vec![column.unwrap_or(Dimension::Total)],
        amounts: true,
        range: params.range,
        bots: params.bots,
        days: None,
        conversion_event_types: Vec::new(),
    }
}

fn previous(range: TimeRange) -> Result<TimeRange, PipelineError> {
    let refused = |detail: &str| PipelineError::BadParameter { name: "compare", detail: detail.to_owned() };
    let (Some(from), Some(to)) = (range.from, range.to) else {
        return Err(refused("needs `from` and `to`: an open range has no length"));
    };
    let before = from.checked_sub_signed(to - from).ok_or_else(|| refused("the range before begins too early"))?;
    Ok(TimeRange { from: Some(before), to: Some(from) })
}

/// Days from the first of one range to the first of another: which day stands beside which.
fn days_between(zone: Tz, before: TimeRange, range: TimeRange) -> i32 {
    let mut days = Days::new(zone);
    let mut first = |range: TimeRange| range.from.map_or(0, |from| days.day_of(from.timestamp_micros()));
    first(range) - first(before)
}

/// Day and value.
type Key = (Option<NaiveDate>, Option<String>);

/// A value now, and in the range before.
#[derive(Debug, Default)]
struct Row {
    now: Option<Group>,
    before: Option<Group>,
}

fn batch(by: &'static str, rows: &[(Key, Row)], is_compared: bool) -> Result<RecordBatch, DataFusionError> {
    let value: ArrayRef = if by == DAY {
        Arc::new(rows.iter().map(|((day, _), _)| day.map(number_of)).collect::<Date32Array>())
    } else {
        Arc::new(rows.iter().map(|((_, value), _)| value.as_deref()).collect::<StringArray>())
    };
    let mut columns = vec![(by.to_owned(), value, true)];
    columns.extend(measures("", rows.iter().map(|(_, row)| row.now.as_ref())));
    if is_compared {
        columns.extend(measures("previous_", rows.iter().map(|(_, row)| row.before.as_ref())));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// What is counted of a group, by the name of its column.
const COUNTS: [(&str, Count); 8] = [
    ("visitors", |group| group.visitors),
    ("sessions", |group| group.rows),
    ("events", |group| group.amounts.events),
    ("page_views", |group| group.amounts.page_views),
    ("bounces", |group| group.amounts.bounces),
    ("engaged_sessions", |group| group.amounts.engaged_sessions),
    ("duration_s", |group| group.amounts.duration_s),
    ("conversions", |group| group.amounts.conversions),
];
type Count = fn(&Group) -> i64;

/// The columns of groups; what is missing has had no sessions.
fn measures<'a>(
    prefix: &str,
    groups: impl Iterator<Item = Option<&'a Group>> + Clone,
) -> Vec<(String, ArrayRef, bool)> {
    let counts = COUNTS.map(|(name, of)| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(groups.clone().map(|group| group.map_or(0, of))));
        (format!("{prefix}{name}"), column, false)
    });
    let revenue = |group: &Group| (group.amounts.with_revenue > 0).then_some(group.amounts.revenue_e4);
    let revenue = groups.map(|group| group.and_then(revenue)).collect::<Decimal128Array>();
    let revenue = revenue.with_data_type(DataType::Decimal128(SUM_PRECISION, MONEY_SCALE));
    let mut columns = Vec::from(counts);
    columns.push((format!("{prefix}revenue"), Arc::new(revenue), true));
    columns
}
