//! A run: sorted 128-bit hashes in a file, never changed once written.
//!
//! Hashes are evenly spread, so a hash's place can be computed: one read of a page around it nearly always decides.
//! A bloom filter in memory answers most questions without any read.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parquet::bloom_filter::Sbbf;

use super::IdHash;

const ID_BYTES: usize = 16;
/// Ids read at once around the computed place.
const PROBE_IDS: usize = 512;
const FILTER_FALSE_POSITIVES: f64 = 0.01;
/// Memory that a filter takes per id at that rate, rounded up.
pub(super) const FILTER_BYTES_PER_ID: u64 = 2;

/// One sorted file of ids.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) ids: u64,
    pub(super) checksum: u32,
    file: File,
    filter: Option<Sbbf>,
}

impl Run {
    /// Writes `ids`, which must be sorted and distinct.
    pub(super) fn write(
        path: PathBuf,
        ids: impl Iterator<Item = io::Result<IdHash>>,
        filter_for: Option<u64>,
    ) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let mut filter = filter_for.map(new_filter).transpose()?;
        let (mut count, mut checksum) = (0, 0);
        for id in ids {
            let bytes = id?.0.to_le_bytes();
            checksum = crc32c::crc32c_append(checksum, &bytes);
            if let Some(filter) = &mut filter {
                filter.insert(&bytes[..]);
            }
            out.write_all(&bytes)?;
            count += 1;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { file: File::open(&path)?, path, ids: count, checksum, filter })
    }

    /// Opens a run and checks that it is what was written.
    pub(super) fn open(path: PathBuf, ids: u64, checksum: u32, with_filter: bool) -> io::Result<Self> {
        let file = File::open(&path)?;
        let mut run = Self { path, ids, checksum, file, filter: None };
        let mut filter = if with_filter { Some(new_filter(ids)?) } else { None };
        let mut found = 0;
        for id in run.iter() {
            let bytes = id?.0.to_le_bytes();
            found = crc32c::crc32c_append(found, &bytes);
            if let Some(filter) = &mut filter {
                filter.insert(&bytes[..]);
            }
        }
        if found != checksum {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: checksum differs", run.path.display()),
            ));
        }
        run.filter = filter;
        Ok(run)
    }

    pub(super) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    pub(super) fn drop_filter(&mut self) {
        self.filter = None;
    }

    pub(super) fn contains(&self, id: IdHash) -> io::Result<bool> {
        if self.ids == 0 || self.filter.as_ref().is_some_and(|filter| !filter.check(&id.0.to_le_bytes()[..])) {
            return Ok(false);
        }
        let mut bytes = [0; PROBE_IDS * ID_BYTES];
        let (mut low, mut high) = (0, self.ids);
        // The first probe is where an even spread puts the id; later ones halve what is left.
        let mut at = (((id.0 >> 64) * u128::from(self.ids)) >> 64) as u64;
        while low < high {
            let start = at.saturating_sub(PROBE_IDS as u64 / 2).clamp(low, high - 1);
            let length = (high - start).min(PROBE_IDS as u64);
            let page = &mut bytes[..length as usize * ID_BYTES];
            self.file.read_exact_at(page, start * ID_BYTES as u64)?;
            let first = id_at(page, 0);
            let last = id_at(page, length as usize - 1);
            if id < first {
                high = start;
            } else if id > last {
                low = start + length;
            } else {
                return Ok(holds(page, id));
            }
            at = low + (high - low) / 2;
        }
        Ok(false)
    }

    pub(super) fn iter(&self) -> RunIter<'_> {
        RunIter { run: self, next: 0, page: Vec::new(), taken: 0 }
    }

    pub(super) fn remove(self) {
        remove_file(&self.path);
    }
}

pub(super) fn remove_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "an old run of event ids stays on disk");
    }
}

fn new_filter(ids: u64) -> io::Result<Sbbf> {
    Sbbf::new_with_ndv_fpp(ids.max(1), FILTER_FALSE_POSITIVES).map_err(io::Error::other)
}

fn id_at(page: &[u8], place: usize) -> IdHash {
    let mut bytes = [0; ID_BYTES];
    bytes.copy_from_slice(&page[place * ID_BYTES..(place + 1) * ID_BYTES]);
    IdHash(u128::from_le_bytes(bytes))
}

fn holds(page: &[u8], id: IdHash) -> bool {
    let (mut low, mut high) = (0, page.len() / ID_BYTES);
    while low < high {
        let middle = low + (high - low) / 2;
        match id_at(page, middle).cmp(&id) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    false
}

/// Reads a run from its start, a megabyte at a time.
pub(super) struct RunIter<'a> {
    run: &'a Run,
    next: u64,
    page: Vec<u8>,
    taken: usize,
}

impl Iterator for RunIter<'_> {
    type Item = io::Result<IdHash>;

    fn next(&mut self) -> Option<Self::Item> {
        const PAGE_IDS: u64 = 1 << 16;
        if self.taken == self.page.len() {
            let length = (self.run.ids - self.next).min(PAGE_IDS);
            if length == 0 {
                return None;
            }
            self.page.resize(length as usize * ID_BYTES, 0);
            if let Err(error) = self.run.file.read_exact_at(&mut self.page, self.next * ID_BYTES as u64) {
                self.next = self.run.ids;
                self.page.clear();
                self.taken = 0;
                return Some(Err(error));
            }
            self.next += length;
            self.taken = 0;
        }
        let id = id_at(&self.page[self.taken..], 0);
        self.taken += ID_BYTES;
        Some(Ok(id))
    }
}
