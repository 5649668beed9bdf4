//! Days, weeks and months of a time zone: which one an instant falls on, and when it begins.
//!
//! A day is what the zone's calendar calls it at that instant, so that days on which clocks are moved are longer,
//! shorter, or come in two pieces, as they do for the people who live there.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Datelike, NaiveDate};
use chrono_tz::Tz;

use crate::PipelineError;

const SECOND_US: i64 = 1_000_000;
/// A minute, in µs.
pub(crate) const MINUTE_US: i64 = 60 * SECOND_US;
/// An hour, in µs.
pub(crate) const HOUR_US: i64 = 60 * MINUTE_US;
/// A day of UTC, in µs.
pub(crate) const DAY_US: i64 = 24 * HOUR_US;
/// Days from 0001-01-01 to 1970-01-01, by which `chrono` and Arrow count differently.
const EPOCH_FROM_CE: i32 = 719_163;

/// A day as Arrow counts it: days since 1970-01-01.
pub type DayNumber = i32;

/// The time zone with this IANA name.
pub fn time_zone(name: &str) -> Result<Tz, PipelineError> {
    name.parse().map_err(|_| PipelineError::BadParameter {
        name: "tz",
        detail: format!("`{name}` is no IANA time zone, as `Europe/Berlin` is one"),
    })
}

/// The number of a date.
pub fn number_of(date: NaiveDate) -> DayNumber {
    date.num_days_from_ce() - EPOCH_FROM_CE
}

/// The date of a number; the last date that there is for numbers beyond it.
pub fn date_of(day: DayNumber) -> NaiveDate {
    day.checked_add(EPOCH_FROM_CE).and_then(NaiveDate::from_num_days_from_ce_opt).unwrap_or(NaiveDate::MAX)
}

/// Finds the days of a zone. It remembers what it found, so a copy for each thread is better than one for all.
#[derive(Debug, Clone)]
pub struct Days {
    zone: Tz,
    known: HashMap<i64, Vec<Span>>,
    last: Span,
}

/// Instants from `from_us` until before `to_us` that fall on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from_us: i64,
    to_us: i64,
    day: DayNumber,
}

impl Days {
    /// The days of `zone`.
    pub fn new(zone: Tz) -> Self {
        Self { zone, known: HashMap::new(), last: Span { from_us: 0, to_us: 0, day: 0 } }
    }

    /// The day on which an instant falls.
    #[inline]
    pub fn day_of(&mut self, at_us: i64) -> DayNumber {
        if !(self.last.from_us..self.last.to_us).contains(&at_us) {
            self.last = self.find(at_us);
        }
        self.last.day
    }

    /// The first instant of a day; `None` for a day that the zone left out.
    pub fn begin_us(&mut self, day: DayNumber) -> Option<i64> {
        let near = i64::from(day) - 1..=i64::from(day) + 1;
        near.flat_map(|utc_day| self.spans(utc_day).to_vec()).find(|span| span.day == day).map(|span| span.from_us)
    }

    /// The days that share instants with a day of UTC.
    pub fn during_utc_day(&mut self, utc_day: DayNumber) -> BTreeSet<DayNumber> {
        self.spans(i64::from(utc_day)).iter().map(|span| span.day).collect()
    }

    /// The days of UTC that share instants with a day.
    pub fn utc_days_during(&mut self, day: DayNumber) -> BTreeSet<DayNumber> {
        (day - 1..=day + 1).filter(|utc_day| self.during_utc_day(*utc_day).contains(&day)).collect()
    }

    fn find(&mut self, at_us: i64) -> Span {
        let utc_day = at_us.div_euclid(DAY_US);
        let found = self.spans(utc_day).iter().find(|span| at_us < span.to_us).copied();
        found.unwrap_or_else(|| utc_span(utc_day))
    }

    fn spans(&mut self, utc_day: i64) -> &[Span] {
        let zone = self.zone;
        self.known.entry(utc_day).or_insert_with(|| spans_of(zone, utc_day))
    }
}

fn utc_span(utc_day: i64) -> Span {
    let from_us = utc_day.saturating_mul(DAY_US);
    let day = DayNumber::try_from(utc_day).unwrap_or(if utc_day < 0 { DayNumber::MIN } else { DayNumber::MAX });
    Span { from_us, to_us: from_us.saturating_add(DAY_US), day }
}

/// The pieces of a UTC day by the zone's days. The zone is asked at every minute, and at every second of a minute in
/// which the day changes: no rule of any zone is finer, and a day's answers are kept.
fn spans_of(zone: Tz, utc_day: i64) -> Vec<Span> {
    let whole = utc_span(utc_day);
    if zone == Tz::UTC {
        return vec![whole];
    }
    let mut spans: Vec<Span> = Vec::new();
    let mut push = |from_us: i64, day: DayNumber| match spans.last_mut() {
        Some(last) if last.day == day => last.to_us = whole.to_us,
        Some(last) => {
            last.to_us = from_us;
            spans.push(Span { from_us, to_us: whole.to_us, day });
        }
        None => spans.push(Span { from_us, to_us: whole.to_us, day }),
    };
    let day_at = |at_us: i64| {
        DateTime::from_timestamp_micros(at_us).map_or(whole.day, |at| number_of(at.with_timezone(&zone).date_naive()))
    };
    let mut before = day_at(whole.from_us);
    push(whole.from_us, before);
    for minute_us in (whole.from_us..whole.to_us).step_by(MINUTE_US as usize) {
        let after = day_at(minute_us + MINUTE_US);
        if after != before {
            let end_us = (minute_us + MINUTE_US + 1).min(whole.to_us);
            for second_us in (minute_us..end_us).step_by(SECOND_US as usize) {
                push(second_us, day_at(second_us));
            }
        }
        before = after;
    }
    spans
}

/// Lengths of time by which a calendar is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday, as ISO 8601 has it.
    Week,
    /// From the first to the last of a month.
    Month,
}

impl Interval {
    /// The interval that a word names.
    pub fn from_word(word: &str) -> Result<Self, PipelineError> {
        match word {
            "day" => Ok(Self::Day),
            "week" => Ok(Self::Week),
            "month" => Ok(Self::Month),
            other => Err(PipelineError::BadParameter {
                name: "interval",
                detail: format!("`{other}` is none of day, week, month"),
            }),
        }
    }

    /// The number of the interval that a day lies in: the next interval's is one larger.
    pub fn of_day(self, day: DayNumber) -> i32 {
        match self {
            Self::Day => day,
            // 1970-01-01 was a Thursday.
            Self::Week => (day + 3).div_euclid(7),
            Self::Month => {
                let date = date_of(day);
                date.year() * 12 + date.month0() as i32
            }
        }
    }

    /// The first day of an interval.
    pub fn first_day(self, number: i32) -> DayNumber {
        match self {
            Self::Day => number,
            Self::Week => number * 7 - 3,
            Self::Month => {
                let month = NaiveDate::from_ymd_opt(number.div_euclid(12), number.rem_euclid(12) as u32 + 1, 1);
                number_of(month.unwrap_or(NaiveDate::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn us(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros()
    }

    fn day(text: &str) -> DayNumber {
        number_of(text.parse().unwrap())
    }

    #[test]
    fn an_instant_falls_on_the_day_that_its_zone_says() {
        for (zone, at, expected) in [
            (Tz::UTC, "2026-03-29T23:59:59.999999Z", "2026-03-29"),
            (Tz::Europe__Berlin, "2026-03-28T22:59:59.999999Z", "2026-03-28"),
            (Tz::Europe__Berlin, "2026-03-28T23:00:00Z", "2026-03-29"),
            (Tz::Europe__Berlin, "2026-03-29T22:00:00Z", "2026-03-30"),
            (Tz::America__New_York, "2026-01-01T04:59:59Z", "2025-12-31"),
            (Tz::Pacific__Kiritimati, "2026-01-01T10:00:00Z", "2026-01-02"),
            (Tz::Asia__Kathmandu, "2026-01-01T18:14:59Z", "2026-01-01"),
            (Tz::Asia__Kathmandu, "2026-01-01T18:15:00Z", "2026-01-02"),
        ] {
            assert_eq!(Days::new(zone).day_of(us(at)), day(expected), "{zone} {at}");
        }
    }

    #[test]
    fn a_day_begins_where_its_zone_lets_it() {
        for (zone, date, expected) in [
            (Tz::UTC, "2026-03-29", Some("2026-03-29T00:00:00Z")),
            (Tz::Europe__Berlin, "2026-03-29", Some("2026-03-28T23:00:00Z")),
            (Tz::Europe__Berlin, "2026-03-30", Some("2026-03-29T22:00:00Z")),
            // Clocks went forward at midnight: the day began at one.
            (Tz::America__Sao_Paulo, "2018-11-04", Some("2018-11-04T03:00:00Z")),
            (Tz::Pacific__Kiritimati, "2026-01-02", Some("2026-01-01T10:00:00Z")),
            // Samoa left this day out.
            (Tz::Pacific__Apia, "2011-12-30", None),
        ] {
            assert_eq!(Days::new(zone).begin_us(day(date)), expected.map(us), "{zone} {date}");
        }
    }

    #[test]
    fn days_and_utc_days_know_of_each_other() {
        let mut berlin = Days::new(Tz::Europe__Berlin);
        let dates =
            |days: BTreeSet<DayNumber>| days.into_iter().map(|day| date_of(day).to_string()).collect::<Vec<_>>();
        assert_eq!(dates(berlin.during_utc_day(day("2026-01-10"))), ["2026-01-10", "2026-01-11"]);
        assert_eq!(dates(berlin.utc_days_during(day("2026-01-10"))), ["2026-01-09", "2026-01-10"]);
        assert_eq!(dates(Days::new(Tz::UTC).utc_days_during(day("2026-01-10"))), ["2026-01-10"]);
        assert_eq!(
            dates(Days::new(Tz::America__New_York).utc_days_during(day("2026-01-10"))),
            ["2026-01-10", "2026-01-11"]
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        for (interval, date, first) in [
            (Interval::Day, "2026-02-28", "2026-02-28"),
            (Interval::Week, "2026-03-01", "2026-02-23"),
            (Interval::Week, "2026-03-02", "2026-03-02"),
            (Interval::Week, "1969-12-31", "1969-12-29"),
            (Interval::Month, "2026-02-28", "2026-02-01"),
            (Interval::Month, "2025-12-31", "2025-12-01"),
        ] {
            let number = interval.of_day(day(date));
            assert_eq!(date_of(interval.first_day(number)).to_string(), first, "{date}");
            assert_eq!(interval.of_day(interval.first_day(number + 1)), number + 1, "{date}");
            assert_eq!(interval.of_day(interval.first_day(number + 1) - 1), number, "{date}");
        }
    }

    proptest! {
        #[test]
        fn remembered_days_are_those_of_the_zone(
            zone in prop::sample::select(vec![
                Tz::Europe__Berlin, Tz::America__Sao_Paulo, Tz::Australia__Lord_Howe, Tz::America__St_Johns,
            ]),
            // The year 2006, when St John's still moved its clocks at one minute past midnight.
            seconds in prop::collection::vec(1_136_073_600_i64..1_167_609_600, 1..40),
        ) {
            let mut days = Days::new(zone);
            for at_s in seconds {
                let expected = DateTime::from_timestamp(at_s, 0).unwrap().with_timezone(&zone).date_naive();
                prop_assert_eq!(date_of(days.day_of(at_s * SECOND_US)), expected);
            }
        }
    }
}
