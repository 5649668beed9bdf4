//! What becomes of requests in each dialect: the columns of the events, as data.

use std::cell::OnceCell;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use touchline_enrich::Enricher;
use touchline_schemas::control::Erasures;
use touchline_schemas::event::TextField;
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

use super::*;
use crate::normalize::address::fingerprint;
use crate::normalize::properties::Members;

/// 2026-01-01T00:00:00Z.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn limits() -> Limits {
    Limits {
        max_body_bytes: 100_000,
        max_events_per_request: 3,
        max_event_bytes: 2_000,
        max_properties_bytes: 1_000,
        max_depth: 20,
        max_id_chars: 50,
        max_url_chars: 200,
        max_future_s: 86_400,
        min_timestamp: DateTime::UNIX_EPOCH,
    }
}

/// An accepted event as its columns, without `source`; a refused one as its errors' pointers and codes.
fn shown(checked: Checked<'_>) -> Value {
    match checked {
        Checked::Refused(refusal) => {
            let errors = refusal.errors.iter().map(|error| format!("{} {}", error.pointer, error.code));
            errors.collect::<Vec<_>>().into()
        }
        Checked::Accepted { event, .. } => {
            let texts = TextField::ALL.into_iter().filter(|field| *field != TextField::Source);
            let texts = texts.filter_map(|field| Some((field.column().to_owned(), event.get(field)?.into())));
            let mut columns: Map<String, Value> = texts.collect();
            if let Some(properties) = event.get(TextField::Properties) {
                columns.insert("properties".to_owned(), serde_json::from_str(properties).unwrap());
            }
            if event.occurred_at_us != now().timestamp_micros() {
                let at = DateTime::from_timestamp_micros(event.occurred_at_us).unwrap();
                columns.insert("at".to_owned(), at.to_rfc3339_opts(SecondsFormat::AutoSi, true).into());
            }
            if let Some(revenue_e4) = event.revenue_e4 {
                columns.insert("revenue_e4".to_owned(), revenue_e4.into());
            }
            Value::Object(columns)
        }
    }
}

fn read_all(endpoint: Endpoint, body: &str) -> Result<Vec<Value>, ReceiveError> {
    let anew = OnceCell::new();
    Ok(checked(endpoint, body, false, &anew)?.into_iter().map(shown).collect())
}

fn checked<'a>(
    endpoint: Endpoint,
    body: &'a str,
    global_privacy_control: bool,
    anew: &'a OnceCell<String>,
) -> Result<Vec<Checked<'a>>, ReceiveError> {
    let tenant = Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live };
    let (limits, enricher, erased, mut entropy) = (limits(), Enricher::default(), Erasures::default(), || [0; 10]);
    let mut context = RequestContext {
        tenant,
        received_at: now(),
        arrived_at: now(),
        mask_ip: true,
        device: Some(("203.0.113.77".parse().unwrap(), Some("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"))),
        global_privacy_control,
        idempotency_key: Some("k"),
        limits: &limits,
        enricher: &enricher,
        erased: &erased,
        entropy: &mut entropy,
    };
    read(endpoint, body.as_bytes(), anew, &mut context)
}

/// Checks the one event of a body; the columns of the device are left out.
fn check(endpoint: Endpoint, body: Value, mut expected: Value) {
    let mut found = read_all(endpoint, &body.to_string()).unwrap_or_else(|error| panic!("{body}: {error}"));
    assert_eq!(found.len(), 1, "{body}");
    if let (Some(found), Some(expected)) = (found[0].as_object_mut(), expected.as_object_mut()) {
        for device in ["ip", "user_agent", "browser", "os", "device_type"] {
            if !expected.contains_key(device) {
                found.remove(device);
            }
        }
    }
    assert_eq!(found[0], expected, "{body}");
}

const TRACK: Endpoint = Endpoint::Segment(SegmentCall::One(MessageType::Track));

#[test]
fn segment_messages_become_events() {
    check(
        TRACK,
        json!({
            "type": "track", "messageId": "m1", "anonymousId": "a1", "userId": "u1", "event": "Order Completed",
            "properties": {"revenue": 99.99, "currency": "EUR", "plan": "pro"},
            "context": {
                "ip": "198.51.100.7", "userAgent": "Mozilla/5.0", "locale": "en-US", "library": {"name": "x"},
                "page": {"url": "https://a.example/x?q=1", "referrer": "https://t.co/", "title": "X", "path": "/x",
                         "search": "?q=1"},
                "campaign": {"source": "news", "name": "spring", "id": "7"},
                "app": {"version": "1"},
            },
            "integrations": {"All": true}, "writeKey": "secret", "channel": "web",
        }),
        json!({
            "event_id": "m1", "event_type": "Order Completed", "visitor_id": "a1", "user_id": "u1",
            "ip": "198.51.100.0", "user_agent": "Mozilla/5.0", "revenue_e4": 999_900, "currency": "EUR",
            "url": "https://a.example/x?q=1", "host": "a.example", "path": "/x", "title": "X",
            "referrer": "https://t.co/", "referrer_host": "t.co", "utm_source": "news", "utm_campaign": "spring",
            "properties": {"plan": "pro", "context_channel": "web", "context_locale": "en-US",
                           "context_library": {"name": "x"}, "context_campaign_id": "7",
                           "context_app": {"version": "1"}},
        }),
    );
    check(
        Endpoint::Segment(SegmentCall::One(MessageType::Page)),
        json!({"messageId": "m", "anonymousId": "a", "name": "Home", "category": null,
               "properties": {"name": "Home", "url": "https://a.example/?utm_source=y"}}),
        json!({"event_id": "m", "event_type": "page_view", "visitor_id": "a", "url": "https://a.example/?utm_source=y",
               "host": "a.example", "path": "/", "utm_source": "y", "properties": {"name": "Home"}}),
    );
    for (kind, event_type) in
        [("screen", "screen_view"), ("identify", "$identify"), ("group", "$group"), ("alias", "$alias")]
    {
        check(
            TRACK,
            json!({"type": kind, "messageId": "m", "userId": 7, "traits": {"a": 1}, "groupId": "g", "previousId": "p"}),
            json!({"event_id": "m", "event_type": event_type, "user_id": "7",
                   "properties": {"traits": {"a": 1}, "group_id": "g", "previous_id": "p"}}),
        );
    }
}

#[test]
fn what_the_traits_of_rudderstack_are_in() {
    check(
        TRACK,
        json!({"type": "identify", "messageId": "m", "userId": "u", "anonymousId": "a",
               "context": {"traits": {"a": 1}, "sessionId": 17}}),
        json!({"event_id": "m", "event_type": "$identify", "user_id": "u", "visitor_id": "a", "session_id": "17",
               "properties": {"traits": {"a": 1}}}),
    );
}

#[test]
fn the_time_is_put_right_by_the_time_of_sending() {
    let at = |fields: Value, expected: Option<&str>| {
        let mut message = json!({"event": "x", "messageId": "m", "anonymousId": "a"});
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let mut event = json!({"event_id": "m", "event_type": "x", "visitor_id": "a"});
        if let Some(expected) = expected {
            event["at"] = expected.into();
        }
        check(TRACK, message, event);
    };
    at(json!({"timestamp": "2025-12-31T23:00:00.5Z"}), Some("2025-12-31T23:00:00.500Z"));
    // The client's clock is an hour ahead.
    let ahead = json!({"timestamp": "2026-01-01T00:59:00Z", "sentAt": "2026-01-01T01:00:00Z"});
    at(ahead, Some("2025-12-31T23:59:00Z"));
    let both = json!({"originalTimestamp": "2026-01-01T00:59:00Z", "timestamp": "2020-01-01T01:00:00Z",
                      "sentAt": "2026-01-01T01:00:00Z"});
    at(both, Some("2020-01-01T00:00:00Z"));
    let original = json!({"originalTimestamp": "2026-01-01T00:59:00Z", "sentAt": "2026-01-01T01:00:00Z"});
    at(original, Some("2025-12-31T23:59:00Z"));
    // Years ahead: without its time of sending this would be refused.
    let years = json!({"timestamp": "2031-01-01T00:00:00Z", "sentAt": "2031-01-01T00:00:10Z"});
    at(years, Some("2025-12-31T23:59:50Z"));
    at(json!({"timestamp": null, "sentAt": "2031-01-01T00:00:10Z"}), None);
    at(json!({"timestamp": "2025-01-01T00:00:00Z", "sentAt": "nonsense"}), Some("2025-01-01T00:00:00Z"));
}

#[test]
fn a_message_that_was_received_before_keeps_its_time() {
    check(
        TRACK,
        json!({"event": "x", "messageId": "m", "anonymousId": "a", "timestamp": "2025-06-01T00:00:00Z",
               "originalTimestamp": "2025-06-01T01:00:00Z", "sentAt": "2025-06-01T01:00:01Z",
               "receivedAt": "2025-06-01T00:00:01Z"}),
        json!({"event_id": "m", "event_type": "x", "visitor_id": "a", "at": "2025-06-01T00:00:00Z",
               "properties": {"receivedAt": "2025-06-01T00:00:01Z"}}),
    );
}

#[test]
fn a_batch_is_judged_message_by_message() {
    let batch = |body: Value| read_all(Endpoint::Segment(SegmentCall::Batch), &body.to_string());
    let found = batch(json!({
        "sentAt": "2026-01-01T01:00:00Z",
        "context": {"locale": "de"},
        "batch": [
            {"type": "track", "event": "x", "messageId": "m", "anonymousId": "a", "timestamp": "2026-01-01T00:30:00Z",
             "context": {"ip": "198.51.100.7", "userAgent": "y"}},
            {"type": "jump", "messageId": "n"},
            {"event": "x"},
        ],
    }));
    let first = json!({"event_id": "m", "event_type": "x", "visitor_id": "a", "at": "2025-12-31T23:30:00Z",
                       "ip": "198.51.100.0", "user_agent": "y", "browser": "Other", "os": "Other",
                       "device_type": "other"});
    let expected = [first, json!(["/type unknown_value"]), json!(["/type field_missing"])];
    assert_eq!(found.unwrap(), expected);
    let found = batch(json!({"batch": [{"type": "track", "userId": {}, "messageId": 7.5}, 7]}));
    let expected = [json!(["/event event_type_missing", "/userId wrong_type"]), json!([" wrong_type"])];
    assert_eq!(found.unwrap(), expected);
    for (body, expected) in [
        (json!({"batch": 7}), "`batch` must be one array"),
        (json!({}), "`batch` is required"),
        (json!([]), "the body must be an object"),
        (json!({"batch": [1, 2, 3, 4]}), "may carry 3 events"),
    ] {
        let error = batch(body).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn posthogs_events_become_events() {
    check(
        Endpoint::PostHog,
        json!({
            "api_key": "pk", "event": "$pageview", "uuid": "e1", "distinct_id": "d1", "timestamp": "2025-12-31T23:00:00Z",
            "properties": {"$current_url": "https://a.example/?utm_source=y", "$referrer": "$direct", "token": "pk",
                           "$device_id": "d1", "$session_id": "s1", "$ip": "198.51.100.7", "$lib": "web",
                           "$raw_user_agent": "Mozilla/5.0", "$title": "A"},
        }),
        json!({
            "event_id": "e1", "event_type": "page_view", "visitor_id": "d1", "session_id": "s1",
            "at": "2025-12-31T23:00:00Z", "url": "https://a.example/?utm_source=y", "host": "a.example", "path": "/",
            "utm_source": "y", "title": "A", "ip": "198.51.100.0", "user_agent": "Mozilla/5.0",
            "properties": {"$lib": "web"},
        }),
    );
    let ids = |event: &str, fields: Value, expected: Value| {
        let mut sent = json!({"event": event, "uuid": "e"});
        sent.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let mut event = json!({"event_id": "e"});
        event.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
        check(Endpoint::PostHog, json!([sent]), event);
    };
    ids(
        "bought",
        json!({"distinct_id": "u1", "properties": {"$device_id": "d1"}}),
        json!({"event_type": "bought", "user_id": "u1", "visitor_id": "d1"}),
    );
    ids(
        "bought",
        json!({"distinct_id": "a1", "properties": {"$is_identified": false}}),
        json!({"event_type": "bought", "visitor_id": "a1", "properties": {"$is_identified": false}}),
    );
    ids(
        "$identify",
        json!({"distinct_id": "u1", "properties": {"$anon_distinct_id": "a1", "$set": {"plan": "pro"}}}),
        json!({"event_type": "$identify", "user_id": "u1", "visitor_id": "a1", "properties": {"$set": {"plan": "pro"}}}),
    );
    ids(
        "$autocapture",
        json!({"properties": {"distinct_id": "a", "$device_id": "a"}, "offset": 1500}),
        json!({"event_type": "autocapture", "visitor_id": "a", "at": "2025-12-31T23:59:58.500Z"}),
    );
    let visitor = fingerprint("203.0.113.0".parse().unwrap(), "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0");
    ids(
        "bought",
        json!({"distinct_id": "$posthog_cookieless", "properties": {"$device_id": null}}),
        json!({"event_type": "bought", "visitor_id": visitor}),
    );
    ids("$pageleave", json!({"distinct_id": "u"}), json!({"event_type": "$page_leave", "user_id": "u"}));
    check(
        Endpoint::PostHog,
        json!({"batch": [{"event": "$create_alias", "uuid": "e", "distinct_id": "u1",
                          "properties": {"distinct_id": "u1", "alias": "u2", "$device_id": "d"}}]}),
        json!({"event_type": "$alias", "event_id": "e", "user_id": "u1", "visitor_id": "d",
               "properties": {"previous_id": "u2"}}),
    );
    check(
        Endpoint::PostHog,
        json!({"event": "x", "uuid": "e", "distinct_id": "u", "properties": 7}),
        json!(["/properties wrong_type"]),
    );
    check(
        Endpoint::PostHog,
        json!({"event": "x", "distinct_id": "u", "uuid": "e", "offset": 86_400_000_000_000_i64}),
        json!(["/offset timestamp_too_old"]),
    );
}

#[test]
fn posthogs_bodies_are_unpacked() {
    use std::io::Write as _;

    use base64::Engine as _;

    let json = br#"{"event":"a+b?"}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(json).unwrap();
    let base64 = base64::engine::general_purpose::STANDARD.encode(json);
    let escaped: String = url::form_urlencoded::byte_serialize(base64.as_bytes()).collect();
    let check = |body: &[u8], expected: &[u8]| {
        assert_eq!(Endpoint::PostHog.unpack(body.to_vec().into(), 1_000).unwrap(), expected);
    };
    check(json, json);
    check(&gzip.finish().unwrap(), json);
    check(format!("data={escaped}&compression=base64").as_bytes(), json);
    check(b"data=%7B%7D", b"{}");
    check(b"nothing=known", b"nothing=known");
    assert!(Endpoint::PostHog.unpack(b"data=%21".as_slice().into(), 1_000).is_err());
    let bomb = vec![b' '; 10_000];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&bomb).unwrap();
    assert!(Endpoint::PostHog.unpack(gzip.finish().unwrap().into(), 1_000).is_err());
}

#[test]
fn small_events_become_events_of_whoever_is_at_the_device() {
    let visitor = fingerprint("203.0.113.0".parse().unwrap(), "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0");
    check(
        Endpoint::Plausible,
        json!({"n": "pageview", "u": "https://a.example/x", "d": "a.example", "$": {"amount": "5", "currency": "EUR"}}),
        json!({"event_id": "k_0", "event_type": "page_view", "visitor_id": visitor, "url": "https://a.example/x",
               "host": "a.example", "path": "/x", "revenue_e4": 50_000, "currency": "EUR",
               "properties": {"domain": "a.example"}}),
    );
    check(Endpoint::Plausible, json!({"u": "https://a.example/"}), json!(["/event_type event_type_missing"]));
    check(
        Endpoint::Umami,
        json!({"type": "event", "payload": {"website": "pk", "hostname": "a.example", "url": "/x", "name": "buy",
               "data": {"revenue": 5}}}),
        json!({"event_id": "k_0", "event_type": "buy", "visitor_id": visitor, "url": "https://a.example/x",
               "host": "a.example", "path": "/x", "revenue_e4": 50_000}),
    );
    check(Endpoint::Umami, json!({"type": "event", "payload": {"name": 7}}), json!(["/event_type wrong_type"]));
}

#[test]
fn of_two_campaigns_the_one_in_the_query_counts_alone() {
    let event = |properties: Value, expected: Value| {
        let mut given = json!({"url": "https://a.example/?utm_source=google"});
        given.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        let mut columns = json!({"event_id": "e", "event_type": "x", "visitor_id": "v", "host": "a.example", "path": "/",
                                 "url": "https://a.example/?utm_source=google", "utm_source": "google"});
        columns.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
        let body = json!({"events": [{"event_id": "e", "event_type": "x", "visitor_id": "v", "properties": given}]});
        check(Endpoint::Events, body, columns);
    };
    let other = json!({"utm_source": "news", "utm_medium": "email"});
    event(other.clone(), json!({"properties": other}));
    event(json!({"utm_source": "google", "utm_medium": "cpc"}), json!({"utm_medium": "cpc"}));
    event(json!({"utm_medium": "cpc"}), json!({"utm_medium": "cpc"}));
    // An empty one names none.
    event(
        json!({"utm_source": " ", "utm_medium": "cpc"}),
        json!({"utm_medium": "cpc", "properties": {"utm_source": " "}}),
    );
}

#[test]
fn a_name_that_is_taken_loses_nothing() {
    let visitor = fingerprint("203.0.113.0".parse().unwrap(), "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0");
    check(
        Endpoint::Plausible,
        json!({"n": "Outbound Link: Click", "u": "https://a.example/", "p": {"url": "https://b.example/"}, "$": 7}),
        json!({"event_id": "k_0", "event_type": "Outbound Link: Click", "visitor_id": visitor,
               "url": "https://a.example/", "host": "a.example", "path": "/", "revenue_e4": 70_000,
               "properties": {"props_url": "https://b.example/"}}),
    );
    check(
        Endpoint::Umami,
        json!({"payload": {"name": "out", "url": "https://a.example/", "data": {"url": "https://b.example/"}}}),
        json!({"event_id": "k_0", "event_type": "out", "visitor_id": visitor, "url": "https://a.example/",
               "host": "a.example", "path": "/", "properties": {"data_url": "https://b.example/"}}),
    );
    for (props, beside) in [(true, false), (false, true)] {
        let body = json!({"n": "x", "consent": {"analytics": beside}, "p": {"consent": {"analytics": props}}});
        check(Endpoint::Plausible, body, json!([" consent_missing"]));
    }
}

#[test]
fn what_may_not_be_kept_is_not_kept_for_another_reason() {
    for (endpoint, body) in [
        (TRACK, json!({"type": "merge", "userId": "u", "consent": {"analytics": false}})),
        (
            TRACK,
            json!({"type": "x", "userId": "u", "context": {"consent": {"categoryPreferences": {"analytics": false}}}}),
        ),
        (Endpoint::Identify, json!({"properties": {"consent": {"analytics": false}}})),
        (Endpoint::Session, json!({"session": {"properties": {"consent": {"analytics": false}}}})),
    ] {
        check(endpoint, body, json!([" consent_missing"]));
    }
}

#[test]
fn with_what_is_refused_is_kept_what_stood_beside_it() {
    let kept = |endpoint: Endpoint, body: Value, privacy_control: bool| -> Vec<Value> {
        let (body, anew) = (body.to_string(), OnceCell::new());
        let items = checked(endpoint, &body, privacy_control, &anew).unwrap();
        let raw = |item| match item {
            Checked::Refused(refusal) => serde_json::from_str(&refusal.raw).unwrap(),
            Checked::Accepted { event, .. } => panic!("{event:?}"),
        };
        items.into_iter().map(raw).collect()
    };
    let agent = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0";
    let limited = json!({"advertising": false});
    let native = json!({"events": [{"timestamp": "never"}]});
    assert_eq!(
        kept(Endpoint::Events, native.clone(), false),
        [json!({"timestamp": "never", "ip": "203.0.113.0", "user_agent": agent})]
    );
    assert_eq!(
        kept(Endpoint::Events, native, true),
        [json!({"timestamp": "never", "user_agent": agent, "consent": limited})]
    );
    assert_eq!(
        kept(Endpoint::Plausible, json!({"d": "a.example"}), false),
        [json!({"d": "a.example", "ip": "203.0.113.0", "user_agent": agent})]
    );
    let batch = json!({"sentAt": "2026-01-01T00:00:00Z", "context": {"ip": "203.0.113.7"},
                       "batch": [{"userId": "u"}, {"userId": "u", "sentAt": "2026-01-02T00:00:00Z"}]});
    assert_eq!(
        kept(Endpoint::Segment(SegmentCall::Batch), batch, true),
        [
            json!({"userId": "u", "sentAt": "2026-01-01T00:00:00Z", "context": {"ip": "203.0.113.7"}, "consent": limited}),
            json!({"userId": "u", "sentAt": "2026-01-02T00:00:00Z", "context": {"ip": "203.0.113.7"}, "consent": limited}),
        ]
    );
    assert_eq!(
        kept(Endpoint::PostHog, json!({"sent_at": "2026-01-01T00:00:00Z", "batch": [{"distinct_id": "u"}]}), false),
        [json!({"distinct_id": "u", "sent_at": "2026-01-01T00:00:00Z"})]
    );
}

#[test]
fn numbers_of_members_cost_no_more_than_their_size() {
    // Quadratic work on these would be noticed.
    let members = |count: usize, prefix: &str| -> String {
        (0..count).map(|n| format!("\"{prefix}{n}\":{n},")).collect::<String>()
    };
    let (outer, inner) = (members(100_000, "a"), members(100_000, "b"));
    let (outer, inner) = (format!("{{{outer}\"x\":1}}"), format!("{{{inner}\"x\":1}}"));
    let mut members: Members<'_> = serde_json::from_str(&inner).unwrap();
    let others: Members<'_> = serde_json::from_str(&outer).unwrap();
    members.add_all(others.0);
    assert_eq!(members.0.len(), 200_001);
}

#[test]
fn a_key_is_not_kept_with_what_is_refused() {
    for (body, key, expected) in [
        (r#"{"writeKey":"pk_1","a":"pk_1"}"#, "pk_1", r#"{"writeKey":"xxxx","a":"xxxx"}"#),
        (r#"{"writeKey":"pk_1"}"#, "pk_2", r#"{"writeKey":"pk_1"}"#),
        ("{}", "", "{}"),
    ] {
        assert_eq!(without_key(body.into(), key), expected, "{body}");
    }
}

#[test]
fn a_body_presents_its_key_where_its_dialect_has_it() {
    let key = |text: &str| Some(Credential::Key(text.to_owned()));
    // No stack is deep enough to follow it.
    let nested = "{\"batch\":[".repeat(200_000) + &"]}".repeat(200_000);
    for (endpoint, body, expected) in [
        (Endpoint::Events, r#"{"writeKey":"k"}"#, None),
        (TRACK, r#"{"writeKey":"k"}"#, key("k")),
        (TRACK, r#"{"writeKey":7}"#, None),
        (Endpoint::PostHog, r#"{"api_key":"k"}"#, key("k")),
        (Endpoint::PostHog, r#"{"token":"k","batch":[]}"#, key("k")),
        (Endpoint::PostHog, r#"[{"properties":{"token":"k"}}]"#, key("k")),
        (Endpoint::PostHog, r#"{"batch":[{"properties":{"token":"k"}}]}"#, key("k")),
        (Endpoint::PostHog, "[]", None),
        (Endpoint::PostHog, &nested, None),
        (Endpoint::Umami, r#"{"payload":{"website":"k"}}"#, key("k")),
        (Endpoint::Umami, "nonsense", None),
        (Endpoint::Plausible, r#"{"d":"a.example"}"#, Some(Credential::Domain("a.example".to_owned()))),
    ] {
        assert_eq!(endpoint.credential(body.as_bytes()), expected, "{body}");
    }
}
