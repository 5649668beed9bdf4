//! `identity_edges`: one row per pair of ids and UTC day on which events named both. Written by the job `identities`.
//!
//! What is kept of a day is the first and the last time: enough to join and part people, little enough to be read whole.

use arrow::datatypes::Field;

use super::{instant, text};

/// UTC date of the events; partition column.
pub const EDGE_DATE: &str = "edge_date";
/// What the events say of the pair: [`KIND_LINK`], [`KIND_ALIAS`] or [`KIND_UNMERGE`].
pub const KIND: &str = "kind";
/// `visitor` or `user`.
pub const LEFT_TYPE: &str = "left_type";
/// One id of the pair.
pub const LEFT_ID: &str = "left_id";
/// `visitor` or `user`.
pub const RIGHT_TYPE: &str = "right_type";
/// The other id.
pub const RIGHT_ID: &str = "right_id";
/// Time of the day's first event that named both.
pub const FIRST_AT: &str = "first_at";
/// Time of the day's last event that named both.
pub const LAST_AT: &str = "last_at";

/// A device was used by a user.
pub const KIND_LINK: &str = "link";
/// Two ids of the same type are one.
pub const KIND_ALIAS: &str = "alias";
/// The pair does not belong together: earlier links and aliases of it are void.
pub const KIND_UNMERGE: &str = "unmerge";

/// An anonymous id.
pub const TYPE_VISITOR: &str = "visitor";
/// A known id.
pub const TYPE_USER: &str = "user";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    vec![
        text(KIND),
        text(LEFT_TYPE),
        text(LEFT_ID),
        text(RIGHT_TYPE),
        text(RIGHT_ID),
        instant(FIRST_AT),
        instant(LAST_AT),
    ]
}
