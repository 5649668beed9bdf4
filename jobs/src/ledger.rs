//! What the ledger of runs says about a schedule: which run is due, and how a run that ended is written down.

use std::error::Error;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use touchline_schemas::config::JobConfig;
use touchline_schemas::control::{ControlDb, ControlError, JobRun, RunOutcome, RunStatus, Trigger};

use crate::job::{JobReport, RunRequest};
use crate::schedule::Schedule;

/// Longest pause before a retry, in seconds.
const MAX_BACK_OFF_S: i64 = 3_600;
/// Longest error text that is kept, in characters.
const MAX_ERROR_CHARS: usize = 2_000;

/// A run that should start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The time in the schedule that it stands for.
    pub scheduled_for: DateTime<Utc>,
    /// What the ledger will give as its reason.
    pub trigger: Trigger,
    /// Which attempt it is, counted from 1.
    pub attempt: u16,
    /// What it is asked to do: a retry is asked for what the failed run was asked for.
    pub request: RunRequest,
}

/// A job's schedule and the limits that go with it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The job's name.
    pub job: &'static str,
    /// When it should run.
    pub schedule: Schedule,
    /// By how much all its times are put off.
    pub delay: TimeDelta,
    /// Further attempts after a failed one.
    pub max_retries: u32,
    /// The schedule counts from here for a job that has never run.
    pub since: DateTime<Utc>,
}

impl Plan {
    /// A plan by `config` for the `number`th job, counted from zero.
    pub fn new(job: &'static str, schedule: Schedule, config: &JobConfig, number: u64, since: DateTime<Utc>) -> Self {
        Self { job, schedule, delay: delay(number, config.jitter_s), max_retries: config.max_retries, since }
    }

    /// The run that should start at `now`, if one should. Times that were missed count as one, the latest.
    pub async fn due(&self, control: &ControlDb, now: DateTime<Utc>) -> Result<Option<Due>, ControlError> {
        let last = control.last_scheduled(self.job).await?;
        if let Some(due) = self.newly_due(last.unwrap_or(self.since), now) {
            return Ok(Some(due));
        }
        match last {
            Some(scheduled_for) => {
                let attempts = control.attempts(self.job, scheduled_for).await?;
                Ok(self.retry(scheduled_for, &attempts, now))
            }
            None => Ok(None),
        }
    }

    fn newly_due(&self, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
        let until = now.checked_sub_signed(self.delay)?;
        let scheduled_for = self.schedule.latest_between(last, until)?;
        let missed_others = self.schedule.next_after(last) != Some(scheduled_for);
        // Nobody was there at that time: either it passed before this process began, or others passed before it.
        let trigger = if missed_others || scheduled_for < self.since { Trigger::CatchUp } else { Trigger::Schedule };
        Some(Due { scheduled_for, trigger, attempt: 1, request: RunRequest::default() })
    }

    /// The attempt that the attempts so far at one time of the schedule call for at `now`.
    fn retry(&self, scheduled_for: DateTime<Utc>, attempts: &[JobRun], now: DateTime<Utc>) -> Option<Due> {
        let newest = attempts.last()?;
        let wanted = match newest.status {
            RunStatus::Succeeded => false,
            // Its process may be dead. Whoever gets the lease will know, and ask again.
            RunStatus::Running => true,
            RunStatus::Failed | RunStatus::Abandoned => {
                let failures = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
                let ended_at = newest.finished_at.unwrap_or(newest.started_at);
                failures <= self.max_retries && now - ended_at >= back_off(failures)
            }
        };
        let attempt = u16::try_from(attempts.len()).unwrap_or(u16::MAX).saturating_add(1);
        let due = Due { scheduled_for, trigger: newest.trigger, attempt, request: request_of(newest) };
        wanted.then_some(due)
    }
}

/// By how much the `number`th job is put off: jobs are spread evenly over `jitter_s` seconds by the golden ratio, which
/// keeps any number of them apart.
///
/// All times of a job are put off alike. A new delay for each could reach past the next time, and a frequent job would
/// starve.
fn delay(number: u64, jitter_s: u64) -> TimeDelta {
    const GOLDEN_RATIO_PER_MILLE: u64 = 618;
    let per_mille = number.wrapping_mul(GOLDEN_RATIO_PER_MILLE) % 1_000;
    let delay_s = jitter_s.saturating_mul(per_mille) / 1_000;
    TimeDelta::try_seconds(i64::try_from(delay_s).unwrap_or_default()).unwrap_or_default()
}

/// The pause after this many failures: 1, 4, 16, … seconds, at most an hour.
fn back_off(failures: u32) -> TimeDelta {
    let seconds = 4_i64.checked_pow(failures.saturating_sub(1)).unwrap_or(MAX_BACK_OFF_S);
    TimeDelta::seconds(seconds.min(MAX_BACK_OFF_S))
}

/// What the ledger keeps of a request: nothing if it asks for nothing but what is new.
pub fn request_entry(request: RunRequest) -> Option<serde_json::Value> {
    let asks = request != RunRequest::default();
    asks.then(|| serde_json::to_value(request)).and_then(Result::ok)
}

/// What a run was asked to do, by the ledger.
pub fn request_of(run: &JobRun) -> RunRequest {
    run.request.as_ref().and_then(|request| RunRequest::deserialize(request).ok()).unwrap_or_default()
}

/// The ledger's entry for a run that succeeded and ended at `now`.
pub fn succeeded(report: &JobReport, now: DateTime<Utc>) -> RunOutcome {
    let lag = report.watermark.map(|watermark| now - watermark);
    RunOutcome::Succeeded {
        rows_read: report.rows_read,
        rows_written: report.rows_written,
        bytes_read: report.bytes_read,
        bytes_written: report.bytes_written,
        source_version: report.source_version,
        watermark: report.watermark,
        // A clock that was set back makes no negative lag.
        lag_ms: lag.map(|lag| u64::try_from(lag.num_milliseconds()).unwrap_or_default()),
    }
}

/// The ledger's entry for a run that failed.
pub fn failed(error: &dyn Error) -> RunOutcome {
    RunOutcome::Failed { error: with_causes(error).chars().take(MAX_ERROR_CHARS).collect() }
}

/// An error with all its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        // Many messages already end with that of their cause.
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use touchline_schemas::control::RunId;

    use super::*;

    /// 2026-03-01T12:00:00Z and `seconds`.
    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_366_400 + seconds, 0).unwrap()
    }

    fn plan(config: &JobConfig, number: u64) -> Plan {
        let schedule = Schedule::parse(&config.schedule, &config.time_zone).unwrap();
        Plan::new("sessions", schedule, config, number, at(10))
    }

    fn every_5_minutes() -> Plan {
        plan(&JobConfig::every("0 */5 * * * *"), 0)
    }

    #[test]
    fn missed_times_count_as_one_run() {
        let check = |last: i64, now: i64, expected: Option<(i64, Trigger)>| {
            let request = RunRequest::default();
            let expected =
                expected.map(|(second, trigger)| Due { scheduled_for: at(second), trigger, attempt: 1, request });
            assert_eq!(every_5_minutes().newly_due(at(last), at(now)), expected, "{last} {now}");
        };
        check(10, 299, None);
        check(10, 300, Some((300, Trigger::Schedule)));
        check(300, 300, None);
        check(300, 599, None);
        check(300, 607, Some((600, Trigger::Schedule)));
        check(300, 86_400 + 1, Some((86_400, Trigger::CatchUp)));
        // One time, but before this process began.
        check(-600, -250, Some((-300, Trigger::CatchUp)));
    }

    #[test]
    fn delay_puts_off_every_time_by_the_same() {
        let plan = plan(&JobConfig { jitter_s: 1_000, ..JobConfig::every("0 */5 * * * *") }, 1);
        assert_eq!(plan.delay, TimeDelta::seconds(618));
        assert_eq!(plan.newly_due(at(0), at(917)), None);
        assert_eq!(plan.newly_due(at(0), at(918)).unwrap().scheduled_for, at(300));
        assert_eq!(plan.newly_due(at(300), at(1_218)).unwrap().scheduled_for, at(600));
    }

    #[test]
    fn jobs_are_spread_over_the_jitter() {
        let delays = [0, 1, 2, 3].map(|number| delay(number, 100).num_seconds());
        assert_eq!(delays, [0, 61, 23, 85]);
        assert_eq!(delay(3, 0), TimeDelta::zero());
    }

    fn attempt(status: RunStatus, finished_at: Option<i64>) -> JobRun {
        JobRun {
            id: RunId(1),
            job: "sessions".to_owned(),
            trigger: Trigger::CatchUp,
            status,
            scheduled_for: Some(at(0)),
            started_at: at(0),
            finished_at: finished_at.map(at),
            attempt: 1,
            request: None,
            duration_ms: None,
            rows_read: None,
            rows_written: None,
            bytes_read: None,
            bytes_written: None,
            source_version: None,
            watermark: None,
            lag_ms: None,
            error: None,
        }
    }

    #[test]
    fn failures_are_retried_with_growing_pauses_and_then_given_up() {
        let check = |failures: usize, pause_s: i64, expected: bool| {
            let attempts = vec![attempt(RunStatus::Failed, Some(100)); failures];
            let retry = every_5_minutes().retry(at(0), &attempts, at(100 + pause_s));
            let retry = retry.map(|due| (due.trigger, usize::from(due.attempt)));
            assert_eq!(retry, expected.then_some((Trigger::CatchUp, failures + 1)), "{failures} {pause_s}");
        };
        check(0, 1_000, false);
        check(1, 0, false);
        check(1, 1, true);
        check(2, 3, false);
        check(2, 4, true);
        check(3, 15, false);
        check(3, 16, true);
        check(4, 1_000_000, false);
    }

    #[test]
    fn retry_follows_the_newest_attempt() {
        let check = |status: RunStatus, finished_at: Option<i64>, expected: bool| {
            let attempts = [attempt(RunStatus::Failed, Some(0)), attempt(status, finished_at)];
            assert_eq!(every_5_minutes().retry(at(0), &attempts, at(100)).is_some(), expected, "{status:?}");
        };
        check(RunStatus::Succeeded, Some(1), false);
        check(RunStatus::Running, None, true);
        check(RunStatus::Abandoned, Some(96), true);
        check(RunStatus::Abandoned, Some(97), false);
    }

    #[test]
    fn retry_keeps_the_request() {
        let day = chrono::NaiveDate::from_ymd_opt(2026, 2, 1);
        for request in [RunRequest::default(), RunRequest::FULL, RunRequest { from: day, ..RunRequest::default() }] {
            let failed = JobRun { request: request_entry(request), ..attempt(RunStatus::Failed, Some(0)) };
            let due = every_5_minutes().retry(at(0), &[failed], at(100)).unwrap();
            assert_eq!(due.request, request);
        }
        assert_eq!(request_entry(RunRequest::default()), None);
    }

    #[test]
    fn lag_is_the_age_of_what_was_written() {
        let check = |watermark: Option<i64>, expected: Option<u64>| {
            let report = JobReport { watermark: watermark.map(at), ..JobReport::default() };
            let RunOutcome::Succeeded { lag_ms, .. } = succeeded(&report, at(100)) else { panic!("not a success") };
            assert_eq!(lag_ms, expected, "{watermark:?}");
        };
        check(Some(97), Some(3_000));
        check(Some(101), Some(0));
        check(None, None);
    }

    #[test]
    fn pause_is_at_most_an_hour() {
        assert_eq!(back_off(7), TimeDelta::seconds(MAX_BACK_OFF_S));
        assert_eq!(back_off(u32::MAX), TimeDelta::seconds(MAX_BACK_OFF_S));
    }

    #[test]
    fn error_is_kept_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("table `events` cannot be read")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("disk on fire"));
        let expected = RunOutcome::Failed { error: "table `events` cannot be read: disk on fire".to_owned() };
        assert_eq!(failed(&error), expected);
    }
}
