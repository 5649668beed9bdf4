//! The runs of exports: what was asked for, how far each has come, and what it wrote.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::exports::{ExportId, entity as exports};
use super::moment::micros;
use super::{ControlDb, ControlError};
use crate::tenant::AccountId;

/// The number of a run; later runs of any export have greater numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExportRunId(pub i64);

impl fmt::Display for ExportRunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an export runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportTrigger {
    /// Its schedule.
    Schedule,
    /// Somebody asked for it.
    Manual,
}

impl ExportTrigger {
    const ALL: [Self; 2] = [Self::Schedule, Self::Manual];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
        }
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportRunState {
    /// It waits: for its turn, or for its next attempt.
    Queued,
    /// An attempt is under way.
    Running,
    /// Its files are complete.
    Succeeded,
    /// Its last attempt failed.
    Failed,
}

impl ExportRunState {
    const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed];
    /// Those of a run that has not ended.
    pub(super) const OPEN: [&'static str; 2] = [Self::Queued.as_str(), Self::Running.as_str()];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// Whether the export's webhook was told that the run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// It has none, or there is nothing to tell yet.
    None,
    /// It is to be told.
    Pending,
    /// It took the message.
    Delivered,
    /// It did not take the message, and is not told any more.
    Failed,
}

impl WebhookState {
    const ALL: [Self; 4] = [Self::None, Self::Pending, Self::Delivered, Self::Failed];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

/// Which table an answer was read from, and in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    /// The table's id: another one if it was made anew.
    pub id: String,
    /// Its version.
    pub version: i64,
}

/// The tables that a run read, by name.
pub type TableVersions = BTreeMap<String, TableVersion>;

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRun {
    /// Its number.
    pub id: ExportRunId,
    /// Whose it is.
    pub export_id: ExportId,
    /// Why it runs.
    pub trigger: ExportTrigger,
    /// The time that it stands for: one of the schedule, or when somebody asked. It is the same for every attempt.
    pub scheduled_for: DateTime<Utc>,
    /// How far it has come.
    pub state: ExportRunState,
    /// How many attempts have begun.
    pub attempt: u16,
    /// When it was asked for.
    pub queued_at: DateTime<Utc>,
    /// When its next attempt may begin; none before the first, and when there is to be none.
    pub retry_at: Option<DateTime<Utc>>,
    /// When its newest attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What the newest attempt that failed said; none once one has succeeded.
    pub error: Option<String>,
    /// Where its files lie, as in `file:sales/traffic/2026-03-01/17`; the same for every attempt.
    pub folder: Option<String>,
    /// Its number among the runs of the export that have succeeded, from 1.
    pub sequence: Option<i64>,
    /// Files written, the manifest not counted.
    pub files: Option<u64>,
    /// Rows in them.
    pub rows: Option<u64>,
    /// Bytes of them.
    pub bytes: Option<u64>,
    /// What was read.
    pub table_versions: Option<TableVersions>,
    /// Everything received before this time is in what was read.
    pub watermark: Option<DateTime<Utc>>,
    /// Name and version of the definition of its numbers.
    pub definition: Option<String>,
    /// SHA-256 of the manifest, in hexadecimal digits.
    pub manifest_sha256: Option<String>,
    /// Whether the webhook was told.
    pub webhook_state: WebhookState,
    /// How often it was tried.
    pub webhook_attempts: u16,
    /// What the newest attempt that failed said.
    pub webhook_error: Option<String>,
}

pub(super) mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "export_runs")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub export_id: Uuid,
        pub triggered_by: String,
        pub scheduled_for: DateTimeUtc,
        pub state: String,
        pub attempt: i16,
        pub queued_at: DateTimeUtc,
        pub retry_at: Option<DateTimeUtc>,
        pub started_at: Option<DateTimeUtc>,
        pub ended_at: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub error: Option<String>,
        #[sea_orm(column_type = "Text", nullable)]
        pub folder: Option<String>,
        pub sequence: Option<i64>,
        pub files: Option<i64>,
        pub rows: Option<i64>,
        pub bytes: Option<i64>,
        pub table_versions: Option<Json>,
        pub watermark: Option<DateTimeUtc>,
        pub definition: Option<String>,
        pub manifest_sha256: Option<String>,
        pub webhook_state: String,
        pub webhook_attempts: i16,
        pub webhook_retry_at: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub webhook_error: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use entity::{Column, Entity};

impl TryFrom<entity::Model> for ExportRun {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        let trigger = ExportTrigger::ALL.into_iter().find(|trigger| trigger.as_str() == row.triggered_by);
        let state = ExportRunState::ALL.into_iter().find(|state| state.as_str() == row.state);
        let webhook_state = WebhookState::ALL.into_iter().find(|state| state.as_str() == row.webhook_state);
        let table_versions = row.table_versions.map(serde_json::from_value).transpose();
        let count = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        Ok(Self {
            id: ExportRunId(row.id),
            export_id: ExportId(row.export_id),
            trigger: trigger.ok_or_else(|| corrupt("triggered_by", &row.triggered_by))?,
            scheduled_for: row.scheduled_for,
            state: state.ok_or_else(|| corrupt("state", &row.state))?,
            attempt: u16::try_from(row.attempt).unwrap_or_default(),
            queued_at: row.queued_at,
            retry_at: row.retry_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            error: row.error,
            folder: row.folder,
            sequence: row.sequence,
            files: count(row.files),
            rows: count(row.rows),
            bytes: count(row.bytes),
            table_versions: table_versions.map_err(|error| corrupt("table_versions", &error.to_string()))?,
            watermark: row.watermark,
            definition: row.definition,
            manifest_sha256: row.manifest_sha256,
            webhook_state: webhook_state.ok_or_else(|| corrupt("webhook_state", &row.webhook_state))?,
            webhook_attempts: u16::try_from(row.webhook_attempts).unwrap_or_default(),
            webhook_error: row.webhook_error,
        })
    }
}

impl ControlDb {
    /// One run.
    pub async fn export_run(&self, run: ExportRunId) -> Result<Option<ExportRun>, ControlError> {
        first(&self.db, Entity::find_by_id(run.0)).await
    }

    /// Runs of an export before the run `before`, or all, newest first and at most `limit`.
    pub async fn export_runs(
        &self,
        export: ExportId,
        before: Option<ExportRunId>,
        limit: u64,
    ) -> Result<Vec<ExportRun>, ControlError> {
        let mut find = of_export(export);
        if let Some(before) = before {
            find = find.filter(Column::Id.lt(before.0));
        }
        all(&self.db, find.order_by_desc(Column::Id).limit(limit)).await
    }

    /// The folders, as in [`ExportRun::folder`], that runs have written to, with the accounts whose rows are in them; also of
    /// exports that were deleted.
    pub async fn export_folders(&self) -> Result<Vec<(String, AccountId)>, ControlError> {
        let during = || ControlError::during("read the folders of exports");
        let owners = exports::Entity::find()
            .select_only()
            .columns([exports::Column::Id, exports::Column::AccountId])
            .into_tuple::<(Uuid, Uuid)>();
        let owners: HashMap<Uuid, Uuid> = owners.all(&self.db).await.map_err(during())?.into_iter().collect();
        let folders = Entity::find()
            .select_only()
            .columns([Column::Folder, Column::ExportId])
            .filter(Column::Folder.is_not_null())
            .order_by_asc(Column::Id)
            .into_tuple::<(String, Uuid)>();
        let folders = folders.all(&self.db).await.map_err(during())?.into_iter();
        Ok(folders.filter_map(|(folder, export)| Some((folder, AccountId(*owners.get(&export)?)))).collect())
    }

    /// The newest time of an export's schedule for which a run was asked for, whatever came of it.
    pub async fn last_scheduled_export(&self, export: ExportId) -> Result<Option<DateTime<Utc>>, ControlError> {
        let find = of_export(export)
            .filter(Column::TriggeredBy.eq(ExportTrigger::Schedule.as_str()))
            .order_by_desc(Column::ScheduledFor);
        Ok(first(&self.db, find).await?.map(|run| run.scheduled_for))
    }
}

/// When the newest attempt of any of an export's runs began.
pub(super) async fn newest_start(
    db: &impl ConnectionTrait,
    export: ExportId,
) -> Result<Option<DateTime<Utc>>, ControlError> {
    let newest: Option<Option<DateTime<Utc>>> = of_export(export)
        .select_only()
        .column_as(Column::StartedAt.max(), "newest")
        .into_tuple()
        .one(db)
        .await
        .map_err(ControlError::during("read when an export ran"))?;
    Ok(newest.flatten())
}

pub(super) fn of_export(export: ExportId) -> Select<Entity> {
    Entity::find().filter(Column::ExportId.eq(export.0))
}

pub(super) async fn all(db: &impl ConnectionTrait, find: Select<Entity>) -> Result<Vec<ExportRun>, ControlError> {
    let rows = find.all(db).await.map_err(ControlError::during("read the runs of exports"))?;
    rows.into_iter().map(ExportRun::try_from).collect()
}

pub(super) async fn first(db: &impl ConnectionTrait, find: Select<Entity>) -> Result<Option<ExportRun>, ControlError> {
    Ok(all(db, find.limit(1)).await?.into_iter().next())
}

/// Ends the run of a deleted export that waits, if there is one.
pub(super) async fn give_up_queued(
    transaction: &impl ConnectionTrait,
    export: ExportId,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let given_up = Entity::update_many()
        .col_expr(Column::State, Expr::value(ExportRunState::Failed.as_str()))
        .col_expr(Column::Error, Expr::value("the export was deleted"))
        .col_expr(Column::RetryAt, Expr::value(None::<DateTime<Utc>>))
        .col_expr(Column::EndedAt, micros(now).into())
        .filter(Column::ExportId.eq(export.0))
        .filter(Column::State.eq(ExportRunState::Queued.as_str()))
        .exec(transaction)
        .await;
    given_up.map(|_| ()).map_err(ControlError::during("give up a run of an export"))
}

fn corrupt(column: &'static str, value: &str) -> ControlError {
    ControlError::Corrupt { table: "export_runs", column, value: value.to_owned() }
}
