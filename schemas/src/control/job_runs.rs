//! The ledger of job runs: what ran, when, why, and what came of it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde::{Deserialize, Serialize};

use super::moment::micros;
use super::{ControlDb, ControlError};

/// The number of a run; later runs have greater numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a job was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Its schedule.
    Schedule,
    /// Somebody asked for it.
    Manual,
    /// Its schedule, at a time when nobody was there to run it.
    CatchUp,
}

impl Trigger {
    const ALL: [Self; 3] = [Self::Schedule, Self::Manual, Self::CatchUp];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
            Self::CatchUp => "catch_up",
        }
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It has been started.
    Running,
    /// It did what it should.
    Succeeded,
    /// It gave an error.
    Failed,
    /// Its process died.
    Abandoned,
}

impl RunStatus {
    const ALL: [Self; 4] = [Self::Running, Self::Succeeded, Self::Failed, Self::Abandoned];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A run that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun<'a> {
    /// The job's name.
    pub job: &'a str,
    /// Why it is started.
    pub trigger: Trigger,
    /// The time in the schedule that it stands for; none if somebody asked for it.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// Which attempt at that time it is, counted from 1.
    pub attempt: u16,
    /// What it was asked to do, if anything besides what is new.
    pub request: Option<serde_json::Value>,
}

impl<'a> NewRun<'a> {
    /// The first attempt of a run that is asked for nothing but what is new.
    pub const fn first(job: &'a str, trigger: Trigger, scheduled_for: Option<DateTime<Utc>>) -> Self {
        Self { job, trigger, scheduled_for, attempt: 1, request: None }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// It did what it should.
    Succeeded {
        /// Rows read.
        rows_read: u64,
        /// Rows written.
        rows_written: u64,
        /// Bytes of files read.
        bytes_read: u64,
        /// Bytes of files written.
        bytes_written: u64,
        /// The version of the table that it read.
        source_version: Option<i64>,
        /// Everything received before this time is in what it wrote.
        watermark: Option<DateTime<Utc>>,
        /// Milliseconds from the watermark to the end of the run.
        lag_ms: Option<u64>,
    },
    /// It gave an error.
    Failed {
        /// What it said.
        error: String,
    },
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobRun {
    /// Its number.
    pub id: RunId,
    /// The job's name.
    pub job: String,
    /// Why it was started.
    pub trigger: Trigger,
    /// How far it has come.
    pub status: RunStatus,
    /// The time in the schedule that it stands for; none if somebody asked for it.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Which attempt at its time in the schedule it is, counted from 1.
    pub attempt: u16,
    /// What it was asked to do, if anything besides what is new.
    pub request: Option<serde_json::Value>,
    /// Milliseconds that it took, by a clock that nobody sets; none while it runs, and if its process died.
    pub duration_ms: Option<u64>,
    /// Rows read.
    pub rows_read: Option<u64>,
    /// Rows written.
    pub rows_written: Option<u64>,
    /// Bytes of files read.
    pub bytes_read: Option<u64>,
    /// Bytes of files written.
    pub bytes_written: Option<u64>,
    /// The version of the table that it read.
    pub source_version: Option<i64>,
    /// Everything received before this time is in what it wrote.
    pub watermark: Option<DateTime<Utc>>,
    /// Milliseconds from the watermark to the end of the run.
    pub lag_ms: Option<u64>,
    /// What it said when it failed.
    pub error: Option<String>,
}

pub(super) mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "job_runs")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub job: String,
        pub triggered_by: String,
        pub status: String,
        pub scheduled_for: Option<DateTimeUtc>,
        pub started_at: DateTimeUtc,
        pub finished_at: Option<DateTimeUtc>,
        pub rows_read: Option<i64>,
        pub rows_written: Option<i64>,
        pub bytes_read: Option<i64>,
        pub bytes_written: Option<i64>,
        pub source_version: Option<i64>,
        pub watermark: Option<DateTimeUtc>,
        pub error: Option<String>,
        pub attempt: i16,
        pub request: Option<Json>,
        pub duration_ms: Option<i64>,
        pub lag_ms: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<entity::Model> for JobRun {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        let trigger = Trigger::ALL.into_iter().find(|trigger| trigger.as_str() == row.triggered_by);
        let status = RunStatus::ALL.into_iter().find(|status| status.as_str() == row.status);
        let count = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        Ok(Self {
            id: RunId(row.id),
            job: row.job,
            trigger: trigger.ok_or_else(|| corrupt("triggered_by", &row.triggered_by))?,
            status: status.ok_or_else(|| corrupt("status", &row.status))?,
            scheduled_for: row.scheduled_for,
            started_at: row.started_at,
            finished_at: row.finished_at,
            attempt: u16::try_from(row.attempt).unwrap_or(u16::MAX),
            request: row.request,
            duration_ms: count(row.duration_ms),
            rows_read: count(row.rows_read),
            rows_written: count(row.rows_written),
            bytes_read: count(row.bytes_read),
            bytes_written: count(row.bytes_written),
            source_version: row.source_version,
            watermark: row.watermark,
            lag_ms: count(row.lag_ms),
            error: row.error,
        })
    }
}

impl ControlDb {
    /// Opens a line for a run that begins.
    pub async fn start_run(&self, run: NewRun<'_>, now: DateTime<Utc>) -> Result<RunId, ControlError> {
        let row = entity::ActiveModel {
            job: Set(run.job.to_owned()),
            triggered_by: Set(run.trigger.as_str().to_owned()),
            status: Set(RunStatus::Running.as_str().to_owned()),
            scheduled_for: Set(run.scheduled_for.map(micros)),
            started_at: Set(micros(now)),
            attempt: Set(i16::try_from(run.attempt).unwrap_or(i16::MAX)),
            request: Set(run.request),
            ..Default::default()
        };
        let row = row.insert(&self.db).await.map_err(ControlError::during("start a run"))?;
        Ok(RunId(row.id))
    }

    /// Closes the line of a run that took `duration`. A run that was closed or abandoned before stays as it is.
    pub async fn finish_run(
        &self,
        run: RunId,
        outcome: RunOutcome,
        duration: Duration,
        now: DateTime<Utc>,
    ) -> Result<(), ControlError> {
        let ended = entity::ActiveModel {
            finished_at: Set(Some(micros(now))),
            duration_ms: Set(i64::try_from(duration.as_millis()).ok()),
            ..changes(outcome)
        };
        let finished = entity::Entity::update_many()
            .set(ended)
            .filter(entity::Column::Id.eq(run.0))
            .filter(entity::Column::Status.eq(RunStatus::Running.as_str()))
            .exec(&self.db)
            .await
            .map_err(ControlError::during("finish a run"))?;
        if finished.rows_affected == 1 { Ok(()) } else { Err(ControlError::NotRunning { run_id: run }) }
    }

    /// One run.
    pub async fn run(&self, run: RunId) -> Result<Option<JobRun>, ControlError> {
        let found = self.read_runs(entity::Entity::find().filter(entity::Column::Id.eq(run.0))).await?;
        Ok(found.into_iter().next())
    }

    /// Runs of one job or of all, newest first.
    pub async fn runs(&self, job: Option<&str>, limit: u64) -> Result<Vec<JobRun>, ControlError> {
        let mut find = entity::Entity::find();
        if let Some(job) = job {
            find = find.filter(entity::Column::Job.eq(job));
        }
        self.read_runs(find.order_by_desc(entity::Column::Id).limit(limit)).await
    }

    /// The attempts at one time of a job's schedule, oldest first.
    pub async fn attempts(&self, job: &str, scheduled_for: DateTime<Utc>) -> Result<Vec<JobRun>, ControlError> {
        let find = entity::Entity::find()
            .filter(entity::Column::Job.eq(job))
            .filter(entity::Column::ScheduledFor.eq(micros(scheduled_for)))
            .order_by_asc(entity::Column::Id);
        self.read_runs(find).await
    }

    /// The newest run of a job that succeeded.
    pub async fn last_success(&self, job: &str) -> Result<Option<JobRun>, ControlError> {
        let find = entity::Entity::find()
            .filter(entity::Column::Job.eq(job))
            .filter(entity::Column::Status.eq(RunStatus::Succeeded.as_str()))
            .order_by_desc(entity::Column::Id)
            .limit(1);
        Ok(self.read_runs(find).await?.into_iter().next())
    }

    /// The newest time of a job's schedule for which a run was started, whatever came of it.
    pub async fn last_scheduled(&self, job: &str) -> Result<Option<DateTime<Utc>>, ControlError> {
        let find = entity::Entity::find()
            .filter(entity::Column::Job.eq(job))
            .filter(entity::Column::ScheduledFor.is_not_null())
            .order_by_desc(entity::Column::ScheduledFor)
            .limit(1);
        Ok(self.read_runs(find).await?.into_iter().next().and_then(|run| run.scheduled_for))
    }

    /// Closes the lines of a job that its dead processes left open, and says how many there were. Only the holder of
    /// the job's lease may do this: for anybody else the run may well be alive.
    pub async fn abandon_unfinished(&self, job: &str, now: DateTime<Utc>) -> Result<u64, ControlError> {
        let abandoned = entity::Entity::update_many()
            .col_expr(entity::Column::Status, Expr::value(RunStatus::Abandoned.as_str()))
            .col_expr(entity::Column::FinishedAt, micros(now).into())
            .filter(entity::Column::Job.eq(job))
            .filter(entity::Column::Status.eq(RunStatus::Running.as_str()))
            .exec(&self.db)
            .await
            .map_err(ControlError::during("abandon a run"))?;
        Ok(abandoned.rows_affected)
    }

    pub(super) async fn read_runs(&self, find: Select<entity::Entity>) -> Result<Vec<JobRun>, ControlError> {
        let rows = find.all(&self.db).await.map_err(ControlError::during("read the ledger of job runs"))?;
        rows.into_iter().map(JobRun::try_from).collect()
    }
}

fn changes(outcome: RunOutcome) -> entity::ActiveModel {
    let count = |value: u64| Set(Some(i64::try_from(value).unwrap_or(i64::MAX)));
    match outcome {
        RunOutcome::Succeeded {
            rows_read,
            rows_written,
            bytes_read,
            bytes_written,
            source_version,
            watermark,
            lag_ms,
        } => entity::ActiveModel {
            status: Set(RunStatus::Succeeded.as_str().to_owned()),
            rows_read: count(rows_read),
            rows_written: count(rows_written),
            bytes_read: count(bytes_read),
            bytes_written: count(bytes_written),
            source_version: Set(source_version),
            watermark: Set(watermark.map(micros)),
            lag_ms: Set(lag_ms.and_then(|lag_ms| i64::try_from(lag_ms).ok())),
            ..Default::default()
        },
        RunOutcome::Failed { error } => entity::ActiveModel {
            status: Set(RunStatus::Failed.as_str().to_owned()),
            error: Set(Some(error)),
            ..Default::default()
        },
    }
}

fn corrupt(column: &'static str, value: &str) -> ControlError {
    ControlError::Corrupt { table: "job_runs", column, value: value.to_owned() }
}

#[cfg(test)]
mod tests;
