//! Merging visitors: rows of one person become one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringViewArray, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use touchline_schemas::tables::visitors as column;

use crate::columns::within_money;
use crate::lean::take_lean;
use crate::sessions::merge::Groups;

/// Which of the merged rows gives some columns: the one whose `at` is the smallest or the greatest, of equal ones the one
/// whose session has the smallest `(anchor, id)`.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) at: &'static str,
    pub(super) anchor: &'static str,
    pub(super) id: &'static str,
    pub(super) latest: bool,
    /// Columns that it gives besides `at`, `anchor` and `id`.
    pub(super) columns: &'static [&'static str],
    /// The touch whose columns it gives.
    pub(super) touch: Option<&'static str>,
}

/// All picks. A row whose `at` is null has nothing to give.
pub(super) const PICKS: [Pick; 5] = [
    Pick {
        at: column::FIRST_SEEN_AT,
        anchor: "first_touch_anchor_received_at",
        id: "first_touch_session_id",
        latest: false,
        columns: &[column::VISITOR_ID],
        touch: Some(column::TOUCHES[0]),
    },
    Pick {
        at: "first_utm_touch_at",
        anchor: "first_utm_touch_anchor_received_at",
        id: "first_utm_touch_session_id",
        latest: false,
        columns: &[],
        touch: Some(column::TOUCHES[1]),
    },
    Pick {
        at: column::LAST_SEEN_AT,
        anchor: "last_touch_anchor_received_at",
        id: "last_touch_session_id",
        latest: true,
        columns: &[],
        touch: Some(column::TOUCHES[2]),
    },
    Pick {
        at: column::LAST_NON_DIRECT_ENDED_AT,
        anchor: "last_non_direct_touch_anchor_received_at",
        id: "last_non_direct_touch_session_id",
        latest: true,
        columns: &[],
        touch: Some(column::TOUCHES[3]),
    },
    Pick {
        at: column::USER_AT,
        anchor: column::USER_ANCHOR_RECEIVED_AT,
        id: column::USER_SESSION_ID,
        latest: false,
        columns: &[column::USER_ID],
        touch: None,
    },
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
        [self.at, self.anchor, self.id].contains(&name)
            || self.columns.contains(&name)
            || self.touch.is_some_and(of_touch)
    }
}

/// How good what a row has to give is: the smaller is the better.
pub(super) type Rank<'a> = (i64, i64, &'a str);

/// What a pick decides by.
pub(super) struct Ranks<'a> {
    at: &'a TimestampMicrosecondArray,
    anchors: &'a TimestampMicrosecondArray,
    ids: &'a StringViewArray,
    latest: bool,
}

impl<'a> Ranks<'a> {
    /// The ranks of the rows of `visitors`.
    pub(super) fn of(visitors: &'a RecordBatch, pick: &Pick) -> Result<Self, ArrowError> {
        Ok(Self {
            at: times(visitors, pick.at)?,
            anchors: times(visitors, pick.anchor)?,
            ids: texts(visitors, pick.id)?,
            latest: pick.latest,
        })
    }

    /// The rank of a row; none if it has nothing to give.
    pub(super) fn get(&self, row: usize) -> Option<Rank<'a>> {
        let at_us = self.at.is_valid(row).then(|| self.at.value(row))?;
        let in_order = if self.latest { at_us.saturating_neg() } else { at_us };
        Some((in_order, self.anchors.value(row), self.ids.value(row)))
    }

    /// Of each group the best row; null where none has anything to give.
    fn winners(&self, groups: &Groups) -> UInt32Array {
        let ranked = |row: &u32| Some((self.get(*row as usize)?, *row));
        groups.iter().map(|group| group.iter().filter_map(ranked).min().map(|(_, row)| row)).collect()
    }
}

fn times<'a>(visitors: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray, ArrowError> {
    let times = visitors.column_by_name(name).and_then(|values| values.as_primitive_opt::<TimestampMicrosecondType>());
    times.ok_or_else(|| ArrowError::SchemaError(format!("visitors have no time `{name}`")))
}

fn texts<'a>(visitors: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray, ArrowError> {
    let texts = visitors.column_by_name(name).and_then(|values| values.as_string_view_opt());
    texts.ok_or_else(|| ArrowError::SchemaError(format!("visitors have no text `{name}`")))
}

/// The person of each row.
pub(super) fn people(visitors: &RecordBatch) -> Result<&StringViewArray, ArrowError> {
    texts(visitors, column::PERSON_ID)
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
        winners.insert(pick.at, Ranks::of(visitors, pick)?.winners(&groups));
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
