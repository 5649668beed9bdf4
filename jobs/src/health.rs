//! How a job is doing, by the ledger of its runs: whichever process ran it, and also after a restart.

use chrono::{DateTime, TimeDelta, Utc};
use touchline_schemas::control::{ControlDb, ControlError, JobRun, RunStatus};

use crate::ledger::Plan;

/// What the ledger says of a job.
#[derive(Debug, Clone)]
pub struct Health {
    /// The newest run that succeeded.
    pub last_success: Option<JobRun>,
    /// The newest runs since then, newest first.
    pub runs_since: Vec<JobRun>,
    /// How many of all runs since then failed or were abandoned.
    pub failures_in_a_row: u64,
    /// When the oldest run was started, for a job that has never succeeded.
    pub first_started_at: Option<DateTime<Utc>>,
}

/// One reason to run: a time of the schedule with all its attempts, or somebody's wish.
struct Occasion {
    scheduled_for: Option<DateTime<Utc>>,
    failures: u32,
}

impl Health {
    /// Reads a job's health, with at most `limit` runs.
    pub async fn read(control: &ControlDb, job: &str, limit: u64) -> Result<Self, ControlError> {
        let last_success = control.last_success(job).await?;
        let after = last_success.as_ref().map(|run| run.id);
        let first = if after.is_none() { control.first_run(job).await? } else { None };
        Ok(Self {
            runs_since: control.runs_after(job, after, limit).await?,
            failures_in_a_row: control.failures_after(job, after).await?,
            first_started_at: first.map(|run| run.started_at),
            last_success,
        })
    }

    /// The newest run since the last success that failed.
    pub fn newest_failure(&self) -> Option<&JobRun> {
        self.runs_since.iter().find(|run| is_failure(run))
    }

    /// How many times in a row the job has really failed: times of its schedule of which no attempt is left, and runs
    /// that somebody asked for, which are not repeated.
    pub fn given_up(&self, max_retries: u32) -> u64 {
        let mut newer_failed = false;
        let mut given_up = 0;
        for Occasion { scheduled_for, failures } in self.occasions() {
            let used_up = scheduled_for.is_none() || failures > max_retries;
            // The next time of the schedule ends the retries of the one before. That alone is no failure: after a stop
            // in the middle of a run, the next time may be the retry.
            if failures > 0 && (used_up || newer_failed) {
                given_up += 1;
            }
            newer_failed |= failures > 0 && scheduled_for.is_some();
        }
        given_up
    }

    /// The first time of the schedule for which no run has succeeded.
    pub fn due_at(&self, plan: &Plan) -> Option<DateTime<Utc>> {
        let success = self.last_success.as_ref().map(|run| run.started_at);
        let since = success.or(self.first_started_at).unwrap_or(plan.since);
        plan.schedule.next_after(since)?.checked_add_signed(plan.delay)
    }

    /// Whether at `now` a success is overdue by more than `late_after`.
    pub fn is_late(&self, plan: &Plan, late_after: TimeDelta, now: DateTime<Utc>) -> bool {
        self.due_at(plan).is_some_and(|due_at| now - due_at > late_after)
    }

    /// When the newest run ended that has ended.
    pub fn last_ended_at(&self) -> Option<DateTime<Utc>> {
        self.runs_since.iter().chain(&self.last_success).find_map(|run| run.finished_at)
    }

    /// The occasions since the last success, newest first.
    fn occasions(&self) -> Vec<Occasion> {
        let mut occasions: Vec<Occasion> = Vec::new();
        // A run may have succeeded between two questions to the ledger.
        for run in self.runs_since.iter().take_while(|run| run.status != RunStatus::Succeeded) {
            let failures = u32::from(is_failure(run));
            let known = occasions
                .iter_mut()
                .find(|occasion| occasion.scheduled_for.is_some() && occasion.scheduled_for == run.scheduled_for);
            match known {
                Some(occasion) => occasion.failures += failures,
                // Whoever stops a run of their own knows that it did not end.
                None if run.scheduled_for.is_none() && run.status == RunStatus::Abandoned => {}
                None => occasions.push(Occasion { scheduled_for: run.scheduled_for, failures }),
            }
        }
        occasions
    }
}

fn is_failure(run: &JobRun) -> bool {
    match run.status {
        RunStatus::Failed | RunStatus::Abandoned => true,
        RunStatus::Running | RunStatus::Succeeded => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use touchline_schemas::config::JobConfig;
    use touchline_schemas::control::{RunId, Trigger};

    use super::*;
    use crate::schedule::Schedule;

    /// 2026-03-01T12:00:00Z and `seconds`.
    pub fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_366_400 + seconds, 0).unwrap()
    }

    /// Every five minutes, with three retries, in a process that began at 12:00:10.
    pub fn plan() -> Plan {
        let config = JobConfig::every("0 */5 * * * *");
        Plan::new("sessions", Schedule::parse(&config.schedule, "UTC").unwrap(), &config, 0, at(10))
    }

    /// A run that was started for that second of the schedule, or by hand, and ended a second later.
    pub fn run(id: i64, scheduled_for: Option<i64>, status: RunStatus) -> JobRun {
        let started_at = at(scheduled_for.unwrap_or(0));
        JobRun {
            id: RunId(id),
            job: "sessions".to_owned(),
            trigger: Trigger::Schedule,
            status,
            scheduled_for: scheduled_for.map(at),
            started_at,
            finished_at: (status != RunStatus::Running).then(|| started_at + TimeDelta::seconds(1)),
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
            error: (status == RunStatus::Failed).then(|| "disk on fire".to_owned()),
        }
    }

    /// A job whose last success was the run for second 0, and then these runs, oldest first.
    pub fn since_success(runs: &[(Option<i64>, RunStatus)]) -> Health {
        let mut runs: Vec<JobRun> =
            (1..).zip(runs).map(|(id, (scheduled_for, status))| run(id, *scheduled_for, *status)).collect();
        runs.reverse();
        Health {
            last_success: Some(run(0, Some(0), RunStatus::Succeeded)),
            failures_in_a_row: u64::try_from(runs.iter().filter(|run| is_failure(run)).count()).unwrap(),
            runs_since: runs,
            first_started_at: None,
        }
    }

    #[test]
    fn a_time_of_the_schedule_has_failed_when_no_attempt_is_left() {
        use RunStatus::{Abandoned, Failed, Running, Succeeded};
        let check = |runs: &[(Option<i64>, RunStatus)], expected: u64| {
            assert_eq!(since_success(runs).given_up(3), expected, "{runs:?}");
        };
        check(&[], 0);
        check(&[(Some(300), Running)], 0);
        check(&[(Some(300), Failed); 3], 0);
        check(&[(Some(300), Failed), (Some(300), Failed), (Some(300), Failed), (Some(300), Running)], 0);
        check(&[(Some(300), Failed); 4], 1);
        check(&[(Some(300), Abandoned); 4], 1);
        // A stop in the middle of a run, and the next time of the schedule.
        check(&[(Some(300), Failed), (Some(600), Running)], 0);
        check(&[(Some(300), Failed), (Some(600), Failed)], 1);
        check(&[(Some(300), Failed), (Some(600), Failed), (Some(900), Failed)], 2);
        // What somebody asks for is not repeated.
        check(&[(None, Failed)], 1);
        check(&[(None, Abandoned), (None, Running)], 0);
        check(&[(Some(300), Failed), (None, Failed), (Some(300), Failed)], 1);
        // It succeeded while we asked.
        check(&[(None, Failed), (Some(300), Succeeded)], 0);
    }

    #[test]
    fn a_job_is_late_when_a_success_is_overdue() {
        let check = |health: &Health, now: i64, expected: bool| {
            assert_eq!(health.is_late(&plan(), TimeDelta::seconds(3_600), at(now)), expected, "{now}");
        };
        // It succeeded for 12:00, so one was due at 12:05.
        let health = since_success(&[(Some(300), RunStatus::Failed)]);
        check(&health, 300 + 3_600, false);
        check(&health, 300 + 3_601, true);
        // It has never succeeded, and failed for the first time at 11:00.
        let never = Health { last_success: None, first_started_at: Some(at(-3_600)), ..since_success(&[]) };
        check(&never, 300, false);
        check(&never, 301, true);
        // It has never run: the process began at 12:00:10.
        let new = Health { last_success: None, ..since_success(&[]) };
        check(&new, 300 + 3_600, false);
        check(&new, 300 + 3_601, true);
    }

    #[test]
    fn delay_of_a_job_delays_what_is_late() {
        let plan = Plan { delay: TimeDelta::seconds(60), ..plan() };
        let health = since_success(&[]);
        assert!(!health.is_late(&plan, TimeDelta::zero(), at(360)));
        assert!(health.is_late(&plan, TimeDelta::zero(), at(361)));
    }
}
