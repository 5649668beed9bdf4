//! Groups of sessions in a range, and beside them those of the range before: what `overview` and `traffic` are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::prelude::Expr;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{MONEY_SCALE, Table};

use super::{AnswerMeta, Bots, TimeRange, dimension};
use crate::days::Interval;
use crate::scan::LakeScan;
use crate::traffic::{Calendar, Dimension, Group, Parts, Question, groups};
use crate::{PipelineError, QueryEngine};

pub use crate::sessions::DEFINITION;

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

/// What the rows of a report can be kept apart by, besides its dimension.
pub const INTERVALS: [&str; 4] = [HOUR, "day", "week", "month"];

const HOUR: &str = "hour";

/// The column with the instant at which an interval begins.
pub(super) const INTERVAL_AT: &str = "interval_at";

/// The calendar of `interval=`.
pub(super) fn calendar(interval: Option<&str>, zone: Tz) -> Result<Calendar, PipelineError> {
    let Some(word) = interval else { return Ok(Calendar::Whole) };
    Ok(match dimension("interval", word, &INTERVALS)? {
        HOUR => Calendar::Hours,
        word => match Interval::from_word(word)? {
            Interval::Day => Calendar::Days(zone),
            longer @ (Interval::Week | Interval::Month) => Calendar::Intervals(longer, zone),
        },
    })
}

/// Which sessions are counted, and how they are kept apart.
pub(super) struct Counting {
    pub dimension: Dimension,
    pub calendar: Calendar,
    pub range: TimeRange,
    pub bots: Bots,
    pub filters: Vec<Expr>,
    pub compare: Option<Compare>,
}

/// Part of the calendar, and value.
pub(super) type Key = (Option<i32>, Option<String>);

/// A group now, and in the range before.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub now: Option<Group>,
    pub before: Option<Group>,
}

/// The sessions of a range by part of the calendar and value, and those of the range before if they are wanted.
pub(super) async fn count(
    engine: &QueryEngine,
    tenant: Tenant,
    counting: Counting,
) -> Result<(BTreeMap<Key, Row>, AnswerMeta), PipelineError> {
    let Counting { dimension, calendar, range, bots, filters, compare } = counting;
    let before = compare.map(|Compare::Previous| previous(range)).transpose()?;
    let (scan, snapshot) = engine.scan(Table::Sessions, tenant).await?;
    let question = Question {
        table: Table::Sessions,
        calendars: vec![calendar],
        dimensions: vec![dimension],
        amounts: true,
        range,
        bots,
        days: None,
        filters,
        conversion_event_types: Vec::new(),
    };
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    for group in groups(engine, LakeScan::clone(&scan), &question).await? {
        let key = (group.part, group.value.clone());
        rows.entry(key).or_default().now = Some(group);
    }
    if let Some(before) = before {
        let shift = parts_between(calendar, before, range);
        for group in groups(engine, scan, &Question { range: before, ..question }).await? {
            let part = group.part.map(|part| part.saturating_add(shift));
            let key = (part, group.value.clone());
            rows.entry(key).or_default().before = Some(group);
        }
    }
    Ok((rows, AnswerMeta::new(&snapshot, DEFINITION)))
}

fn previous(range: TimeRange) -> Result<TimeRange, PipelineError> {
    let refused = |detail: &str| PipelineError::BadParameter { name: "compare", detail: detail.to_owned() };
    let (Some(from), Some(to)) = (range.from, range.to) else {
        return Err(refused("needs `from` and `to`: an open range has no length"));
    };
    let before = from.checked_sub_signed(to - from).ok_or_else(|| refused("the range before begins too early"))?;
    Ok(TimeRange { from: Some(before), to: Some(from) })
}

/// Parts from the first of one range to the first of another: which one stands beside which.
fn parts_between(calendar: Calendar, before: TimeRange, range: TimeRange) -> i32 {
    let mut parts = Parts::of(calendar);
    let mut first = |range: TimeRange| range.from.map_or(0, |from| parts.part_of(from.timestamp_micros()));
    first(range) - first(before)
}

/// A column: its name, its values, and whether it may be null.
pub(super) type Column = (String, ArrayRef, bool);

/// The instants at which the parts of rows begin.
pub(super) fn interval_at<'a>(calendar: Calendar, keys: impl Iterator<Item = &'a Key>) -> Column {
    let mut parts = Parts::of(calendar);
    let begins = keys.map(|(part, _)| part.and_then(|part| parts.begin_us(part)));
    let begins = begins.collect::<TimestampMicrosecondArray>().with_timezone("UTC");
    (INTERVAL_AT.to_owned(), Arc::new(begins), true)
}

/// The columns of rows: what is now, and what was before if that is wanted.
pub(super) fn columns<'a>(
    rows: impl Iterator<Item = &'a Row> + Clone,
    is_compared: bool,
    of_groups: fn(&str, &[Option<&Group>]) -> Vec<Column>,
) -> Vec<Column> {
    let now: Vec<_> = rows.clone().map(|row| row.now.as_ref()).collect();
    let mut columns = of_groups("", &now);
    if is_compared {
        let before: Vec<_> = rows.map(|row| row.before.as_ref()).collect();
        columns.extend(of_groups("previous_", &before));
    }
    columns
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

/// Parts of sessions, by the name of their column.
const RATES: [(&str, Count); 3] = [
    ("bounce_rate", |group| group.amounts.bounces),
    ("engagement_rate", |group| group.amounts.engaged_sessions),
    ("average_duration_s", |group| group.amounts.duration_s),
];

/// Digits of a sum of money.
const SUM_PRECISION: u8 = 38;

/// The sums of groups; what is missing has had no sessions.
pub(super) fn sums(prefix: &str, groups: &[Option<&Group>]) -> Vec<Column> {
    let counts = COUNTS.map(|(name, of)| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| group.map_or(0, of))));
        (format!("{prefix}{name}"), column, false)
    });
    let revenue = |group: &Group| (group.amounts.with_revenue > 0).then_some(group.amounts.revenue_e4);
    let revenue = groups.iter().map(|group| group.and_then(revenue)).collect::<Decimal128Array>();
    let revenue = revenue.with_data_type(DataType::Decimal128(SUM_PRECISION, MONEY_SCALE));
    let mut columns = Vec::from(counts);
    columns.push((format!("{prefix}revenue"), Arc::new(revenue), true));
    columns
}

/// The sums of groups, and what they are for each session; null without sessions.
pub(super) fn sums_and_rates(prefix: &str, groups: &[Option<&Group>]) -> Vec<Column> {
    let mut columns = sums(prefix, groups);
    columns.extend(RATES.map(|(name, of)| {
        let rate = |group: &Group| (group.rows > 0).then(|| of(group) as f64 / group.rows as f64);
        let rates = groups.iter().map(|group| group.and_then(rate)).collect::<Float64Array>();
        (format!("{prefix}{name}"), Arc::new(rates) as ArrayRef, true)
    }));
    columns
}
