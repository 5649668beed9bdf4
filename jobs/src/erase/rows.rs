//! What a table keeps of its rows when a person is erased.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use touchline_schemas::IdType;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::event_sets::Member;
use touchline_schemas::tables::{Table, events, identities, identity_edges, rejected_events};

use super::needles::Needles;
use super::person::SharedId;

/// What a column says of a person.
#[derive(Debug, Clone, Copy)]
enum Says {
    /// An id of this type.
    Id(IdType),
    /// An id of the type that this column says.
    IdTypedBy(&'static str),
    /// The person's own id.
    Person,
}

/// Columns that name a person, in any table.
const NAMING_COLUMNS: [(&str, Says); 8] = [
    (TextField::VisitorId.column(), Says::Id(IdType::Visitor)),
    (TextField::UserId.column(), Says::Id(IdType::User)),
    (identities::PERSON_ID, Says::Person),
    (identities::ID, Says::IdTypedBy(identities::ID_TYPE)),
    (identity_edges::LEFT_ID, Says::IdTypedBy(identity_edges::LEFT_TYPE)),
    (identity_edges::RIGHT_ID, Says::IdTypedBy(identity_edges::RIGHT_TYPE)),
    (Member::VisitorId.column(), Says::Id(IdType::Visitor)),
    (Member::UserId.column(), Says::Id(IdType::User)),
];

/// Who is erased.
#[derive(Debug, Clone)]
pub struct Erased {
    /// The ids that are nobody else's.
    pub needles: Needles,
    /// The ids that others have as well, and when they were this person's in the environment.
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
            | Table::TrafficRollups
            | Table::MessageDeliveries
            | Table::MessageRollups
            | Table::SequenceRuns
            | Table::SequenceMetrics => self.rows_naming(&rows),
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
        let is_mine =
            |ids: Option<&StringArray>, id_type, row| text(ids, row).is_some_and(|id| self.needles.is_id(id_type, id));
        let was_mine_then = |row| {
            let at_us = times.filter(|times| times.is_valid(row)).map(|times| times.value(row));
            let stands = |shared: &SharedId| match shared.id.id_type {
                // An event with a user is the user's, whose device it may be.
                IdType::Visitor => text(visitors, row) == Some(&shared.id.id) && text(users, row).is_none(),
                IdType::User => text(users, row) == Some(&shared.id.id),
            };
            at_us.is_some_and(|at_us| self.shared.iter().any(|shared| stands(shared) && shared.holds_at(at_us)))
        };
        let is_gone =
            |row| is_mine(visitors, IdType::Visitor, row) || is_mine(users, IdType::User, row) || was_mine_then(row);
        (0..rows.num_rows()).map(is_gone).collect()
    }

    fn refusals_of(&self, rows: &RecordBatch) -> Vec<bool> {
        let bodies = texts(rows, rejected_events::BODY);
        let naming = self.rows_naming(rows);
        naming.into_iter().enumerate().map(|(row, named)| named || self.is_sent_by(text(bodies, row))).collect()
    }

    /// Whether a refused body names the person as its own: what tells for ids too short to be looked for in texts.
    fn is_sent_by(&self, body: Option<&str>) -> bool {
        let members = body.and_then(|body| serde_json::from_str::<serde_json::Value>(body).ok());
        let is_id = |field: TextField, id_type| {
            let id = members.as_ref().and_then(|members| members.get(field.column())).and_then(|id| id.as_str());
            id.is_some_and(|id| self.needles.is_id(id_type, id))
        };
        is_id(TextField::VisitorId, IdType::Visitor) || is_id(TextField::UserId, IdType::User)
    }

    fn rows_naming(&self, rows: &RecordBatch) -> Vec<bool> {
        let mut named = vec![false; rows.num_rows()];
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            let says = NAMING_COLUMNS.iter().find(|(name, _)| name == field.name()).map(|(_, says)| *says);
            let names = |row, value: &str| {
                let is_named = match says {
                    Some(Says::Id(id_type)) => self.needles.is_id(id_type, value),
                    Some(Says::IdTypedBy(types)) => text(texts(rows, types), row)
                        .and_then(IdType::parse)
                        .is_some_and(|id_type| self.needles.is_id(id_type, value)),
                    Some(Says::Person) => self.needles.is_person(value),
                    None => false,
                };
                is_named || self.needles.is_in(value)
            };
            if let Some(column) = column.as_string_opt::<i32>() {
                for (row, value) in column.iter().enumerate() {
                    named[row] |= value.is_some_and(|value| names(row, value));
                }
            } else if let Some(lists) = column.as_list_opt::<i32>() {
                let Some(members) = lists.values().as_string_opt::<i32>() else { continue };
                for (row, ends) in lists.value_offsets().windows(2).enumerate() {
                    let mut of_row = ends[0] as usize..ends[1] as usize;
                    named[row] |= of_row.any(|place| text(Some(members), place).is_some_and(|value| names(row, value)));
                }
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

fn text(texts: Option<&StringArray>, row: usize) -> Option<&str> {
    texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row))
}

#[cfg(test)]
mod tests {
    use arrow::array::{GenericListArray, TimestampMicrosecondArray, new_null_array};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{DataType, Field};
    use touchline_schemas::{Environment, TypedId};

    use super::*;

    /// Erases these ids of both types, what the visitor `kiosk` did from 10 to 20, and the user `1`.
    fn erased(ids: &[&str]) -> Erased {
        let typed = |id_type| ids.iter().map(move |id| TypedId { id_type, id: (*id).to_owned() });
        let needles = Needles::new(IdType::ALL.into_iter().flat_map(typed).collect(), "erased-1".into());
        let environment = Environment::Live;
        let kiosk = SharedId { environment, id: TypedId::visitor("kiosk"), from_us: Some(10), to_us: Some(20) };
        let user = SharedId { environment, id: TypedId::user("1"), from_us: None, to_us: None };
        Erased { needles, shared: vec![kiosk, user] }
    }

    /// Rows of a table with these texts by column, and times 0, 1, 2, … in the time column.
    fn rows(table: Table, columns: &[(&str, &[Option<&str>])], first_us: i64) -> RecordBatch {
        let count = columns[0].1.len();
        let schema = table.file_schema();
        let arrays = schema.fields().iter().map(|field| -> ArrayRef {
            match columns.iter().find(|(name, _)| name == field.name()) {
                Some((_, texts)) => Arc::new(texts.iter().copied().collect::<StringArray>()),
                None if field.name() == table.time_column() => {
                    let times = (0..count as i64).map(|row| first_us + row);
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                None => new_null_array(field.data_type(), count),
            }
        });
        let arrays = arrays.collect();
        RecordBatch::try_new(schema, arrays).unwrap()
    }

    #[track_caller]
    fn check(left: &Left, column: &str, expected: &[Option<&str>], removed: u64, replaced: u64) {
        let found: Vec<_> = texts(&left.rows, column).unwrap().iter().collect();
        assert_eq!((found.as_slice(), left.removed, left.replaced), (expected, removed, replaced));
    }

    #[test]
    fn a_persons_events_go_and_their_ids_in_others_events_are_replaced() {
        let columns: [(&str, &[Option<&str>]); 3] = [
            ("visitor_id", &[Some("canary-1"), Some("x"), Some("x"), Some("y")]),
            ("user_id", &[None, Some("canary-2"), None, Some("canary-22")]),
            ("url", &[None, None, Some("/?ref=canary-1"), Some("/canary-10")]),
        ];
        let left = erased(&["canary-1", "canary-2"]).leave(Table::Events, rows(Table::Events, &columns, 0)).unwrap();
        check(&left, "url", &[Some("/?ref=erased-1"), Some("/canary-10")], 2, 1);
    }

    #[test]
    fn of_a_shared_id_only_the_persons_span_goes_and_nothing_of_another_user() {
        let columns: [(&str, &[Option<&str>]); 2] =
            [("visitor_id", &[Some("kiosk"); 3]), ("user_id", &[None, Some("bob"), None])];
        let rows_at = |first_us| rows(Table::Events, &columns, first_us);
        let left = |first_us| erased(&["ada-id"]).leave(Table::Events, rows_at(first_us)).unwrap();
        check(&left(10), "user_id", &[Some("bob")], 2, 0);
        check(&left(18), "user_id", &[Some("bob"), None], 1, 0);
        check(&left(20), "user_id", &[None, Some("bob"), None], 0, 0);
    }

    #[test]
    fn ids_count_by_their_type() {
        let columns: [(&str, &[Option<&str>]); 2] =
            [("visitor_id", &[Some("1"), Some("2"), Some("3")]), ("user_id", &[None, Some("1"), Some("2")])];
        let ids = Needles::new([TypedId::visitor("2")].into(), "erased-1".into());
        let erased = Erased { needles: ids, ..erased(&[]) };
        let left = erased.leave(Table::Events, rows(Table::Events, &columns, 0)).unwrap();
        check(&left, "visitor_id", &[Some("1"), Some("3")], 1, 0);
        let types = [Some("user"), Some("visitor")];
        let columns: [(&str, &[Option<&str>]); 2] = [("id_type", &types), ("id", &[Some("2"); 2])];
        let left = erased.leave(Table::Identities, rows(Table::Identities, &columns, 0)).unwrap();
        check(&left, "id_type", &[Some("user")], 1, 0);
    }

    #[test]
    fn refused_bodies_of_the_person_go_also_with_short_ids() {
        let bodies = [Some(r#"{"user_id":"u1"}"#), Some(r#"{"note":"u1"}"#), Some("no JSON, but canary-1"), None];
        let rows = rows(Table::RejectedEvents, &[("body", &bodies)], 0);
        let left = erased(&["u1", "canary-1"]).leave(Table::RejectedEvents, rows).unwrap();
        check(&left, "body", &[Some(r#"{"note":"u1"}"#), None], 2, 0);
    }

    #[test]
    fn rows_go_of_which_a_list_names_the_person() {
        let table = Table::SequenceRuns;
        let runs = rows(table, &[("run_id", &[Some("r1"), Some("r2"), Some("r3")])], 0);
        let users = StringArray::from(vec![Some("u9"), None, Some("u1"), Some("u9")]);
        let lists = GenericListArray::<i32>::new(
            Arc::new(Field::new("element", DataType::Utf8, true)),
            OffsetBuffer::from_lengths([1, 2, 1]),
            Arc::new(users),
            None,
        );
        let mut columns = runs.columns().to_vec();
        columns[table.file_schema().index_of("events_user_id").unwrap()] = Arc::new(lists);
        let runs = RecordBatch::try_new(table.file_schema(), columns).unwrap();
        let left = erased(&["u1", "canary-1"]).leave(table, runs).unwrap();
        check(&left, "run_id", &[Some("r1"), Some("r3")], 1, 0);
    }

    #[test]
    fn derived_rows_that_name_the_person_go() {
        let people = [Some("u:u1"), Some("v:other"), Some("canary-1")];
        let rows = rows(Table::Touchpoints, &[("person_id", &people)], 0);
        let left = erased(&["u1", "canary-1"]).leave(Table::Touchpoints, rows).unwrap();
        check(&left, "person_id", &[Some("v:other")], 2, 0);
    }
}
