//! `session_revisions`: session ids that are no longer used, because a late event bridged two sessions or an earlier
//! anchor came. Written by the job `sessions`, once per change, never rewritten.

use arrow::datatypes::Field;

use super::{instant, text};

/// UTC date of `revised_at`; partition column.
pub const REVISED_DATE: &str = "revised_date";
/// The id that is no longer used.
pub const SESSION_ID: &str = "session_id";
/// The session that holds its events now; null if they were erased.
pub const REPLACED_BY: &str = "replaced_by";
/// When the job found out.
pub const REVISED_AT: &str = "revised_at";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    vec![text(SESSION_ID), text(REPLACED_BY), instant(REVISED_AT)]
}
