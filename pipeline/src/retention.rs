//! Retention: of the visitors who came for the first time in one period, how many came back in later ones.
//!
//! Definition, version 1. A visitor is a device (`visitor_id`, else `user_id`); humans only. Periods are days, weeks
//! (Monday to Sunday) or months of a time zone. A visitor belongs to the cohort of the period in which the first of
//! all their sessions began, and to no other; the first session must have begun in the asked range. They are active in
//! every period in which a session of theirs began before the range's end. Period 0 is the cohort's own, in which all
//! are active. Cohorts run to the last period in which any visitor of any cohort was active; those without visitors
//! are left out.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, RecordBatch};
use datafusion::error::DataFusionError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::sessions as column;

use crate::columns::{texts, times};
use crate::days::{DayNumber, Days, Interval};
use crate::intern::Devices;

/// Names this definition in answers.
pub const DEFINITION: &str = "retention/1";

/// The visitors who came for the first time in one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cohort {
    /// The first day of the period.
    pub begins_on: DayNumber,
    /// How many of them were active in its own period, the next, and so on. The first is all of them.
    pub active: Vec<u64>,
}

/// When visitors came, from sessions in any order.
#[derive(Debug)]
pub(crate) struct Activity {
    days: Days,
    interval: Interval,
    devices: Devices,
    /// The first session of each device.
    first_us: Vec<i64>,
    /// Devices and the periods in which they came; some more than once.
    came: Vec<(u32, i32)>,
}

impl Activity {
    /// Nobody yet.
    pub fn new(days: Days, interval: Interval) -> Self {
        Self { days, interval, devices: Devices::default(), first_us: Vec::new(), came: Vec::new() }
    }

    /// Takes the sessions of a batch.
    pub fn read(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let at = times(batch, column::STARTED_AT)?;
        let (visitors, users) =
            (texts(batch, TextField::VisitorId.column())?, texts(batch, TextField::UserId.column())?);
        for row in (0..batch.num_rows()).filter(|row| at.is_valid(*row)) {
            let device = self.devices.number(visitors, users, row);
            if device != Devices::NOBODY {
                self.push(device, at.value(row));
            }
        }
        Ok(())
    }

    fn push(&mut self, device: u32, at_us: i64) {
        let place = device as usize;
        if place >= self.first_us.len() {
            self.first_us.resize(place + 1, i64::MAX);
        }
        self.first_us[place] = self.first_us[place].min(at_us);
        let came = (device, self.interval.of_day(self.days.day_of(at_us)));
        if self.came.last() != Some(&came) {
            self.came.push(came);
        }
    }

    /// Bytes of memory that it takes.
    pub fn size_bytes(&self) -> usize {
        self.devices.size_bytes()
            + self.first_us.capacity() * size_of::<i64>()
            + self.came.capacity() * size_of::<(u32, i32)>()
    }

    /// The cohorts whose visitors came first in a range of microseconds since 1970, in order.
    pub fn cohorts(mut self, range: &Range<i64>) -> Vec<Cohort> {
        self.came.sort_unstable();
        self.came.dedup();
        let Self { interval, first_us, came, .. } = self;
        let mut cohorts: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        let mut last = i32::MIN;
        for of_device in came.chunk_by(|a, b| a.0 == b.0) {
            let (device, cohort) = of_device[0];
            if !range.contains(&first_us[device as usize]) {
                continue;
            }
            let active = cohorts.entry(cohort).or_default();
            for (_, period) in of_device {
                let since = (period - cohort) as usize;
                if since >= active.len() {
                    active.resize(since + 1, 0);
                }
                active[since] += 1;
                last = last.max(*period);
            }
        }
        let cohorts = cohorts.into_iter().map(|(cohort, mut active)| {
            active.resize((last - cohort) as usize + 1, 0);
            Cohort { begins_on: interval.first_day(cohort), active }
        });
        cohorts.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{DateTime, Datelike, NaiveDate, Utc};
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::days::{date_of, number_of};

    fn us(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
    }

    /// Sessions as `DEVICE@TIME`, cohorts as `DATE: active active …`.
    fn check(zone: Tz, interval: Interval, range: (&str, &str), sessions: &[(u32, &str)], expected: &[&str]) {
        let mut activity = Activity::new(Days::new(zone), interval);
        sessions.iter().for_each(|(device, at)| activity.push(*device, us(at)));
        let cohorts = activity.cohorts(&(us(range.0)..us(range.1)));
        let said: Vec<_> =
            cohorts.iter().map(|cohort| format!("{}: {:?}", date_of(cohort.begins_on), cohort.active)).collect();
        assert_eq!(said, expected, "{zone} {interval:?}");
    }

    #[test]
    fn visitors_stay_in_the_cohort_of_their_first_session() {
        let sessions = [
            (1, "2026-03-04T10:00:00Z"),
            (1, "2026-03-02T10:00:00Z"),
            (1, "2026-03-02T18:00:00Z"),
            (2, "2026-03-02T23:30:00Z"),
            (2, "2026-03-10T10:00:00Z"),
            (3, "2026-03-09T00:00:00Z"),
            // Came first before the range.
            (4, "2026-02-27T10:00:00Z"),
            (4, "2026-03-03T10:00:00Z"),
        ];
        let march = ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z");
        check(
            Tz::UTC,
            Interval::Day,
            march,
            &sessions,
            &["2026-03-02: [2, 0, 1, 0, 0, 0, 0, 0, 1]", "2026-03-09: [1, 0]"],
        );
        check(
            Tz::Europe__Berlin,
            Interval::Day,
            march,
            &sessions,
            &["2026-03-02: [1, 0, 1, 0, 0, 0, 0, 0, 0]", "2026-03-03: [1, 0, 0, 0, 0, 0, 0, 1]", "2026-03-09: [1, 0]"],
        );
        check(Tz::UTC, Interval::Week, march, &sessions, &["2026-03-02: [2, 1]", "2026-03-09: [1]"]);
        check(Tz::UTC, Interval::Month, march, &sessions, &["2026-03-01: [3]"]);
        check(
            Tz::UTC,
            Interval::Month,
            ("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"),
            &sessions,
            &["2026-02-01: [1, 1]", "2026-03-01: [3]"],
        );
        check(Tz::UTC, Interval::Day, ("2027-01-01T00:00:00Z", "2027-04-01T00:00:00Z"), &sessions, &[]);
    }

    /// The definition, cohort by cohort and period by period.
    fn by_definition(sessions: &[(u32, i64)], interval: Interval, range: &Range<i64>) -> Vec<Cohort> {
        let begin_of = |at_us: i64| {
            let date =
                DateTime::from_timestamp_micros(at_us).unwrap().with_timezone(&Tz::America__New_York).date_naive();
            match interval {
                Interval::Day => date,
                Interval::Week => date.week(chrono::Weekday::Mon).first_day(),
                Interval::Month => NaiveDate::from_ymd_opt(date.year(), date.month(), 1).unwrap(),
            }
        };
        let next = |begin: NaiveDate| match interval {
            Interval::Day => begin + chrono::Days::new(1),
            Interval::Week => begin + chrono::Days::new(7),
            Interval::Month => begin + chrono::Months::new(1),
        };
        let firsts: BTreeMap<u32, i64> = sessions.iter().fold(BTreeMap::new(), |mut firsts, (device, at_us)| {
            let first = firsts.entry(*device).or_insert(*at_us);
            *first = (*first).min(*at_us);
            firsts
        });
        let counted = |device: &u32| range.contains(&firsts[device]);
        let last = sessions.iter().filter(|(device, _)| counted(device)).map(|(_, at_us)| begin_of(*at_us)).max();
        let begins: BTreeSet<NaiveDate> =
            firsts.iter().filter(|(device, _)| counted(device)).map(|(_, at_us)| begin_of(*at_us)).collect();
        begins
            .into_iter()
            .map(|cohort| {
                let members: Vec<u32> = firsts
                    .iter()
                    .filter(|(device, at_us)| counted(device) && begin_of(**at_us) == cohort)
                    .map(|(device, _)| *device)
                    .collect();
                let mut active = Vec::new();
                let mut period = cohort;
                while Some(period) <= last {
                    let came = |device: &&u32| {
                        sessions.iter().any(|(other, at_us)| other == *device && begin_of(*at_us) == period)
                    };
                    active.push(members.iter().filter(came).count() as u64);
                    period = next(period);
                }
                Cohort { begins_on: number_of(cohort), active }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn sessions_in_any_order_give_what_the_definition_says(
            sessions in proptest::collection::vec((1..6_u32, 0..90 * 24_i64), 0..40),
            interval in prop::sample::select(vec![Interval::Day, Interval::Week, Interval::Month]),
        ) {
            let begin_us = us("2026-01-20T00:00:00Z");
            let sessions: Vec<_> = sessions.iter().map(|(device, hour)| (*device, begin_us + hour * 3_600_000_000)).collect();
            let range = begin_us + 10 * 86_400_000_000..begin_us + 70 * 86_400_000_000;
            let mut activity = Activity::new(Days::new(Tz::America__New_York), interval);
            sessions.iter().for_each(|(device, at_us)| activity.push(*device, *at_us));
            prop_assert_eq!(activity.cohorts(&range), by_definition(&sessions, interval, &range));
        }
    }
}
