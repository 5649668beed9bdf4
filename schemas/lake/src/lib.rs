//! The lake's mechanism: opening Delta tables, listing their files, writing Parquet and committing, exactly once.
//!
//! It knows nothing of what the tables mean (that is `schemas`), who may write them (`ingest` writes raw tables, `jobs`
//! derived ones) or how they are queried (`pipeline`).

mod changes;
mod commit;
mod days;
mod durable;
mod error;
mod files;
mod history;
mod merge;
mod open;
mod parquet_file;
mod rewrite;
mod upkeep;

pub use changes::{CHANGE_TYPE, Change, ChangeFile, ChangeKind, Changes, change_schema};
pub use commit::{Commit, CommitInfo, Txn};
pub use durable::{DurableFileSystem, create_folders};
pub use error::LakeError;
pub use files::{DataFile, FileChanges, Snapshot};
pub use merge::Merged;
pub use open::{LOG_KEPT, Lake, LakeOptions, LakeTable};
pub use parquet_file::{EncodedRows, NewFile, writer_properties};
pub use rewrite::{Rewritten, visit_texts};
pub use upkeep::{StoredFile, Strays};
