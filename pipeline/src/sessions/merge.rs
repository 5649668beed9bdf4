//! Merging fragments: the whole of the session algorithm.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, PrimitiveArray, RecordBatch, StringViewArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::sessions as column;

use super::keys::Keys;
use super::rules::SessionRules;
use crate::lean::take_lean;

/// Which of the merged fragments gives some columns: the one whose `(at, event_id)` is the smallest or the largest.
pub(super) struct Pick {
    pub(super) at: &'static str,
    pub(super) event_id: &'static str,
    pub(super) latest: bool,
    pub(super) values: &'static [TextField],
    /// A column that is not a text field of events.
    pub(super) own: &'static [&'static str],
}

/// All picks. A fragment whose `at` is null has nothing to give.
pub(super) const PICKS: [Pick; 9] = [
    Pick { at: column::ANCHOR_RECEIVED_AT, event_id: column::SESSION_ID, latest: false, values: &[], own: &[] },
    Pick {
        at: column::STARTED_AT,
        event_id: column::FIRST_EVENT_ID,
        latest: false,
        values: &column::FIRST_EVENT_FIELDS,
        own: &[],
    },
    Pick { at: column::ENDED_AT, event_id: column::LAST_EVENT_ID, latest: true, values: &[], own: &[] },
    Pick { at: column::UTM_AT, event_id: column::UTM_EVENT_ID, latest: false, values: &column::UTM_FIELDS, own: &[] },
    Pick {
        at: column::REFERRER_AT,
        event_id: column::REFERRER_EVENT_ID,
        latest: false,
        values: &column::REFERRER_FIELDS,
        own: &[],
    },
    Pick {
        at: column::ENTRY_AT,
        event_id: column::ENTRY_EVENT_ID,
        latest: false,
        values: &[],
        own: &[column::ENTRY_PAGE],
    },
    Pick { at: column::EXIT_AT, event_id: column::EXIT_EVENT_ID, latest: true, values: &[], own: &[column::EXIT_PAGE] },
    Pick {
        at: column::USER_AT,
        event_id: column::USER_EVENT_ID,
        latest: false,
        values: &[TextField::UserId],
        own: &[],
    },
    Pick {
        at: column::CLIENT_SESSION_AT,
        event_id: column::CLIENT_SESSION_EVENT_ID,
        latest: false,
        values: &[],
        own: &[column::CLIENT_SESSION_ID],
    },
];

impl Pick {
    /// The columns that this pick gives, besides its own time and event id.
    pub(super) fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|field| field.column()).chain(self.own.iter().copied())
    }
}

/// The columns that are summed.
pub(super) const SUMS: [&str; 5] = [
    column::EVENT_COUNT,
    column::PAGE_VIEW_COUNT,
    column::INTERACTION_COUNT,
    column::CONVERSION_COUNT,
    column::REVENUE,
];

/// The internal column by which fragments are shuffled: equal for all fragments of one visitor.
pub(super) const DEVICE_HASH: &str = "device_hash";

/// Merges the fragments of `batch` into as few as possible: the sessions of its rows, if the rules are mergeable.
///
/// The columns of the result are those of `batch`. Rows of one visitor may stand anywhere.
pub(super) fn merge(batch: &RecordBatch, rules: &SessionRules) -> Result<RecordBatch, ArrowError> {
    let order = Order::new(batch)?;
    let groups = order.cut(|keys, row| rules.timeout_us(keys.has_client_session(row)));
    whole(batch, &groups)
}

/// One fragment for each group of rows.
pub(super) fn whole(batch: &RecordBatch, groups: &Groups) -> Result<RecordBatch, ArrowError> {
    let mut picked: HashMap<&str, ArrayRef> = HashMap::new();
    for pick in &PICKS {
        if batch.column_by_name(pick.at).is_some() {
            let winners = groups.winners(batch, pick.at, pick.event_id, pick.latest)?;
            for name in [pick.at, pick.event_id].into_iter().chain(pick.columns()) {
                if let Some(values) = batch.column_by_name(name) {
                    picked.insert(name, take_lean(values, &winners)?);
                }
            }
        }
    }
    let first = groups.first_rows();
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, values)| {
        if let Some(values) = picked.remove(field.name().as_str()) {
            return Ok(values);
        }
        if SUMS.contains(&field.name().as_str()) {
            return groups.sums(values);
        }
        // What identifies the visitor: the same in every fragment of a session.
        take_lean(values, &first)
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

pub(super) fn times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray, ArrowError> {
    batch
        .column_by_name(name)
        .and_then(|values| values.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| ArrowError::SchemaError(format!("fragments have no times `{name}`")))
}

pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray, ArrowError> {
    batch
        .column_by_name(name)
        .and_then(|values| values.as_string_view_opt())
        .ok_or_else(|| ArrowError::SchemaError(format!("fragments have no text `{name}`")))
}

/// The rows of a batch, visitor by visitor, each visitor's in time. Rows of a visitor that differ in a key are kept
/// apart as if they were two visitors'.
pub(super) struct Order<'a> {
    pub(super) starts: &'a TimestampMicrosecondArray,
    pub(super) ends: &'a TimestampMicrosecondArray,
    pub(super) keys: Keys<'a>,
    pub(super) rows: Vec<u32>,
    /// Where each visitor's rows end in `rows`.
    pub(super) ends_of_visitors: Vec<u32>,
}

impl<'a> Order<'a> {
    pub(super) fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let starts = times(batch, column::STARTED_AT)?;
        let ends = times(batch, column::ENDED_AT)?;
        let keys = Keys::of(batch);
        let (mut visitor_of_row, visitor_count) = visitors(batch)?;
        let visitor_count = keys.refine(&mut visitor_of_row, visitor_count);

        // Counting sort by visitor, then each visitor's few rows by time.
        let mut ends_of_visitors = vec![0_u32; visitor_count];
        for visitor in &visitor_of_row {
            ends_of_visitors[*visitor as usize] += 1;
        }
        let mut sum = 0;
        let mut next: Vec<u32> = ends_of_visitors
            .iter_mut()
            .map(|count| {
                let start = sum;
                sum += *count;
                *count = sum;
                start
            })
            .collect();
        let mut rows = vec![0_u32; visitor_of_row.len()];
        for (row, visitor) in visitor_of_row.iter().enumerate() {
            let place = &mut next[*visitor as usize];
            rows[*place as usize] = row as u32;
            *place += 1;
        }
        let mut from = 0;
        for &to in &ends_of_visitors {
            let of_visitor = &mut rows[from as usize..to as usize];
            if !of_visitor.is_sorted_by_key(|row| starts.value(*row as usize)) {
                of_visitor.sort_unstable_by_key(|row| starts.value(*row as usize));
            }
            from = to;
        }
        Ok(Self { starts, ends, keys, rows, ends_of_visitors })
    }

    /// Cuts where a visitor's pause is longer than what `timeout_us` says for the visitor's keys and first row.
    fn cut(self, timeout_us: impl Fn(Keys<'_>, u32) -> i64) -> Groups {
        let mut ends_of_groups = Vec::with_capacity(self.rows.len() / 4);
        let mut from = 0;
        for &to in &self.ends_of_visitors {
            let timeout_us = self.rows.get(from as usize).map_or(0, |row| timeout_us(self.keys, *row));
            let mut latest = i64::MIN;
            for place in from..to {
                let row = self.rows[place as usize] as usize;
                if place > from && self.starts.value(row) - latest > timeout_us {
                    ends_of_groups.push(place);
                }
                latest = latest.max(self.ends.value(row));
            }
            if to > from {
                ends_of_groups.push(to);
            }
            from = to;
        }
        Groups { rows: self.rows, ends: ends_of_groups }
    }
}

/// Numbers the visitors of a batch: the visitor's id, else the user's; bots apart.
fn visitors(batch: &RecordBatch) -> Result<(Vec<u32>, usize), ArrowError> {
    let visitor_ids = texts(batch, TextField::VisitorId.column())?;
    let user_ids = texts(batch, TextField::UserId.column())?;
    let bots = batch.column_by_name(column::IS_BOT).and_then(|values| values.as_boolean_opt());
    let mut numbers: hashbrown::HashMap<(u8, &str), u32> = hashbrown::HashMap::new();
    let mut last: Option<((u8, &str), u32)> = None;
    let mut of_rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let is_bot = bots.is_some_and(|bots| bots.is_valid(row) && bots.value(row));
        let key = if visitor_ids.is_valid(row) {
            (u8::from(is_bot), visitor_ids.value(row))
        } else if user_ids.is_valid(row) {
            (2 + u8::from(is_bot), user_ids.value(row))
        } else {
            (4 + u8::from(is_bot), "")
        };
        // Files keep a visitor's rows together, so the last answer is often the next.
        let number = match last {
            Some((known, number)) if known == key => number,
            _ => {
                let next = numbers.len() as u32;
                *numbers.entry(key).or_insert(next)
            }
        };
        last = Some((key, number));
        of_rows.push(number);
    }
    Ok((of_rows, numbers.len()))
}

/// Rows, group by group: each group becomes one fragment.
pub(crate) struct Groups {
    pub(crate) rows: Vec<u32>,
    pub(crate) ends: Vec<u32>,
}

impl Groups {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let mut from = 0;
        self.ends.iter().map(move |&to| {
            let group = &self.rows[from as usize..to as usize];
            from = to;
            group
        })
    }

    pub(crate) fn first_rows(&self) -> UInt32Array {
        self.iter().map(|group| group[0]).collect::<Vec<_>>().into()
    }

    /// The row of each group whose `(at, id)` is the smallest or the greatest; null when `at` is null in all.
    fn winners(&self, batch: &RecordBatch, at: &str, id: &str, latest: bool) -> Result<UInt32Array, ArrowError> {
        let at = times(batch, at)?;
        let ids = texts(batch, id)?;
        let all_valid = at.null_count() == 0;
        let winners = self.iter().map(|group| {
            let mut best: Option<u32> = None;
            for &row in group {
                let place = row as usize;
                if !all_valid && at.is_null(place) {
                    continue;
                }
                let wins = best.is_none_or(|best| {
                    let (time, best_time) = (at.value(place), at.value(best as usize));
                    let order = time.cmp(&best_time).then_with(|| ids.value(place).cmp(ids.value(best as usize)));
                    if latest { order.is_gt() } else { order.is_lt() }
                });
                if wins {
                    best = Some(row);
                }
            }
            best
        });
        Ok(winners.collect())
    }

    pub(crate) fn sums(&self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match values.data_type() {
            DataType::Int64 => {
                let values: &Int64Array = values.as_primitive::<Int64Type>();
                let sums = self.iter().map(|group| group.iter().map(|row| values.value(*row as usize)).sum::<i64>());
                Ok(Arc::new(PrimitiveArray::<Int64Type>::from_iter_values(sums)))
            }
            DataType::Decimal128(precision, scale) => {
                let values: &Decimal128Array = values.as_primitive();
                let sums = self.iter().map(|group| {
                    let mut known = group.iter().filter(|row| values.is_valid(**row as usize)).peekable();
                    known.peek()?;
                    Some(known.map(|row| values.value(*row as usize)).sum::<i128>())
                });
                let sums: Decimal128Array = sums.collect();
                Ok(Arc::new(sums.with_precision_and_scale(*precision, *scale)?))
            }
            other => Err(ArrowError::SchemaError(format!("{other} cannot be summed"))),
        }
    }
}

/// Whether a schema has a column.
pub(super) fn has(schema: &SchemaRef, name: &str) -> bool {
    schema.column_with_name(name).is_some()
}
