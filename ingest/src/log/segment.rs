//! One file of the log, and how to read it back after anything.
//!
//! ```text
//! file   = "TLSEG001" │ u64 sequence │ record… │ [seal]
//! record = u32 magic │ u32 length │ u32 crc32c(payload) │ u32 crc32c(the 12 bytes before) │ payload
//! seal   = a record with SEAL_MAGIC and no payload
//! ```
//!
//! Bytes that are no record are skipped up to the next one whose checksums hold: damage costs the record it hit and
//! no other. A segment without a seal was open when the process died; a cut record at its end was never acknowledged.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub(super) const FILE_MAGIC: &[u8; 8] = b"TLSEG001";
pub(super) const FILE_HEADER_BYTES: usize = 16;
pub(super) const RECORD_MAGIC: u32 = 0x3152_4c54;
pub(super) const SEAL_MAGIC: u32 = 0x4553_4c54;
pub(super) const RECORD_HEADER_BYTES: usize = 16;

/// A segment on disk that nobody writes to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its number: the transaction number of its commit.
    pub sequence: i64,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// A part of a segment that holds no readable record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where, in bytes from the file's start.
    pub bytes: Range<usize>,
    /// Whether it is the end of an unsealed segment, as a crash leaves it; otherwise acknowledged data is gone.
    pub is_torn_tail: bool,
}

/// A segment's bytes and where its records are.
#[derive(Debug)]
pub struct Segment {
    /// Its number.
    pub sequence: i64,
    /// What could not be read.
    pub damage: Vec<Damage>,
    bytes: Vec<u8>,
    payloads: Vec<Range<usize>>,
}

impl Segment {
    /// Reads a segment.
    pub fn read(file: &SegmentFile) -> io::Result<Self> {
        Ok(Self::parse(file.sequence, fs::read(&file.path)?))
    }

    fn parse(sequence: i64, bytes: Vec<u8>) -> Self {
        let mut segment = Self { sequence, damage: Vec::new(), bytes: Vec::new(), payloads: Vec::new() };
        let mut sealed = false;
        let mut at = 0;
        if bytes.starts_with(FILE_MAGIC) && bytes.len() >= FILE_HEADER_BYTES {
            at = FILE_HEADER_BYTES;
        }
        while at < bytes.len() {
            match record_at(&bytes, at) {
                Some(Found::Record(payload)) => {
                    at = payload.end;
                    segment.payloads.push(payload);
                }
                Some(Found::Seal) => {
                    sealed = true;
                    at += RECORD_HEADER_BYTES;
                }
                None => {
                    let end = (at + 1..bytes.len()).find(|&next| record_at(&bytes, next).is_some());
                    segment.damage.push(Damage { bytes: at..end.unwrap_or(bytes.len()), is_torn_tail: end.is_none() });
                    at = end.unwrap_or(bytes.len());
                }
            }
        }
        if sealed {
            segment.damage.iter_mut().for_each(|damage| damage.is_torn_tail = false);
        }
        segment.bytes = bytes;
        segment
    }

    /// The records' payloads, in order.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        self.payloads.iter().map(|range| &self.bytes[range.clone()])
    }

    /// The bytes of a damaged part.
    pub fn damaged(&self, damage: &Damage) -> &[u8] {
        &self.bytes[damage.bytes.clone()]
    }
}

enum Found {
    Record(Range<usize>),
    Seal,
}

fn record_at(bytes: &[u8], at: usize) -> Option<Found> {
    let header = bytes.get(at..at + RECORD_HEADER_BYTES)?;
    let word =
        |place: usize| u32::from_le_bytes([header[place], header[place + 1], header[place + 2], header[place + 3]]);
    let magic = word(0);
    if (magic != RECORD_MAGIC && magic != SEAL_MAGIC) || crc32c::crc32c(&header[..12]) != word(12) {
        return None;
    }
    if magic == SEAL_MAGIC {
        return Some(Found::Seal);
    }
    let start = at + RECORD_HEADER_BYTES;
    let payload = start..start.checked_add(word(4) as usize)?;
    (crc32c::crc32c(bytes.get(payload.clone())?) == word(8)).then_some(Found::Record(payload))
}

/// The file's first bytes.
pub(super) fn file_header(sequence: i64) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(FILE_MAGIC);
    header[8..].copy_from_slice(&sequence.to_le_bytes());
    header
}

/// A record's header, for a payload that lies elsewhere.
pub(super) fn record_header(magic: u32, payload: &[u8]) -> [u8; RECORD_HEADER_BYTES] {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[..4].copy_from_slice(&magic.to_le_bytes());
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let checksum = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The path of a segment.
pub(super) fn segment_path(folder: &Path, sequence: i64) -> PathBuf {
    folder.join(format!("{sequence:020}.log"))
}

/// The segments in `folder`, oldest first.
pub fn list_segments(folder: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let sequence = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|digits| digits.parse().ok());
        if let Some(sequence) = sequence {
            segments.push(SegmentFile { sequence, path: entry.path(), size_bytes: entry.metadata()?.len() });
        }
    }
    segments.sort_by_key(|segment| segment.sequence);
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment_of(payloads: &[&[u8]], sealed: bool) -> Vec<u8> {
        let mut bytes = file_header(9).to_vec();
        for payload in payloads {
            bytes.extend_from_slice(&record_header(RECORD_MAGIC, payload));
            bytes.extend_from_slice(payload);
        }
        if sealed {
            bytes.extend_from_slice(&record_header(SEAL_MAGIC, b""));
        }
        bytes
    }

    const PAYLOADS: [&[u8]; 3] = [b"first", b"the second one", b"third"];

    #[test]
    fn a_sealed_segment_reads_back_whole() {
        let segment = Segment::parse(9, segment_of(&PAYLOADS, true));
        assert_eq!(segment.payloads().collect::<Vec<_>>(), PAYLOADS);
        assert!(segment.damage.is_empty());
    }

    #[test]
    fn any_flipped_byte_is_found_and_costs_at_most_its_record() {
        let whole = segment_of(&PAYLOADS, true);
        for at in FILE_HEADER_BYTES..whole.len() - RECORD_HEADER_BYTES {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            let segment = Segment::parse(9, bytes);
            let read: Vec<_> = segment.payloads().collect();
            assert_eq!(read.len(), 2, "byte {at}");
            assert!(read.iter().all(|payload| PAYLOADS.contains(payload)), "byte {at}");
            assert_eq!(segment.damage.len(), 1, "byte {at}");
            assert!(!segment.damage[0].is_torn_tail, "byte {at}");
        }
    }

    #[test]
    fn a_cut_anywhere_keeps_every_whole_record_before_it() {
        let whole = segment_of(&PAYLOADS, false);
        for length in FILE_HEADER_BYTES..whole.len() {
            let segment = Segment::parse(9, whole[..length].to_vec());
            let read: Vec<_> = segment.payloads().collect();
            assert_eq!(read, PAYLOADS[..read.len()]);
            assert!(segment.damage.iter().all(|damage| damage.is_torn_tail), "cut at {length}");
        }
    }
}
