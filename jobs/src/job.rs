//! What a job is: something with a name that can be run again at any time without doing harm.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::{AccountId, Tenant};

/// A unit of scheduled work. Its handles on tables are its own; the runner gives it time and the wish to stop.
///
/// A run may be aborted at any `.await`: what it writes must become visible in one step.
#[async_trait]
pub trait Job: Send + Sync {
    /// Its name in the configuration, in the ledger and in metrics.
    fn name(&self) -> &'static str;

    /// What a run would read, without doing it.
    async fn plan(&self, request: RunRequest, context: &JobContext) -> Result<JobPlan, JobError>;

    /// Does the work once.
    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError>;
}

/// What a run is asked to do. Whatever is asked for, everything that is new is done as well: a run never leaves the
/// table behind the version of its source that it names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// Compute everything anew instead of only what has changed.
    pub full: bool,
    /// Compute this account's rows anew.
    pub account: Option<AccountId>,
    /// Compute rows of this day and later ones anew.
    pub from: Option<NaiveDate>,
    /// Compute rows of days before this one anew.
    pub to: Option<NaiveDate>,
}

impl RunRequest {
    /// A run of everything.
    pub const FULL: Self = Self { full: true, account: None, from: None, to: None };

    /// A run of everything if `full`, and of what is named: beside that, which is asked for in full already, `full` says
    /// nothing.
    pub fn of(full: bool, account: Option<AccountId>, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Self {
        let names_a_part = account.is_some() || from.is_some() || to.is_some();
        Self { full: full && !names_a_part, account, from, to }
    }

    /// Whether a tenant's rows shall be computed anew, at least those of [`RunRequest::days`].
    pub fn renews(&self, tenant: Tenant) -> bool {
        let asked = self.full || self.account.is_some() || self.from.is_some() || self.to.is_some();
        asked && self.account.is_none_or(|account| account == tenant.account_id)
    }

    /// Whether all days of the tenants that it names shall be computed anew.
    pub fn all_days(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether a day is among those that it names.
    pub fn names_day(&self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| day >= from) && self.to.is_none_or(|to| day < to)
    }
}

/// What a run would read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JobPlan {
    /// The version of the table that it would read.
    pub source_version: Option<i64>,
    /// Tenant by tenant; empty if there is nothing to do.
    pub parts: Vec<PlanPart>,
}

/// What a run would read of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanPart {
    /// Whose rows.
    pub tenant: Tenant,
    /// Why: `new rows`, `asked for`, `settings changed`, `first run`, ….
    pub reason: &'static str,
    /// The days whose rows would be computed, if the job goes by days.
    pub days: Vec<NaiveDate>,
    /// Rows that would be read.
    pub rows: u64,
    /// Bytes of the files that hold them.
    pub bytes: u64,
}

/// How far a run has come; shared with whoever watches it.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    /// So many more rows are to be read.
    pub fn expect(&self, rows: u64) {
        self.total.fetch_add(rows, Ordering::Relaxed);
    }

    /// So many of them have been read.
    pub fn advance(&self, rows: u64) {
        self.done.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows read, and rows to be read in all.
    pub fn rows(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// What a run gets from the runner.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The time.
    pub clock: SharedClock,
    /// Cancelled when the run should stop: it is shutting down, took too long, or lost its lease.
    pub cancellation: CancellationToken,
    /// Where the run says how far it has come.
    pub progress: Arc<Progress>,
}

impl JobContext {
    /// An error once the run should stop, for the places of a job where stopping is easy.
    pub fn check_cancelled(&self) -> Result<(), JobError> {
        if self.cancellation.is_cancelled() { Err(JobError::Cancelled) } else { Ok(()) }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JobReport {
    /// Rows read.
    pub rows_read: u64,
    /// Rows written.
    pub rows_written: u64,
    /// Bytes of files read.
    pub bytes_read: u64,
    /// Bytes of files written.
    pub bytes_written: u64,
    /// The version of the table that it read.
    pub source_version: Option<i64>,
    /// Everything received before this time is in what it wrote.
    pub watermark: Option<DateTime<Utc>>,
    /// Whether there was nothing to do.
    pub unchanged: bool,
}

/// Why a job stopped without a report.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It was asked to stop.
    #[error("the run was cancelled")]
    Cancelled,
    /// Something that it needed did not work.
    #[error("{source}")]
    Failed {
        /// What.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl JobError {
    /// A failure with this cause.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed { source: source.into() }
    }
}
