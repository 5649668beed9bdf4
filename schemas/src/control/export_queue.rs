//! The queue of exports: runs that are asked for, taken up, and put back when an attempt fails. An export has at most one
//! run that has not ended.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, UpdateMany,
};

use super::export_runs::entity::{ActiveModel, Column, Entity};
use super::export_runs::{self, ExportRun, ExportRunId, ExportRunState, ExportTrigger, WebhookState, of_export};
use super::exports::{self, ExportId};
use super::moment::micros;
use super::{ControlDb, ControlError, export_webhooks};

/// The lease under which exports run. Whoever wants none to run holds it.
pub const EXPORTS_LEASE: &str = "exports";

/// What is said of a run whose process died.
const PROCESS_DIED: &str = "the process that ran it died";

impl ControlDb {
    /// Asks for a run of an export, which stands for the time `scheduled_for`.
    ///
    /// # Errors
    ///
    /// [`ControlError::ExportBusy`] if one has not ended yet.
    pub async fn queue_export_run(
        &self,
        export: ExportId,
        trigger: ExportTrigger,
        scheduled_for: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<ExportRun, ControlError> {
        let transaction = self.begin().await?;
        exports::find(&transaction, None, export).await?;
        let open = of_export(export).filter(Column::State.is_in(ExportRunState::OPEN));
        if let Some(run) = export_runs::first(&transaction, open).await? {
            return Err(ControlError::ExportBusy { run_id: run.id });
        }
        let row = ActiveModel {
            export_id: Set(export.0),
            triggered_by: Set(trigger.as_str().to_owned()),
            scheduled_for: Set(micros(scheduled_for)),
            state: Set(ExportRunState::Queued.as_str().to_owned()),
            attempt: Set(0),
            queued_at: Set(micros(now)),
            webhook_state: Set(WebhookState::None.as_str().to_owned()),
            webhook_attempts: Set(0),
            ..Default::default()
        };
        let row = row.insert(&transaction).await.map_err(ControlError::during("ask for a run of an export"))?;
        self.commit(transaction).await?;
        row.try_into()
    }

    /// The run that was asked for first among those whose next attempt may begin.
    pub async fn next_export_run(&self, now: DateTime<Utc>) -> Result<Option<ExportRun>, ControlError> {
        let may_begin = Condition::any().add(Column::RetryAt.is_null()).add(Column::RetryAt.lte(micros(now)));
        let find = Entity::find()
            .filter(Column::State.eq(ExportRunState::Queued.as_str()))
            .filter(may_begin)
            .order_by_asc(Column::Id);
        export_runs::first(&self.db, find).await
    }

    /// Begins an attempt of a run that waits. `folder` is where its files are to lie; a later attempt keeps the folder of
    /// the first, as the answer says.
    ///
    /// # Errors
    ///
    /// [`ControlError::ExportRunLost`] if it does not wait any more.
    pub async fn begin_export_run(
        &self,
        run: ExportRunId,
        folder: &str,
        now: DateTime<Utc>,
    ) -> Result<ExportRun, ControlError> {
        let transaction = self.begin().await?;
        let waits = Entity::find_by_id(run.0).filter(Column::State.eq(ExportRunState::Queued.as_str()));
        let waiting = export_runs::first(&transaction, waits).await?;
        let waiting = waiting.ok_or(ControlError::ExportRunLost { run_id: run })?;
        let row = ActiveModel {
            id: Set(run.0),
            state: Set(ExportRunState::Running.as_str().to_owned()),
            attempt: Set(i16::try_from(waiting.attempt.saturating_add(1)).unwrap_or(i16::MAX)),
            folder: Set(Some(waiting.folder.unwrap_or_else(|| folder.to_owned()))),
            retry_at: Set(None),
            started_at: Set(Some(micros(now))),
            ..Default::default()
        };
        let row = row.update(&transaction).await.map_err(ControlError::during("begin a run of an export"))?;
        self.commit(transaction).await?;
        row.try_into()
    }

    /// Ends an attempt that failed: the run waits until `retry_at`, or has failed if there is to be no other attempt.
    /// `error` is read by the account's staff: no paths of this machine, no statements.
    ///
    /// # Errors
    ///
    /// [`ControlError::ExportRunLost`] if that attempt is not under way any more.
    pub async fn fail_export_run(
        &self,
        run: &ExportRun,
        error: &str,
        retry_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<ExportRun, ControlError> {
        let transaction = self.begin().await?;
        let failed = match retry_at {
            Some(retry_at) => ActiveModel {
                state: Set(ExportRunState::Queued.as_str().to_owned()),
                retry_at: Set(Some(micros(retry_at))),
                ..Default::default()
            },
            None => ActiveModel {
                state: Set(ExportRunState::Failed.as_str().to_owned()),
                ended_at: Set(Some(micros(now))),
                webhook_state: Set(export_webhooks::due(&transaction, run.export_id).await?.as_str().to_owned()),
                ..Default::default()
            },
        };
        let row = ActiveModel { error: Set(Some(error.to_owned())), ..failed };
        let ended = under_way(run).set(row).exec_with_returning(&transaction).await;
        let ended = ended.map_err(ControlError::during("end a run of an export"))?.into_iter().next();
        let ended = ended.ok_or(ControlError::ExportRunLost { run_id: run.id })?;
        self.commit(transaction).await?;
        ended.try_into()
    }

    /// Ends the attempts that dead processes left under way, and says which runs they belong to: those with fewer than
    /// `max_attempts` wait until `retry_at`, the others have failed. Only the holder of [`EXPORTS_LEASE`] may
    /// do this: for anybody else an attempt may well be alive.
    pub async fn reclaim_export_runs(
        &self,
        max_attempts: u16,
        retry_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<ExportRun>, ControlError> {
        let find = Entity::find().filter(Column::State.eq(ExportRunState::Running.as_str())).order_by_asc(Column::Id);
        let mut reclaimed = Vec::new();
        for run in export_runs::all(&self.db, find).await? {
            let retry_at = (run.attempt < max_attempts).then_some(retry_at);
            reclaimed.push(self.fail_export_run(&run, PROCESS_DIED, retry_at, now).await?);
        }
        Ok(reclaimed)
    }
}

/// Changes a run as long as this attempt of it is under way.
pub(super) fn under_way(run: &ExportRun) -> UpdateMany<Entity> {
    Entity::update_many()
        .filter(Column::Id.eq(run.id.0))
        .filter(Column::State.eq(ExportRunState::Running.as_str()))
        .filter(Column::Attempt.eq(i16::try_from(run.attempt).unwrap_or(i16::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::exports::tests::{create, create_with_webhook, with_account};
    use crate::control::moment::tests::at;

    #[tokio::test]
    async fn an_export_has_one_run_that_has_not_ended() {
        let (control, account) = with_account().await;
        let (export, _) = create(&control, account, "a", 1).await;
        let (other, _) = create(&control, account, "b", 1).await;
        let run = control.queue_export_run(export.id, ExportTrigger::Manual, at(2), at(2)).await.unwrap();
        let again = control.queue_export_run(export.id, ExportTrigger::Schedule, at(3), at(3)).await;
        assert!(matches!(again, Err(ControlError::ExportBusy { run_id }) if run_id == run.id));
        control.queue_export_run(other.id, ExportTrigger::Manual, at(3), at(3)).await.unwrap();

        let run = control.begin_export_run(run.id, "file:x/1", at(4)).await.unwrap();
        let again = control.queue_export_run(export.id, ExportTrigger::Manual, at(5), at(5)).await;
        assert!(matches!(again, Err(ControlError::ExportBusy { .. })));
        control.fail_export_run(&run, "disk on fire", None, at(6)).await.unwrap();
        control.queue_export_run(export.id, ExportTrigger::Manual, at(7), at(7)).await.unwrap();
    }

    #[tokio::test]
    async fn a_run_that_failed_waits_and_others_go_first() {
        let (control, account) = with_account().await;
        let (a, _) = create(&control, account, "a", 1).await;
        let (b, _) = create(&control, account, "b", 1).await;
        let first = control.queue_export_run(a.id, ExportTrigger::Schedule, at(2), at(2)).await.unwrap();
        let second = control.queue_export_run(b.id, ExportTrigger::Schedule, at(3), at(3)).await.unwrap();
        assert_eq!(control.next_export_run(at(3)).await.unwrap(), Some(first.clone()));

        let begun = control.begin_export_run(first.id, "file:x/1", at(4)).await.unwrap();
        assert_eq!((begun.state, begun.attempt, begun.started_at), (ExportRunState::Running, 1, Some(at(4))));
        let failed = control.fail_export_run(&begun, "no space", Some(at(60)), at(5)).await.unwrap();
        assert_eq!((failed.state, failed.retry_at, failed.ended_at), (ExportRunState::Queued, Some(at(60)), None));
        assert_eq!(failed.error.as_deref(), Some("no space"));
        assert_eq!(control.next_export_run(at(59)).await.unwrap(), Some(second));
        assert_eq!(control.next_export_run(at(60)).await.unwrap(), Some(failed.clone()));

        let begun = control.begin_export_run(failed.id, "file:y/2", at(61)).await.unwrap();
        assert_eq!((begun.attempt, begun.folder.as_deref(), begun.retry_at), (2, Some("file:x/1"), None));
    }

    #[tokio::test]
    async fn an_attempt_that_is_over_changes_nothing() {
        let (control, account) = with_account().await;
        let (export, _) = create(&control, account, "a", 1).await;
        let run = control.queue_export_run(export.id, ExportTrigger::Manual, at(2), at(2)).await.unwrap();
        let first = control.begin_export_run(run.id, "file:x/1", at(3)).await.unwrap();
        let twice = control.begin_export_run(run.id, "file:x/1", at(3)).await;
        assert!(matches!(twice, Err(ControlError::ExportRunLost { run_id }) if run_id == run.id));
        control.reclaim_export_runs(5, at(4), at(4)).await.unwrap();
        let second = control.begin_export_run(run.id, "file:x/1", at(5)).await.unwrap();
        let late = control.fail_export_run(&first, "too late", None, at(6)).await;
        assert!(matches!(late, Err(ControlError::ExportRunLost { .. })));
        assert_eq!(control.export_run(run.id).await.unwrap(), Some(second));
    }

    #[tokio::test]
    async fn runs_of_dead_processes_are_taken_up_again_until_their_attempts_are_used_up() {
        let (control, account) = with_account().await;
        let (export, _) = create_with_webhook(&control, account, "a").await;
        let run = control.queue_export_run(export.id, ExportTrigger::Manual, at(2), at(2)).await.unwrap();
        for (attempt, state, webhook_state) in
            [(1, ExportRunState::Queued, WebhookState::None), (2, ExportRunState::Failed, WebhookState::Pending)]
        {
            control.begin_export_run(run.id, "file:x/1", at(10 * attempt)).await.unwrap();
            let reclaimed = control.reclaim_export_runs(2, at(10 * attempt + 5), at(10 * attempt + 1)).await.unwrap();
            let [reclaimed] = &reclaimed[..] else { panic!("{reclaimed:?}") };
            assert_eq!((reclaimed.state, reclaimed.webhook_state), (state, webhook_state), "{attempt}");
            assert_eq!(reclaimed.error.as_deref(), Some(PROCESS_DIED));
        }
        assert_eq!(control.reclaim_export_runs(2, at(99), at(99)).await.unwrap(), []);
    }

    #[tokio::test]
    async fn nothing_is_asked_of_an_export_that_was_deleted() {
        let (control, account) = with_account().await;
        let (export, _) = create(&control, account, "a", 1).await;
        let run = control.queue_export_run(export.id, ExportTrigger::Manual, at(2), at(2)).await.unwrap();
        control.delete_export(Some(account), export.id, at(3)).await.unwrap();
        assert_eq!(control.next_export_run(at(4)).await.unwrap(), None);
        let given_up = control.export_run(run.id).await.unwrap().unwrap();
        assert_eq!((given_up.state, given_up.ended_at), (ExportRunState::Failed, Some(at(3))));
        let asked = control.queue_export_run(export.id, ExportTrigger::Manual, at(5), at(5)).await;
        assert!(matches!(asked, Err(ControlError::UnknownExport)));
    }

    #[tokio::test]
    async fn folders_are_known_with_whose_they_are() {
        let (control, account) = with_account().await;
        let other = control.create_account("other", "Other", at(0)).await.unwrap().id;
        for (account, folder) in [(account, "file:a/1"), (other, "file:a/2"), (other, "s3://bucket/3")] {
            let (export, _) = create(&control, account, "a", 1).await;
            let run = control.queue_export_run(export.id, ExportTrigger::Manual, at(2), at(2)).await.unwrap();
            control.begin_export_run(run.id, folder, at(3)).await.unwrap();
            control.delete_export(None, export.id, at(4)).await.unwrap();
        }
        let folders = control.export_folders().await.unwrap();
        let expected = [("file:a/1", account), ("file:a/2", other), ("s3://bucket/3", other)];
        assert_eq!(folders, expected.map(|(folder, account)| (folder.to_owned(), account)));
    }

    #[tokio::test]
    async fn runs_come_in_pages_and_the_schedule_knows_its_last_time() {
        let (control, account) = with_account().await;
        let (export, _) = create(&control, account, "a", 1).await;
        assert_eq!(control.last_scheduled_export(export.id).await.unwrap(), None);
        let mut ids = Vec::new();
        for (number, trigger) in
            [(2, ExportTrigger::Schedule), (3, ExportTrigger::Schedule), (4, ExportTrigger::Manual)]
        {
            let run = control.queue_export_run(export.id, trigger, at(number), at(number)).await.unwrap();
            let run = control.begin_export_run(run.id, "file:x", at(number)).await.unwrap();
            ids.push(control.fail_export_run(&run, "no", None, at(number)).await.unwrap().id);
        }
        assert_eq!(control.last_scheduled_export(export.id).await.unwrap(), Some(at(3)));
        let page = |runs: Vec<ExportRun>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
        assert_eq!(page(control.export_runs(export.id, None, 2).await.unwrap()), [ids[2], ids[1]]);
        assert_eq!(page(control.export_runs(export.id, Some(ids[1]), 2).await.unwrap()), [ids[0]]);
    }
}
