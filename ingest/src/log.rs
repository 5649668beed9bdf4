//! The write-ahead log: what is acknowledged is here first, synced, and stays until the lake has it.

mod segment;
mod writer;

pub use segment::{Damage, Segment, SegmentFile, list_segments, segment_sequence};
pub use writer::{Appended, LogError, LogOptions, LogWriter};
