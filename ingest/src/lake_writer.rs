//! From closed segments to the lake: exact dedup, Parquet, one commit per segment, and only then the segment goes.
//!
//! A crash anywhere leaves either a segment without a commit, which is written again, or a commit that carries the
//! segment's number, which is not.

mod catch_up;
mod counts;
mod rows;
mod segments;

pub use counts::Tally;
pub use segments::{LakeWriter, LakeWriterError, Written};
