//! `messages`: what became of messages, by what they are and when.
//!
//! Counts of attempts and events are added up from `message_rollups`. Counts of people cannot be added up, so they are
//! counted anew over the whole range, from `message_deliveries`.

pub mod frequency;
mod group;
pub mod overlap;
mod people;
pub mod reasons;
mod received;
pub mod site_messages;
mod sums;

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use chrono::NaiveTime;
use datafusion::error::DataFusionError;
use touchline_schemas::Tenant;
use touchline_schemas::tables::message_rollups::{self as column, AMOUNTS, COUNTS};
use touchline_schemas::tables::{MONEY_SCALE, Table};

pub use group::DIMENSIONS;
use group::{Group, Grouping};
use sums::Sums;

use super::{Answer, TimeRange, computed, dimension};
pub use crate::messages::rollup::DEFINITION;
use crate::{PipelineError, QueryEngine};

/// The tables that are read: the first is the one whose version an answer names. Of the other that version is read which
/// the first was computed from, so that people and attempts fit together.
pub const TABLES: [Table; 2] = [Table::MessageRollups, Table::MessageDeliveries];

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// Whole days of UTC.
    pub range: TimeRange,
    /// Some of [`DIMENSIONS`], separated by commas.
    pub by: String,
    /// One of [`CALENDARS`].
    pub calendar: String,
    /// Column and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// By which days things are counted: that of the attempt, or their own.
pub const CALENDARS: [&str; 2] = [column::CALENDAR_COHORT, column::CALENDAR_EVENT];

/// Shares of two counts: numerator, denominator. Nothing of nothing is null.
const RATES: [(&str, &str, &str); 4] = [
    ("ctr_in_app", column::UNIQUE_CLICKS, column::UNIQUE_VIEWS),
    ("ctr_delivered", column::UNIQUE_CLICKS, column::DELIVERED),
    ("human_ctr_in_app", column::UNIQUE_HUMAN_CLICKS, column::UNIQUE_HUMAN_VIEWS),
    ("human_ctr_delivered", column::UNIQUE_HUMAN_CLICKS, column::DELIVERED),
];

/// Events for each message delivered, which may be more than 1: to four decimals, and 0 if nothing was delivered.
pub(super) const EVENT_RATES: [(&str, &str, &str); 2] =
    [("view_rate", column::VIEWS, column::DELIVERED), ("click_rate", column::CLICKS, column::DELIVERED)];

/// Digits of a sum of money.
const SUM_PRECISION: u8 = 38;

/// Messages, most attempts first; days in order.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let grouping = Grouping::read(&params.by)?;
    let question = Question {
        calendar: dimension("calendar", &params.calendar, &CALENDARS)?,
        range: whole_days(params.range)?,
        filters: group::filters(&params.filters)?,
    };
    let (mut gathered, meta) = sums::gather(engine, tenant, &question, &grouping).await?;
    // A row of every column is a row of the table, whose people were counted when it was written.
    if !grouping.is_finest() {
        let counted = people::count(engine, tenant, &question, &grouping).await?;
        for (group, sums) in &mut gathered.found {
            sums.set_people(counted.get(group));
        }
    }
    let mut found: Vec<(&Group, &Sums)> = gathered.found.iter().collect();
    found.sort_by(|(a, of_a), (b, of_b)| {
        let by_size = of_b.count(column::DECIDED).cmp(&of_a.count(column::DECIDED));
        a.day.cmp(&b.day).then(by_size).then_with(|| a.cmp(b))
    });
    found.truncate(params.limit.unwrap_or(usize::MAX));
    Ok(computed(rows(&grouping, &found)?, meta))
}

/// Which rows of the tables are looked at.
struct Question {
    calendar: &'static str,
    range: TimeRange,
    filters: Vec<(&'static str, String)>,
}

/// Rollups are of whole days, so half a day could only be guessed.
fn whole_days(range: TimeRange) -> Result<TimeRange, PipelineError> {
    for (name, end) in [("from", range.from), ("to", range.to)] {
        if end.is_some_and(|end| end.time() != NaiveTime::MIN) {
            let detail = "this report counts whole days of UTC: the time must be 00:00:00Z".to_owned();
            return Err(PipelineError::BadParameter { name, detail });
        }
    }
    Ok(range)
}

fn rows(grouping: &Grouping, found: &[(&Group, &Sums)]) -> Result<RecordBatch, DataFusionError> {
    let sums = || found.iter().map(|(_, sums)| *sums);
    let mut columns: Vec<(&str, ArrayRef, bool)> = grouping.columns(found.iter().map(|(group, _)| *group));
    for name in COUNTS {
        columns.push((name, Arc::new(Int64Array::from_iter_values(sums().map(|sums| sums.count(name)))), false));
    }
    for (place, name) in AMOUNTS.into_iter().enumerate() {
        let amounts = sums().map(|sums| Some(sums.amounts_e4[place])).collect::<Decimal128Array>();
        let amounts = amounts.with_data_type(DataType::Decimal128(SUM_PRECISION, MONEY_SCALE));
        columns.push((name, Arc::new(amounts), false));
    }
    for (name, part, whole) in EVENT_RATES {
        let rates = sums().map(|sums| rate_of_events(sums.count(part), sums.count(whole)));
        columns.push((name, Arc::new(Float64Array::from_iter_values(rates)), false));
    }
    for (name, part, whole) in RATES {
        let rates = sums().map(|sums| share(sums.count(part), sums.count(whole))).collect::<Float64Array>();
        columns.push((name, Arc::new(rates), true));
    }
    let failed = sums().map(Sums::failed_checks).collect::<StringArray>();
    columns.push((column::FAILED_CHECKS, Arc::new(failed), true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// To four decimals, 0 of nothing.
fn rate_of_events(part: i64, whole: i64) -> f64 {
    share(part, whole).map_or(0.0, |rate| (rate * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    #[test]
    fn rates_of_events_have_four_decimals_and_no_denominator_is_none_of_their_business() {
        for (part, whole, rate) in [(1, 3, 0.3333), (2, 3, 0.6667), (0, 7, 0.0), (5, 0, 0.0), (3, 2, 1.5)] {
            assert_eq!(rate_of_events(part, whole), rate, "{part} / {whole}");
        }
        assert_eq!((share(1, 4), share(0, 0)), (Some(0.25), None));
    }

    #[test]
    fn half_a_day_is_refused() {
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        let midnight = at("2026-03-01T00:00:00Z");
        assert!(whole_days(TimeRange { from: midnight, to: None }).is_ok());
        for (from, to, bad) in
            [(at("2026-03-01T01:00:00Z"), None, "from"), (midnight, at("2026-03-02T00:00:00.000001Z"), "to")]
        {
            match whole_days(TimeRange { from, to }) {
                Err(PipelineError::BadParameter { name, .. }) => assert_eq!(name, bad),
                other => panic!("{other:?}"),
            }
        }
    }
}
