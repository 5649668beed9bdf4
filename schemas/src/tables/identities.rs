//! `identities`: who is behind an id. Written by the job `identities`.
//!
//! An id that is not in the table is a person of its own. An id that several people share has a row for each span of
//! time.

use arrow::datatypes::Field;

use super::{instant, text};

/// UTC date of `linked_at`; partition column.
pub const LINKED_DATE: &str = "linked_date";
/// `visitor` or `user`.
pub const ID_TYPE: &str = "id_type";
/// The id.
pub const ID: &str = "id";
/// The person.
pub const PERSON_ID: &str = "person_id";
/// The row holds from here on, inclusive; null: since ever.
pub const VALID_FROM: &str = "valid_from";
/// The row holds up to here, exclusive; null: for ever.
pub const VALID_TO: &str = "valid_to";
/// The first event that speaks for this row.
pub const LINKED_AT: &str = "linked_at";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    vec![text(ID_TYPE), text(ID), text(PERSON_ID), instant(VALID_FROM), instant(VALID_TO), instant(LINKED_AT)]
}
