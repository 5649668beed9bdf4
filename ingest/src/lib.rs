//! Ingest: from bytes that a client posted to rows of the lake, durably and exactly once.
//!
//! receive (parse, normalise, refuse) → log (group commit) → **2xx** → lake writer (exact dedup, Parquet, Delta commit).
//! The log is the only hand-over: the lake writer reads what was logged, so recovery after a crash is the ordinary path.

pub mod body;
pub mod erased;
pub mod event_ids;
pub mod import;
pub mod lake_writer;
pub mod log;
pub mod normalize;
pub mod receive;
pub mod record;
pub mod replay;

mod batch;
mod process;
mod service;

pub use process::{IngestProcess, StartError};
pub use service::{Ingest, IngestOptions, Origin};
