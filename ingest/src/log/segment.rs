//! One file of the log, and how to read it back after anything.
//!
//! ```text
//! file   = "TLSEG001" │ u64 sequence │ record… │ [seal]
//! record = u32 magic │ u32 length │ u32 crc32c(stored) │ u32 crc32c(the 12 bytes before) │ stored
//! stored = the payload (RECORD_MAGIC) or u32 payload length │ the payload as an LZ4 block (PACKED_MAGIC)
//! seal   = a record with SEAL_MAGIC and nothing stored
//! ```
//!
//! Events repeat themselves: packed they are a fifth, and a disk that has to sync them keeps up with five times more.
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
pub(super) const PACKED_MAGIC: u32 = 0x3150_4c54;
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
    payloads: Vec<Payload>,
}

/// A record's payload: where it stands in the segment's bytes, or what was packed there.
#[derive(Debug)]
enum Payload {
    InPlace(Range<usize>),
    Unpacked(Vec<u8>),
}

impl Segment {
    /// Reads a segment.
    pub fn read(file: &SegmentFile) -> io::Result<Self> {
        Ok(Self::parse(file.sequence, fs::read(&file.path)?))
    }

    /// Finds the records in a segment's bytes.
    pub fn parse(sequence: i64, bytes: Vec<u8>) -> Self {
        let mut segment = Self { sequence, damage: Vec::new(), bytes: Vec::new(), payloads: Vec::new() };
        let mut sealed = false;
        let mut at = 0;
        if bytes.starts_with(FILE_MAGIC) && bytes.len() >= FILE_HEADER_BYTES {
            at = FILE_HEADER_BYTES;
        }
        while at < bytes.len() {
            match record_at(&bytes, at) {
                Some(Found::Record(payload, end)) => {
                    at = end;
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
        self.payloads.iter().map(|payload| match payload {
            Payload::InPlace(range) => &self.bytes[range.clone()],
            Payload::Unpacked(bytes) => bytes,
        })
    }

    /// The bytes of a damaged part.
    pub fn damaged(&self, damage: &Damage) -> &[u8] {
        &self.bytes[damage.bytes.clone()]
    }
}

enum Found {
    /// A payload, and where its record ends.
    Record(Payload, usize),
    Seal,
}

fn record_at(bytes: &[u8], at: usize) -> Option<Found> {
    let header = bytes.get(at..at + RECORD_HEADER_BYTES)?;
    let word =
        |place: usize| u32::from_le_bytes([header[place], header[place + 1], header[place + 2], header[place + 3]]);
    let magic = word(0);
    if ![RECORD_MAGIC, PACKED_MAGIC, SEAL_MAGIC].contains(&magic) || crc32c::crc32c(&header[..12]) != word(12) {
        return None;
    }
    if magic == SEAL_MAGIC {
        return Some(Found::Seal);
    }
    let start = at + RECORD_HEADER_BYTES;
    let range = start..start.checked_add(word(4) as usize)?;
    let stored = bytes.get(range.clone())?;
    if crc32c::crc32c(stored) != word(8) {
        return None;
    }
    let end = range.end;
    let payload = match magic {
        PACKED_MAGIC => Payload::Unpacked(lz4_flex::block::decompress_size_prepended(stored).ok()?),
        _ => Payload::InPlace(range),
    };
    Some(Found::Record(payload, end))
}

/// The file's first bytes.
pub(super) fn file_header(sequence: i64) -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(FILE_MAGIC);
    header[8..].copy_from_slice(&sequence.to_le_bytes());
    header
}

/// Payloads below this size are stored as they are.
const PACK_FROM_BYTES: usize = 256;

/// Appends a payload as a record, packed where that is worth it.
pub(super) fn put_record(out: &mut Vec<u8>, payload: &[u8]) {
    if payload.len() < PACK_FROM_BYTES {
        out.extend_from_slice(&record_header(RECORD_MAGIC, payload));
        out.extend_from_slice(payload);
    } else {
        let packed = lz4_flex::block::compress_prepend_size(payload);
        out.extend_from_slice(&record_header(PACKED_MAGIC, &packed));
        out.extend_from_slice(&packed);
    }
}

/// A record's header, for what is stored after it.
pub(super) fn record_header(magic: u32, stored: &[u8]) -> [u8; RECORD_HEADER_BYTES] {
    let mut header = [0; RECORD_HEADER_BYTES];
    header[..4].copy_from_slice(&magic.to_le_bytes());
    header[4..8].copy_from_slice(&(stored.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&crc32c::crc32c(stored).to_le_bytes());
    let checksum = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The path of a segment.
pub(super) fn segment_path(folder: &Path, sequence: i64) -> PathBuf {
    folder.join(format!("{sequence:020}.log"))
}

/// The number of a segment, by the name of its file; `None` for any other file's.
pub fn segment_sequence(path: &Path) -> Option<i64> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

/// The segments in `folder`, oldest first.
pub fn list_segments(folder: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(sequence) = segment_sequence(&entry.path()) {
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
        payloads.iter().for_each(|payload| put_record(&mut bytes, payload));
        if sealed {
            bytes.extend_from_slice(&record_header(SEAL_MAGIC, b""));
        }
        bytes
    }

    /// The second is long enough to be packed.
    const PAYLOADS: [&[u8]; 3] = [b"first", &[b'x'; 1_000], b"third"];

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
