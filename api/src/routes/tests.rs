//! Requests through the whole router.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::Field;
use axum::body::Body;
use axum::http::{Request, header};
use chrono::TimeDelta;
use futures::stream;
use touchline_lake::{Commit, CommitInfo, EncodedRows};
use touchline_schemas::config::{AuthConfig, Config, IngestConfig, LogConfig};
use touchline_schemas::control::{AccountStatus, IngestCounts, KeyKind};
use touchline_schemas::tables::{Table, sessions as column};
use touchline_schemas::{Environment, Tenant};

use crate::test_support::{TestApi, start};

mod access;
mod administration;
mod data;
mod erasures;
mod exporting;
mod exports;
mod formats;
mod rejected;
mod rows;
mod versions;

const SNAPSHOT: &str = include_str!("../../openapi.json");
const EVENTS: &str = r#"{"events":[{"event_type":"page_view","visitor_id":"v1"}]}"#;

#[tokio::test]
async fn every_reason_for_401_is_said() {
    let api = TestApi::new().await;
    let revoked = api.key("ingest").await;
    api.state.control.revoke_key(None, revoked.as_str(), start()).await.unwrap();
    let unknown = format!("sk_live_{}", "0".repeat(32));
    for (header, code) in [
        (None, "missing_authorization"),
        (Some("Basic c2s6".to_owned()), "malformed_authorization"),
        (Some("Bearer".to_owned()), "malformed_authorization"),
        (Some("Bearer nonsense".to_owned()), "invalid_key"),
        (Some(format!("Bearer {unknown}")), "invalid_key"),
        (Some(format!("Bearer {revoked}")), "revoked_key"),
    ] {
        let mut request = Request::get("/api/v1/validate");
        if let Some(header) = &header {
            request = request.header(header::AUTHORIZATION, header);
        }
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, code), "{header:?}");
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    let key = api.key("ingest").await;
    api.state.control.set_account_status(api.account.id, AccountStatus::Suspended, start()).await.unwrap();
    assert_eq!(api.get("/api/v1/validate", &key).await.code(), "suspended_account");
}

#[tokio::test]
async fn revocation_is_felt_when_the_cache_forgets() {
    let api = TestApi::new().await;
    let key = api.key("ingest").await;
    assert_eq!(api.get("/api/v1/validate", &key).await.status, 200);
    api.state.control.revoke_key(None, key.as_str(), start()).await.unwrap();
    assert_eq!(api.get("/api/v1/validate", &key).await.status, 200);
    api.clock.advance(TimeDelta::seconds(5));
    assert_eq!(api.get("/api/v1/validate", &key).await.code(), "revoked_key");
}

#[tokio::test]
async fn validate_says_whose_key_it_is() {
    let api = TestApi::new().await;
    let key = api.key("ingest").await;
    let answer = api.get("/api/v1/validate", &key).await.json();
    assert_eq!(answer["valid"], true);
    assert_eq!(answer["account"]["slug"], "acme");
    assert_eq!(answer["account"]["id"], api.account.id.to_string());
    assert_eq!(answer["environment"], "live");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_no_more() {
    let api = TestApi::new().await;
    for (kind, scopes, ingest, report) in [
        (KeyKind::Secret, "ingest", 202, 403),
        (KeyKind::Publishable, "ingest", 202, 403),
        (KeyKind::Secret, "can_view_reports", 403, 200),
        (KeyKind::Secret, "can_manage_settings", 403, 403),
        (KeyKind::Secret, "ingest,can_view_reports", 202, 200),
        (KeyKind::Secret, "admin", 202, 200),
    ] {
        let key = api.key_of(kind, scopes).await;
        assert_eq!(api.post("/api/v1/events", &key, EVENTS).await.status, ingest, "{scopes}");
        let answer = api.get("/api/v1/reports/ingest", &key).await;
        assert_eq!(answer.status, report, "{scopes}");
        if report == 403 {
            assert!(answer.body.contains("can_view_reports"), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn a_stranger_cannot_make_us_read_a_body() {
    let api = TestApi::new().await;
    let body = Body::from_stream(stream::once(async { panic!("the body was read") as Result<&str, std::io::Error> }));
    let answer = api.post("/api/v1/events", "sk_live_nobody", body).await;
    assert_eq!(answer.code(), "invalid_key");
}

#[tokio::test]
async fn bodies_are_bounded_and_typed() {
    let limits = IngestConfig {
        max_body_bytes: 1_024,
        max_event_bytes: 512,
        max_properties_bytes: 256,
        ..IngestConfig::default()
    };
    let api = TestApi::with(Config { ingest: limits, ..Config::default() }).await;
    let key = api.key("ingest").await;
    let bearer = format!("Bearer {key}");
    for (content_type, encoding, body, status, code) in [
        ("application/json", None, "x".repeat(1_025), 413, "body_too_large"),
        ("application/json", None, "{".to_owned(), 400, "invalid_json"),
        ("image/png", None, EVENTS.to_owned(), 415, "unsupported_media_type"),
        ("application/json", Some("lzma"), EVENTS.to_owned(), 415, "unsupported_content_encoding"),
        ("text/plain", Some("identity"), EVENTS.to_owned(), 202, ""),
    ] {
        let mut request = Request::post("/api/v1/events").header("authorization", &bearer);
        request = request.header("content-type", content_type);
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer = api.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{content_type} {encoding:?}");
        if status == 413 {
            assert!(answer.body.contains("ingest.max_body_bytes") && answer.body.contains("1024"));
        }
    }
}

#[tokio::test]
async fn each_ingest_route_answers_in_its_own_words() {
    let api = TestApi::new().await;
    let key = api.key("ingest").await;
    for (path, body, status, expected) in [
        ("/api/v1/events", EVENTS, 202, r#"{"accepted":1,"duplicates":0,"rejected":[],"events":"#),
        (
            "/api/v1/sessions",
            r#"{"session":{"visitor_id":"v1","url":"https://x.example/"}}"#,
            202,
            r#"{"status":"accepted"}"#,
        ),
        (
            "/api/v1/conversions",
            r#"{"conversion_type":"purchase","visitor_id":"v1"}"#,
            201,
            r#"},"attribution":{"status":"pending"}}"#,
        ),
        ("/api/v1/identify", r#"{"user_id":"u1","visitor_id":"v1"}"#, 200, r#"{"success":true}"#),
    ] {
        let answer = api.post(path, &key, body).await;
        assert_eq!(answer.status, status, "{path} {}", answer.body);
        assert!(answer.body.contains(expected), "{path} {}", answer.body);
    }
}

#[tokio::test]
async fn a_message_event_that_lacks_a_field_is_refused_by_itself() {
    let api = TestApi::new().await;
    let key = api.key("ingest").await;
    let body = r#"{"events":[
        {"event_type":"$message_clicked","user_id":"u1","properties":{"message_id":"m","delivery_id":"d","channel":"site"}},
        {"event_type":"$message_clicked","user_id":"u1","properties":{"message_id":"m","channel":"site"}}
    ]}"#;
    let answer = api.post("/api/v1/events", &key, body).await;
    assert_eq!(answer.status, 422);
    let answer = answer.json();
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["index"]), (&1.into(), &1.into()));
    let error = &answer["rejected"][0]["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&"/properties/delivery_id".into(), &"field_missing".into()));
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let api = TestApi::new().await;
    let key = api.key("admin").await;
    for (request, status, code) in [
        (Request::get("/nowhere"), 404, "not_found"),
        (Request::get("/api/v1/reports/nothing"), 404, "not_found"),
        (Request::delete("/api/v1/events"), 405, "method_not_allowed"),
        (Request::post("/api/v1/reports/sessions"), 405, "method_not_allowed"),
        (Request::get("/api/v1/validate"), 401, "missing_authorization"),
        (
            Request::get("/api/v1/reports/sessions?color=red").header("authorization", format!("Bearer {key}")),
            400,
            "invalid_parameter",
        ),
        (
            Request::get("/api/v1/reports/ingest")
                .header("authorization", format!("Bearer {key}"))
                .header("accept", "image/png"),
            406,
            "not_acceptable",
        ),
    ] {
        let answer = api.send(request.header("x-request-id", "req-7").body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{code}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers["x-request-id"], "req-7");
        let problem = answer.json();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"], "req-7");
        assert_eq!(problem["type"], format!("urn:touchline:problem:{code}"));
        assert_eq!((&problem["message"], &problem["error"]), (&problem["detail"], &problem["title"]));
        assert!(problem["errors"].is_array());
        if status == 405 {
            assert!(answer.headers.contains_key(header::ALLOW));
        }
    }
}

#[tokio::test]
async fn an_unwritable_log_is_said_everywhere() {
    let log = LogConfig { quota_bytes: 0, ..LogConfig::default() };
    let api = TestApi::with(Config { log, ..Config::default() }).await;
    let key = api.key("ingest").await;
    for answer in [
        api.get("/api/v1/health", &key).await,
        api.get("/readyz", &key).await,
        api.post("/api/v1/events", &key, EVENTS).await,
    ] {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.headers[header::RETRY_AFTER], "5");
    }
    assert_eq!(api.get("/healthz", &key).await.status, 200);
}

#[tokio::test]
async fn operations_need_no_key() {
    let api = TestApi::new().await;
    for (path, content_type, part) in [
        ("/api/v1/health", "application/json", r#"{"status":"ok","version":"#),
        ("/healthz", "text/plain; charset=utf-8", "ok"),
        ("/readyz", "text/plain; charset=utf-8", "ready"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", ""),
        ("/api/openapi.json", "application/json", r#""openapi": "3.1.0""#),
        ("/", "text/html; charset=utf-8", "Touchline"),
        ("/home.css", "text/css; charset=utf-8", "body"),
        ("/docs", "text/html; charset=utf-8", "/api/v1/events"),
        ("/docs.css", "text/css; charset=utf-8", "body"),
        ("/t.js", "text/javascript; charset=utf-8", "sendBeacon"),
    ] {
        let answer = api.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], content_type, "{path}");
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
        assert!(!answer.headers["x-request-id"].is_empty());
    }
}

#[tokio::test]
async fn the_page_gives_nothing_away_and_loads_nothing() {
    let api = TestApi::new().await;
    let answer = api.send(Request::get("/").body(Body::empty()).unwrap()).await;
    assert!(answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
    assert!(!answer.body.contains("acme") && !answer.body.contains("<script") && !answer.body.contains("style="));
}

#[tokio::test]
async fn ingest_report_has_the_same_rows_in_both_formats() {
    let api = TestApi::new().await;
    let tenant = Tenant { account_id: api.account.id, environment: Environment::Live };
    let counts =
        IngestCounts { tenant, hour: start(), received: 10, stored: 7, duplicates: 2, rejected: 1, max_lag_ms: 5 };
    let other =
        IngestCounts { tenant: Tenant { environment: Environment::Test, ..tenant }, received: 99, ..counts.clone() };
    api.state.control.record_ingest("node", 1, &[counts, other], &[]).await.unwrap();
    let key = api.key("can_view_reports").await;

    let json = api.get("/api/v1/reports/ingest", &key).await;
    assert_eq!(
        json.json()["data"],
        serde_json::json!([{
            "hour": "2026-01-01T00:00:00.000000Z", "received": 10, "stored": 7, "duplicates": 2, "rejected": 1, "max_lag_ms": 5
        }])
    );
    assert_eq!(json.json()["links"]["next"], serde_json::Value::Null);
    let csv = api.get("/api/v1/reports/ingest.csv", &key).await;
    assert_eq!(csv.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8; header=present");
    assert_eq!(
        csv.body,
        "hour,received,stored,duplicates,rejected,max_lag_ms\r\n2026-01-01T00:00:00.000000Z,10,7,2,1,5\r\n"
    );
    let past = api.get("/api/v1/reports/ingest?to=2026-01-01&format=csv", &key).await;
    assert_eq!(past.body, "hour,received,stored,duplicates,rejected,max_lag_ms\r\n");
}

/// Three sessions, a minute apart, the last one a moment before [`start`].
async fn with_sessions(api: &TestApi) {
    let table = api.state.engine.lake().table(Table::Sessions);
    let started_at = (1..=3).map(|minutes| (start() - TimeDelta::minutes(minutes)).timestamp_micros());
    let filled: [(&str, ArrayRef); 4] = [
        (column::SESSION_ID, Arc::new(StringArray::from(vec!["s1", "s2", "s3"]))),
        (column::STARTED_AT, Arc::new(TimestampMicrosecondArray::from_iter_values(started_at).with_timezone("UTC"))),
        (column::CHANNEL, Arc::new(StringArray::from(vec![Some("=paid"), Some("direct"), None]))),
        (column::IS_BOT, Arc::new(BooleanArray::from(vec![false; 3]))),
    ];
    let schema = Table::Sessions.file_schema();
    let column = |field: &Arc<Field>| {
        let given = filled.iter().find(|(name, _)| name == field.name());
        given.map_or_else(|| new_null_array(field.data_type(), 3), |(_, array)| array.clone())
    };
    let columns = schema.fields().iter().map(column).collect();
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let tenant = Tenant { account_id: api.account.id, environment: Environment::Live };
    let date = (start() - TimeDelta::days(1)).date_naive();
    let rows = EncodedRows::new(table.table(), &rows).unwrap();
    let file = table.write_file(tenant, date, "test", rows, start()).await.unwrap();
    let info = CommitInfo { watermark: Some(start()), ..CommitInfo::default() };
    table.commit(Commit { add: vec![file], info, ..Commit::default() }, start()).await.unwrap();
}

#[tokio::test]
async fn sessions_come_page_by_page_and_the_same_in_both_formats() {
    let api = TestApi::new().await;
    with_sessions(&api).await;
    let key = api.key("can_view_reports").await;

    let first = api.get("/api/v1/reports/sessions?limit=2", &key).await;
    let ids = |answer: &serde_json::Value| -> Vec<String> {
        answer["data"].as_array().unwrap().iter().map(|row| row["session_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&first.json()), ["s1", "s2"]);
    assert_eq!(first.json()["meta"]["watermark"], "2026-01-01T00:00:00.000000Z");
    let next = first.json()["links"]["next"].as_str().unwrap().to_owned();
    assert_eq!(first.headers[header::LINK], format!("<{next}>; rel=\"next\"").as_str());
    assert!(first.headers.contains_key("x-lake-version"));

    let last = api.get(&next, &key).await.json();
    assert_eq!(ids(&last), ["s3"]);
    assert_eq!(last["links"]["next"], serde_json::Value::Null);

    let all = api.get("/api/v1/reports/sessions", &key).await.json();
    let csv = api.get("/api/v1/reports/sessions.csv?raw=1", &key).await.body;
    let mut lines = csv.split("\r\n");
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    for row in all["data"].as_array().unwrap() {
        let cells: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!(row.as_object().unwrap().len(), names.len());
        for (name, cell) in names.iter().zip(cells) {
            let expected = match &row[*name] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(cell, expected, "{name}");
        }
    }
    assert_eq!((lines.next(), lines.next()), (Some(""), None));
    assert!(api.get("/api/v1/reports/sessions?format=csv", &key).await.body.contains(",'=paid,"));
}

#[tokio::test]
async fn nobody_sees_the_sessions_of_another_account() {
    let api = TestApi::new().await;
    with_sessions(&api).await;
    let other = api.key_of_another_account("can_view_reports").await;
    let answer = api.get("/api/v1/reports/sessions", &other).await;
    assert_eq!(answer.json()["data"], serde_json::json!([]));
    assert!(!answer.headers.contains_key(header::LINK));
}

#[tokio::test]
async fn grouped_reports_are_answered_and_say_what_they_can_group_by() {
    let api = TestApi::new().await;
    with_sessions(&api).await;
    let key = api.key("can_view_reports").await;
    for (address, status, part) in [
        ("/api/v1/reports/traffic?by=channel", 200, "\"sessions\":1"),
        ("/api/v1/reports/traffic.csv", 200, "sessions"),
        (
            "/api/v1/reports/traffic.csv?interval=hour&by=channel&filter[channel]=direct",
            200,
            "interval_at,channel,visitors,",
        ),
        ("/api/v1/reports/traffic?interval=year", 400, "none of hour, day, week, month"),
        ("/api/v1/reports/traffic?interval=day&by=day", 400, "interval"),
        ("/api/v1/reports/traffic?sort=-password", 400, "visitors"),
        ("/api/v1/reports/traffic?filter[password]=1", 400, "channel"),
        ("/api/v1/reports/overview", 200, "\"sessions\":3,\"events\":0,"),
        ("/api/v1/reports/overview?from=2020-01-01&to=2020-01-02", 200, "\"sessions\":0,"),
        ("/api/v1/reports/overview.csv?interval=month&tz=Europe/Berlin", 200, "interval_at,visitors,sessions,"),
        ("/api/v1/reports/overview?compare=previous", 400, "open range"),
        ("/api/v1/reports/overview?tz=Mars", 400, "Europe/Berlin"),
        (
            "/api/v1/reports/visitors.csv?filter[first_touch_channel]=direct",
            200,
            "person_id,visitor_id,user_id,first_seen_at",
        ),
        ("/api/v1/reports/visitors?filter[user_at]=1", 400, "first_touch_channel"),
        (
            "/api/v1/reports/utm.csv?by=utm_medium,utm_source",
            200,
            "utm_medium,utm_source,visitors,sessions,conversions,",
        ),
        ("/api/v1/reports/utm?by=channel", 400, "utm_term"),
        ("/api/v1/reports/pages.csv?sort=-entries&filter[page]=/", 200, "page,views,visitors,entries,exits,bounces"),
        ("/api/v1/reports/pages?sort=path", 400, "bounces"),
        ("/api/v1/reports/events.csv?filter[path]=/", 200, "event_type,events,visitors,last_occurred_at"),
        ("/api/v1/reports/events?filter[password]=1", 400, "step_id"),
        ("/api/v1/reports/realtime", 200, "\"events\":0,\"page_views\":0,\"visitors\":0,"),
        ("/api/v1/reports/realtime.csv?by=source", 200, "source,events,page_views,visitors"),
        ("/api/v1/reports/realtime?from=2026-01-01", 400, "unknown_parameter"),
        ("/api/v1/reports/realtime?by=path", 400, "minute, page, source"),
        ("/api/v1/reports/first-touch?by=utm_source&format=csv", 200, "visitors"),
        ("/api/v1/reports/traffic?by=password", 400, "utm_source"),
        ("/api/v1/reports/first-touch?by=", 400, "utm_source"),
        ("/api/v1/reports/sessions?filter[password]=1", 400, "channel"),
        ("/api/v1/reports/first-touch?bots=only", 400, "bots"),
        ("/api/v1/reports/attribution", 200, "attribution/2"),
        ("/api/v1/reports/attribution?model=markov&order=2&by=utm_source&lookback_days=7", 200, "attribution/2"),
        ("/api/v1/reports/attribution.csv?model=shapley", 200, "channel,conversions,value,touches"),
        ("/api/v1/reports/attribution?model=fair", 400, "time_decay"),
        ("/api/v1/reports/attribution?model=linear&order=2", 400, "markov"),
        ("/api/v1/reports/attribution?by=password", 400, "utm_source"),
        ("/api/v1/reports/funnel?steps=page_view:/,purchase&window=1d", 200, "\"event\":\"purchase\",\"visitors\":0"),
        (
            "/api/v1/reports/funnel.csv?steps=page_view",
            200,
            "step,event,visitors,from_first,from_previous,median_s,p90_s",
        ),
        ("/api/v1/reports/funnel", 400, "steps"),
        ("/api/v1/reports/funnel?steps=a&window=soon", 400, "window"),
        ("/api/v1/reports/funnel?steps=a&by=person", 400, "visitor"),
        (
            "/api/v1/reports/retention.csv?interval=day&tz=Europe/Berlin",
            200,
            "cohort,period,cohort_visitors,visitors,rate",
        ),
        ("/api/v1/reports/retention?interval=year", 400, "month"),
        ("/api/v1/reports/retention?tz=Mars", 400, "Europe/Berlin"),
        ("/api/v1/reports/paths.csv?start=/&depth=2&limit=5", 200, "node,parent,level,page,sessions,exits"),
        ("/api/v1/reports/paths?depth=11", 400, "depth"),
        ("/api/v1/reports/messages.csv?by=day,channel&calendar=event&filter[system]=rule", 200, "day,channel,decided,"),
        ("/api/v1/reports/messages?by=person_id", 400, "message_id"),
        ("/api/v1/reports/messages?calendar=lunar", 400, "cohort"),
        ("/api/v1/reports/messages?filter[person_id]=x", 400, "variant"),
        ("/api/v1/reports/messages?from=2025-12-01T10:00:00Z", 400, "whole days"),
        ("/api/v1/reports/messages/reasons.csv", 200, "message_id,variant,outcome,reason,count"),
        ("/api/v1/reports/messages/frequency.csv", 200, "window_days,people,messages,mean,median,p90,max,people_1,"),
        ("/api/v1/reports/messages/overlap.csv", 200, "channels,people,messages"),
        (
            "/api/v1/reports/messages/site-messages.csv?message_id=a",
            200,
            "site_message_id,variant,delivered,views,clicks,view_rate,click_rate",
        ),
        ("/api/v1/reports/sequences.csv?by=sequence_id,arm", 200, "sequence_id,arm,entries,unique_entrants,orphans,"),
        ("/api/v1/reports/sequences.csv?calendar=event", 200, "day,sequence_id,entries,"),
        ("/api/v1/reports/sequences?by=step_id", 400, "sequence_version"),
        ("/api/v1/reports/sequences/welcome.csv?by=arm", 200, "step_id,arm,reached,advanced,"),
        ("/api/v1/reports/sequences/welcome?by=sequence_id", 400, "channel"),
        ("/api/v1/reports/sequences/welcome?calendar=event&to=2026-01-01T00:00:01Z", 400, "whole days"),
        ("/api/v1/reports/sequences/welcome/lift", 400, "the account has no goals"),
        ("/api/v1/reports/sequences/welcome/lift?alpha=2", 400, "alpha"),
        ("/api/v1/reports/sequences/welcome/lift?alpha=1e-100", 400, "0.000001 to 0.5"),
        ("/api/v1/reports/sequences/welcome/branches?alpha=0", 400, "alpha"),
        ("/api/v1/reports/sequences/welcome/lift?window_days=0", 400, "window_days"),
        ("/api/v1/reports/sequences/welcome/lift?sequence_version=x", 400, "sequence_version"),
        ("/api/v1/reports/sequences/welcome/branches", 400, "the account has no goals"),
    ] {
        let answer = api.get(address, &key).await;
        assert_eq!(answer.status, status, "{address} {}", answer.body);
        assert!(answer.body.contains(part), "{address} {}", answer.body);
    }
}

#[tokio::test]
async fn an_id_that_nobody_has_and_one_of_another_account_are_the_same() {
    let (api, key) = formats::filled().await;
    let stranger = api.key_of_another_account("can_view_reports").await;
    // The first person of the table, by the visitor id that their events carry.
    for section in ["", "/ids", "/events", "/sessions", "/touches"] {
        let known = api.get(&format!("/api/v1/people/00plain{section}?format=csv"), &key).await;
        assert_eq!(known.status, 200, "{section} {}", known.body);
        let of_stranger = api.get(&format!("/api/v1/people/00plain{section}"), &stranger).await;
        let of_nobody = api.get(&format!("/api/v1/people/nobody{section}"), &key).await;
        for answer in [&of_stranger, &of_nobody] {
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{section}");
        }
        let without_id = |answer: &crate::test_support::Answer| {
            let mut body = answer.json();
            body.as_object_mut().unwrap().remove("instance");
            body
        };
        assert_eq!(without_id(&of_stranger), without_id(&of_nobody), "{section}");
        assert_eq!(
            api.get(&format!("/api/v1/people/00plain{section}.csv"), &key).await.bytes,
            known.bytes,
            "{section}"
        );
    }
    for (address, part) in [
        ("/api/v1/people/00plain?from=2026-01-01", "unknown_parameter"),
        ("/api/v1/people/00plain/events?filter[ip]=1", "event_type"),
        ("/api/v1/people/00plain/touches?model=markov", "time_decay"),
    ] {
        let answer = api.get(address, &key).await;
        assert_eq!(answer.status, 400, "{address}");
        assert!(answer.body.contains(part), "{address} {}", answer.body);
    }
}

#[tokio::test]
async fn use_of_a_key_is_noted() {
    let auth = AuthConfig { cache_ttl_s: 0 };
    let api = TestApi::with(Config { auth, ..Config::default() }).await;
    let key = api.key("ingest").await;
    api.get("/api/v1/validate", &key).await;
    let mut last_used_at = None;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        last_used_at = api.state.control.keys(api.account.id).await.unwrap()[0].last_used_at;
        if last_used_at.is_some() {
            break;
        }
    }
    assert_eq!(last_used_at, Some(start()));
}

#[tokio::test]
async fn openapi_file_is_up_to_date() {
    let api = TestApi::new().await;
    let (_, description) = super::router(api.state.clone());
    let text = description.to_pretty_json().unwrap();
    let changed = text.lines().zip(SNAPSHOT.lines()).find(|(now, then)| now != then);
    assert_eq!(changed, None, "run: cargo test -p touchline-api -- --ignored write_openapi_file");
    assert_eq!(text.lines().count(), SNAPSHOT.lines().count());
}

#[tokio::test]
#[ignore = "writes api/openapi.json"]
async fn write_openapi_file() {
    let api = TestApi::new().await;
    let (_, description) = super::router(api.state.clone());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    std::fs::write(path, format!("{}\n", description.to_pretty_json().unwrap())).unwrap();
}

#[tokio::test]
async fn every_route_is_described_with_its_answers() {
    let api = TestApi::new().await;
    let (_, description) = super::router(api.state.clone());
    let document = serde_json::to_value(&description).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 73);
    for (path, item) in paths {
        for operation in item.as_object().unwrap().values() {
            assert!(operation["summary"].is_string(), "{path}");
            assert!(operation["responses"].as_object().is_some_and(|responses| !responses.is_empty()), "{path}");
        }
    }
}
