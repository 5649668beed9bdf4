//! What a table keeps of its rows when a person is erased.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, events, identities, identity_edges, rejected_events};

use super::needles::Needles;
use super::person::SharedId;

/// Columns that hold an id of a person, in any table.
const ID_COLUMNS: [&str; 6] = [
    TextField::VisitorId.column(),
    TextField::UserId.column(),
    identities::PERSON_ID,
    identities::ID,
    identity_edges::LEFT_ID,
    identity_edges::RIGHT_ID,
];

/// Who is erased.
#[derive(Debug, Clone)]
pub struct Erased {
    /// The ids that are nobody else's.
    pub needles: Needles,
    /// The ids that others have as well, and when they were this person's.
    pub shared: Vec<SharedId>,
}

/// What is left of a batch.
#[derive(Debug)]
pub struct Left {
    /// The rows.
    pub rows: RecordBatch,
    /// Rows that are not among them.
    pub removed: u64,
    /// Texts of other people's rows in which an id stood.
    pub replaced: u64,
}

impl Erased {
    /// The rows of a table without those of the person.
    ///
    /// Of `events`, the person's rows go, and where an id stands in a text of somebody else's event it is replaced. Of
    /// every other table, rows go in which an id stands anywhere: refused bodies, and derived rows, which are computed
    /// anew anyway.
    pub fn leave(&self, table: Table, rows: RecordBatch) -> Result<Left, ArrowError> {
        let gone = match table {
            Table::Events => self.events_of(&rows),
            Table::RejectedEvents => self.refusals_of(&rows),
            Table::Sessions
            | Table::Visitors
            | Table::IdentityEdges
            | Table::Identities
            | Table::SessionRevisions
            | Table::Touchpoints
            | Table::Attribution
            | Table::TrafficRollups => self.rows_naming(&rows),
        };
        let removed = gone.iter().filter(|gone| **gone).count() as u64;
        let kept: BooleanArray = gone.iter().map(|gone| Some(!gone)).collect();
        let rows = if removed > 0 { filter_record_batch(&rows, &kept)? } else { rows };
        let (rows, replaced) = if table == Table::Events { self.without_texts(rows)? } else { (rows, 0) };
        Ok(Left { rows, removed, replaced })
    }

    fn events_of(&self, rows: &RecordBatch) -> Vec<bool> {
        let visitors = texts(rows, TextField::VisitorId.column());
        let users = texts(rows, TextField::UserId.column());
        let times = rows
            .column_by_name(events::OCCURRED_AT)
            .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let is_mine = |ids: Option<&StringArray>, row| text(ids, row).is_some_and(|id| self.needles.is_id(id));
        let was_mine_then = |row| {
            let (Some(id), None) = (text(visitors, row), text(users, row)) else { return false };
            let at_us = times.filter(|times| times.is_valid(row)).map(|times| times.value(row));
            at_us.is_some_and(|at_us| self.shared.iter().any(|shared| shared.id == id && shared.holds_at(at_us)))
        };
        (0..rows.num_rows()).map(|row| is_mine(visitors, row) || is_mine(users, row) || was_mine_then(row)).collect()
    }

    fn refusals_of(&self, rows: &RecordBatch) -> Vec<bool> {
        let bodies = texts(rows, rejected_events::BODY);
        let naming = self.rows_naming(rows);
        naming.into_iter().enumerate().map(|(row, named)| named || self.is_sent_by(text(bodies, row))).collect()
    }

    /// Whether a refused body names the person as its own: what tells for ids too short to be looked for in texts.
    fn is_sent_by(&self, body: Option<&str>) -> bool {
        let members = body.and_then(|body| serde_json::from_str::<serde_json::Value>(body).ok());
        let is_id = |name: &str| {
            let id = members.as_ref().and_then(|members| members.get(name)).and_then(serde_json::Value::as_str);
            id.is_some_and(|id| self.needles.is_id(id))
        };
        is_id(TextField::VisitorId.column()) || is_id(TextField::UserId.column())
    }

    fn rows_naming(&self, rows: &RecordBatch) -> Vec<bool> {
        let mut named = vec![false; rows.num_rows()];
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let Some(column) = column.as_string_opt::<i32>() else { continue };
            let is_id_column = ID_COLUMNS.contains(&field.name().as_str());
            for (named, value) in named.iter_mut().zip(column) {
                let Some(value) = value else { continue };
                *named |= (is_id_column && self.needles.is_id(value)) || self.needles.is_in(value);
            }
        }
        named
    }

    fn without_texts(&self, rows: RecordBatch) -> Result<(RecordBatch, u64), ArrowError> {
        let mut replaced = 0;
        let columns: Vec<ArrayRef> = rows
            .columns()
            .iter()
            .map(|column| {
                let Some(texts) = column.as_string_opt::<i32>() else { return Arc::clone(column) };
                if !texts.iter().flatten().any(|text| self.needles.is_in(text)) {
                    return Arc::clone(column);
                }
                let texts = texts.iter().map(|text| {
                    let text = text?;
                    let without = self.needles.replaced_in(text);
                    replaced += u64::from(without.is_some());
                    Some(without.unwrap_or_else(|| text.to_owned()))
                });
                Arc::new(texts.collect::<StringArray>())
            })
            .collect();
        if replaced == 0 {
            return Ok((rows, 0));
        }
        Ok((RecordBatch::try_new(rows.schema(), columns)?, replaced))
    }
}

fn texts<'a>(rows: &'a RecordBatch, column: &str) -> Option<&'a StringArray> {
    rows.column_by_name(column).and_then(|column| column.as_string_opt::<i32>())
}

fn text<'a>(texts: Option<&'a StringArray>, row: usize) -> Option<&'a str> {
    texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row))
}
