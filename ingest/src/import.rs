//! Events from files: the same check and the same exact dedup as posted events, straight into the lake.
//!
//! An import needs no log: its files are its log. Ids come from the content, so that a second import, or the rest of
//! one that was broken off, stores nothing twice.

pub mod combined;
pub mod csv;
mod importer;
pub mod ndjson;

pub use importer::Importer;
