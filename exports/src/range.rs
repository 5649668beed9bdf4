//! The whole days before a run's time, on the clocks of the export's time zone.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use touchline_pipeline::days::{Days, number_of};

use crate::manifest::Range;

/// The day that a time falls on.
pub fn day_of(at: DateTime<Utc>, zone: Tz) -> NaiveDate {
    at.with_timezone(&zone).date_naive()
}

/// The `last_days` days before the one on which `at` falls.
pub fn last_days(at: DateTime<Utc>, last_days: u16, zone: Tz) -> Range {
    let mut days = Days::new(zone);
    let today = number_of(day_of(at, zone));
    let mut begin = |day: i32| {
        // A day that the zone left out begins where the next one does.
        let begin_us = (day..day + 2).find_map(|day| days.begin_us(day));
        begin_us.and_then(DateTime::from_timestamp_micros).unwrap_or(at)
    };
    Range { from: begin(today - i32::from(last_days)), to: begin(today) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_end_before_the_runs_day() {
        let check = |at: &str, days: u16, zone: Tz, from: &str, to: &str| {
            let range = last_days(at.parse().unwrap(), days, zone);
            assert_eq!((range.from, range.to), (from.parse().unwrap(), to.parse().unwrap()), "{at} {zone}");
        };
        let vienna = Tz::Europe__Vienna;
        check("2026-03-05T06:00:00Z", 1, Tz::UTC, "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z");
        check("2026-03-05T00:00:00Z", 7, Tz::UTC, "2026-02-26T00:00:00Z", "2026-03-05T00:00:00Z");
        check("2026-03-05T23:30:00Z", 1, vienna, "2026-03-04T23:00:00Z", "2026-03-05T23:00:00Z");
        // The clocks were set forward on the 29th.
        check("2026-03-30T04:00:00Z", 1, vienna, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
        // Midnight itself was skipped.
        check("2026-09-07T12:00:00Z", 1, Tz::America__Santiago, "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z");
        // Samoa had no 30 December 2011.
        check("2011-12-31T12:00:00Z", 1, Tz::Pacific__Apia, "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z");
    }
}
