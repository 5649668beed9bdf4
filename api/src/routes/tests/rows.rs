//! Rows in every table, with all that formats stumble over.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use chrono::{DateTime, TimeDelta, Utc};
use touchline_lake::{Commit, CommitInfo, EncodedRows};
use touchline_schemas::tables::{MONEY_SCALE, Table};
use touchline_schemas::{Environment, Tenant};

use crate::test_support::{TestApi, start};

/// Texts that a format might break, and nothing.
pub const TEXTS: [Option<&str>; 12] = [
    Some("plain"),
    Some("=1+1"),
    Some("a,b"),
    Some("say \"hi\""),
    Some("two\r\nlines\n"),
    Some("Grüße, 世界 🦀"),
    Some(""),
    None,
    Some("@SUM(A1)\t|"),
    Some("\u{0}\u{1f}\\u0041 back\\slash"),
    Some("-5"),
    Some("null"),
];

/// Columns that must say something sensible for reports to have rows at all.
const FIXED: [(&str, &str); 5] = [
    ("event_type", "page_view"),
    ("model", "last_non_direct"),
    ("calendar", "cohort"),
    ("system", "site_message"),
    ("sequence_id", "welcome"),
];

/// Whole numbers, among them those that a float cannot hold.
const NUMBERS: [Option<i64>; 4] = [Some(0), None, Some(9_007_199_254_740_993), Some(3)];

/// Puts rows into all tables, which are a day before [`start`]: half an hour apart, each in a commit of its own.
pub async fn fill(api: &TestApi) {
    for table in Table::ALL {
        commit_rows(api, table, start() - TimeDelta::days(1), 24, start()).await;
    }
    // One event a moment ago.
    commit_rows(api, Table::Events, start() - TimeDelta::minutes(10), 1, start()).await;
}

/// One commit: so many rows from `at` on, complete up to `watermark`.
pub async fn commit_rows(api: &TestApi, table: Table, at: DateTime<Utc>, rows: usize, watermark: DateTime<Utc>) -> i64 {
    let table = api.state.engine.lake().table(table);
    let schema = table.table().file_schema();
    let columns = schema.fields().iter().enumerate();
    let columns = columns.map(|(place, field)| column(field.name(), field.data_type(), place, at, rows)).collect();
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    let tenant = Tenant { account_id: api.account.id, environment: Environment::Live };
    let name = format!("test-{}", at.timestamp());
    let file = EncodedRows::new(table.table(), &batch).unwrap();
    let file = table.write_file(tenant, at.date_naive(), &name, file, watermark).await.unwrap();
    let info = CommitInfo { watermark: Some(watermark), source_version: Some(1), ..CommitInfo::default() };
    let based_on = table.refresh().await.unwrap();
    table.commit(Commit { add: vec![file], info, based_on, ..Commit::default() }, watermark).await.unwrap()
}

fn column(name: &str, kind: &DataType, place: usize, at: DateTime<Utc>, rows: usize) -> ArrayRef {
    let text = |row: usize| {
        let fixed = FIXED.iter().find(|(fixed, _)| *fixed == name).map(|(_, text)| *text);
        let id = name.ends_with("_id").then(|| format!("{row:02}"));
        match (fixed, id) {
            (Some(fixed), _) => Some(fixed.to_owned()),
            // Ids are what rows are told apart by.
            (None, Some(id)) => Some(format!("{id}{}", TEXTS[row % TEXTS.len()].unwrap_or_default())),
            (None, None) => TEXTS[(row + place) % TEXTS.len()].map(str::to_owned),
        }
    };
    let half_hours = |row: usize| at + TimeDelta::minutes(30) * row as i32;
    match kind {
        DataType::Utf8 => Arc::new((0..rows).map(text).collect::<StringArray>()),
        DataType::Int64 => Arc::new((0..rows).map(|row| NUMBERS[(row + place) % 4]).collect::<Int64Array>()),
        DataType::Float64 => {
            let numbers = [Some(0.1 + 0.2), None, Some(f64::NAN), Some(1e21), Some(5e-324)];
            Arc::new((0..rows).map(|row| numbers[(row + place) % 5]).collect::<Float64Array>())
        }
        DataType::Boolean if name == "is_bot" => Arc::new(BooleanArray::from(vec![false; rows])),
        DataType::Boolean => {
            let flags = [Some(true), None, Some(false)];
            Arc::new((0..rows).map(|row| flags[(row + place) % 3]).collect::<BooleanArray>())
        }
        DataType::Decimal128(precision, _) => {
            let amounts = [Some(-199_900), None, Some(99_999_999_999_999), Some(1)];
            let amounts = (0..rows).map(|row| amounts[(row + place) % 4]).collect::<Decimal128Array>();
            Arc::new(amounts.with_precision_and_scale(*precision, MONEY_SCALE).unwrap())
        }
        DataType::Date32 => Arc::new(Date32Array::from_iter_values((0..rows).map(|row| 20_454 + row as i32))),
        DataType::Timestamp(..) => {
            let times = (0..rows).map(|row| half_hours(row).timestamp_micros() + row as i64);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        }
        // Lists of one.
        DataType::List(item) => {
            let values = column(name, item.data_type(), place, at, rows);
            let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
            Arc::new(ListArray::new(Arc::clone(item), offsets, values, None))
        }
        other => new_null_array(other, rows),
    }
}
