//! Files of a table once more, with some of their rows left out or changed, in one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use touchline_lake::{Commit, DataFile, LakeError, LakeTable, NewFile, Rewritten, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::clock::SharedClock;
use uuid::Uuid;

/// How often a commit is tried again when somebody else was faster.
const MAX_CONFLICTS: usize = 50;

/// Files that come into the place of others.
#[derive(Debug, Default)]
pub struct Rewriting(BTreeMap<String, (DataFile, Option<NewFile>)>);

impl Rewriting {
    /// What goes.
    pub fn removed(&self) -> Vec<DataFile> {
        self.0.values().map(|(old, _)| old.clone()).collect()
    }

    /// What comes.
    pub fn added(&self) -> Vec<NewFile> {
        self.0.values().filter_map(|(_, new)| new.clone()).collect()
    }
}

/// The versions between which rows were changed, and the files in which they were.
#[derive(Debug)]
pub struct Changed {
    /// The version that was found.
    pub before: Arc<Snapshot>,
    /// The version that was left.
    pub after: Arc<Snapshot>,
    /// The files of the commit; none if there was none.
    pub files: Rewriting,
}

/// Which files are rewritten, and how.
pub struct Task<'a, T, C> {
    /// Whose.
    pub tenant: Tenant,
    /// Files that are not looked at stay as they are.
    pub is_meant: &'a (dyn Fn(&DataFile) -> bool + Sync),
    /// Whether `change` makes something else of these rows.
    pub is_touched: T,
    /// What the rows become, in the same order.
    pub change: C,
    /// The commit, but for its files and its version.
    pub commit: &'a (dyn Fn(&Snapshot, &Rewriting) -> Commit + Sync),
}

/// Rewrites the files of `task` in which a row is touched, and commits that on the newest version. Files that others bring
/// meanwhile are rewritten too. `before_file` is asked before a file is read, and ends all of it with its error.
pub async fn rewrite_files<E, T, C>(
    table: &LakeTable,
    clock: &SharedClock,
    task: &Task<'_, T, C>,
    before_file: &(dyn Fn(&DataFile) -> Result<(), E> + Sync),
) -> Result<Changed, E>
where
    E: From<LakeError>,
    T: Fn(&RecordBatch) -> Result<bool, ArrowError> + Clone + Send + 'static,
    C: Fn(RecordBatch) -> Result<RecordBatch, ArrowError> + Clone + Send + 'static,
{
    let before = table.snapshot().await?;
    let mut untouched: BTreeSet<String> = BTreeSet::new();
    let mut rewriting = Rewriting::default();
    let mut conflicts = 0;
    loop {
        let snapshot = table.snapshot().await?;
        let files = snapshot.files(task.tenant);
        // What was merged meanwhile is looked at in its new place; what we made of it becomes a stray.
        rewriting.0.retain(|path, _| files.iter().any(|file| file.path == *path));
        for file in files.iter().filter(|file| (task.is_meant)(file)) {
            if untouched.contains(&file.path) || rewriting.0.contains_key(&file.path) {
                continue;
            }
            before_file(file)?;
            let unique = Uuid::now_v7().simple().to_string();
            let (is_touched, change) = (task.is_touched.clone(), task.change.clone());
            let new = match table.rewrite_file(file, &unique, clock.now(), is_touched, change).await? {
                Rewritten::Untouched => {
                    untouched.insert(file.path.clone());
                    continue;
                }
                Rewritten::Replaced(new) => Some(*new),
                Rewritten::Emptied => None,
            };
            rewriting.0.insert(file.path.clone(), (file.clone(), new));
        }
        if rewriting.0.is_empty() {
            return Ok(Changed { before, after: snapshot, files: rewriting });
        }
        let commit = Commit {
            add: rewriting.added(),
            remove: rewriting.removed(),
            based_on: snapshot.version,
            ..(task.commit)(&snapshot, &rewriting)
        };
        match table.commit(commit, clock.now()).await {
            Ok(_) => return Ok(Changed { before, after: table.snapshot().await?, files: rewriting }),
            Err(LakeError::Conflict { .. }) if conflicts < MAX_CONFLICTS => conflicts += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
