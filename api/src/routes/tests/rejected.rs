//! Refused events, page by page and by reason.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use chrono::TimeDelta;
use serde_json::{Value, json};
use touchline_lake::{Commit, CommitInfo, EncodedRows};
use touchline_schemas::tables::{Table, rejected_events as column};
use touchline_schemas::{Environment, Tenant};

use crate::test_support::{TestApi, start};

const IDS: [&str; 4] = ["r1", "r2", "r3", "r4"];
const CODES: [&str; 4] = ["field_missing", "too_large", "field_missing", "field_missing"];

/// Four refused events, a minute apart, the last a minute before [`start`].
async fn with_refusals(api: &TestApi) {
    let table = api.state.engine.lake().table(Table::RejectedEvents);
    let received_at = (1..=4).rev().map(|minutes| (start() - TimeDelta::minutes(minutes)).timestamp_micros());
    let texts = |texts: [&str; 4]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let filled: [(&str, ArrayRef); 5] = [
        (column::REJECTED_ID, texts(IDS)),
        (column::RECEIVED_AT, Arc::new(TimestampMicrosecondArray::from_iter_values(received_at).with_timezone("UTC"))),
        (column::CODE, texts(CODES)),
        (column::BODY, texts(["{}", "=1+1", "{", ""])),
        (column::SOURCE, texts(["native"; 4])),
    ];
    let schema = Table::RejectedEvents.file_schema();
    let column = |name: &String, kind| {
        let given = filled.iter().find(|(filled, _)| filled == name);
        given.map_or_else(|| new_null_array(kind, IDS.len()), |(_, array)| array.clone())
    };
    let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect();
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let tenant = Tenant { account_id: api.account.id, environment: Environment::Live };
    let rows = EncodedRows::new(table.table(), &rows).unwrap();
    let date = (start() - TimeDelta::days(1)).date_naive();
    let file = table.write_file(tenant, date, "test", rows, start()).await.unwrap();
    let info = CommitInfo { watermark: Some(start()), ..CommitInfo::default() };
    table.commit(Commit { add: vec![file], info, ..Commit::default() }, start()).await.unwrap();
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["data"].as_array().unwrap().iter().map(|row| row["rejected_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn refused_events_come_page_by_page_with_their_bytes() {
    let api = TestApi::new().await;
    with_refusals(&api).await;
    let key = api.key("can_view_reports").await;
    let first = api.get("/api/v1/rejected?limit=3", &key).await.json();
    assert_eq!(ids(&first), ["r4", "r3", "r2"]);
    assert_eq!((&first["data"][2]["body"], &first["data"][2]["code"]), (&json!("=1+1"), &json!("too_large")));
    let last = api.get(first["links"]["next"].as_str().unwrap(), &key).await.json();
    assert_eq!((ids(&last), &last["links"]["next"]), (vec!["r1"], &Value::Null));
    let chosen = api.get("/api/v1/rejected?filter[code]=too_large", &key).await.json();
    assert_eq!(ids(&chosen), ["r2"]);
    let csv = api.get("/api/v1/rejected?format=csv", &key).await.body;
    assert!(csv.starts_with("rejected_id,received_at,event_id,event_type,code,errors,body,source\r\n"), "{csv}");
    assert_eq!(csv.lines().count(), 5);
    assert_eq!(api.get("/api/v1/rejected?filter[body]=x", &key).await.code(), "invalid_parameter");
}

#[tokio::test]
async fn reasons_are_counted() {
    let api = TestApi::new().await;
    with_refusals(&api).await;
    let key = api.key("can_view_reports").await;
    let csv = api.get("/api/v1/rejected/reasons?format=csv", &key).await.body;
    let expected = "code,source,rejected,first_received_at,last_received_at\r\n\
        field_missing,native,3,2025-12-31T23:56:00.000000Z,2025-12-31T23:59:00.000000Z\r\n\
        too_large,native,1,2025-12-31T23:57:00.000000Z,2025-12-31T23:57:00.000000Z\r\n";
    assert_eq!(csv, expected);
    let late = api.get("/api/v1/rejected/reasons?from=2025-12-31T23:58:00Z", &key).await.json();
    assert_eq!((&late["data"][0]["rejected"], &late["data"][1]), (&json!(2), &Value::Null));
}

#[tokio::test]
async fn nobody_sees_what_another_account_sent() {
    let api = TestApi::new().await;
    with_refusals(&api).await;
    let other = api.key_of_another_account("admin").await;
    for address in ["/api/v1/rejected", "/api/v1/rejected/reasons"] {
        assert_eq!(api.get(address, &other).await.json()["data"], json!([]), "{address}");
    }
}
