//! What runs of exports leave: the run itself as succeeded, and the days that a reader then has.

use chrono::{DateTime, NaiveDate, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::export_queue::under_way;
use super::export_runs::entity::{ActiveModel, Column};
use super::export_runs::{self, ExportRun, ExportRunId, ExportRunState, TableVersions, of_export};
use super::exports::{Export, ExportId};
use super::moment::micros;
use super::{ControlDb, ControlError, export_webhooks};

/// Days that are written in one statement, far below what SQLite binds.
const DAYS_PER_STATEMENT: usize = 1_000;

/// What a run that succeeded wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOutcome {
    /// Its number among the runs of the export that have succeeded, as its manifest says: one more than the last.
    pub sequence: i64,
    /// Files written, the manifest not counted.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What was read.
    pub table_versions: TableVersions,
    /// Everything received before this time is in what was read.
    pub watermark: Option<DateTime<Utc>>,
    /// Name and version of the definition of its numbers.
    pub definition: String,
    /// SHA-256 of the manifest, in hexadecimal digits.
    pub manifest_sha256: String,
    /// All days that a reader who follows the manifests has from now on; none for snapshots.
    pub days: Vec<ExportDay>,
}

/// A day that a reader has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// SHA-256 of its file, in hexadecimal digits.
    pub sha256: String,
    /// Rows in it.
    pub rows: u64,
    /// Where the file lies, as in [`ExportRun::folder`].
    pub file: String,
}

/// What a run of an export builds on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportBase {
    /// The run that succeeded last; none before the first.
    pub previous: Option<PreviousRun>,
    /// What that run read. None if there was none, or if the export is another since then (its question, form or
    /// destination): a run of changes then asks about all days, and writes them all, whatever `days` says.
    pub table_versions: Option<TableVersions>,
    /// The definition of its numbers.
    pub definition: Option<String>,
    /// The days that a reader has, in order.
    pub days: Vec<ExportDay>,
}

/// The run before, as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousRun {
    /// Its number.
    pub run_id: ExportRunId,
    /// Its number among those that succeeded.
    pub sequence: i64,
    /// SHA-256 of its manifest, in hexadecimal digits.
    pub manifest_sha256: String,
}

mod days {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "export_days")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub export_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: Date,
        pub sha256: String,
        pub rows: i64,
        #[sea_orm(column_type = "Text")]
        pub file: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl ControlDb {
    /// What the next run of an export builds on.
    pub async fn export_base(&self, export: &Export) -> Result<ExportBase, ControlError> {
        let last = last_success(&self.db, export.id).await?;
        let rows = days::Entity::find()
            .filter(days::Column::ExportId.eq(export.id.0))
            .order_by_asc(days::Column::Day)
            .all(&self.db)
            .await
            .map_err(ControlError::during("read the days of an export"))?;
        let days = rows.into_iter().map(|row| ExportDay {
            day: row.day,
            sha256: row.sha256,
            rows: u64::try_from(row.rows).unwrap_or_default(),
            file: row.file,
        });
        let Some(last) = last else { return Ok(ExportBase { days: days.collect(), ..ExportBase::default() }) };
        let is_current = last.started_at.is_some_and(|started_at| started_at >= export.renewed_at);
        let previous = last.sequence.zip(last.manifest_sha256).map(|(sequence, manifest_sha256)| PreviousRun {
            run_id: last.id,
            sequence,
            manifest_sha256,
        });
        let table_versions = last.table_versions.filter(|_| is_current);
        Ok(ExportBase { previous, table_versions, definition: last.definition, days: days.collect() })
    }

    /// Ends an attempt that succeeded, and replaces the days that a reader has, both or neither.
    ///
    /// # Errors
    ///
    /// [`ControlError::ExportRunLost`] if that attempt is not under way any more, or another run has succeeded in between.
    pub async fn finish_export_run(
        &self,
        run: &ExportRun,
        outcome: ExportOutcome,
        now: DateTime<Utc>,
    ) -> Result<ExportRun, ControlError> {
        let lost = || ControlError::ExportRunLost { run_id: run.id };
        let transaction = self.begin().await?;
        let last = last_success(&transaction, run.export_id).await?.and_then(|last| last.sequence).unwrap_or_default();
        if outcome.sequence != last + 1 {
            return Err(lost());
        }
        let count = |value: u64| Set(Some(i64::try_from(value).unwrap_or(i64::MAX)));
        let table_versions = serde_json::to_value(&outcome.table_versions).map_err(|source| ControlError::Corrupt {
            table: "export_runs",
            column: "table_versions",
            value: source.to_string(),
        })?;
        let row = ActiveModel {
            state: Set(ExportRunState::Succeeded.as_str().to_owned()),
            ended_at: Set(Some(micros(now))),
            error: Set(None),
            sequence: Set(Some(outcome.sequence)),
            files: count(outcome.files),
            rows: count(outcome.rows),
            bytes: count(outcome.bytes),
            table_versions: Set(Some(table_versions)),
            watermark: Set(outcome.watermark.map(micros)),
            definition: Set(Some(outcome.definition)),
            manifest_sha256: Set(Some(outcome.manifest_sha256)),
            webhook_state: Set(export_webhooks::due(&transaction, run.export_id).await?.as_str().to_owned()),
            ..Default::default()
        };
        let ended = under_way(run).set(row).exec_with_returning(&transaction).await;
        let ended = ended.map_err(ControlError::during("end a run of an export"))?.into_iter().next();
        let ended = ended.ok_or_else(lost)?;
        forget_days(&transaction, run.export_id).await?;
        keep_days(&transaction, run.export_id, outcome.days).await?;
        self.commit(transaction).await?;
        ended.try_into()
    }
}

async fn last_success(db: &impl ConnectionTrait, export: ExportId) -> Result<Option<ExportRun>, ControlError> {
    export_runs::first(db, of_export(export).filter(Column::Sequence.is_not_null()).order_by_desc(Column::Sequence))
        .await
}

async fn keep_days(
    transaction: &impl ConnectionTrait,
    export: ExportId,
    days: Vec<ExportDay>,
) -> Result<(), ControlError> {
    for part in days.chunks(DAYS_PER_STATEMENT) {
        let rows = part.iter().map(|day| days::ActiveModel {
            export_id: Set(export.0),
            day: Set(day.day),
            sha256: Set(day.sha256.clone()),
            rows: Set(i64::try_from(day.rows).unwrap_or(i64::MAX)),
            file: Set(day.file.clone()),
        });
        let inserted = days::Entity::insert_many(rows).exec_without_returning(transaction).await;
        inserted.map_err(ControlError::during("keep the days of an export"))?;
    }
    Ok(())
}

/// From now on nobody has any of the export's days.
pub(super) async fn forget_days(transaction: &impl ConnectionTrait, export: ExportId) -> Result<(), ControlError> {
    let deleted = days::Entity::delete_many().filter(days::Column::ExportId.eq(export.0)).exec(transaction).await;
    deleted.map(|_| ()).map_err(ControlError::during("forget the days of an export"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::exports::tests::{create, create_with_webhook, with_account};
    use crate::control::moment::tests::at;
    use crate::control::{ExportTrigger, TableVersion, WebhookState};
    use crate::export::{ExportDefinition, ExportFormat};

    fn day(number: u32, sha256: &str) -> ExportDay {
        let day = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap() + chrono::Days::new(u64::from(number));
        ExportDay { day, sha256: sha256.to_owned(), rows: 3, file: format!("file:x/1/day={day}/part-0.csv") }
    }

    fn outcome(sequence: i64, days: Vec<ExportDay>) -> ExportOutcome {
        ExportOutcome {
            sequence,
            files: 2,
            rows: 6,
            bytes: 120,
            table_versions: [("sessions".to_owned(), TableVersion { id: "t".to_owned(), version: 7 })].into(),
            watermark: Some(at(0)),
            definition: "traffic/1".to_owned(),
            manifest_sha256: format!("{sequence}"),
            days,
        }
    }

    async fn begin(control: &ControlDb, export: ExportId, second: i64) -> ExportRun {
        let run = control.queue_export_run(export, ExportTrigger::Manual, at(second), at(second)).await.unwrap();
        control.begin_export_run(run.id, "file:x/1", at(second)).await.unwrap()
    }

    #[tokio::test]
    async fn a_run_that_succeeds_replaces_the_days_that_a_reader_has() {
        let (control, account) = with_account().await;
        let (export, _) = create(&control, account, "a", 1).await;
        assert_eq!(control.export_base(&export).await.unwrap(), ExportBase::default());

        let run = begin(&control, export.id, 2).await;
        let failed = control.fail_export_run(&run, "no space", Some(at(3)), at(3)).await.unwrap();
        let run = control.begin_export_run(failed.id, "file:x/1", at(4)).await.unwrap();
        let ended = control.finish_export_run(&run, outcome(1, vec![day(0, "a"), day(1, "b")]), at(5)).await.unwrap();
        assert_eq!((ended.state, ended.sequence, ended.ended_at), (ExportRunState::Succeeded, Some(1), Some(at(5))));
        assert_eq!((ended.error, ended.webhook_state), (None, WebhookState::None));
        let base = control.export_base(&export).await.unwrap();
        assert_eq!(base.days, [day(0, "a"), day(1, "b")]);
        assert_eq!(base.table_versions, Some(outcome(1, vec![]).table_versions));
        assert_eq!(base.definition.as_deref(), Some("traffic/1"));
        let first = PreviousRun { run_id: run.id, sequence: 1, manifest_sha256: "1".to_owned() };
        assert_eq!(base.previous, Some(first));

        let run = begin(&control, export.id, 6).await;
        let many: Vec<ExportDay> = (1..2_500).map(|number| day(number, "c")).collect();
        control.finish_export_run(&run, outcome(2, many.clone()), at(7)).await.unwrap();
        let base = control.export_base(&export).await.unwrap();
        assert_eq!((base.previous.unwrap().sequence, base.days), (2, many));
    }

    #[tokio::test]
    async fn runs_that_succeed_are_counted_without_a_gap_and_once() {
        let (control, account) = with_account().await;
        let (export, _) = create(&control, account, "a", 1).await;
        let run = begin(&control, export.id, 2).await;
        for sequence in [0, 2] {
            let refused = control.finish_export_run(&run, outcome(sequence, vec![day(0, "a")]), at(3)).await;
            assert!(matches!(refused, Err(ControlError::ExportRunLost { .. })), "{sequence}");
        }
        assert_eq!(control.export_base(&export).await.unwrap(), ExportBase::default());
        control.finish_export_run(&run, outcome(1, vec![]), at(4)).await.unwrap();
        let twice = control.finish_export_run(&run, outcome(2, vec![]), at(5)).await;
        assert!(matches!(twice, Err(ControlError::ExportRunLost { .. })));
    }

    #[tokio::test]
    async fn what_was_read_counts_as_long_as_the_question_is_the_same() {
        let (control, account) = with_account().await;
        let (export, _) = create(&control, account, "a", 1).await;
        let run = begin(&control, export.id, 2).await;
        control.finish_export_run(&run, outcome(1, vec![day(0, "a")]), at(3)).await.unwrap();
        let change = async |now: i64, change: fn(&mut ExportDefinition)| {
            let changed = |definition: &ExportDefinition| {
                let mut definition = definition.clone();
                change(&mut definition);
                Ok(definition)
            };
            let export = control.change_export(None, export.id, changed, at(now)).await.unwrap();
            let base = control.export_base(&export).await.unwrap();
            (base.previous.is_some(), base.table_versions.is_some(), base.days.len())
        };
        assert_eq!(change(4, |definition| definition.name = "b".to_owned()).await, (true, true, 1));
        assert_eq!(change(5, |definition| definition.is_paused = true).await, (true, true, 1));
        assert_eq!(change(6, |definition| definition.format = ExportFormat::Parquet).await, (true, false, 1));
        assert_eq!(
            change(7, |definition| definition.destination = "file:elsewhere".parse().unwrap()).await,
            (true, false, 0)
        );
        let run = begin(&control, export.id, 8).await;
        control.finish_export_run(&run, outcome(2, vec![day(0, "a")]), at(9)).await.unwrap();
        let export = control.export(None, export.id).await.unwrap();
        assert!(control.export_base(&export).await.unwrap().table_versions.is_some());
    }

    #[tokio::test]
    async fn a_webhook_is_to_be_told_of_a_run_that_has_ended() {
        let (control, account) = with_account().await;
        let (export, _) = create_with_webhook(&control, account, "a").await;
        let run = begin(&control, export.id, 2).await;
        let ended = control.finish_export_run(&run, outcome(1, vec![]), at(3)).await.unwrap();
        assert_eq!(ended.webhook_state, WebhookState::Pending);
    }
}
