//! What keeps events of one device apart whatever the pause between them: the day, or the client's session id.
//!
//! Each is a column that fragments have only if the rules ask for it, so that rules without it cost nothing more. Two
//! fragments can belong together only if all their keys are equal. A stored session has the same keys as any of its
//! events: they follow from its start and from the client's id that it shows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Date32Type, Field, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::rules::{Identity, SessionRules, local_day};

/// The internal column with the day on the clocks of the rules' time zone.
pub(super) const LOCAL_DAY: &str = "local_day";
/// The internal column with the client's session id, null for events without one.
pub(super) const CLIENT_KEY: &str = "client_key";

/// The key columns that fragments have under `rules`.
pub(super) fn fields(rules: &SessionRules) -> Vec<Field> {
    let mut fields = Vec::new();
    if rules.splits.midnight.is_some() {
        fields.push(Field::new(LOCAL_DAY, DataType::Date32, false));
    }
    if matches!(rules.identity, Identity::ClientSession { .. }) {
        fields.push(Field::new(CLIENT_KEY, DataType::Utf8View, true));
    }
    fields
}

/// One of the key columns, for events (from their times and session ids) or for stored sessions (from their
/// `started_at` and `client_session_id`). None if `name` is no key column.
pub(super) fn key_column(
    name: &str,
    rules: &SessionRules,
    times: &ArrayRef,
    client_session_ids: impl FnOnce() -> Result<ArrayRef, ArrowError>,
) -> Result<Option<ArrayRef>, ArrowError> {
    match (name, rules.splits.midnight) {
        (LOCAL_DAY, Some(zone)) => {
            let times = times
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(|| ArrowError::SchemaError("days need times in microseconds".to_owned()))?;
            let days = Date32Array::from_iter_values(times.values().iter().map(|at_us| local_day(*at_us, zone)));
            Ok(Some(Arc::new(days)))
        }
        (CLIENT_KEY, _) => client_session_ids().map(Some),
        _ => Ok(None),
    }
}

/// The key columns of a batch of fragments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a> {
    days: Option<&'a Date32Array>,
    clients: Option<&'a StringViewArray>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(fragments: &'a RecordBatch) -> Self {
        Self {
            days: fragments.column_by_name(LOCAL_DAY).and_then(|days| days.as_primitive_opt::<Date32Type>()),
            clients: fragments.column_by_name(CLIENT_KEY).and_then(|clients| clients.as_string_view_opt()),
        }
    }

    /// Whether the client said which session a row belongs to.
    pub(super) fn has_client_session(&self, row: u32) -> bool {
        self.clients.is_some_and(|clients| clients.is_valid(row as usize))
    }

    /// The day of a row, if days keep rows apart.
    pub(super) fn day(&self, row: u32) -> Option<i32> {
        self.days.map(|days| days.value(row as usize))
    }

    /// The client's session id of a row, if it keeps rows apart.
    pub(super) fn client_session(&self, row: u32) -> Option<&'a str> {
        self.clients.filter(|clients| clients.is_valid(row as usize)).map(|clients| clients.value(row as usize))
    }

    /// Gives rows of one device that differ in a key different numbers. Takes and returns how many numbers there are.
    pub(super) fn refine(&self, of_rows: &mut [u32], count: usize) -> usize {
        if self.days.is_none() && self.clients.is_none() {
            return count;
        }
        let mut numbers: hashbrown::HashMap<(u32, Option<i32>, Option<&str>), u32> =
            hashbrown::HashMap::with_capacity(count);
        for (row, number) in of_rows.iter_mut().enumerate() {
            let (row, next) = (row as u32, numbers.len() as u32);
            *number = *numbers.entry((*number, self.day(row), self.client_session(row))).or_insert(next);
        }
        numbers.len()
    }
}
