//! Cell by cell: both sides in the order of their keys, row beside row.

use std::cmp::Ordering;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat};
use polars::prelude::*;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{MONEY_SCALE, Table, instant_type, money_type};

use crate::VerifyError;
use crate::frame::ascending;
use crate::report::{Difference, TableReport};

/// A cell. The order is that of Polars: nothing first, text by bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell<'a> {
    Nothing,
    Flag(bool),
    Number(i64),
    Text(&'a str),
}

/// A column of which cells can be taken quickly.
enum Cells<'a> {
    Flags(&'a BooleanChunked),
    Numbers(&'a Int64Chunked),
    Texts(&'a StringChunked),
}

impl<'a> Cells<'a> {
    fn of(frame: &'a DataFrame, name: &str) -> PolarsResult<Self> {
        let column = frame.column(name)?;
        Ok(match column.dtype() {
            DataType::Boolean => Self::Flags(column.bool()?),
            DataType::Int64 => Self::Numbers(column.i64()?),
            _ => Self::Texts(column.str()?),
        })
    }

    fn get(&self, row: usize) -> Cell<'a> {
        match self {
            Self::Flags(flags) => flags.get(row).map_or(Cell::Nothing, Cell::Flag),
            Self::Numbers(numbers) => numbers.get(row).map_or(Cell::Nothing, Cell::Number),
            Self::Texts(texts) => texts.get(row).map_or(Cell::Nothing, Cell::Text),
        }
    }
}

/// Compares the rows that one tenant has in a table with what they should be, and adds what it finds to `report`.
///
/// Both have `columns`; the first of them are the key.
pub fn compare(
    report: &mut TableReport,
    (table, tenant): (Table, Tenant),
    (key, columns): (&[&str], &[&str]),
    (stored, computed): (&DataFrame, &DataFrame),
    max_examples: usize,
) -> Result<(), VerifyError> {
    let failed = VerifyError::computing("a comparison");
    let [stored, computed] = [stored, computed].map(|rows| in_order(rows, key, columns));
    let (stored, computed) = (stored.map_err(&failed)?, computed.map_err(&failed)?);
    let cells = |rows| columns.iter().map(|name| Cells::of(rows, name)).collect::<PolarsResult<Vec<_>>>();
    let (ours, theirs) = (cells(&stored).map_err(&failed)?, cells(&computed).map_err(&failed)?);
    let describe = |cells: &[Cells<'_>], row: usize| {
        let parts = key
            .iter()
            .zip(cells)
            .filter_map(|(name, cells)| Some(format!("{name}={}", display(table, name, cells.get(row))?)));
        parts.collect::<Vec<_>>().join(" ")
    };
    let mut examples = max_examples.saturating_sub(report.examples.len());
    let mut differ = |report: &mut TableReport, found: &mut dyn Iterator<Item = Difference>| {
        report.differences += 1;
        if let Some(left) = examples.checked_sub(1) {
            examples = left;
            report.examples.extend(found);
        }
    };

    let (mut left, mut right) = (0, 0);
    while left < stored.height() || right < computed.height() {
        let order = if left == stored.height() {
            Ordering::Greater
        } else if right == computed.height() {
            Ordering::Less
        } else {
            let keys = ours.iter().zip(&theirs).take(key.len());
            keys.map(|(ours, theirs)| ours.get(left).cmp(&theirs.get(right)))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        match order {
            Ordering::Less => {
                let row = describe(&ours, left);
                let found = Difference { tenant, column: None, stored: Some(row.clone()), computed: None, row };
                differ(report, &mut std::iter::once(found));
            }
            Ordering::Greater => {
                let row = describe(&theirs, right);
                let found = Difference { tenant, column: None, stored: None, computed: Some(row.clone()), row };
                differ(report, &mut std::iter::once(found));
            }
            Ordering::Equal => {
                let differing =
                    || (key.len()..columns.len()).filter(|at| ours[*at].get(left) != theirs[*at].get(right));
                if differing().next().is_some() {
                    let mut found = differing().map(|at| Difference {
                        tenant,
                        row: describe(&ours, left),
                        column: Some(columns[at].to_owned()),
                        stored: display(table, columns[at], ours[at].get(left)),
                        computed: display(table, columns[at], theirs[at].get(right)),
                    });
                    differ(report, &mut found);
                }
            }
        }
        report.rows += u64::from(order.is_le());
        left += usize::from(order.is_le());
        right += usize::from(order.is_ge());
    }
    Ok(())
}

fn in_order(rows: &DataFrame, key: &[&str], columns: &[&str]) -> PolarsResult<DataFrame> {
    let mut rows = rows.select(columns.iter().copied())?.sort(key.iter().copied(), ascending())?;
    rows.rechunk_mut();
    Ok(rows)
}

/// A cell as people read it.
fn display(table: Table, name: &str, cell: Cell<'_>) -> Option<String> {
    let schema = table.schema();
    let dtype = schema.field_with_name(name).ok().map(|field| field.data_type().clone());
    Some(match cell {
        Cell::Nothing => return None,
        Cell::Flag(flag) => flag.to_string(),
        Cell::Text(text) => text.to_owned(),
        Cell::Number(number) if dtype == Some(instant_type()) => DateTime::from_timestamp_micros(number)
            .map_or_else(|| number.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Micros, true)),
        Cell::Number(number) if dtype == Some(money_type()) => money(number),
        Cell::Number(number) if dtype == Some(arrow::datatypes::DataType::Date32) => {
            let day =
                u64::try_from(number).ok().and_then(|days| NaiveDate::default().checked_add_days(Days::new(days)));
            day.map_or_else(|| number.to_string(), |day| day.to_string())
        }
        Cell::Number(number) => number.to_string(),
    })
}

/// An amount in ten-thousandths with its point.
pub fn money(amount: i64) -> String {
    let unit = 10_u64.pow(MONEY_SCALE.unsigned_abs().into());
    let sign = if amount < 0 { "-" } else { "" };
    let (whole, rest) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
    format!("{sign}{whole}.{rest:0width$}", width = usize::from(MONEY_SCALE.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use touchline_schemas::{AccountId, Environment};

    use super::*;

    fn identities(rows: &[(&str, &str)]) -> DataFrame {
        let ids: Vec<_> = rows.iter().map(|row| row.0).collect();
        let people: Vec<_> = rows.iter().map(|row| row.1).collect();
        df!("id" => ids, "person_id" => people).unwrap()
    }

    #[track_caller]
    fn check(stored: &[(&str, &str)], computed: &[(&str, &str)], expected: &[&str]) {
        let tenant = Tenant { account_id: AccountId(Default::default()), environment: Environment::Test };
        let mut report = TableReport { table: "identities", ..TableReport::default() };
        let (stored, computed) = (identities(stored), identities(computed));
        let columns = (&["id"][..], &["id", "person_id"][..]);
        compare(&mut report, (Table::Identities, tenant), columns, (&stored, &computed), 10).unwrap();
        let found: Vec<_> = report
            .examples
            .iter()
            .map(|difference| {
                let Difference { row, column, stored, computed, .. } = difference;
                format!("{row} {column:?} {stored:?} {computed:?}")
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(report.differences as usize, expected.len());
    }

    #[test]
    fn equal_rows_in_any_order_do_not_differ() {
        check(&[("b", "2"), ("a", "1")], &[("a", "1"), ("b", "2")], &[]);
    }

    #[test]
    fn differing_missing_and_surplus_rows_are_named() {
        check(
            &[("a", "1"), ("b", "2"), ("d", "4")],
            &[("a", "9"), ("c", "3"), ("d", "4")],
            &[
                r#"id=a Some("person_id") Some("1") Some("9")"#,
                r#"id=b None Some("id=b") None"#,
                r#"id=c None None Some("id=c")"#,
            ],
        );
    }

    #[test]
    fn a_row_that_is_stored_twice_is_one_too_many() {
        check(&[("a", "1"), ("a", "1")], &[("a", "1")], &[r#"id=a None Some("id=a") None"#]);
    }

    #[test]
    fn cells_are_shown_as_people_write_them() {
        let day = crate::frame::day_number(NaiveDate::from_ymd_opt(2026, 3, 1).unwrap());
        let show = |table, name, cell| display(table, name, cell).unwrap();
        assert_eq!(show(Table::Sessions, "session_date", Cell::Number(day)), "2026-03-01");
        assert_eq!(show(Table::Sessions, "revenue", Cell::Number(-12_345)), "-1.2345");
        assert_eq!(show(Table::Sessions, "started_at", Cell::Number(1)), "1970-01-01T00:00:00.000001Z");
        assert_eq!(show(Table::Sessions, "event_count", Cell::Number(7)), "7");
    }
}
