//! What a table's folder holds besides the files of its newest version: entries of the log that nobody needs any more,
//! and files that no version names.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Duration, Utc};
use deltalake_core::checkpoints;
use deltalake_core::kernel::Action;
use futures::TryStreamExt;
use object_store::path::Path as StorePath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use touchline_schemas::Tenant;
use uuid::Uuid;

use crate::LakeError;
use crate::commit::CommitInfo;
use crate::durable::is_unfinished;
use crate::merge::is_sorted;
use crate::open::{LOG_FOLDER, LakeTable};

/// Where a table's folder keeps what is known of its stray files.
const STRAYS_FILE: &str = "_strays.json";
/// How long a checkpoint is kept that a newer one has made superfluous, for whoever is just reading it.
const OLD_CHECKPOINT_KEPT: Duration = Duration::hours(1);
/// Of older checkpoints one is kept in so much time: a version is told by the last checkpoint before it and the entries
/// since. So the log is at most this much longer than it has to be, and an older version costs as many entries to read.
const CHECKPOINT_EVERY: Duration = Duration::hours(4);

/// A file in a table's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Path relative to the table.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written.
    pub modified_at: DateTime<Utc>,
}

/// Since when files are known to be named by no version. Versions are not asked when a file left them, which the log
/// forgets: what counts is since when a look at the newest one has not found it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strays {
    /// By path.
    pub since: BTreeMap<String, DateTime<Utc>>,
}

impl StoredFile {
    /// Whether a job wrote it: ingest puts nothing in order.
    pub fn is_sorted(&self) -> bool {
        is_sorted(&self.path)
    }
}

impl LakeTable {
    /// Writes a checkpoint of the newest version, and deletes what the log does not need to tell every version since
    /// `kept_from`: older entries, and checkpoints but for one in a while. Returns how many files went.
    ///
    /// Entries and checkpoints are as old as their files.
    pub async fn expire_log(&self, kept_from: DateTime<Utc>, now: DateTime<Utc>) -> Result<usize, LakeError> {
        let version = self.refresh().await?;
        let mut log = self.list(Some(LOG_FOLDER)).await?;
        if !log.iter().any(|file| checkpoint_version(&file.path) == Some(version)) {
            let delta = self.state.lock().await;
            checkpoints::create_checkpoint(&delta, None).await.map_err(LakeError::delta(self.table()))?;
            drop(delta);
            log = self.list(Some(LOG_FOLDER)).await?;
        }
        let expired = expired(log, version, kept_from, now);
        self.delete_files(&expired).await?;
        Ok(expired.len())
    }

    /// Every file in the table's folder that is no part of its log, in the order of paths.
    pub async fn stored_files(&self) -> Result<Vec<StoredFile>, LakeError> {
        let mut files = self.list(None).await?;
        files.retain(|file| !file.path.starts_with(LOG_FOLDER) && file.path != STRAYS_FILE);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The files that the newest version names, and the change files that entries of the log name.
    pub async fn named_files(&self) -> Result<HashSet<String>, LakeError> {
        let snapshot = self.snapshot().await?;
        let data = snapshot.tenants().flat_map(|tenant| snapshot.files(tenant)).map(|file| file.path.clone());
        let mut named: HashSet<String> = data.collect();
        named.extend(self.named_changes().await?.into_iter().map(|(_, path)| path));
        Ok(named)
    }

    /// The change files that entries of the log name, and whose rows they hold.
    pub async fn named_changes(&self) -> Result<Vec<(Tenant, String)>, LakeError> {
        // Tables without any spare reading their log.
        if self.list(Some(crate::changes::FOLDER)).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut named = Vec::new();
        for version in self.list(Some(LOG_FOLDER)).await?.iter().filter_map(|entry| entry_version(&entry.path)) {
            let info: CommitInfo = self.commit_info(version).await?.unwrap_or_default();
            for change in info.changes {
                let files = change.files.unwrap_or_default();
                named.extend(files.into_iter().map(|file| (change.tenant, file.path)));
            }
        }
        Ok(named)
    }

    /// The data files that entries of the log took out: nobody is about to commit these.
    pub async fn removed_files(&self) -> Result<HashSet<String>, LakeError> {
        let mut removed = HashSet::new();
        for version in self.list(Some(LOG_FOLDER)).await?.iter().filter_map(|entry| entry_version(&entry.path)) {
            let actions = self.actions(version).await?.unwrap_or_default();
            removed.extend(actions.into_iter().filter_map(|action| match action {
                Action::Remove(remove) => Some(remove.path),
                _ => None,
            }));
        }
        Ok(removed)
    }

    /// The folder of the table.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.as_path()
    }

    /// What the last look at stray files found.
    pub async fn strays(&self) -> Result<Strays, LakeError> {
        let failed = |detail: String| self.file_error(STRAYS_FILE, detail);
        let bytes = match self.store().get(&StorePath::from(STRAYS_FILE)).await {
            Ok(stored) => stored.bytes().await.map_err(|error| failed(error.to_string()))?,
            Err(object_store::Error::NotFound { .. }) => return Ok(Strays::default()),
            Err(error) => return Err(failed(error.to_string())),
        };
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }

    /// Keeps what a look at stray files found.
    pub async fn keep_strays(&self, strays: &Strays) -> Result<(), LakeError> {
        let failed = |detail: String| self.file_error(STRAYS_FILE, detail);
        let bytes = serde_json::to_vec(strays).map_err(|error| failed(error.to_string()))?;
        let put = self.store().put(&StorePath::from(STRAYS_FILE), bytes.into()).await;
        put.map(|_| ()).map_err(|error| failed(error.to_string()))
    }

    /// The bytes of a file in the table's folder; `None` if it is not there any more.
    pub async fn read_stored(&self, path: &str) -> Result<Option<bytes::Bytes>, LakeError> {
        let failed = |error: object_store::Error| self.file_error(path, error.to_string());
        match self.store().get(&StorePath::from(path)).await {
            Ok(stored) => stored.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Deletes files; one that is not there any more is no error. Whoever calls this knows that no version names them.
    pub async fn delete_files(&self, paths: &[String]) -> Result<(), LakeError> {
        for path in paths {
            match self.store().delete(&StorePath::from(path.as_str())).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.file_error(path, error.to_string())),
            }
        }
        Ok(())
    }

    /// Whether the store keeps its promise that of two who create one name the second is refused. Without it two
    /// writers overwrite each other's commits, and nobody notices.
    pub async fn creates_once(&self) -> Result<bool, LakeError> {
        let path = StorePath::from(format!("_probe-{}", Uuid::now_v7().simple()));
        let create = |bytes: &'static [u8]| {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let (store, path) = (self.store(), path.clone());
            async move { store.put_opts(&path, bytes.into(), options).await }
        };
        let racing = futures::future::join(create(b"one"), create(b"two")).await;
        let again = create(b"three").await;
        let deleted = self.store().delete(&path).await;
        let created = [&racing.0, &racing.1, &again].into_iter().filter(|put| put.is_ok()).count();
        for put in [racing.0, racing.1, again] {
            match put {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {}
                Err(error) => return Err(self.file_error(path.as_ref(), error.to_string())),
            }
        }
        deleted.map_err(|error| self.file_error(path.as_ref(), error.to_string()))?;
        Ok(created == 1)
    }

    async fn list(&self, folder: Option<&str>) -> Result<Vec<StoredFile>, LakeError> {
        let prefix = folder.map(StorePath::from);
        let store = self.store();
        let listed = store.list(prefix.as_ref()).map_ok(stored_file).try_collect::<Vec<_>>().await;
        listed.map_err(|error| self.file_error(folder.unwrap_or("."), error.to_string()))
    }

    fn file_error(&self, path: &str, detail: String) -> LakeError {
        LakeError::File { table: self.table(), path: path.to_owned(), detail }
    }
}

/// The files of a log that nobody needs any more, in the order in which they may go.
fn expired(log: Vec<StoredFile>, newest: i64, kept_from: DateTime<Utc>, now: DateTime<Utc>) -> Vec<String> {
    let (mut entries, mut expired) = (BTreeMap::new(), Vec::new());
    let mut checkpoints: BTreeMap<i64, Vec<StoredFile>> = BTreeMap::new();
    for file in log {
        if let Some(version) = entry_version(&file.path) {
            entries.insert(version, file);
        } else if let Some(version) = checkpoint_version(&file.path) {
            checkpoints.entry(version).or_default().push(file);
        } else if is_unfinished(&file.path) && file.modified_at < now - OLD_CHECKPOINT_KEPT {
            // A writer that died has left it.
            expired.push(file.path);
        }
    }
    // What the newest commit says of itself is asked however old it is.
    let oldest_kept =
        entries.iter().find(|(_, entry)| entry.modified_at >= kept_from).map_or(newest, |(version, _)| *version);
    // Without a checkpoint before it, the oldest entry that is kept needs all that went before.
    let Some(base) = checkpoints.range(..=oldest_kept.min(newest)).next_back().map(|(version, _)| *version) else {
        return expired;
    };
    expired.extend(entries.range(..base).map(|(_, entry)| entry.path.clone()));
    let mut last_kept: Option<DateTime<Utc>> = None;
    for (version, files) in checkpoints {
        let Some(written_at) = files.iter().map(|file| file.modified_at).max() else { continue };
        let is_step = last_kept.is_none_or(|last| written_at - last >= CHECKPOINT_EVERY);
        let is_fresh = version >= newest || written_at >= now - OLD_CHECKPOINT_KEPT;
        if version >= base && (is_step || is_fresh) {
            last_kept = last_kept.max(Some(written_at));
        } else {
            expired.extend(files.into_iter().map(|file| file.path));
        }
    }
    expired
}

fn stored_file(meta: ObjectMeta) -> StoredFile {
    StoredFile { path: meta.location.to_string(), size_bytes: meta.size, modified_at: meta.last_modified }
}

/// The version of an entry of the log: `_delta_log/00000000000000000017.json`.
fn entry_version(path: &str) -> Option<i64> {
    path.rsplit('/').next()?.strip_suffix(".json")?.parse().ok()
}

/// The version of a checkpoint: `_delta_log/00000000000000000017.checkpoint.parquet` and its kin.
fn checkpoint_version(path: &str) -> Option<i64> {
    let (version, rest) = path.rsplit('/').next()?.split_once('.')?;
    let is_checkpoint = rest.starts_with("checkpoint.") && (rest.ends_with(".parquet") || rest.ends_with(".json"));
    is_checkpoint.then(|| version.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_names() {
        let check = |path: &str, entry: Option<i64>, checkpoint: Option<i64>| {
            assert_eq!((entry_version(path), checkpoint_version(path)), (entry, checkpoint), "{path}");
        };
        check("_delta_log/00000000000000000017.json", Some(17), None);
        check("_delta_log/00000000000000000017.checkpoint.parquet", None, Some(17));
        check("_delta_log/00000000000000000017.checkpoint.0000000001.0000000002.parquet", None, Some(17));
        check("_delta_log/00000000000000000017.checkpoint.0e0a.json", None, Some(17));
        check("_delta_log/00000000000000000017.checkpoint.5-1.tmp", None, None);
        check("_delta_log/_last_checkpoint", None, None);
        check("_delta_log/00000000000000000017.json.5-1.tmp", None, None);
    }
}
