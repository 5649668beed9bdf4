//! Where things lie: the data directory, and the folders of the lake's tables.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use crate::tables::Table;
use crate::tenant::Tenant;

/// The directory that holds everything of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Wraps `root`; nothing is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The SQLite control database.
    pub fn control_database(&self) -> PathBuf {
        self.0.join("touchline.db")
    }

    /// The write-ahead log of ingest.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The root of the Delta tables.
    pub fn lake(&self) -> PathBuf {
        self.0.join("lake")
    }

    /// The index of event ids, which can always be rebuilt from the lake.
    pub fn event_ids(&self) -> PathBuf {
        self.0.join("event_ids")
    }

    /// The root under which exports may be written.
    pub fn exports(&self) -> PathBuf {
        self.0.join("exports")
    }

    /// What is known of imports that have begun and not ended.
    pub fn imports(&self) -> PathBuf {
        self.0.join("imports")
    }

    /// The file that a process locks while it owns the log.
    pub fn ingest_lock(&self) -> PathBuf {
        self.0.join("ingest.lock")
    }
}

/// The folder of a data file inside its table: hive style, so that any reader finds the partition values in it.
///
/// `account_id=…/environment=…/<date column>=YYYY-MM-DD`
pub fn partition_folder(table: Table, tenant: Tenant, date: NaiveDate) -> String {
    let [account, environment, day] = table.partition_columns();
    format!("{account}={}/{environment}={}/{day}={date}", tenant.account_id, tenant.environment)
}
