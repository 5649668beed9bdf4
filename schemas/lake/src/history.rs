//! Older versions of a table: which one was the newest at a time, and whether its files are still there.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use deltalake_core::kernel::Action;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use touchline_schemas::Tenant;

use crate::LakeError;
use crate::files::Snapshot;
use crate::open::LakeTable;

/// Files whose presence is asked for at once.
const ASKED_AT_ONCE: usize = 16;

impl LakeTable {
    /// When a version was committed, by the clock of who did; none if its entry is no longer in the log, or does not
    /// say.
    pub async fn committed_at(&self, version: i64) -> Result<Option<DateTime<Utc>>, LakeError> {
        let actions = self.actions(version).await?.unwrap_or_default();
        let millis = actions.into_iter().find_map(|action| match action {
            Action::CommitInfo(info) => info.timestamp,
            _ => None,
        });
        Ok(millis.and_then(DateTime::from_timestamp_millis))
    }

    /// The last version that was committed by `at`.
    ///
    /// # Errors
    ///
    /// [`LakeError::NoVersion`] if the table was made later, [`LakeError::VersionGone`] if the log no longer tells.
    pub async fn version_at(&self, at: DateTime<Utc>) -> Result<i64, LakeError> {
        // Entries that are gone are older than those that are there: versions are in the order of their times.
        let (mut low, mut high) = (-1, self.refresh().await?);
        let mut is_known = false;
        while low < high {
            let middle = low + (high - low + 1) / 2;
            match self.committed_at(middle).await? {
                Some(committed_at) if committed_at > at => high = middle - 1,
                committed_at => {
                    low = middle;
                    is_known = committed_at.is_some();
                }
            }
        }
        match low {
            -1 => Err(LakeError::NoVersion { table: self.table() }),
            version if is_known => Ok(version),
            _ => Err(LakeError::VersionGone { table: self.table() }),
        }
    }

    /// A version that can be read as it was: the log tells it, and every file of `tenant` is there.
    ///
    /// # Errors
    ///
    /// [`LakeError::NoVersion`] if there is none of this number yet, [`LakeError::VersionGone`] if the log no longer
    /// tells it, or if a file was deleted since.
    pub async fn readable_snapshot(&self, version: i64, tenant: Tenant) -> Result<Arc<Snapshot>, LakeError> {
        let newest = self.snapshot().await?;
        if version == newest.version {
            return Ok(newest);
        }
        if !(0..newest.version).contains(&version) {
            return Err(LakeError::NoVersion { table: self.table() });
        }
        if self.actions(version).await?.is_none() {
            return Err(LakeError::VersionGone { table: self.table() });
        }
        let snapshot = self.snapshot_at(version).await?;
        let named: HashSet<&str> = newest.files(tenant).iter().map(|file| file.path.as_str()).collect();
        let replaced = snapshot.files(tenant).iter().map(|file| &file.path);
        let replaced: Vec<String> = replaced.filter(|path| !named.contains(path.as_str())).cloned().collect();
        let mut present = stream::iter(replaced).map(|path| self.is_present(path)).buffer_unordered(ASKED_AT_ONCE);
        while let Some(is_present) = present.try_next().await? {
            if !is_present {
                return Err(LakeError::VersionGone { table: self.table() });
            }
        }
        Ok(Arc::new(snapshot))
    }

    async fn is_present(&self, path: String) -> Result<bool, LakeError> {
        match self.store().head(&StorePath::from(path.as_str())).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(LakeError::File { table: self.table(), path, detail: error.to_string() }),
        }
    }
}
