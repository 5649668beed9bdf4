//! Which events explain that two profiles count different sessions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use touchline_ingest::record::decode;
use touchline_pipeline::reports::TimeRange;
use touchline_pipeline::sessions::SessionRules;
use touchline_pipeline::sessions::compare::{Comparison, Does, Reason, compare};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::TextField;
use touchline_schemas::{AccountId, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::logged::request;
use uuid::Uuid;

/// Visitor, time, and what else is said of a page view, named by its place: `e0`, `e1`, …
type View = (&'static str, &'static str, &'static [(TextField, &'static str)]);

const VIEWS: [View; 9] = [
    ("anna", "2026-03-02T22:50:00Z", &[(TextField::SessionId, "s1"), (TextField::UtmCampaign, "spring")]),
    ("anna", "2026-03-02T22:55:00Z", &[(TextField::SessionId, "s1"), (TextField::UtmCampaign, "summer")]),
    // Midnight in Berlin.
    ("anna", "2026-03-02T23:05:00Z", &[(TextField::SessionId, "s1")]),
    // A pause of 31 minutes.
    ("anna", "2026-03-02T23:36:00Z", &[(TextField::SessionId, "s1")]),
    // Two tabs.
    ("ben", "2026-03-02T10:00:00Z", &[(TextField::SessionId, "t1")]),
    ("ben", "2026-03-02T10:01:00Z", &[(TextField::SessionId, "t2")]),
    ("ben", "2026-03-02T10:02:00Z", &[(TextField::SessionId, "t1")]),
    // Nothing to differ about.
    ("cleo", "2026-03-02T10:00:00Z", &[]),
    ("cleo", "2026-03-02T10:05:00Z", &[]),
];

fn tenant(account: u128) -> Tenant {
    Tenant { account_id: AccountId(Uuid::from_u128(account)), environment: Environment::Live }
}

async fn compared(profiles: [&str; 2], range: TimeRange, limit: usize) -> Comparison {
    let clock = Arc::new(MockClock::at("2026-03-05T00:00:00Z".parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let mut installation = Installation::open(folder.path(), clock, 2).await.unwrap();
    let mut payloads = Vec::new();
    for (place, (visitor, at, more)) in VIEWS.iter().enumerate() {
        let id = format!("e{place}");
        let mut texts = vec![(TextField::EventId, id.as_str()), (TextField::EventType, "page_view")];
        texts.push((TextField::VisitorId, visitor));
        texts.extend_from_slice(more);
        payloads.push(request(tenant(1), at.parse::<DateTime<Utc>>().unwrap().timestamp_micros(), &texts));
    }
    payloads.push(request(tenant(2), 0, &[(TextField::EventId, "theirs"), (TextField::VisitorId, "anna")]));
    let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
    installation.writer.store(1, &requests).await.unwrap();
    let account = AccountSettings { time_zone: Some("Europe/Berlin".to_owned()), ..AccountSettings::default() };
    let rules = profiles.map(|name| SessionRules::of_profile(name, &account, Duration::minutes(30)).unwrap());
    compare(&installation.engine, tenant(1), rules, &[], range, limit).await.unwrap()
}

/// Events and their reasons, with the event that they continue on either side.
fn explained(found: &Comparison) -> Vec<(String, Reason, [Option<String>; 2])> {
    let rows = found.rows.iter().map(|row| {
        let continues = row.does.clone().map(|does| match does {
            Does::Begins => None,
            Does::Continues(id) => Some(id),
        });
        (row.event_id.clone(), row.reason, continues)
    });
    rows.collect()
}

async fn check(profiles: [&str; 2], sessions: [u64; 2], expected: &[(&str, Reason, [Option<&str>; 2])]) {
    let found = compared(profiles, TimeRange::default(), 100).await;
    assert_eq!(found.events, VIEWS.len() as u64);
    assert_eq!(found.sessions, sessions, "{profiles:?}");
    let expected: Vec<_> = expected
        .iter()
        .map(|(id, reason, continues)| ((*id).to_owned(), *reason, continues.map(|id| id.map(str::to_owned))))
        .collect();
    assert_eq!(explained(&found), expected, "{profiles:?}");
    assert_eq!(found.differing, expected.len() as u64);
    assert_eq!(found.reasons.values().sum::<u64>(), found.differing);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_explains_its_own_events() {
    let (campaign, midnight, pause, client) =
        (Reason::Campaign, Reason::Midnight, Reason::Pause, Reason::ClientSession);
    check(
        ["touchline", "matomo"],
        [4, 6],
        &[("e1", campaign, [Some("e0"), None]), ("e2", midnight, [Some("e1"), None])],
    )
    .await;
    check(
        ["client", "touchline"],
        [4, 4],
        &[
            ("e5", client, [None, Some("e4")]),
            ("e6", client, [Some("e4"), Some("e5")]),
            ("e3", pause, [Some("e2"), None]),
        ],
    )
    .await;
    check(["touchline", "plausible"], [4, 4], &[]).await;
    check(["client", "ga4"], [4, 4], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_as_short_as_asked_for_and_the_counts_are_not() {
    let found = compared(["client", "matomo"], TimeRange::default(), 2).await;
    assert_eq!(found.differing, 5);
    let ids: Vec<_> = found.rows.iter().map(|row| row.event_id.as_str()).collect();
    assert_eq!(ids, ["e5", "e6"]);
    let pause = compared(["ga4", "touchline"], TimeRange::default(), 9).await.rows.pop().unwrap().pause;
    assert_eq!(pause, Some(Duration::minutes(31)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_events_of_the_range_are_compared() {
    let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
    let range = TimeRange { from: at("2026-03-02T22:55:00Z"), to: at("2026-03-02T23:36:00Z") };
    let found = compared(["touchline", "matomo"], range, 9).await;
    assert_eq!((found.events, found.sessions, found.differing), (2, [1, 2], 1));
}
