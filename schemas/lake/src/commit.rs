//! A commit: files in, files out, and the transaction number that makes it happen once.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Remove, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use serde::{Deserialize, Serialize};

use crate::changes::Change;
use crate::files::DataFile;
use crate::open::LakeTable;
use crate::{LakeError, NewFile};

/// The key under which Touchline's own facts stand in a commit's `commitInfo`.
const INFO_KEY: &str = "touchline";

/// An application's transaction: what was committed under a number is never committed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// Who counts: an ingest node or a job.
    pub application: String,
    /// Its number, which only grows.
    pub version: i64,
}

/// What Touchline writes into a commit besides files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommitInfo {
    /// The version of the source table that a derived table was computed from.
    pub source_version: Option<i64>,
    /// Everything received up to this time is in the table.
    pub watermark: Option<DateTime<Utc>>,
    /// The writer's own counts, which become durable with the rows they count.
    pub counts: serde_json::Value,
    /// The versions of all tables that a derived table was computed from, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, i64>,
    /// Per tenant, a fingerprint of the settings that its rows were computed with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// What of a derived table this commit changed, tenant by tenant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

impl CommitInfo {
    /// What a commit after this one says that leaves all rows, or all but some, as they are: how far the table is. What
    /// came in and what changed stays with the commit that did it.
    pub fn carried_on(&self) -> Self {
        Self { counts: serde_json::Value::Null, changes: Vec::new(), ..self.clone() }
    }
}

/// Changes to a table that become visible together or not at all.
#[derive(Debug, Default)]
pub struct Commit {
    /// Files to add.
    pub add: Vec<NewFile>,
    /// Files to take out.
    pub remove: Vec<DataFile>,
    /// The number under which this happens.
    pub txn: Option<Txn>,
    /// What the commit says of itself.
    pub info: CommitInfo,
    /// The version that the commit was decided on.
    pub based_on: i64,
    /// Whether the same rows only come to lie in other files: readers of what is new leave such a commit out.
    pub rewrite: bool,
}

impl LakeTable {
    /// The newest version in this process's view; [`LakeTable::refresh`] moves the view.
    pub async fn version(&self) -> Result<i64, LakeError> {
        self.version_of(&*self.state.lock().await)
    }

    /// The table's identity: another one means that the lake was made anew.
    pub async fn id(&self) -> Result<String, LakeError> {
        let delta = self.state.lock().await;
        Ok(delta.snapshot().map_err(LakeError::delta(self.table()))?.metadata().id().to_owned())
    }

    /// Looks for versions that others committed; returns the newest.
    pub async fn refresh(&self) -> Result<i64, LakeError> {
        let mut delta = self.state.lock().await;
        delta.update_state().await.map_err(LakeError::delta(self.table()))?;
        self.version_of(&delta)
    }

    /// The last number that `application` committed under, if any.
    pub async fn last_txn(&self, application: &str) -> Result<Option<i64>, LakeError> {
        let delta = self.state.lock().await;
        let failed = LakeError::delta(self.table());
        let state = delta.snapshot().map_err(&failed)?;
        state.transaction_version(self.log_store(), application).await.map_err(&failed)
    }

    /// What the commit of `version` said of itself, if the log still holds it.
    pub async fn commit_info(&self, version: i64) -> Result<Option<CommitInfo>, LakeError> {
        let Some(actions) = self.actions(version).await? else { return Ok(None) };
        let info = actions.into_iter().find_map(|action| match action {
            Action::CommitInfo(mut info) => info.info.remove(INFO_KEY),
            _ => None,
        });
        info.map(serde_json::from_value).transpose().map_err(|error| LakeError::Malformed {
            table: self.table(),
            version,
            detail: error.to_string(),
        })
    }

    /// Commits on top of exactly the version that the commit was decided on.
    ///
    /// A commit of somebody else in between is [`LakeError::Conflict`]: nothing was written, and the caller, who knows
    /// what its decision was based on, decides again.
    pub async fn commit(&self, commit: Commit, now: DateTime<Utc>) -> Result<i64, LakeError> {
        let table = self.table();
        let mut delta = self.state.lock().await;
        let expected = commit.based_on + 1;
        // Readers in this process move the same view; a decision is only good for the version it was made on.
        if self.version_of(&delta)? != commit.based_on {
            return Err(LakeError::Conflict { table, expected });
        }

        let info = serde_json::to_value(&commit.info).map_err(|error| LakeError::Malformed {
            table,
            version: expected,
            detail: error.to_string(),
        })?;
        let properties = CommitProperties::default()
            .with_max_retries(0)
            // What the log does not need any more is for `expire_log` alone to say.
            .with_cleanup_expired_logs(Some(false))
            .with_metadata([(INFO_KEY.to_owned(), info)])
            .with_application_transactions(
                commit
                    .txn
                    .into_iter()
                    .map(|txn| {
                        Transaction::new_with_last_update(txn.application, txn.version, Some(now.timestamp_millis()))
                    })
                    .collect(),
            );
        let data_change = !commit.rewrite;
        let removed = commit.remove.into_iter().map(|file| Action::Remove(remove(&file, self, data_change, now)));
        let added = commit.add.into_iter().map(|file| Action::Add(Add { data_change, ..file.add }));
        let actions: Vec<Action> = removed.chain(added).collect();
        let operation = DeltaOperation::Write {
            mode: if actions.iter().any(|action| matches!(action, Action::Remove(_))) {
                SaveMode::Overwrite
            } else {
                SaveMode::Append
            },
            partition_by: Some(table.partition_columns().map(str::to_owned).to_vec()),
            predicate: None,
        };

        let state = delta.snapshot().map_err(LakeError::delta(table))?.clone();
        let finalized = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(&state), self.log_store().clone(), operation)
            .await
            .map_err(|error| match error {
                DeltaTableError::Transaction {
                    source: TransactionError::MaxCommitAttempts(_) | TransactionError::CommitConflict(_),
                }
                | DeltaTableError::VersionAlreadyExists(_) => LakeError::Conflict { table, expected },
                other => LakeError::delta(table)(other),
            })?;
        let version = finalized.version() as i64;
        delta.state = Some(finalized.snapshot());
        Ok(version)
    }

    pub(crate) fn version_of(&self, delta: &DeltaTable) -> Result<i64, LakeError> {
        delta.version().map(|version| version as i64).ok_or_else(|| LakeError::Malformed {
            table: self.table(),
            version: -1,
            detail: "the table has no version".into(),
        })
    }
}

fn remove(file: &DataFile, table: &LakeTable, data_change: bool, now: DateTime<Utc>) -> Remove {
    let [account, environment, day] = table.table().partition_columns();
    Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(now.timestamp_millis()),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::from([
            (account.to_owned(), Some(file.tenant.account_id.to_string())),
            (environment.to_owned(), Some(file.tenant.environment.to_string())),
            (day.to_owned(), Some(file.date.to_string())),
        ])),
        size: Some(file.size_bytes as i64),
        ..Remove::default()
    }
}
