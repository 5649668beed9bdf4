//! What one question reads: one version of each table, however often it is looked at, and how many bytes of it.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use touchline_lake::{LakeError, LakeTable, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::explain::{self, Reads, Statement};
use crate::scan::{Planned, PlannedFile};

/// The state of the lake that a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AsOf {
    /// The newest version of each table.
    #[default]
    Newest,
    /// This version of the first table that is read, and the others as they were when it was committed.
    Version(i64),
    /// The last version of each table that was committed by then.
    Time(DateTime<Utc>),
}

/// The versions that a question reads. Each is chosen when its table is first looked at, and kept.
#[derive(Debug, Default)]
pub struct View {
    as_of: AsOf,
    /// The time that a version of the first table stands for. Held while a version is chosen.
    at: tokio::sync::Mutex<Option<DateTime<Utc>>>,
    chosen: Mutex<Vec<Looked>>,
    planned: Arc<Planned>,
    /// What was asked, of a question that is to be explained.
    asked: Option<Mutex<Vec<Reads>>>,
}

/// A table that was looked at.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The table.
    pub table: Table,
    /// Its identity: that of a table which was made anew is another one.
    pub id: String,
    /// The version that was chosen.
    pub snapshot: Arc<Snapshot>,
}

impl View {
    /// A view of which nothing has been looked at.
    pub fn new(as_of: AsOf) -> Self {
        Self { as_of, ..Self::default() }
    }

    /// The same, which also notes what is asked and which files that plans to read.
    pub fn explained(self) -> Self {
        Self { planned: Arc::new(Planned::with_files()), asked: Some(Mutex::default()), ..self }
    }

    /// Whether it notes what is asked.
    pub fn is_explained(&self) -> bool {
        self.asked.is_some()
    }

    /// What was asked of the tables for an answer, in this order: see [`AnswerMeta::is_of_last_plan`].
    ///
    /// [`AnswerMeta::is_of_last_plan`]: crate::AnswerMeta::is_of_last_plan
    pub fn statements(&self, is_of_last_plan: bool) -> Vec<Statement> {
        let asked = self.asked.as_ref().map(|asked| asked.lock().unwrap_or_else(PoisonError::into_inner).clone());
        explain::statements(asked.unwrap_or_default(), is_of_last_plan)
    }

    /// Adds what a plan reads.
    pub(crate) fn note(&self, reads: Reads) {
        if let Some(asked) = &self.asked {
            asked.lock().unwrap_or_else(PoisonError::into_inner).push(reads);
        }
    }

    /// The state that it is about.
    pub fn as_of(&self) -> AsOf {
        self.as_of
    }

    /// The version of a table that `tenant` reads.
    pub(crate) async fn snapshot(&self, table: &LakeTable, tenant: Tenant) -> Result<Arc<Snapshot>, LakeError> {
        let mut at = self.at.lock().await;
        if let Some(looked) = self.looked_at().into_iter().find(|looked| looked.table == table.table()) {
            return Ok(looked.snapshot);
        }
        let snapshot = match (self.as_of, *at) {
            (AsOf::Newest, _) => table.snapshot().await?,
            (AsOf::Version(version), None) => {
                let snapshot = table.readable_snapshot(version, tenant).await?;
                let committed_at = table.committed_at(version).await?;
                *at = Some(committed_at.ok_or(LakeError::VersionGone { table: table.table() })?);
                snapshot
            }
            (AsOf::Time(at), _) | (AsOf::Version(_), Some(at)) => {
                table.readable_snapshot(table.version_at(at).await?, tenant).await?
            }
        };
        let looked = Looked { table: table.table(), id: table.id().await?, snapshot: Arc::clone(&snapshot) };
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).push(looked);
        Ok(snapshot)
    }

    /// What has been looked at so far, in this order.
    pub fn looked_at(&self) -> Vec<Looked> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes of the files that queries planned to read: those that the range of time leaves, whole, though only the
    /// columns that are needed are read of them.
    pub fn planned_bytes(&self) -> u64 {
        self.planned.bytes()
    }

    /// Those files, if the question is to be explained.
    pub fn planned_files(&self) -> Vec<PlannedFile> {
        self.planned.files()
    }

    /// Where scans note them.
    pub(crate) fn planned(&self) -> Arc<Planned> {
        Arc::clone(&self.planned)
    }
}
