//! Refused events, page by page and by reason.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use chrono::TimeDelta;
use serde_json::{Value, json};
use touchline_lake::{Commit, CommitInfo, EncodedRows};
use touchline_schemas::config::{Config, IngestConfig};
use touchline_schemas::tables::{Table, rejected_events as column};
use touchline_schemas::{Environment, Tenant};
use uuid::{NoContext, Timestamp, Uuid};

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

/// The id of a new refused event, a native one with this body, that arrived an hour before [`start`].
pub async fn refused(api: &TestApi, body: &str) -> String {
    let table = api.state.engine.lake().table(Table::RejectedEvents);
    let received_at = start() - TimeDelta::hours(1);
    let at = Timestamp::from_unix(NoContext, received_at.timestamp().unsigned_abs(), 0);
    let rejected_id = Uuid::new_v7(at).to_string();
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let received_us = [received_at.timestamp_micros()];
    let filled: [(&str, ArrayRef); 6] = [
        (column::REJECTED_ID, text(&rejected_id)),
        (column::RECEIVED_AT, Arc::new(TimestampMicrosecondArray::from_iter_values(received_us).with_timezone("UTC"))),
        (column::CODE, text("identity_missing")),
        (column::ERRORS, text(r#"[{"pointer":"","code":"identity_missing","detail":"who?"}]"#)),
        (column::BODY, text(body)),
        (column::SOURCE, text("native")),
    ];
    let schema = Table::RejectedEvents.file_schema();
    let column = |name: &String, kind| {
        let given = filled.iter().find(|(filled, _)| filled == name);
        given.map_or_else(|| new_null_array(kind, 1), |(_, array)| array.clone())
    };
    let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect();
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let tenant = Tenant { account_id: api.account.id, environment: Environment::Live };
    let rows = EncodedRows::new(table.table(), &rows).unwrap();
    let file = table.write_file(tenant, received_at.date_naive(), &rejected_id, rows, start()).await.unwrap();
    let based_on = table.version().await.unwrap();
    table.commit(Commit { add: vec![file], based_on, ..Commit::default() }, start()).await.unwrap();
    rejected_id
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

const REPLAY: &str = "/api/v1/rejected/replay";
const SCOPES: &str = "can_manage_settings,can_view_reports";

#[tokio::test]
async fn a_refused_event_is_shown_whole() {
    let api = TestApi::new().await;
    let body = r#"{ "event_type":"buy" }"#;
    let id = refused(&api, body).await;
    let key = api.key("can_view_reports").await;
    let shown = api.get(&format!("/api/v1/rejected/{id}"), &key).await.json();
    let expected = json!({
        "rejected_id": id, "received_at": "2025-12-31T23:00:00.000000Z", "event_id": null, "event_type": null,
        "code": "identity_missing", "errors": [{"pointer": "", "code": "identity_missing", "detail": "who?"}],
        "body": body, "source": "native",
    });
    assert_eq!(shown, expected);
    let other = api.key_of_another_account("admin").await;
    for (key, id) in [(&other, id.as_str()), (&key, &Uuid::now_v7().to_string()), (&key, "r1")] {
        assert_eq!(api.get(&format!("/api/v1/rejected/{id}"), key).await.code(), "not_found");
    }
}

#[tokio::test]
async fn a_replay_stores_an_event_once_and_is_noted() {
    let api = TestApi::new().await;
    let id = refused(&api, r#"{"event_type":"buy"}"#).await;
    let hopeless = refused(&api, "nonsense").await;
    let key = api.key(SCOPES).await;
    let asked = json!({"rejected_ids": [id, hopeless], "set": {"visitor_id": "v1"}, "unset": ["/properties"]});
    let told = async |asked: Value| {
        let answer = api.post(REPLAY, &key, asked.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        let counts = ["accepted", "duplicates", "rejected"].map(|name| answer[name].as_u64().unwrap());
        let event = |id: &str| {
            let mut events = answer["events"].as_array().unwrap().iter();
            events.find(|event| event["rejected_id"] == id).unwrap().clone()
        };
        (counts, event(&id), event(&hopeless), answer["replay_id"].clone())
    };

    let mut trial = asked.clone();
    trial["dry_run"] = json!(true);
    let (counts, valid, refused_again, replay_id) = told(trial).await;
    assert_eq!((counts, replay_id), ([1, 0, 1], Value::Null));
    assert_eq!(
        (&valid["status"], &valid["body"]),
        (&json!("valid"), &json!(r#"{"event_type":"buy","visitor_id":"v1"}"#))
    );
    assert_eq!(refused_again["errors"][0]["code"], "not_json");

    let (counts, accepted, _, replay_id) = told(asked.clone()).await;
    assert_eq!((counts, &accepted["status"]), ([1, 0, 1], &json!("accepted")));
    assert_eq!(accepted["event_id"], format!("rejected_{id}_0"));
    let (counts, known, ..) = told(asked).await;
    assert_eq!((counts, &known["status"], known.get("body")), ([0, 1, 1], &json!("duplicate"), None));

    let entries = api.state.control.audit_entries(Some(api.account.id), None, 10).await.unwrap();
    let replays: Vec<_> = entries.iter().filter(|entry| entry.action == "rejected.replay").collect();
    assert_eq!(replays.len(), 2);
    assert_eq!(replays[1].target, replay_id.as_str().unwrap());
    let expected = json!({"environment": "live", "events": 1, "set": ["/visitor_id"], "unset": ["/properties"]});
    assert_eq!(replays[1].after, Some(expected));
}

#[tokio::test]
async fn a_replay_is_chosen_by_ids_or_by_what_holds() {
    let config =
        Config { ingest: IngestConfig { max_events_per_request: 2, ..IngestConfig::default() }, ..Config::default() };
    let api = TestApi::with(config).await;
    for _ in 0..2 {
        refused(&api, r#"{"event_type":"buy","user_id":"u"}"#).await;
    }
    let key = api.key(SCOPES).await;
    let ask = async |asked: Value| api.post(REPLAY, &key, asked.to_string()).await;
    for (asked, valid) in [
        (json!({"filter": {"code": "identity_missing", "source": "native"}}), 2),
        (json!({"filter": {"code": "erased"}}), 0),
        (json!({"from": "2025-12-31T23:00:00Z"}), 2),
        (json!({"from": "2025-12-31T23:00:01Z"}), 0),
        (json!({"to": "2025-12-31"}), 0),
    ] {
        let mut trial = asked.clone();
        trial["dry_run"] = json!(true);
        assert_eq!(ask(trial).await.json()["accepted"], valid, "{asked}");
    }
    refused(&api, "{}").await;
    let nobodys = Uuid::now_v7();
    for (asked, pointer, code) in [
        (json!({}), "/rejected_ids", "field_missing"),
        (json!({"rejected_ids": [nobodys], "from": "2026-01-01"}), "/rejected_ids", "field_missing"),
        (json!({"rejected_ids": [nobodys]}), "/rejected_ids/0", "not_found"),
        (json!({"rejected_ids": ["a", "b", "c"]}), "/rejected_ids", "invalid_value"),
        (json!({"filter": {"body": "x"}}), "/filter", "invalid_value"),
        (json!({"to": "soon"}), "/to", "invalid_value"),
        (json!({"to": "2027-01-01", "set": {"a..b": 1}}), "/set", "invalid_value"),
        (json!({"to": "2027-01-01", "unset": "a"}), "/unset", "invalid_value"),
        (json!({"to": "2027-01-01", "unset": vec!["a"; 101]}), "/set", "too_many_changes"),
        (json!({"to": "2027-01-01", "set": {"a": "x".repeat(70_000)}}), "/set", "event_too_large"),
        (json!({"to": "2027-01-01", "colour": 1}), "/colour", "unknown_field"),
        (json!({"to": "2027-01-01"}), "", "too_many_events"),
    ] {
        let answer = ask(asked.clone()).await;
        assert_eq!(answer.status, 422, "{asked}: {}", answer.body);
        let error = &answer.json()["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{asked}");
    }
    assert_eq!(
        api.state
            .control
            .audit_entries(None, None, 10)
            .await
            .unwrap()
            .iter()
            .filter(|entry| entry.action == "rejected.replay")
            .count(),
        0
    );
}
