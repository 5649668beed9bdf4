//! What an erasure leaves behind: a paper that says what was done, without saying to whom.

use chrono::{DateTime, Utc};
use serde::Serialize;
use touchline_schemas::AccountId;
use touchline_schemas::control::IdHashHex;

/// The form of the certificate.
pub const FORMAT: u32 = 1;
/// How the ids are hashed.
pub const HASH: &str = "sha256(salt, account, type, id)";

/// A record of an erasure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Certificate {
    /// The form of this record.
    pub format: u32,
    /// Whose person it was.
    pub account_id: AccountId,
    /// The account's short name.
    pub account: String,
    /// Who asked, in their own words.
    pub requested_by: Option<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When it was done.
    pub completed_at: Option<DateTime<Utc>>,
    /// How the ids are hashed.
    pub hash: &'static str,
    /// The ids that were erased and are refused, hashed with this installation's salt.
    pub id_hashes: Vec<IdHashHex>,
    /// Ids that other people have as well, or of which another person has one that reads alike: of these only what the
    /// person did was erased, and they are not refused.
    pub shared_ids: usize,
    /// Whether some ids are too short to be looked for inside of texts and files.
    pub has_short_ids: bool,
    /// What was done to each table.
    pub tables: Vec<TableReport>,
    /// Files that were deleted.
    pub deleted_files: Vec<DeletedFile>,
    /// Files that nobody can read, and that were left alone.
    pub unreadable_files: Vec<String>,
    /// What was found when all was done.
    pub verification: Verification,
}

/// What was done to a table of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: &'static str,
    /// The environment.
    pub environment: &'static str,
    /// Versions before and after.
    pub versions: [i64; 2],
    /// Files before and after.
    pub files: [u64; 2],
    /// Rows before and after.
    pub rows: [u64; 2],
    /// Rows that were taken out.
    pub rows_removed: u64,
    /// Texts of other people's rows in which an id was replaced.
    pub texts_replaced: u64,
}

/// A file that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeletedFile {
    /// Path relative to the data directory or the lake.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A look at every file that could hold the ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Ids that were found; must be 0.
    pub occurrences: u64,
    /// Where.
    pub found_in: Vec<String>,
}
