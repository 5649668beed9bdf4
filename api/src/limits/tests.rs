//! Requests through the whole router, with limits that are easily met.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use chrono::TimeDelta;
use futures::future::join_all;
use futures::stream;
use touchline_schemas::config::{Config, ServerConfig};

use super::*;
use crate::peer::Peer;
use crate::test_support::{Answer, TestApi};

const EVENTS: &str = r#"{"events":[{"event_type":"page_view","visitor_id":"v1"}]}"#;
const ONE: &str = "203.0.113.7:4711";
const OTHER: &str = "203.0.113.8:4711";

async fn api(limits: LimitsConfig) -> TestApi {
    let server = ServerConfig { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..ServerConfig::default() };
    TestApi::with(Config { limits, server, ..Config::default() }).await
}

/// `GET /api/v1/validate` over a connection from `address`.
async fn validate(api: &TestApi, address: &str, key: &str, forwarded_for: Option<&str>) -> Answer {
    let mut request = Request::get("/api/v1/validate").header(header::AUTHORIZATION, format!("Bearer {key}"));
    if let Some(forwarded_for) = forwarded_for {
        request = request.header("x-forwarded-for", forwarded_for);
    }
    let address: SocketAddr = address.parse().unwrap();
    api.send(request.extension(ConnectInfo(Peer::at(address))).body(Body::empty()).unwrap()).await
}

fn wrong_key(number: u32) -> String {
    format!("sk_live_{number:032x}")
}

fn field(answer: &Answer, name: &HeaderName) -> String {
    answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn check_refused(answer: &Answer, code: &str, setting: &str, retry_after_s: u32) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, code), "{}", answer.body);
    let body = answer.json();
    for text in ["error", "message", "detail"] {
        assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{text}");
    }
    assert!(body["message"].as_str().unwrap().contains(&format!("`{setting}`")), "{}", answer.body);
    assert_eq!(answer.headers[header::RETRY_AFTER], retry_after_s.to_string());
    assert!(field(answer, &RATELIMIT).ends_with(&format!(";r=0;t={retry_after_s}")), "{answer:?}");
}

#[tokio::test]
async fn a_key_that_asks_too_fast_waits_as_it_is_told_and_nobody_with_it() {
    let limits = LimitsConfig { ingest_per_key_per_s: 1, ingest_burst_per_key: 2, ..LimitsConfig::default() };
    let api = api(limits).await;
    let (key, other) = (api.key("ingest").await, api.key("ingest,can_view_reports").await);
    for left in [1, 0] {
        let answer = api.post("/api/v1/events", &key, EVENTS).await;
        assert_eq!(answer.status, 202);
        let expected = format!("\"ingest_per_key\";r={left};t={}", 2 - left);
        assert_eq!(field(&answer, &RATELIMIT), expected);
        assert!(
            field(&answer, &RATELIMIT_POLICY).starts_with("\"ingest_per_key\";q=2;w=2, \"ingest_running_per_key\";q=")
        );
    }
    let unread = Body::from_stream(stream::once(async { panic!("the body was read") as Result<&str, std::io::Error> }));
    let refused = api.post("/api/v1/events", &key, unread).await;
    check_refused(&refused, "rate_limited", "limits.ingest_per_key_per_s", 1);
    // Another key, and the same one elsewhere, are not concerned.
    assert_eq!(api.post("/api/v1/events", &other, EVENTS).await.status, 202);
    assert_eq!(api.get("/api/v1/reports/ingest", &key).await.status, 403);
    api.clock.advance(TimeDelta::seconds(1));
    assert_eq!(api.post("/api/v1/events", &key, EVENTS).await.status, 202);
}

#[tokio::test]
async fn readers_and_ingest_are_counted_apart() {
    let limits = LimitsConfig { reading_per_key_per_s: 1, reading_burst_per_key: 1, ..LimitsConfig::default() };
    let api = api(limits).await;
    let key = api.key("ingest,can_view_reports").await;
    assert_eq!(api.get("/api/v1/reports/ingest", &key).await.status, 200);
    let refused = api.get("/api/v1/reports/ingest", &key).await;
    check_refused(&refused, "rate_limited", "limits.reading_per_key_per_s", 1);
    assert_eq!(api.post("/api/v1/events", &key, EVENTS).await.status, 202);
}

#[tokio::test]
async fn wrong_keys_are_slowed_and_good_ones_go_on() {
    let limits =
        LimitsConfig { failures_per_address_per_min: 6, failure_burst_per_address: 3, ..LimitsConfig::default() };
    let api = api(limits).await;
    let (good, new) = (api.key("ingest").await, api.key("ingest").await);
    // Looking up good keys costs nothing.
    for key in [&good, &good] {
        assert_eq!(validate(&api, ONE, key, None).await.status, 200);
    }
    for number in 0..3 {
        let answer = validate(&api, ONE, &wrong_key(number), None).await;
        assert_eq!(answer.code(), "invalid_key");
        assert_eq!(field(&answer, &RATELIMIT_POLICY), "\"failures_per_address\";q=3;w=30");
        assert!(field(&answer, &RATELIMIT).starts_with(&format!("\"failures_per_address\";r={};", 2 - number)));
    }
    for key in [wrong_key(3), wrong_key(0), "nonsense".to_owned(), String::new(), new] {
        let refused = validate(&api, ONE, &key, None).await;
        check_refused(&refused, "too_many_failures", "limits.failures_per_address_per_min", 10);
    }
    // Also when it must be looked up again.
    api.clock.advance(TimeDelta::seconds(6));
    assert_eq!(validate(&api, ONE, &good, None).await.status, 200);
    assert_eq!(validate(&api, OTHER, &wrong_key(4), None).await.status, 401);
    api.clock.advance(TimeDelta::seconds(4));
    assert_eq!(validate(&api, ONE, &wrong_key(5), None).await.status, 401);
    assert_eq!(validate(&api, ONE, &wrong_key(6), None).await.status, 429);
}

#[tokio::test]
async fn a_key_that_was_revoked_is_one_that_fails() {
    let limits = LimitsConfig { failure_burst_per_address: 1, ..LimitsConfig::default() };
    let api = api(limits).await;
    let key = api.key("ingest").await;
    assert_eq!(validate(&api, ONE, &key, None).await.status, 200);
    api.state.control.revoke_key(None, key.as_str(), api.state.clock.now()).await.unwrap();
    api.clock.advance(TimeDelta::seconds(5));
    assert_eq!(validate(&api, ONE, &key, None).await.code(), "revoked_key");
    assert_eq!(validate(&api, ONE, &key, None).await.code(), "too_many_failures");
}

#[tokio::test]
async fn addresses_are_those_of_clients_and_of_ipv6_a_64() {
    let limits = LimitsConfig { failure_burst_per_address: 1, ..LimitsConfig::default() };
    let api = api(limits).await;
    let steps = [
        ("10.0.0.1:1", Some("198.51.100.1"), 401),
        ("10.0.0.2:1", Some("198.51.100.1"), 429),
        ("10.0.0.1:1", Some("198.51.100.2"), 401),
        // Who is no proxy of ours cannot hide behind one.
        (ONE, Some("198.51.100.3"), 401),
        (ONE, Some("198.51.100.4"), 429),
        ("[2001:db8:0:1::1]:1", None, 401),
        ("[2001:db8:0:1:ffff::2]:1", None, 429),
        ("[2001:db8:0:2::1]:1", None, 401),
    ];
    for (number, (address, forwarded_for, expected)) in (0..).zip(steps) {
        let answer = validate(&api, address, &wrong_key(number), forwarded_for).await;
        assert_eq!(answer.status, expected, "{address} {forwarded_for:?}");
    }
}

#[tokio::test]
async fn bodies_that_do_not_come_hold_their_places_and_give_them_back() {
    for (limits, setting) in [
        (LimitsConfig { ingest_running_per_key: 2, ..LimitsConfig::default() }, "limits.ingest_running_per_key"),
        (LimitsConfig { ingest_running: 2, ..LimitsConfig::default() }, "limits.ingest_running"),
    ] {
        let api = api(limits).await;
        let key = api.key("ingest,can_view_reports").await;
        // A key that is believed is let in at once.
        assert_eq!(api.get("/api/v1/validate", &key).await.status, 200);
        let (go_on, wait) = tokio::sync::watch::channel(false);
        let slow = || {
            let mut wait = wait.clone();
            Body::from_stream(stream::once(async move {
                let _ = wait.wait_for(|goes_on| *goes_on).await;
                Ok::<_, std::io::Error>(EVENTS)
            }))
        };
        let running = join_all([slow(), slow()].map(|body| api.post("/api/v1/events", &key, body)));
        let others = async {
            // The two wait for their bodies by now: they were asked first.
            check_refused(&api.post("/api/v1/events", &key, EVENTS).await, "too_many_running", setting, 1);
            assert_eq!(api.get("/api/v1/reports/ingest", &key).await.status, 200);
            go_on.send(true).unwrap();
        };
        let (answers, ()) = tokio::join!(running, others);
        assert!(answers.iter().all(|answer| answer.status == 202));
        assert_eq!(api.post("/api/v1/events", &key, EVENTS).await.status, 202);
    }
}

#[tokio::test]
async fn bodies_of_strangers_are_in_the_way_of_strangers_only() {
    for (limits, setting) in [
        (
            LimitsConfig { unknown_running_per_address: 1, ..LimitsConfig::default() },
            "limits.unknown_running_per_address",
        ),
        (LimitsConfig { unknown_running: 1, ..LimitsConfig::default() }, "limits.unknown_running"),
    ] {
        let api = api(limits).await;
        let key = api.key("ingest").await;
        let message = format!(r#"{{"writeKey":"{key}","userId":"u","event":"x"}}"#);
        let track = |body: Body| {
            let request = Request::post("/v1/track").extension(ConnectInfo(Peer::at(ONE.parse().unwrap())));
            api.send(request.body(body).unwrap())
        };
        let (go_on, mut wait) = tokio::sync::watch::channel(false);
        let late = message.clone();
        let slow = Body::from_stream(stream::once(async move {
            let _ = wait.wait_for(|goes_on| *goes_on).await;
            Ok::<_, std::io::Error>(late)
        }));
        let others = async {
            check_refused(&track(message.clone().into()).await, "too_many_running", setting, 1);
            assert_eq!(api.post("/api/v1/events", &key, EVENTS).await.status, 202);
            go_on.send(true).unwrap();
        };
        let (answer, ()) = tokio::join!(track(slow), others);
        assert_eq!(answer.status, 200);
        assert_eq!(track(message.clone().into()).await.status, 200);
    }
}

#[tokio::test]
async fn without_limits_nothing_is_said_of_them() {
    let none = LimitsConfig {
        ingest_per_key_per_s: 0,
        failures_per_address_per_min: 0,
        ingest_running_per_key: 0,
        ingest_running: 0,
        ..LimitsConfig::default()
    };
    let api = api(none).await;
    let key = api.key("ingest").await;
    for number in 0..400 {
        let answer = validate(&api, ONE, &wrong_key(number), None).await;
        assert_eq!((answer.status.as_u16(), answer.headers.get(RATELIMIT)), (401, None));
    }
    let answer = api.post("/api/v1/events", &key, EVENTS).await;
    assert!(!answer.headers.contains_key(RATELIMIT) && !answer.headers.contains_key(RATELIMIT_POLICY));
}
