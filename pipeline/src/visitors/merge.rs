//! Merging visitors: rows of one person become one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringViewArray};
use arrow::error::ArrowError;
use touchline_schemas::tables::visitors as column;

use crate::columns::within_money;
use crate::lean::take_lean;
use crate::sessions::merge::Groups;

/// Which of the merged rows gives some columns: the one whose `(at, id)` is the smallest or the greatest.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) at: &'static str,
    pub(super) id: &'static str,
    pub(super) latest: bool,
    /// Columns that it gives besides `at` and `id`.
    pub(super) columns: &'static [&'static str],
    /// The touch whose columns it gives.
    pub(super) touch: Option<&'static str>,
}

/// All picks. A row whose `at` is null has nothing to give.
pub(super) const PICKS: [Pick; 5] = [
    Pick {
        at: column::FIRST_SEEN_AT,
        id: "first_touch_session_id",
        latest: false,
        columns: &[column::VISITOR_ID],
        touch: Some(column::TOUCHES[0]),
    },
    Pick {
        at: "first_utm_touch_at",
        id: "first_utm_touch_session_id",
        latest: false,
        columns: &[],
        touch: Some(column::TOUCHES[1]),
    },
    Pick {
        at: column::LAST_SEEN_AT,
        id: "last_touch_session_id",
        latest: true,
        columns: &[],
        touch: Some(column::TOUCHES[2]),
    },
    Pick {
        at: column::LAST_NON_DIRECT_ENDED_AT,
        id: "last_non_direct_touch_session_id",
        latest: true,
        columns: &[],
        touch: Some(column::TOUCHES[3]),
    },
    Pick { at: column::USER_AT, id: column::USER_SESSION_ID, latest: false, columns: &[column::USER_ID], touch: None },
];

/// The columns that are summed.
pub(super) const SUMS: [&str; 5] =
    [column::SESSION_COUNT, "event_count", "page_view_count", "conversion_count", REVENUE];

/// The sum that is null if there is no amount, or if it has more digits than money has.
pub(super) const REVENUE: &str = "revenue";

impl Pick {
    /// Whether it gives a column.
    pub(super) fn gives(&self, name: &str) -> bool {
        let of_touch = |touch: &str| name.strip_prefix(touch).is_some_and(|rest| rest.starts_with('_'));
        name == self.at || name == self.id || self.columns.contains(&name) || self.touch.is_some_and(of_touch)
    }
}

/// The person of each row.
pub(super) fn people(visitors: &RecordBatch) -> Result<&StringViewArray, ArrowError> {
    let people = visitors.column_by_name(column::PERSON_ID).and_then(|people| people.as_string_view_opt());
    people.ok_or_else(|| ArrowError::SchemaError(format!("visitors have no text `{}`", column::PERSON_ID)))
}

/// Merged visitors, as they are stored.
pub(super) fn finish(visitors: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = visitors.schema();
    let columns = schema.fields().iter().zip(visitors.columns());
    let columns = columns.map(|(field, values)| match field.name().as_str() {
        REVENUE => within_money(values),
        _ => Ok(Arc::clone(values)),
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

/// One row for each person, with the columns of `visitors`.
pub(super) fn merge(visitors: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let groups = by_person(people(visitors)?);
    let mut winners = HashMap::new();
    for pick in &PICKS {
        winners.insert(pick.at, groups.winners(visitors, pick.at, pick.id, pick.latest)?);
    }
    let first = groups.first_rows();
    let schema = visitors.schema();
    let columns = schema.fields().iter().zip(visitors.columns()).map(|(field, values)| {
        let name = field.name().as_str();
        if SUMS.contains(&name) {
            return groups.sums(values);
        }
        let pick = PICKS.iter().find(|pick| pick.gives(name));
        let rows = pick.and_then(|pick| winners.get(pick.at)).unwrap_or(&first);
        take_lean(values, rows)
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

/// Rows by person.
fn by_person(people: &StringViewArray) -> Groups {
    let mut numbers: hashbrown::HashMap<&str, u32> = hashbrown::HashMap::new();
    let of_rows: Vec<u32> = (0..people.len())
        .map(|row| {
            let next = numbers.len() as u32;
            *numbers.entry(people.value(row)).or_insert(next)
        })
        .collect();
    // Counting sort.
    let mut ends = vec![0_u32; numbers.len()];
    of_rows.iter().for_each(|number| ends[*number as usize] += 1);
    let mut sum = 0;
    let mut next: Vec<u32> = ends
        .iter_mut()
        .map(|count| {
            let start = sum;
            sum += *count;
            *count = sum;
            start
        })
        .collect();
    let mut rows = vec![0_u32; of_rows.len()];
    for (row, number) in of_rows.iter().enumerate() {
        let place = &mut next[*number as usize];
        rows[*place as usize] = row as u32;
        *place += 1;
    }
    Groups { rows, ends }
}
