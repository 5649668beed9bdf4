//! Erasing a person: out of the tables, out of everything that is derived from them, and out of every file that is left.
//!
//! The parts stand here; `order` puts them in order, and `eraser` does that for one request after the other, in the server
//! as at the command line. What is ingest's work, it does through [`ReceivedLog`]. What is done is written into a
//! [`Certificate`] as it is done.

mod certificate;
mod eraser;
mod error;
mod needles;
mod order;
mod person;
mod rows;
mod scan;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use chrono::{DateTime, Duration, Utc};
use sha2::{Digest as _, Sha256};
use touchline_lake::{Commit, CommitInfo, Lake, LakeError, LakeTable, Snapshot};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Tenant};

pub use certificate::{Certificate, DeletedFile, FORMAT, HASH, TableReport, Verification};
pub use eraser::{Eraser, ReceivedLog};
pub use error::{EraseError, ErasureError};
pub use needles::{MIN_SEARCHED_BYTES, Needles};
pub use person::{Person, PersonError, SharedId, resolve};
pub use rows::{Erased, Left};
pub use scan::{Found, Unpack, files_below, scan};

use crate::rewriting::{Changed, Task, rewrite_files};

/// The tables that are written by ingest; the others follow from them.
pub const RAW_TABLES: [Table; 2] = [Table::Events, Table::RejectedEvents];
/// A file that no version has named and that nobody has touched for so long is what a writer left that died.
const LEFTOVER_AFTER: Duration = Duration::minutes(10);

/// Takes the person's rows out of a table, in one commit, and says what that came to.
///
/// A commit to a raw table says that data changed, so that the jobs compute the tenant's rows anew. One to a derived
/// table only takes out what a job has left, and says that none did: its info is the one of the commit before, in which
/// the job finds what it has read.
pub async fn erase_rows(
    table: &LakeTable,
    tenant: Tenant,
    erased: &Arc<Erased>,
    is_dry_run: bool,
    clock: &SharedClock,
) -> Result<TableReport, EraseError> {
    let name = table.table();
    let counts = Arc::new(Counts::default());
    let (looking, changing) = (Arc::clone(erased), Arc::clone(erased));
    let (seen, counted) = (Arc::clone(&counts), Arc::clone(&counts));
    let task = Task {
        tenant,
        is_meant: &|_| true,
        is_touched: move |rows: &RecordBatch| {
            let left = looking.leave(name, rows.clone())?;
            if is_dry_run {
                seen.add(&left);
                return Ok(false);
            }
            Ok(left.removed + left.replaced > 0)
        },
        change: move |rows| {
            let left = changing.leave(name, rows)?;
            counted.add(&left);
            Ok(left.rows)
        },
        commit: &|snapshot, _| Commit {
            info: snapshot.info.as_ref().map(CommitInfo::carried_on).unwrap_or_default(),
            rewrite: !RAW_TABLES.contains(&name),
            ..Commit::default()
        },
    };
    let Changed { before, after, .. } = rewrite_files(table, clock, &task, &|_| Ok::<_, EraseError>(())).await?;
    let files = |snapshot: &Snapshot| snapshot.files(tenant).len() as u64;
    let rows = |snapshot: &Snapshot| snapshot.files(tenant).iter().map(|file| file.rows).sum::<u64>();
    Ok(TableReport {
        table: name.name(),
        environment: tenant.environment.as_str(),
        versions: [before.version, after.version],
        files: [files(&before), files(&after)],
        rows: [rows(&before), rows(&after)],
        rows_removed: counts.removed.load(Ordering::Relaxed),
        texts_replaced: counts.replaced.load(Ordering::Relaxed),
    })
}

#[derive(Debug, Default)]
struct Counts {
    removed: AtomicU64,
    replaced: AtomicU64,
}

impl Counts {
    fn add(&self, left: &Left) {
        self.removed.fetch_add(left.removed, Ordering::Relaxed);
        self.replaced.fetch_add(left.replaced, Ordering::Relaxed);
    }
}

/// What exports have written on this machine.
#[derive(Debug, Default)]
pub struct Exported {
    /// The directory below which they write.
    pub root: PathBuf,
    /// Folders of runs, and whose rows are in them: another account may well have somebody of the same id.
    pub folders: HashMap<PathBuf, AccountId>,
}

/// Looks for a person's ids in files outside of the tables' newest versions, and deletes what holds them.
pub struct Sweeper<'a> {
    /// The lake.
    pub lake: &'a Lake,
    /// Whose person it is.
    pub account_id: AccountId,
    /// The ids.
    pub needles: &'a Needles,
    /// Unpacks records of the log that are this account's.
    pub unpack: &'a Unpack<'a>,
    /// What exports have written.
    pub exported: &'a Exported,
    /// Folders that are left out of the paths in the certificate.
    pub roots: &'a [PathBuf],
}

impl Sweeper<'_> {
    /// Deletes files of the tables' folders that hold the ids and that no version names: replaced ones, change files,
    /// and what a writer left that died. Returns those that ingest, which goes on meanwhile, may be about to commit: they
    /// are left alone, and have to be looked at again until they are named, gone, or too old for that.
    ///
    /// No job may run meanwhile: what it has written and not yet committed looks like a leftover too.
    pub async fn strays(&self, now: DateTime<Utc>, done: &mut Certificate) -> Result<Vec<PathBuf>, EraseError> {
        let mut unsettled = Vec::new();
        for table in Table::ALL {
            let table = self.lake.table(table);
            let others = self.changes_of_others(table).await?;
            // In this order: a file that is committed between the two looks is named by the second.
            let stored = table.stored_files().await?;
            let snapshot = table.snapshot().await?;
            let live: HashSet<&str> = data_files(&snapshot).collect();
            let mut replaced: Option<HashSet<String>> = None;
            for file in stored {
                let is_ours = self.may_be_ours(&file.path) && !others.contains(&file.path);
                let path = table.folder().join(&file.path);
                // As below: a stop is heard between two files.
                tokio::task::yield_now().await;
                if live.contains(file.path.as_str()) || !is_ours || !self.must_go(&path)? {
                    continue;
                }
                // It may have been named since.
                if data_files(&*table.snapshot().await?).any(|named| named == file.path) {
                    continue;
                }
                if RAW_TABLES.contains(&table.table()) && !file.is_sorted() && file.modified_at > now - LEFTOVER_AFTER {
                    let replaced = match &replaced {
                        Some(replaced) => replaced,
                        None => replaced.insert(table.removed_files().await?),
                    };
                    if !replaced.contains(&file.path) {
                        unsettled.push(path);
                        continue;
                    }
                }
                done.deleted_files.push(self.delete(&path)?);
            }
        }
        Ok(unsettled)
    }

    /// Whether a file holds ids, or may hold some that nobody can read.
    fn must_go(&self, path: &Path) -> Result<bool, EraseError> {
        Ok(match self.look(path)? {
            Some((Found::Ids(0), _)) | None => false,
            Some((Found::Ids(_) | Found::Unreadable, _)) => true,
        })
    }

    /// Deletes files below a folder that hold the ids. What cannot be read is left and listed.
    pub fn folder(&self, folder: &Path, done: &mut Certificate) -> Result<(), EraseError> {
        for path in files_below(folder).map_err(failed(folder))? {
            if self.is_exported_by_others(&path) {
                continue;
            }
            match self.look(&path)? {
                Some((Found::Ids(0), _)) | None => {}
                Some((Found::Ids(_), _)) => done.deleted_files.push(self.delete(&path)?),
                Some((Found::Unreadable, _)) => done.unreadable_files.push(self.shown(&path)),
            }
        }
        Ok(())
    }

    /// Reads every file below these folders that could hold the ids, and counts what it finds.
    pub async fn verify(&self, roots: &[PathBuf]) -> Result<Verification, EraseError> {
        let mut skipped = HashSet::new();
        for table in Table::ALL {
            let table = self.lake.table(table);
            let others = self.changes_of_others(table).await?;
            skipped.extend(others.into_iter().map(|path| table.folder().join(path)));
        }
        let mut verification = Verification::default();
        let mut seen = HashSet::new();
        for root in roots {
            for path in files_below(root).map_err(failed(root))? {
                let is_others = skipped.contains(&path)
                    || self.is_exported_by_others(&path)
                    || !self.may_be_ours(&path.to_string_lossy());
                if is_others || !seen.insert(path.clone()) {
                    continue;
                }
                // Looking does not wait for anything, so whoever wants this to stop would not be heard.
                tokio::task::yield_now().await;
                let Some((found, bytes)) = self.look(&path)? else { continue };
                verification.files += 1;
                verification.bytes += bytes;
                if let Found::Ids(ids) = found
                    && ids > 0
                {
                    verification.occurrences += ids;
                    verification.found_in.push(self.shown(&path));
                }
            }
        }
        Ok(verification)
    }

    /// Change files of other accounts, who may well have somebody of the same id.
    async fn changes_of_others(&self, table: &LakeTable) -> Result<HashSet<String>, LakeError> {
        let named = table.named_changes().await?.into_iter();
        Ok(named.filter(|(tenant, _)| tenant.account_id != self.account_id).map(|(_, path)| path).collect())
    }

    fn is_exported_by_others(&self, path: &Path) -> bool {
        // The closest is the one whose run wrote the file.
        let account = path.ancestors().find_map(|folder| self.exported.folders.get(folder));
        account.is_some_and(|account| *account != self.account_id)
    }

    /// False for the folders of other accounts.
    fn may_be_ours(&self, path: &str) -> bool {
        const ACCOUNT_FOLDER: &str = touchline_schemas::tables::ACCOUNT_ID;
        let folder = path.split('/').find_map(|folder| folder.strip_prefix(ACCOUNT_FOLDER)?.strip_prefix('='));
        folder.is_none_or(|account| account == self.account_id.to_string())
    }

    fn look(&self, path: &Path) -> Result<Option<(Found, u64)>, EraseError> {
        scan(path, self.needles, self.unpack).map_err(failed(path))
    }

    fn delete(&self, path: &Path) -> Result<DeletedFile, EraseError> {
        let bytes = std::fs::read(path).map_err(failed(path))?;
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::remove_file(path).map_err(failed(path))?;
        Ok(DeletedFile { path: self.shown(path), size_bytes: bytes.len() as u64, sha256 })
    }

    /// A path as it may stand in a certificate.
    fn shown(&self, path: &Path) -> String {
        // The lake may lie in the data directory: the longest is the closest.
        let inside = self.roots.iter().filter_map(|root| path.strip_prefix(root).ok());
        let path = inside.min_by_key(|path| path.as_os_str().len()).unwrap_or(path).to_string_lossy().into_owned();
        self.needles.replaced_in(&path).unwrap_or(path)
    }
}

/// The data files that a version names.
fn data_files(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    snapshot.tenants().flat_map(|tenant| snapshot.files(tenant)).map(|file| file.path.as_str())
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> EraseError {
    let path = path.to_owned();
    move |source| EraseError::File { path: path.clone(), source }
}
