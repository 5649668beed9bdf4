//! When a job is due: a cron expression read on the clocks of a time zone.

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use cron::TimeUnitSpec;
use touchline_schemas::config::{JobConfig, NEVER};
use touchline_schemas::export::ExportSchedule;

/// A cron expression in a time zone.
///
/// Where clocks are set forward or back, an expression that names hours (`0 30 2 * * *`) fires once on that day: at
/// the first of two readings, or as much later as the clocks skipped. One that fires in every hour (`0 */5 * * * *`)
/// follows elapsed time: also in the repeated hour, and not for the skipped one.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// None: it never fires.
    cron: Option<cron::Schedule>,
    time_zone: Tz,
}

/// A schedule that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It is not a cron expression.
    #[error(
        "`{expression}` is not a cron expression of second, minute, hour, day of month, month, day of week: {source}"
    )]
    Expression {
        /// What was given.
        expression: String,
        /// Why.
        source: cron::error::Error,
    },
    /// No day has the combination that it asks for, such as 30 February.
    #[error("`{expression}` never fires")]
    Never {
        /// What was given.
        expression: String,
    },
    /// There is no such time zone.
    #[error("`{name}` is not the IANA name of a time zone")]
    TimeZone {
        /// What was given.
        name: String,
    },
}

impl Schedule {
    /// Reads a cron expression, whose fields mean the clocks of `time_zone`.
    pub fn parse(expression: &str, time_zone: &str) -> Result<Self, ScheduleError> {
        let cron: cron::Schedule = expression
            .parse()
            .map_err(|source| ScheduleError::Expression { expression: expression.to_owned(), source })?;
        if cron.after(&DateTime::<Utc>::UNIX_EPOCH).next().is_none() {
            return Err(ScheduleError::Never { expression: expression.to_owned() });
        }
        let time_zone = time_zone.parse().map_err(|_| ScheduleError::TimeZone { name: time_zone.to_owned() })?;
        Ok(Self { cron: Some(cron), time_zone })
    }

    /// Reads the schedule of a job, which may also be [`NEVER`]: then it runs only when somebody asks for it.
    pub fn of_job(job: &JobConfig) -> Result<Self, ScheduleError> {
        if job.schedule == NEVER {
            return Ok(Self { cron: None, time_zone: Tz::UTC });
        }
        Self::parse(&job.schedule, &job.time_zone)
    }

    /// Reads the schedule of an export.
    pub fn of_export(schedule: &ExportSchedule) -> Result<Self, ScheduleError> {
        Self::parse(&schedule.cron, &schedule.time_zone)
    }

    /// The first time after `time`; none when its years have passed, and when it never fires.
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let cron = self.cron.as_ref()?;
        let local = self.local(time);
        // Readings up to one clock change ago can still lie ahead: the clocks will show them again, or skipped them.
        let start = local.checked_sub_signed(self.clock_change_near(time)).unwrap_or(local);
        let mut next: Option<DateTime<Utc>> = None;
        let mut last_reading = NaiveDateTime::MAX;
        for reading in cron.after(&start.and_utc()).map(|reading| reading.naive_utc()) {
            if reading > last_reading {
                break;
            }
            let earlier = self.moments(reading).into_iter().flatten().filter(|moment| *moment > time).min();
            if let Some(moment) = earlier.filter(|moment| next.is_none_or(|next| *moment < next)) {
                next = Some(moment);
                last_reading = self.local(moment) + self.clock_change_near(moment);
            }
        }
        next
    }

    /// The last time after `after` and not after `until`.
    pub fn latest_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cron.as_ref()?;
        // Looking back in growing steps: a year of missed seconds is not walked through.
        let mut window = TimeDelta::seconds(1);
        loop {
            let start = until.checked_sub_signed(window).unwrap_or(after).max(after);
            if let Some(first) = self.next_after(start).filter(|first| *first <= until) {
                return Some(self.walk(first, until));
            }
            if start <= after {
                return None;
            }
            window = window.checked_mul(4).unwrap_or(TimeDelta::MAX);
        }
    }

    fn walk(&self, first: DateTime<Utc>, until: DateTime<Utc>) -> DateTime<Utc> {
        let mut latest = first;
        while let Some(next) = self.next_after(latest).filter(|next| *next <= until) {
            latest = next;
        }
        latest
    }

    /// The moments at which the clocks show `reading`, as far as they count.
    fn moments(&self, reading: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
        let every_hour = self.cron.as_ref().is_some_and(|cron| cron.hours().is_all());
        match self.time_zone.from_local_datetime(&reading) {
            chrono::LocalResult::Single(moment) => [Some(moment.to_utc()), None],
            chrono::LocalResult::Ambiguous(first, second) => {
                [Some(first.to_utc()), every_hour.then(|| second.to_utc())]
            }
            chrono::LocalResult::None if every_hour => [None, None],
            chrono::LocalResult::None => [self.as_if_unchanged(reading), None],
        }
    }

    /// The moment of a skipped reading, had the clocks not been changed.
    fn as_if_unchanged(&self, reading: NaiveDateTime) -> Option<DateTime<Utc>> {
        // A day earlier is before the change, whatever the offset from UTC.
        let before = self.time_zone.offset_from_utc_datetime(&reading.checked_sub_signed(TimeDelta::days(1))?);
        Some(reading.checked_sub_offset(before.fix())?.and_utc())
    }

    fn local(&self, time: DateTime<Utc>) -> NaiveDateTime {
        time.with_timezone(&self.time_zone).naive_local()
    }

    /// By how much the clocks are changed within a day of `time`; nearly always zero.
    fn clock_change_near(&self, time: DateTime<Utc>) -> TimeDelta {
        let offset = |days: i64| {
            let near = time.checked_add_signed(TimeDelta::days(days)).unwrap_or(time);
            self.time_zone.offset_from_utc_datetime(&near.naive_utc()).fix().local_minus_utc()
        };
        let offsets = [offset(-1), offset(0), offset(1)];
        let least = offsets.into_iter().min().unwrap_or_default();
        let greatest = offsets.into_iter().max().unwrap_or_default();
        TimeDelta::seconds(i64::from(greatest - least))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY_5_MINUTES: &str = "0 */5 * * * *";
    const EXPRESSIONS: [&str; 8] = [
        EVERY_5_MINUTES,
        "30 */5 * * * *",
        "0 0 * * * *",
        "0 30 2 * * *",
        "0 0,30 1-3 * * *",
        "15 10 0 * * Mon",
        "0 0 12 31 * *",
        "0 20,40 2 29 3 *",
    ];
    /// With changes of an hour, of half an hour, of two hours, of a whole day (2011), and with none.
    const TIME_ZONES: [&str; 7] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Antarctica/Troll",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ];

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(expression: &str, time_zone: &str, after: &str, expected: &[&str]) {
        let schedule = Schedule::parse(expression, time_zone).unwrap();
        let mut next = time(after);
        for expected in expected {
            next = schedule.next_after(next).unwrap();
            assert_eq!(next, time(expected), "{expression} in {time_zone}");
        }
    }

    #[test]
    fn a_job_may_have_no_time_at_all() {
        let schedule = Schedule::of_job(&JobConfig::every(NEVER)).unwrap();
        let (after, until) = (time("2026-03-01T12:00:00Z"), time("2027-03-01T12:00:00Z"));
        assert_eq!((schedule.next_after(after), schedule.latest_between(after, until)), (None, None));
        assert!(Schedule::parse(NEVER, "UTC").is_err(), "an export has to run");
    }

    #[test]
    fn next_time_is_strictly_later() {
        check(EVERY_5_MINUTES, "UTC", "2026-03-01T12:00:00Z", &["2026-03-01T12:05:00Z", "2026-03-01T12:10:00Z"]);
        check(EVERY_5_MINUTES, "UTC", "2026-03-01T12:04:59.999999Z", &["2026-03-01T12:05:00Z"]);
        check(EVERY_5_MINUTES, "UTC", "2026-03-01T12:05:00.000001Z", &["2026-03-01T12:10:00Z"]);
    }

    #[test]
    fn fields_mean_the_clocks_of_the_time_zone() {
        check("0 0 3 * * *", "Asia/Kathmandu", "2026-03-01T12:00:00Z", &["2026-03-01T21:15:00Z"]);
        check("0 0 3 * * *", "Europe/Berlin", "2026-07-01T12:00:00Z", &["2026-07-02T01:00:00Z"]);
    }

    #[test]
    fn named_hour_that_is_skipped_fires_once_and_late() {
        // 2026-03-29, Berlin: 02:00 becomes 03:00 at 01:00Z.
        let expected = ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"];
        check("0 30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", &expected);
    }

    #[test]
    fn skipped_reading_and_its_substitute_fire_once() {
        // 02:30 is skipped and would be 03:30, which is in the expression as well.
        let expected = ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"];
        check("0 30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &expected);
    }

    #[test]
    fn named_hour_that_is_repeated_fires_at_the_first_reading() {
        // 2026-10-25, Berlin: 03:00 becomes 02:00 at 01:00Z.
        let expected = ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        check("0 30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &expected);
    }

    #[test]
    fn every_hour_follows_elapsed_time_over_a_change() {
        let expected = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
        check("0 0 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", &expected);
        let expected = ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"];
        check("0 0 * * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", &expected);
    }

    #[test]
    fn time_inside_the_repeated_hour_goes_forward() {
        check(EVERY_5_MINUTES, "Europe/Berlin", "2026-10-25T00:57:00Z", &["2026-10-25T01:00:00Z"]);
        check(EVERY_5_MINUTES, "Europe/Berlin", "2026-10-25T01:12:00Z", &["2026-10-25T01:15:00Z"]);
    }

    #[test]
    fn day_that_a_time_zone_left_out_does_not_stop_the_schedule() {
        // Samoa went from 29 to 31 December 2011.
        check(
            "0 0 */6 * * *",
            "Pacific/Apia",
            "2011-12-30T09:00:00Z",
            &["2011-12-30T10:00:00Z", "2011-12-30T16:00:00Z"],
        );
    }

    #[test]
    fn unusable_schedules_are_refused() {
        let check = |expression: &str, time_zone: &str, expected: &str| {
            let message = Schedule::parse(expression, time_zone).unwrap_err().to_string();
            assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
        };
        check("every day", "UTC", "`every day` is not a cron expression");
        check("* * * * 13 *", "UTC", "is not a cron expression");
        check("0 0 0 30 2 *", "UTC", "never fires");
        check("0 0 0 * * *", "Berlin", "`Berlin` is not the IANA name");
    }

    #[test]
    fn schedule_of_past_years_has_no_next_time() {
        let schedule = Schedule::parse("0 0 0 1 1 * 2020", "UTC").unwrap();
        assert_eq!(schedule.next_after(time("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn latest_missed_time_is_found() {
        let check = |expression: &str, after: &str, until: &str, expected: Option<&str>| {
            let schedule = Schedule::parse(expression, "UTC").unwrap();
            assert_eq!(schedule.latest_between(time(after), time(until)), expected.map(time), "{expression} {until}");
        };
        let monday = "2026-03-02T00:00:00Z";
        check(EVERY_5_MINUTES, monday, "2026-03-02T00:04:59Z", None);
        check(EVERY_5_MINUTES, monday, "2026-03-02T00:05:00Z", Some("2026-03-02T00:05:00Z"));
        check(EVERY_5_MINUTES, monday, "2027-03-02T09:09:09Z", Some("2027-03-02T09:05:00Z"));
        check("* * 3 * * *", monday, "2026-03-02T23:00:00Z", Some("2026-03-02T03:59:59Z"));
        check("0 0 0 1 1 *", monday, "2029-06-01T00:00:00Z", Some("2029-01-01T00:00:00Z"));
        check(EVERY_5_MINUTES, "2026-03-03T00:00:00Z", monday, None);
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        (proptest::sample::select(&EXPRESSIONS[..]), proptest::sample::select(&TIME_ZONES[..]))
            .prop_map(|(expression, time_zone)| Schedule::parse(expression, time_zone).unwrap())
    }

    /// Any second of 2005 to 2035.
    fn times() -> impl Strategy<Value = DateTime<Utc>> {
        (1_104_537_600_i64..2_051_222_400).prop_map(|second| DateTime::from_timestamp(second, 0).unwrap())
    }

    /// Seconds within a day of a clock change in one of the time zones above.
    fn times_near_a_change() -> impl Strategy<Value = DateTime<Utc>> {
        let changes = [
            "2026-03-29T01:00:00Z",
            "2026-10-25T01:00:00Z",
            "2026-03-08T07:00:00Z",
            "2026-11-01T06:00:00Z",
            "2026-04-04T15:00:00Z",
            "2026-10-03T15:30:00Z",
            "2011-12-30T10:00:00Z",
        ]
        .map(time);
        (proptest::sample::select(changes.to_vec()), -90_000_i64..90_000)
            .prop_map(|(change, second)| change + TimeDelta::seconds(second))
    }

    proptest! {
        #[test]
        fn times_strictly_increase(schedule in schedules(), start in prop_oneof![times(), times_near_a_change()]) {
            let mut time = start;
            for _ in 0..20 {
                let next = schedule.next_after(time).unwrap();
                prop_assert!(next > time);
                time = next;
            }
        }

        #[test]
        fn no_time_is_skipped_or_found_twice(
            schedule in schedules(),
            start in prop_oneof![times(), times_near_a_change()],
            per_mille in 0_i64..1_000,
        ) {
            let next = schedule.next_after(start).unwrap();
            // From anywhere before the next time, it is still the next time.
            let seconds = (next - start).num_seconds() * per_mille / 1_000;
            prop_assert_eq!(schedule.next_after(start + TimeDelta::seconds(seconds)), Some(next));
            prop_assert_eq!(schedule.latest_between(start, next), Some(next));
            prop_assert_eq!(schedule.latest_between(start, next - TimeDelta::seconds(1)), None);
        }
    }
}
