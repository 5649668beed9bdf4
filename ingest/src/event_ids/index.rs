//! The exact index: sorted runs that are merged as they grow, and a manifest that says which version of `events` they
//! cover.
//!
//! Each committed segment adds one run; runs of like size are merged, so that there are few (their number grows with
//! the logarithm of the ids) and each id is rewritten few times. Filters live in memory up to a budget, for the
//! younger runs first; a run without one costs a read per question.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::IdHash;
use super::run::{FILTER_BYTES_PER_ID, Run, RunIter, remove_file};

/// A run is merged into the one before it unless that one is this many times larger.
const MERGE_RATIO: u64 = 4;
const MANIFEST: &str = "manifest.json";

/// The index of event ids on disk is not usable. It can be deleted: it is rebuilt from the lake.
#[derive(Debug, thiserror::Error)]
#[error("event id index {path}: {source}")]
pub struct IndexError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// The table whose ids these are.
    table_id: String,
    /// The version of `events` whose ids are all here.
    covers: i64,
    next_run: u64,
    runs: Vec<ManifestRun>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ManifestRun {
    file: String,
    ids: u64,
    crc32c: u32,
}

const FORMAT: u32 = 1;

/// Every event id of the lake up to a version of `events`.
#[derive(Debug)]
pub struct EventIdIndex {
    folder: PathBuf,
    filter_budget_bytes: u64,
    table_id: String,
    covers: i64,
    next_run: u64,
    runs: Vec<Run>,
}

impl EventIdIndex {
    /// Opens the index in `folder`. One that is missing or damaged is empty and covers nothing (version -1).
    pub fn open(folder: &Path, filter_budget_bytes: u64) -> Result<Self, IndexError> {
        let failed = |source| IndexError { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        match Self::load(folder, filter_budget_bytes) {
            Ok(index) => Ok(index),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the index of event ids is rebuilt from the lake");
                }
                let mut index = Self {
                    folder: folder.to_owned(),
                    filter_budget_bytes,
                    table_id: String::new(),
                    covers: -1,
                    next_run: 0,
                    runs: Vec::new(),
                };
                index.clear().map_err(failed)?;
                Ok(index)
            }
        }
    }

    fn load(folder: &Path, filter_budget_bytes: u64) -> io::Result<Self> {
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(folder.join(MANIFEST))?)?;
        if manifest.format != FORMAT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("manifest has format {}", manifest.format)));
        }
        let mut budget = filter_budget_bytes;
        let mut runs = Vec::with_capacity(manifest.runs.len());
        for run in manifest.runs.iter().rev() {
            let with_filter = take_budget(&mut budget, run.ids);
            runs.push(Run::open(folder.join(&run.file), run.ids, run.crc32c, with_filter)?);
        }
        runs.reverse();
        Ok(Self {
            folder: folder.to_owned(),
            filter_budget_bytes,
            table_id: manifest.table_id,
            covers: manifest.covers,
            next_run: manifest.next_run,
            runs,
        })
    }

    fn clear(&mut self) -> io::Result<()> {
        self.runs.clear();
        self.covers = -1;
        for entry in std::fs::read_dir(&self.folder)? {
            remove_file(&entry?.path());
        }
        Ok(())
    }

    /// The version of `events` up to which every id is here; -1 when nothing is.
    pub fn covers(&self) -> i64 {
        self.covers
    }

    /// The table whose ids these are; empty when there are none.
    pub fn table_id(&self) -> &str {
        &self.table_id
    }

    /// Forgets everything, and begins anew for another table or the same.
    pub fn reset(&mut self, table_id: String) -> Result<(), IndexError> {
        self.table_id = table_id;
        self.clear().map_err(|source| self.failed(source))
    }

    /// Whether the id is in the lake.
    pub fn contains(&self, id: IdHash) -> Result<bool, IndexError> {
        for run in self.runs.iter().rev() {
            if run.contains(id).map_err(|source| self.failed(source))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds the ids that version `covers` brought.
    pub fn add(&mut self, mut ids: Vec<IdHash>, covers: i64) -> Result<(), IndexError> {
        ids.sort_unstable();
        ids.dedup();
        self.add_sorted(&ids, covers).map_err(|source| self.failed(source))
    }

    fn add_sorted(&mut self, ids: &[IdHash], covers: i64) -> io::Result<()> {
        let mut replaced = Vec::new();
        if !ids.is_empty() {
            let path = self.new_run();
            let count = ids.len() as u64;
            self.runs.push(Run::write(path, ids.iter().copied().map(Ok), Some(count))?);
            while let [.., before, last] = self.runs.as_slice()
                && before.ids < last.ids * MERGE_RATIO
            {
                let (count, merged) = (before.ids + last.ids, Merge::new(before, last));
                let filter = (count * FILTER_BYTES_PER_ID <= self.filter_budget_bytes).then_some(count);
                let path = self.folder.join(run_file(self.next_run));
                let merged = Run::write(path, merged, filter)?;
                self.next_run += 1;
                replaced.extend(self.runs.drain(self.runs.len() - 2..));
                self.runs.push(merged);
            }
            self.keep_filters_in_budget();
        }
        self.covers = covers;
        self.write_manifest()?;
        replaced.into_iter().for_each(Run::remove);
        Ok(())
    }

    fn keep_filters_in_budget(&mut self) {
        let mut budget = self.filter_budget_bytes;
        for run in self.runs.iter_mut().rev() {
            if run.has_filter() && !take_budget(&mut budget, run.ids) {
                run.drop_filter();
            }
        }
    }

    fn new_run(&mut self) -> PathBuf {
        let path = self.folder.join(run_file(self.next_run));
        self.next_run += 1;
        path
    }

    fn write_manifest(&self) -> io::Result<()> {
        let runs = self.runs.iter().map(|run| ManifestRun {
            file: run.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            ids: run.ids,
            crc32c: run.checksum,
        });
        let manifest = Manifest {
            format: FORMAT,
            table_id: self.table_id.clone(),
            covers: self.covers,
            next_run: self.next_run,
            runs: runs.collect(),
        };
        let next = self.folder.join("manifest.next");
        std::fs::write(&next, serde_json::to_vec(&manifest)?)?;
        std::fs::rename(next, self.folder.join(MANIFEST))
    }

    fn failed(&self, source: io::Error) -> IndexError {
        IndexError { path: self.folder.clone(), source }
    }
}

fn run_file(number: u64) -> String {
    format!("{number:012}.ids")
}

fn take_budget(budget: &mut u64, ids: u64) -> bool {
    let wanted = ids * FILTER_BYTES_PER_ID;
    let fits = wanted <= *budget;
    if fits {
        *budget -= wanted;
    }
    fits
}

/// Two sorted runs as one, each id once.
struct Merge<'a> {
    left: std::iter::Peekable<RunIter<'a>>,
    right: std::iter::Peekable<RunIter<'a>>,
}

impl<'a> Merge<'a> {
    fn new(left: &'a Run, right: &'a Run) -> Self {
        Self { left: left.iter().peekable(), right: right.iter().peekable() }
    }
}

impl Iterator for Merge<'_> {
    type Item = io::Result<IdHash>;

    fn next(&mut self) -> Option<Self::Item> {
        match (self.left.peek(), self.right.peek()) {
            (Some(Ok(left)), Some(Ok(right))) => match left.cmp(right) {
                std::cmp::Ordering::Less => self.left.next(),
                std::cmp::Ordering::Greater => self.right.next(),
                std::cmp::Ordering::Equal => {
                    self.right.next();
                    self.left.next()
                }
            },
            (Some(Err(_)), _) | (Some(_), None) => self.left.next(),
            (_, Some(Err(_))) | (None, Some(_)) => self.right.next(),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use siphasher::sip128::{Hasher128, SipHasher13};

    use super::*;

    fn id(number: u64) -> IdHash {
        use std::hash::Hasher;
        let mut hasher = SipHasher13::new();
        hasher.write_u64(number);
        IdHash(hasher.finish128().as_u128())
    }

    #[test]
    fn every_added_id_is_found_and_no_other_across_merges_and_reopening() {
        for filter_budget_bytes in [0, 4_000, u64::MAX] {
            let folder = tempfile::tempdir().unwrap();
            let mut index = EventIdIndex::open(folder.path(), filter_budget_bytes).unwrap();
            assert_eq!(index.covers(), -1);
            let mut added = HashSet::new();
            for (version, batch) in [1000_u64, 10, 10, 500, 1, 2500, 3, 700].into_iter().enumerate() {
                let ids: Vec<_> = (0..batch).map(|n| id(n * 7 + version as u64 * 3)).collect();
                added.extend(ids.iter().copied());
                index.add(ids, version as i64).unwrap();
                if version == 4 {
                    index = EventIdIndex::open(folder.path(), filter_budget_bytes).unwrap();
                }
            }
            assert_eq!(index.covers(), 7);
            assert!(index.runs.len() < 8, "runs are merged");
            for number in 0..20_000 {
                assert_eq!(index.contains(id(number)).unwrap(), added.contains(&id(number)), "{number}");
            }
            let files = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(files, index.runs.len() + 1, "merged runs are removed");
        }
    }

    #[test]
    fn ids_at_the_edges_of_the_space_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut index = EventIdIndex::open(folder.path(), 0).unwrap();
        let edges = [0, 1, u128::MAX - 1, u128::MAX].map(IdHash);
        index.add(edges.to_vec(), 0).unwrap();
        for edge in edges {
            assert!(index.contains(edge).unwrap());
        }
        assert!(!index.contains(IdHash(2)).unwrap());
    }

    #[test]
    fn a_damaged_run_empties_the_index_instead_of_answering_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let mut index = EventIdIndex::open(folder.path(), u64::MAX).unwrap();
        index.add((0..100).map(id).collect(), 3).unwrap();
        let run = index.runs[0].path.clone();
        drop(index);
        let mut bytes = std::fs::read(&run).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&run, bytes).unwrap();
        assert_eq!(EventIdIndex::open(folder.path(), u64::MAX).unwrap().covers(), -1);
    }
}
