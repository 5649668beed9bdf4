//! Questions to the ledger of job runs about a job's history: what has happened since it last succeeded, and what is
//! too old to be kept.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::job_runs::entity::{Column, Entity};
use super::moment::micros;
use super::{ControlDb, ControlError, JobRun, RunId, RunStatus};

impl ControlDb {
    /// A job's runs after the run `after`, or all, newest first and at most `limit`.
    pub async fn runs_after(&self, job: &str, after: Option<RunId>, limit: u64) -> Result<Vec<JobRun>, ControlError> {
        self.read_runs(after_run(job, after).order_by_desc(Column::Id).limit(limit)).await
    }

    /// A job's runs before the run `before`, or all, newest first and at most `limit`.
    pub async fn runs_before(&self, job: &str, before: Option<RunId>, limit: u64) -> Result<Vec<JobRun>, ControlError> {
        let mut find = after_run(job, None);
        if let Some(before) = before {
            find = find.filter(Column::Id.lt(before.0));
        }
        self.read_runs(find.order_by_desc(Column::Id).limit(limit)).await
    }

    /// How many of a job's runs after the run `after`, or of all, failed or were abandoned.
    pub async fn failures_after(&self, job: &str, after: Option<RunId>) -> Result<u64, ControlError> {
        let failures = [RunStatus::Failed, RunStatus::Abandoned].map(RunStatus::as_str);
        let find = after_run(job, after).filter(Column::Status.is_in(failures));
        find.count(&self.db).await.map_err(ControlError::during("count failed runs"))
    }

    /// A job's oldest run that is still in the ledger.
    pub async fn first_run(&self, job: &str) -> Result<Option<JobRun>, ControlError> {
        Ok(self.read_runs(after_run(job, None).order_by_asc(Column::Id).limit(1)).await?.into_iter().next())
    }

    /// Removes runs that were started before `before`, and says how many. What later decisions need stays however old
    /// it is: of each job the newest run, the newest that succeeded, the newest that its schedule started, and runs
    /// that have not ended.
    pub async fn prune_runs(&self, before: DateTime<Utc>) -> Result<u64, ControlError> {
        let during = || ControlError::during("remove old runs");
        let jobs = Entity::find().select_only().column(Column::Job).distinct().into_tuple::<String>();
        let mut removed = 0;
        for job in jobs.all(&self.db).await.map_err(during())? {
            let pruned = Entity::delete_many()
                .filter(Column::Job.eq(&job))
                .filter(Column::StartedAt.lt(micros(before)))
                .filter(Column::Status.ne(RunStatus::Running.as_str()))
                .filter(Column::Id.is_not_in(self.needed(&job).await?))
                .exec(&self.db)
                .await
                .map_err(during())?;
            removed += pruned.rows_affected;
        }
        Ok(removed)
    }

    async fn needed(&self, job: &str) -> Result<Vec<i64>, ControlError> {
        let newest = self.runs(Some(job), 1).await?.into_iter().next();
        let succeeded = self.last_success(job).await?;
        let scheduled = match self.last_scheduled(job).await? {
            Some(scheduled_for) => self.attempts(job, scheduled_for).await?,
            None => Vec::new(),
        };
        Ok(newest.into_iter().chain(succeeded).chain(scheduled).map(|run| run.id.0).collect())
    }
}

fn after_run(job: &str, after: Option<RunId>) -> Select<Entity> {
    let find = Entity::find().filter(Column::Job.eq(job));
    match after {
        Some(after) => find.filter(Column::Id.gt(after.0)),
        None => find,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::moment::tests::at;
    use crate::control::{NewRun, RunOutcome, Trigger};

    /// A run of `job` at `second`, whether it succeeded, and whether somebody asked for it.
    async fn ran(control: &ControlDb, job: &str, second: i64, succeeded: bool, by_hand: bool) -> RunId {
        let new = match by_hand {
            true => NewRun::first(job, Trigger::Manual, None),
            false => NewRun::first(job, Trigger::Schedule, Some(at(second))),
        };
        let run = control.start_run(new, at(second)).await.unwrap();
        let outcome = match succeeded {
            true => RunOutcome::Succeeded {
                rows_read: 0,
                rows_written: 0,
                bytes_read: 0,
                bytes_written: 0,
                source_version: None,
                watermark: None,
                lag_ms: None,
            },
            false => RunOutcome::Failed { error: "disk on fire".to_owned() },
        };
        control.finish_run(run, outcome, Duration::ZERO, at(second)).await.unwrap();
        run
    }

    #[tokio::test]
    async fn failures_are_counted_from_a_run_on() {
        let control = ControlDb::open_in_memory().await.unwrap();
        ran(&control, "sessions", 0, false, false).await;
        let good = ran(&control, "sessions", 1, true, false).await;
        ran(&control, "visitors", 2, false, false).await;
        let third = ran(&control, "sessions", 3, false, false).await;
        let fourth = ran(&control, "sessions", 4, false, true).await;
        control.start_run(NewRun::first("sessions", Trigger::Schedule, Some(at(5))), at(5)).await.unwrap();
        control.abandon_unfinished("sessions", at(6)).await.unwrap();
        let running = NewRun::first("sessions", Trigger::Schedule, Some(at(7)));
        let running = control.start_run(running, at(7)).await.unwrap();

        assert_eq!(control.failures_after("sessions", Some(good)).await.unwrap(), 3);
        assert_eq!(control.failures_after("sessions", None).await.unwrap(), 4);
        assert_eq!(control.failures_after("traffic", None).await.unwrap(), 0);
        let newest = control.runs_after("sessions", Some(third), 10).await.unwrap();
        assert_eq!(newest.iter().map(|run| run.id).collect::<Vec<_>>(), [running, RunId(fourth.0 + 1), fourth]);
        assert_eq!(control.runs_after("sessions", None, 1).await.unwrap()[0].id, running);
        let ids = |runs: Vec<JobRun>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(ids(control.runs_before("sessions", None, 2).await.unwrap()), [running, RunId(fourth.0 + 1)]);
        assert_eq!(ids(control.runs_before("sessions", Some(fourth), 2).await.unwrap()), [third, good]);
        assert_eq!(control.first_run("sessions").await.unwrap().unwrap().started_at, at(0));
    }

    #[tokio::test]
    async fn old_runs_are_removed_but_for_those_that_decisions_need() {
        let control = ControlDb::open_in_memory().await.unwrap();
        ran(&control, "sessions", 0, true, false).await;
        let success = ran(&control, "sessions", 1, true, false).await;
        ran(&control, "sessions", 2, false, true).await;
        let scheduled = ran(&control, "sessions", 3, false, false).await;
        let newest = ran(&control, "sessions", 4, false, true).await;
        let other = ran(&control, "visitors", 5, true, false).await;
        let young = ran(&control, "visitors", 100, true, false).await;

        assert_eq!(control.prune_runs(at(0)).await.unwrap(), 0);
        assert_eq!(control.prune_runs(at(100)).await.unwrap(), 3);
        let left: Vec<RunId> = control.runs(None, 10).await.unwrap().into_iter().map(|run| run.id).collect();
        assert_eq!(left, [young, newest, scheduled, success]);
        assert_eq!(control.run(other).await.unwrap(), None);
        assert_eq!(control.prune_runs(at(100)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn run_that_has_not_ended_is_kept() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let running = control.start_run(NewRun::first("sessions", Trigger::Manual, None), at(0)).await.unwrap();
        ran(&control, "sessions", 1, true, false).await;
        assert_eq!(control.prune_runs(at(1_000)).await.unwrap(), 0);
        assert!(control.run(running).await.unwrap().is_some());
    }
}
