//! What an event is made of besides what was sent, and what is left of one whose person does not want all of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::cell::OnceCell;
use std::net::IpAddr;
use std::path::Path;

use chrono::DateTime;
use proptest::prelude::*;
use touchline_enrich::Enricher;
use touchline_ingest::receive::{Checked, Endpoint, Limits, RequestContext, read};
use touchline_schemas::control::Erasures;
use touchline_schemas::event::TextField;
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

const DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/country/test.mmdb");
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0";
const LIMITS: Limits = Limits {
    max_body_bytes: 100_000,
    max_events_per_request: 10,
    max_event_bytes: 10_000,
    max_properties_bytes: 400,
    max_depth: 20,
    max_id_chars: 200,
    max_url_chars: 60,
    max_future_s: 0,
    min_timestamp: DateTime::UNIX_EPOCH,
};

/// How a request comes.
#[derive(Clone, Copy, Default)]
struct Way {
    /// By a publishable key from this address, with Firefox.
    device: Option<&'static str>,
    global_privacy_control: bool,
}

/// What became of one item: its texts by column, or the code and the bytes that are kept of it.
#[derive(Debug, PartialEq)]
enum Outcome {
    Stored(Vec<(&'static str, String)>),
    Refused(&'static str, String),
}

impl Outcome {
    fn get(&self, field: TextField) -> Option<&str> {
        match self {
            Self::Stored(texts) => {
                texts.iter().find(|(name, _)| *name == field.column()).map(|(_, text)| text.as_str())
            }
            Self::Refused(..) => None,
        }
    }
}

fn send(enricher: &Enricher, endpoint: Endpoint, body: &str, way: Way) -> Outcome {
    let mut entropy = || [7; 10];
    let mut context = RequestContext {
        tenant: Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live },
        received_at: "2026-02-01T00:00:00Z".parse().unwrap(),
        arrived_at: "2026-02-01T00:00:00Z".parse().unwrap(),
        mask_ip: true,
        device: way.device.map(|address| (address.parse::<IpAddr>().unwrap(), Some(FIREFOX))),
        global_privacy_control: way.global_privacy_control,
        idempotency_key: None,
        limits: &LIMITS,
        enricher,
        erased: &Erasures::default(),
        entropy: &mut entropy,
    };
    let anew = OnceCell::new();
    match read(endpoint, body.as_bytes(), &anew, &mut context).unwrap().remove(0) {
        Checked::Accepted { event, .. } => {
            let texts = TextField::ALL.into_iter().filter_map(|field| Some((field.column(), event.get(field)?.into())));
            Outcome::Stored(texts.collect())
        }
        Checked::Refused(refusal) => {
            assert_eq!((refusal.event_id, refusal.event_type), (None, None));
            Outcome::Refused(refusal.errors[0].code, refusal.raw.into_owned())
        }
    }
}

fn enricher() -> Enricher {
    Enricher::open(Some(Path::new(DATABASE))).unwrap()
}

fn event(event: &str, way: Way) -> Outcome {
    send(&enricher(), Endpoint::Events, &format!(r#"{{"events":[{event}]}}"#), way)
}

#[test]
fn browser_and_country_are_looked_up_by_what_is_not_stored_whole() {
    let device = Way { device: Some("198.51.100.77"), ..Way::default() };
    let stored = event(r#"{"event_type":"page_view"}"#, device);
    for (field, expected) in [
        (TextField::Browser, "Firefox"),
        (TextField::Os, "Linux"),
        (TextField::DeviceType, "desktop"),
        // The masked address stands for two countries.
        (TextField::Country, "AT"),
        (TextField::Ip, "198.51.100.0"),
    ] {
        assert_eq!(stored.get(field), Some(expected), "{}", field.column());
    }
    let stored = event(r#"{"event_type":"page_view","user_id":"u"}"#, Way::default());
    for field in [TextField::Browser, TextField::Os, TextField::DeviceType, TextField::Country] {
        assert_eq!(stored.get(field), None, "{}", field.column());
    }
}

#[test]
fn pages_have_one_path() {
    let sent = "https://a.example//%61/;jsessionid=7?x=1";
    let stored = event(&format!(r#"{{"event_type":"page_view","user_id":"u","url":"{sent}"}}"#), Way::default());
    assert_eq!((stored.get(TextField::Path), stored.get(TextField::Url)), (Some("/a"), Some(sent)));
}

#[test]
fn without_consent_nothing_is_kept() {
    let refused = Outcome::Refused("consent_missing", String::new());
    let long = "x".repeat(500);
    for body in [
        r#"{"event_type":"purchase","event_id":"e","user_id":"u","consent":{"analytics":false}}"#,
        r#"{"event_type":"purchase","user_id":"u","properties":{"consent":{"analytics":"no"}}}"#,
        // Whatever else is wrong with it.
        r#"{"event_type":"$unknown","timestamp":"yesterday","consent":{"analytics":false}}"#,
        &format!(r#"{{"event_type":"a","user_id":"u","properties":{{"x":"{long}","consent":{{"analytics":false}}}}}}"#),
    ] {
        assert_eq!(event(body, Way::default()), refused, "{body}");
    }
    for (endpoint, body) in [
        (Endpoint::Identify, r#"{"visitor_id":"v","consent":{"analytics":false}}"#),
        (Endpoint::Identify, r#"{"user_id":"u","visitor_id":"v","consent":{"analytics":false}}"#),
        (Endpoint::Session, r#"{"session":{"visitor_id":"v","consent":{"analytics":false}}}"#),
        (Endpoint::Conversion, r#"{"conversion":{"conversion_type":"c","visitor_id":"v","consent":{"analytics":0}}}"#),
    ] {
        assert_eq!(send(&enricher(), endpoint, body, Way::default()), refused, "{body}");
    }
    let kept = event(r#"{"event_type":"a","user_id":"u","consent":{"analytics":true}}"#, Way::default());
    assert_eq!(kept.get(TextField::Properties), Some(r#"{"consent":{"analytics":true}}"#));
}

#[test]
fn what_is_not_for_advertising_knows_nobody_again() {
    let body = r#"{"event_type":"purchase","url":"/a/?gclid=1&utm_source=x","referrer":"https://b.example/?fbclid=2",
        "properties":{"msclkid":"3","fbp":"4","plan":"pro","revenue":5}CONSENT}"#;
    let device = Way { device: Some("203.0.113.7"), ..Way::default() };
    let all = event(&body.replace("CONSENT", ""), device);
    assert_eq!(all.get(TextField::Gclid), Some("1"));
    assert!(all.get(TextField::VisitorId).unwrap().starts_with("fp_"));

    let by_consent = event(&body.replace("CONSENT", r#","consent":{"advertising":false}"#), device);
    let by_browser = event(&body.replace("CONSENT", ""), Way { global_privacy_control: true, ..device });
    for (limited, properties) in
        [(by_consent, r#"{"plan":"pro","consent":{"advertising":false}}"#), (by_browser, r#"{"plan":"pro"}"#)]
    {
        for (field, expected) in [
            (TextField::Url, Some("/a/?utm_source=x")),
            (TextField::Path, Some("/a")),
            (TextField::Referrer, Some("https://b.example/")),
            (TextField::ReferrerHost, Some("b.example")),
            (TextField::UtmSource, Some("x")),
            (TextField::Gclid, None),
            (TextField::Msclkid, None),
            (TextField::Ip, None),
            (TextField::Country, Some("NZ")),
            (TextField::Browser, Some("Firefox")),
            (TextField::VisitorId, Some("once_07070707070707070707")),
            (TextField::Properties, Some(properties)),
        ] {
            assert_eq!(limited.get(field), expected, "{}", field.column());
        }
    }
    // Ids that a client sends itself are its own business.
    let body = r#"{"event_type":"a","visitor_id":"v","consent":{"advertising":false}}"#;
    assert_eq!(event(body, device).get(TextField::VisitorId), Some("v"));
    // An address too long for its column stays in the properties, and is cleared there too.
    let long = format!("/{}", "x".repeat(60));
    let body =
        format!(r#"{{"event_type":"a","user_id":"u","url":"{long}?gclid=1","consent":{{"advertising":false}}}}"#);
    let properties = format!(r#"{{"url":"{long}","consent":{{"advertising":false}}}}"#);
    assert_eq!(event(&body, device).get(TextField::Properties), Some(properties.as_str()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// In whatever order and place members stand: no id of a click is left anywhere, and nothing else goes.
    #[test]
    fn no_id_of_a_click_is_left_wherever_it_stands(
        order in Just(vec![
            r#""url":"/a?gclid=CLICK&b=KEPT1""#,
            r#""url":"/other#x?fbclid=CLICK&c=KEPT2""#,
            r#""referrer":"https://b.example/?d=KEPT3&TTCLID=CLICK""#,
            r#""gclid":"CLICK""#,
            r#""li_fat_id":"CLICK""#,
            r#""plan":"KEPT4""#,
        ]).prop_shuffle(),
        inside in 0..6_usize,
    ) {
        let (within, beside) = order.split_at(inside);
        let beside: String = beside.iter().map(|member| format!(",{member}")).collect();
        let within = within.join(",");
        let body = format!(
            r#"{{"event_type":"a","user_id":"u","consent":{{"advertising":false}},"properties":{{{within}}}{beside}}}"#,
        );
        let stored = event(&body, Way::default());
        let stored: String = TextField::ALL.into_iter().filter_map(|field| stored.get(field)).collect();
        prop_assert!(!stored.contains("CLICK"), "{} of {}", stored, body);
        for kept in ["KEPT1", "KEPT2", "KEPT3", "KEPT4"] {
            prop_assert!(stored.contains(kept), "{} of {}", stored, body);
        }
    }
}
