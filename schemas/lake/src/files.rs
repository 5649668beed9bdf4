//! The files of a table's version, and what came and went between two versions.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Action;
use serde::Deserialize;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Environment, Tenant};

use crate::LakeError;
use crate::commit::CommitInfo;
use crate::open::LakeTable;

/// A data file as the Delta log describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Path relative to the table.
    pub path: String,
    /// Whose rows it holds.
    pub tenant: Tenant,
    /// The value of the table's date column for all its rows.
    pub date: NaiveDate,
    /// Size of the file.
    pub size_bytes: u64,
    /// Rows in the file.
    pub rows: u64,
    /// Earliest and latest value of the table's time column, when known.
    pub time_range: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Latest value of the table's end column, when it has one and it is known.
    pub latest_end: Option<DateTime<Utc>>,
    /// Earliest value of the table's begin column, when it has one and it is known.
    pub earliest_begin: Option<DateTime<Utc>>,
}

/// What some versions did to a table's rows.
#[derive(Debug, Clone, Default)]
pub struct FileChanges {
    /// Files with rows that came, oldest first. Files that a later one of the versions removed are among them.
    pub added: Vec<DataFile>,
    /// Tenant and date of the files whose rows went.
    pub removed: Vec<(Tenant, NaiveDate)>,
}

/// The files of one version of a table.
#[derive(Debug)]
pub struct Snapshot {
    /// The version.
    pub version: i64,
    /// What the version's commit said of itself.
    pub info: Option<CommitInfo>,
    by_tenant: HashMap<Tenant, Vec<DataFile>>,
}

impl Snapshot {
    /// The files of one tenant: the only way to reach files, so that no read is without its scope.
    pub fn files(&self, tenant: Tenant) -> &[DataFile] {
        self.by_tenant.get(&tenant).map_or(&[], Vec::as_slice)
    }

    /// Every tenant that has files.
    pub fn tenants(&self) -> impl Iterator<Item = Tenant> + '_ {
        self.by_tenant.keys().copied()
    }

    fn of(version: i64, info: Option<CommitInfo>, files: Vec<DataFile>) -> Self {
        let mut by_tenant: HashMap<Tenant, Vec<DataFile>> = HashMap::new();
        for file in files {
            by_tenant.entry(file.tenant).or_default().push(file);
        }
        for files in by_tenant.values_mut() {
            files.sort_by(|a, b| (a.date, &a.path).cmp(&(b.date, &b.path)));
        }
        Self { version, info, by_tenant }
    }
}

impl LakeTable {
    /// The newest version and its files.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, LakeError> {
        let (version, files) = {
            let mut delta = self.state.lock().await;
            delta.update_state().await.map_err(LakeError::delta(self.table()))?;
            let version = self.version_of(&delta)?;
            let mut listed = self.listed.lock().await;
            if let Some(snapshot) = listed.as_ref().filter(|snapshot| snapshot.version == version) {
                return Ok(Arc::clone(snapshot));
            }
            *listed = None;
            (version, self.files_of(&delta, version)?)
        };
        let info = self.commit_info(version).await?;
        let snapshot = Arc::new(Snapshot::of(version, info, files));
        *self.listed.lock().await = Some(Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// The files of an older version, as long as the log can tell them. This process's view of the table stays where it
    /// is. Files that a later version removed may be gone from the disk.
    pub async fn snapshot_at(&self, version: i64) -> Result<Snapshot, LakeError> {
        let failed = LakeError::delta(self.table());
        let mut delta = DeltaTable::new(self.log_store().clone());
        delta.load_version(version as u64).await.map_err(&failed)?;
        let files = self.files_of(&delta, version)?;
        Ok(Snapshot::of(version, self.commit_info(version).await?, files))
    }

    fn files_of(&self, delta: &DeltaTable, version: i64) -> Result<Vec<DataFile>, LakeError> {
        let state = delta.snapshot().map_err(LakeError::delta(self.table()))?;
        let log_data = state.log_data();
        let views = log_data.iter().map(|view| {
            let values = view.partition_values_map();
            self.data_file(version, view.path().into_owned(), &values, view.size(), view.stats())
        });
        views.collect()
    }

    /// What versions `after + 1 ..= through` did to the table's rows; `None` when an entry of that range is no longer in
    /// the log, so that only a full run can tell. Commits that only laid the same rows into other files are left out.
    pub async fn file_changes(&self, after: i64, through: i64) -> Result<Option<FileChanges>, LakeError> {
        let mut changes = FileChanges::default();
        for version in after + 1..=through {
            let Some(actions) = self.actions(version).await? else { return Ok(None) };
            for action in actions {
                match action {
                    Action::Add(add) if add.data_change => {
                        let file = self.data_file(version, add.path, &add.partition_values, add.size, add.stats)?;
                        changes.added.push(file);
                    }
                    Action::Remove(remove) if remove.data_change => {
                        let Some(values) = &remove.partition_values else { return Ok(None) };
                        let [_, _, day] = self.table().partition_columns();
                        let date = partition_value(values, day).ok().and_then(|date| NaiveDate::from_str(date).ok());
                        let Some(date) = date else { return Ok(None) };
                        changes.removed.push((self.tenant(version, values)?, date));
                    }
                    _ => {}
                }
            }
        }
        Ok(Some(changes))
    }

    /// The files that versions `after + 1 ..= through` added with new rows, oldest first; `None` when an entry of that
    /// range is no longer in the log.
    pub async fn files_added(&self, after: i64, through: i64) -> Result<Option<Vec<DataFile>>, LakeError> {
        Ok(self.file_changes(after, through).await?.map(|changes| changes.added))
    }

    /// The actions of a version's entry, or `None` when the log does not hold it any more.
    pub(crate) async fn actions(&self, version: i64) -> Result<Option<Vec<Action>>, LakeError> {
        let failed = LakeError::delta(self.table());
        let entry = self.log_store().read_commit_entry(version as u64).await.map_err(&failed)?;
        entry.map(|bytes| deltalake_core::logstore::get_actions(version as u64, &bytes).map_err(&failed)).transpose()
    }

    fn data_file(
        &self,
        version: i64,
        path: String,
        partition_values: &HashMap<String, Option<String>>,
        size: i64,
        stats: Option<String>,
    ) -> Result<DataFile, LakeError> {
        let malformed = |detail: String| LakeError::Malformed { table: self.table(), version, detail };
        let [_, _, day] = self.table().partition_columns();
        let tenant = self.tenant(version, partition_values)?;
        let date = partition_value(partition_values, day).map_err(malformed)?;
        let date = NaiveDate::from_str(date).map_err(|error| malformed(error.to_string()))?;
        let stats = stats.and_then(|text| serde_json::from_str::<FileStats>(&text).ok()).unwrap_or_default();
        let time_range = stats.time_range(self.table());
        let latest_end = self.table().end_column().and_then(|column| time_of(&stats.max_values, column));
        let earliest_begin = self.table().begin_column().and_then(|column| time_of(&stats.min_values, column));
        let rows = stats.num_records.unwrap_or(0);
        Ok(DataFile { tenant, date, size_bytes: size as u64, rows, time_range, latest_end, earliest_begin, path })
    }

    /// Whose partition it is.
    pub(crate) fn tenant(
        &self,
        version: i64,
        partition_values: &HashMap<String, Option<String>>,
    ) -> Result<Tenant, LakeError> {
        let malformed = |detail: String| LakeError::Malformed { table: self.table(), version, detail };
        let [account, environment, _] = self.table().partition_columns();
        let [account_id, environment] =
            [account, environment].map(|column| partition_value(partition_values, column).map_err(malformed));
        Ok(Tenant {
            account_id: AccountId::from_str(account_id?).map_err(|error| malformed(error.to_string()))?,
            environment: Environment::from_str(environment?).map_err(|error| malformed(error.to_string()))?,
        })
    }
}

fn partition_value<'a>(values: &'a HashMap<String, Option<String>>, column: &str) -> Result<&'a str, String> {
    values.get(column).and_then(Option::as_deref).ok_or_else(|| format!("no partition value for {column}"))
}

fn time_of(values: &HashMap<String, serde_json::Value>, column: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(values.get(column)?.as_str()?).ok().map(|time| time.to_utc())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FileStats {
    num_records: Option<u64>,
    min_values: HashMap<String, serde_json::Value>,
    max_values: HashMap<String, serde_json::Value>,
}

impl FileStats {
    fn time_range(&self, table: Table) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let column = table.time_column();
        Some((time_of(&self.min_values, column)?, time_of(&self.max_values, column)?))
    }
}
