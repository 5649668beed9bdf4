//! Alerts: what state a job is in, and which change of state is worth telling somebody. Delivery is in [`webhook`].

pub mod webhook;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use touchline_schemas::AccountId;
use touchline_schemas::config::AlertsConfig;
use touchline_schemas::control::RunId;

use crate::health::Health;
use crate::ledger::{self, Plan};

/// A process that has just begun first catches up with what was missed while none ran. For so long it calls no job
/// late that was not late before.
const CATCH_UP: TimeDelta = TimeDelta::minutes(5);

/// What state a job is in. A job that keeps failing is late as well, sooner or later; that is no news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing to tell.
    Well,
    /// No run has succeeded in time.
    Late,
    /// It has failed as often as makes an alert.
    Failed,
}

impl Condition {
    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Late => "late",
            Self::Failed => "failed",
        }
    }
}

/// When a job is in which state.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Failures in a row that make an alert.
    pub after_failures: u64,
    /// How long after a time of its schedule a job is late.
    pub late_after: TimeDelta,
    /// Whether jobs run by their schedules at all.
    pub scheduled: bool,
}

impl Rules {
    /// The rules of a configuration.
    pub fn of(config: &AlertsConfig, scheduled: bool) -> Self {
        Self {
            after_failures: u64::from(config.after_failures),
            late_after: TimeDelta::seconds(i64::from(config.late_after_s)),
            scheduled,
        }
    }

    /// How many of a job's newest runs these rules need to see.
    pub fn runs_needed(&self, plan: &Plan) -> u64 {
        (self.after_failures + 1) * (u64::from(plan.max_retries) + 1)
    }

    /// Whether a success is overdue.
    pub fn is_late(&self, health: &Health, plan: &Plan, now: DateTime<Utc>) -> bool {
        self.scheduled && health.is_late(plan, self.late_after, now)
    }

    /// The state of a job at `now` that was in the state `before`.
    pub fn condition(&self, before: Condition, health: &Health, plan: &Plan, now: DateTime<Utc>) -> Condition {
        let has_caught_up = before == Condition::Late || now - plan.since >= CATCH_UP;
        if health.given_up(plan.max_retries) >= self.after_failures {
            Condition::Failed
        } else if has_caught_up && self.is_late(health, plan, now) {
            Condition::Late
        } else {
            Condition::Well
        }
    }

    /// The state that a job was last known to be in before this process began: somebody has been told.
    pub fn known_before(&self, health: &Health, plan: &Plan) -> Condition {
        // It was seen to be late only while somebody was there to see it.
        let was_late = health.last_ended_at().is_some_and(|ended_at| self.is_late(health, plan, ended_at));
        if health.given_up(plan.max_retries) >= self.after_failures {
            Condition::Failed
        } else if was_late {
            Condition::Late
        } else {
            Condition::Well
        }
    }
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AlertKind {
    /// A job has failed, and is not tried again before its next time.
    #[serde(rename = "job.failed")]
    Failed,
    /// No run of a job has succeeded in time.
    #[serde(rename = "job.late")]
    Late,
    /// A job that had failed or was late has succeeded.
    #[serde(rename = "job.recovered")]
    Recovered,
    /// Somebody wants to know whether alerts arrive.
    #[serde(rename = "test")]
    Test,
}

impl AlertKind {
    /// The word used in alerts, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "job.failed",
            Self::Late => "job.late",
            Self::Recovered => "job.recovered",
            Self::Test => "test",
        }
    }

    /// What is worth telling when a job's state changes; nothing when it stays.
    pub const fn of_change(before: Condition, after: Condition) -> Option<Self> {
        match (before, after) {
            (Condition::Well | Condition::Late, Condition::Failed) => Some(Self::Failed),
            (Condition::Well, Condition::Late) => Some(Self::Late),
            (Condition::Late | Condition::Failed, Condition::Well) => Some(Self::Recovered),
            (Condition::Well, Condition::Well)
            | (Condition::Late | Condition::Failed, Condition::Late)
            | (Condition::Failed, Condition::Failed) => None,
        }
    }
}

/// One alert, as it is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: AlertKind,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The account that the run was for, if for one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// What is wrong; none when all is well again.
    pub error: Option<String>,
    /// The run that made the difference; none when a run is what is missing.
    pub run: Option<RunId>,
    /// When the alert was made.
    pub at: DateTime<Utc>,
    /// Which attempt that run was, counted from 1.
    pub attempt: Option<u16>,
}

impl Alert {
    /// An alert that only shows that alerts arrive.
    pub const fn test(at: DateTime<Utc>) -> Self {
        Self { kind: AlertKind::Test, job: None, account: None, error: None, run: None, at, attempt: None }
    }

    /// An alert about a job whose health is now `health`.
    pub fn about(kind: AlertKind, plan: &Plan, health: &Health, at: DateTime<Utc>) -> Self {
        let run = match kind {
            AlertKind::Failed => health.newest_failure(),
            AlertKind::Recovered => health.last_success.as_ref(),
            AlertKind::Late | AlertKind::Test => None,
        };
        let error = match kind {
            // A run without an error of its own is one whose process died.
            AlertKind::Failed => {
                run.map(|run| run.error.clone().unwrap_or_else(|| "the run's process died".to_owned()))
            }
            AlertKind::Late => health.due_at(plan).map(|due_at| {
                let due_at = due_at.to_rfc3339_opts(SecondsFormat::Secs, true);
                format!("no run has succeeded since one was due at {due_at}")
            }),
            AlertKind::Recovered | AlertKind::Test => None,
        };
        Self {
            kind,
            job: Some(plan.job.to_owned()),
            account: run.and_then(|run| ledger::request_of(run).account),
            error,
            run: run.map(|run| run.id),
            at,
            attempt: run.map(|run| run.attempt),
        }
    }
}

#[cfg(test)]
mod tests {
    use touchline_schemas::control::RunStatus;

    use super::*;
    use crate::health::tests::{at, plan, run, since_success};
    use crate::job::RunRequest;

    const RULES: Rules = Rules { after_failures: 1, late_after: TimeDelta::hours(1), scheduled: true };

    #[test]
    fn only_changes_are_told() {
        use Condition::{Failed, Late, Well};
        let check = |before: Condition, after: Condition, expected: Option<&str>| {
            assert_eq!(AlertKind::of_change(before, after).map(AlertKind::as_str), expected, "{before:?} {after:?}");
        };
        for same in [Well, Late, Failed] {
            check(same, same, None);
        }
        check(Well, Late, Some("job.late"));
        check(Well, Failed, Some("job.failed"));
        check(Late, Failed, Some("job.failed"));
        check(Late, Well, Some("job.recovered"));
        check(Failed, Well, Some("job.recovered"));
        check(Failed, Late, None);
    }

    #[test]
    fn as_many_failures_as_configured_make_an_alert() {
        let check = |after_failures: u64, failed_times: usize, expected: Condition| {
            let runs: Vec<_> = (1..=4 * failed_times)
                .map(|attempt| (Some(300 * i64::try_from(attempt.div_ceil(4)).unwrap()), RunStatus::Failed))
                .collect();
            let rules = Rules { after_failures, ..RULES };
            let found = rules.condition(Condition::Well, &since_success(&runs), &plan(), at(700));
            assert_eq!(found, expected, "{after_failures} {failed_times}");
            assert!(rules.runs_needed(&plan()) >= 4 * after_failures);
        };
        check(1, 0, Condition::Well);
        check(1, 1, Condition::Failed);
        check(2, 1, Condition::Well);
        check(2, 2, Condition::Failed);
    }

    #[test]
    fn process_that_begins_lets_late_jobs_catch_up() {
        // The last success was at 12:00, the process begins ten hours later.
        let began = 36_000;
        let plan = Plan { since: at(began), ..plan() };
        let health = since_success(&[]);
        let check = |before: Condition, second: i64, expected: Condition| {
            assert_eq!(RULES.condition(before, &health, &plan, at(second)), expected, "{before:?} {second}");
        };
        check(Condition::Well, began + 299, Condition::Well);
        check(Condition::Well, began + 300, Condition::Late);
        // It was late before, and still is.
        check(Condition::Late, began, Condition::Late);
        assert!(RULES.is_late(&health, &plan, at(began)), "the metric does not wait");
        let by_hand = Rules { scheduled: false, ..RULES };
        assert_eq!(by_hand.condition(Condition::Well, &health, &plan, at(began + 300)), Condition::Well);
    }

    #[test]
    fn state_before_a_restart_is_read_from_the_ledger() {
        let check = |runs: &[(Option<i64>, RunStatus)], expected: Condition| {
            assert_eq!(RULES.known_before(&since_success(runs), &plan()), expected, "{runs:?}");
        };
        check(&[], Condition::Well);
        check(&[(Some(300), RunStatus::Failed)], Condition::Well);
        check(&[(Some(300), RunStatus::Failed); 4], Condition::Failed);
        // Still tried again at 13:10, and so already late.
        check(&[(Some(4_200), RunStatus::Failed)], Condition::Late);
    }

    #[test]
    fn alert_says_which_run_of_which_job_made_the_difference() {
        let account = AccountId(uuid::Uuid::from_u128(7));
        let mut health = since_success(&[(Some(300), RunStatus::Failed), (None, RunStatus::Failed)]);
        health.runs_since[0].attempt = 4;
        let request = RunRequest { account: Some(account), ..RunRequest::default() };
        health.runs_since[0].request = ledger::request_entry(request);
        let check = |kind: AlertKind, expected: &str| {
            let alert = Alert::about(kind, &plan(), &health, at(301));
            assert_eq!(serde_json::to_string(&alert).unwrap(), expected);
        };
        check(
            AlertKind::Failed,
            r#"{"type":"job.failed","job":"sessions","account":"00000000-0000-0000-0000-000000000007","error":"disk on fire","run":2,"at":"2026-03-01T12:05:01Z","attempt":4}"#,
        );
        check(
            AlertKind::Late,
            r#"{"type":"job.late","job":"sessions","error":"no run has succeeded since one was due at 2026-03-01T12:05:00Z","run":null,"at":"2026-03-01T12:05:01Z","attempt":null}"#,
        );
        check(
            AlertKind::Recovered,
            r#"{"type":"job.recovered","job":"sessions","error":null,"run":0,"at":"2026-03-01T12:05:01Z","attempt":1}"#,
        );
        let test = serde_json::to_string(&Alert::test(at(0))).unwrap();
        assert_eq!(test, r#"{"type":"test","error":null,"run":null,"at":"2026-03-01T12:00:00Z","attempt":null}"#);
    }

    #[test]
    fn abandoned_run_has_an_error_too() {
        let mut health = since_success(&[]);
        health.runs_since = vec![run(1, Some(300), RunStatus::Abandoned)];
        let alert = Alert::about(AlertKind::Failed, &plan(), &health, at(301));
        assert_eq!(alert.error.as_deref(), Some("the run's process died"));
    }
}
