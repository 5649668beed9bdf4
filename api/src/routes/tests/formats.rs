//! Every report in every format: the same columns and values, cell by cell.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use arrow::ipc::reader::StreamReader;
use axum::http::header;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::value::RawValue;
use touchline_schemas::config::Config;
use touchline_schemas::control::{AccountSettings, IngestCounts};
use touchline_schemas::{Environment, Tenant};

use super::rows::fill;
use crate::format::Format;
use crate::test_support::{Answer, TestApi, start};

/// Names of the columns, and rows of cells as text; null is none.
type Rows = (Vec<String>, Vec<Vec<Option<String>>>);

/// Where reports begin in the description.
pub const REPORTS: &str = "/api/v1/reports/";

/// What a report needs to be asked.
fn needed(report: &str) -> &'static str {
    match report {
        "funnel" => "&steps=page_view,page_view",
        // One of the two arms of the latest version.
        "sequences/{id}/lift" => "&control=null",
        _ => "",
    }
}

/// A report's path as the description has it, with a query that gives rows.
pub fn address(report: &str) -> String {
    match report {
        // The clock says from when on.
        "realtime" => format!("{REPORTS}{report}?bots=exclude"),
        report => format!("{REPORTS}{report}?from=2025-12-01{}", needed(report)),
    }
}

/// The address of every report of the table of routes; of those about one sequence, for the one that there is.
pub fn reports(api: &TestApi) -> Vec<String> {
    let (_, description) = crate::router(api.state.clone());
    let paths = description.paths.paths.keys().filter_map(|path| path.strip_prefix(REPORTS));
    paths.map(|report| address(report).replace("{id}", "welcome")).collect()
}

/// An installation that computes every answer anew.
pub async fn filled() -> (TestApi, String) {
    let mut config = Config::default();
    config.query.kept_answers_bytes = 0;
    filled_with(config).await
}

pub async fn filled_with(config: Config) -> (TestApi, String) {
    let api = TestApi::with(config).await;
    fill(&api).await;
    let mut settings = AccountSettings::default();
    settings.set("goals", "viewed=page_view").unwrap();
    api.state.control.set_account_settings(api.account.id, &settings, start()).await.unwrap();
    let tenant = Tenant { account_id: api.account.id, environment: Environment::Live };
    let counts =
        IngestCounts { tenant, hour: start(), received: 10, stored: 7, duplicates: 2, rejected: 1, max_lag_ms: 5 };
    api.state.control.record_ingest("node", 1, &[counts], &[]).await.unwrap();
    let key = api.key("can_view_reports").await;
    (api, key)
}

#[tokio::test]
async fn every_report_has_the_same_rows_in_every_format() {
    let (api, key) = filled().await;
    let reports = reports(&api);
    assert!(reports.len() >= 23);
    for address in reports {
        let expected = read(Format::Json, &get(&api, &key, &address, Format::Json).await);
        assert!(!expected.1.is_empty(), "{address} has no rows to compare");
        for format in Format::ALL {
            let answer = get(&api, &key, &address, format).await;
            assert_eq!(answer.headers[header::CONTENT_TYPE], format.content_type(), "{address}");
            assert_eq!(read(format, &answer), expected, "{address} {}", format.word());
        }
    }
}

#[tokio::test]
async fn no_rows_are_still_columns() {
    let (api, key) = filled().await;
    for format in [Format::Csv, Format::Parquet, Format::Arrow] {
        let answer = get(&api, &key, "/api/v1/reports/sessions?from=2020-01-01&to=2020-01-02", format).await;
        let (columns, rows) = read(format, &answer);
        assert_eq!((columns.len(), rows.len()), (43, 0), "{}", format.word());
    }
}

#[tokio::test]
async fn a_format_is_chosen_by_accept_and_by_suffix_too() {
    let (api, key) = filled().await;
    for format in Format::ALL {
        let request = axum::http::Request::get("/api/v1/reports/traffic");
        let request = request.header("authorization", format!("Bearer {key}"));
        let request = request.header("accept", format!("{}, text/html;q=0.9", format.media_type()));
        let accepted = api.send(request.body(axum::body::Body::empty()).unwrap()).await;
        let suffixed = api.get(&format!("/api/v1/reports/traffic.{}", format.word()), &key).await;
        for answer in [accepted, suffixed] {
            assert_eq!((answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]), (200, &format.content_type()));
        }
    }
}

async fn get(api: &TestApi, key: &str, address: &str, format: Format) -> Answer {
    let answer = api.get(&format!("{address}&raw=1&format={}", format.word()), key).await;
    assert_eq!(answer.status, 200, "{address} {}", answer.body);
    answer
}

fn read(format: Format, answer: &Answer) -> Rows {
    match format {
        Format::Json => {
            let document: BTreeMap<&str, &RawValue> = serde_json::from_slice(&answer.bytes).unwrap();
            let rows: Vec<&RawValue> = serde_json::from_str(document["data"].get()).unwrap();
            objects(rows.into_iter().map(RawValue::get))
        }
        Format::Ndjson => {
            assert!(answer.body.ends_with('\n'));
            objects(answer.body.lines())
        }
        Format::Csv => {
            let mut records = records(&answer.body).into_iter();
            let names = records.next().unwrap().into_iter().map(Option::unwrap).collect();
            (names, records.collect())
        }
        Format::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(answer.bytes.clone()).unwrap();
            let names = names(reader.schema().fields());
            (names, reader.build().unwrap().flat_map(|batch| cells(&batch.unwrap())).collect())
        }
        Format::Arrow => {
            let reader = StreamReader::try_new(answer.bytes.as_ref(), None).unwrap();
            let names = names(reader.schema().fields());
            (names, reader.flat_map(|batch| cells(&batch.unwrap())).collect())
        }
    }
}

fn names(fields: &arrow::datatypes::Fields) -> Vec<String> {
    fields.iter().map(|field| field.name().clone()).collect()
}

/// Keys in their order, which a map would lose, and values with every digit.
fn objects<'a>(rows: impl Iterator<Item = &'a str>) -> Rows {
    let (mut columns, mut all) = (Vec::new(), Vec::new());
    for row in rows {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(row).unwrap();
        if columns.is_empty() {
            let place = |name: &String| row.find(&format!("\"{name}\":")).unwrap();
            columns = members.keys().cloned().collect();
            columns.sort_by_key(place);
        }
        assert_eq!(members.len(), columns.len());
        all.push(columns.iter().map(|name| scalar(members[name].get())).collect());
    }
    (columns, all)
}

fn scalar(json: &str) -> Option<String> {
    match serde_json::from_str(json).unwrap() {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(json.to_owned()),
        other => panic!("{other} is no cell"),
    }
}

/// RFC 4180, read letter by letter. Only a quoted cell is an empty text.
fn records(csv: &str) -> Vec<Vec<Option<String>>> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut was_quoted, mut is_open) = (false, false);
    let mut letters = csv.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_open && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => (was_quoted, is_open) = (true, !is_open),
            _ if is_open => cell.push(letter),
            ',' | '\r' => {
                let cell = std::mem::take(&mut cell);
                record.push((was_quoted || !cell.is_empty()).then_some(cell));
                was_quoted = false;
                if letter == '\r' {
                    assert_eq!(letters.next(), Some('\n'));
                    records.push(std::mem::take(&mut record));
                }
            }
            _ => cell.push(letter),
        }
    }
    assert!(!is_open && record.is_empty() && cell.is_empty(), "the last record is whole");
    records
}

/// Values as the text formats spell them.
fn cells(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let cell = |row: usize, column: &dyn Array| match column.data_type() {
        _ if column.is_null(row) => None,
        DataType::Utf8 => Some(column.as_string::<i32>().value(row).to_owned()),
        DataType::Boolean => Some(column.as_boolean().value(row).to_string()),
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::UInt64 => Some(column.as_primitive::<UInt64Type>().value(row).to_string()),
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row).to_string()),
        DataType::Decimal128(..) => Some(column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Date32 => column.as_primitive::<Date32Type>().value_as_date(row).map(|date| date.to_string()),
        DataType::Timestamp(_, zone) => {
            assert_eq!(zone.as_deref(), Some("UTC"));
            let at = column.as_primitive::<TimestampMicrosecondType>().value_as_datetime(row);
            at.map(|at| at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        }
        other => panic!("{other} is not written"),
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(row, column)).collect()).collect()
}
