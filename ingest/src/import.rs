//! Events from files: the same check and the same exact dedup as posted events, straight into the lake.
//!
//! An import needs no log: its files are its log. Ids come from the content, so that a second import, or the rest of
//! one that was broken off, stores nothing twice. The number of a commit says how many lines are in the lake with it, so
//! that an import of the same name goes on behind them.

pub mod combined;
pub mod csv;
mod importer;
pub mod ndjson;

pub use importer::Importer;
