//! Funnel, retention and paths over a lake, for a handful of visits whose answers can be worked out by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use touchline_ingest::record::{Event, decode};
use touchline_pipeline::Answer;
use touchline_pipeline::reports::{TimeRange, funnel, paths, retention};
use touchline_schemas::MockClock;
use touchline_schemas::event::TextField;
use touchline_tests::installation::Installation;
use touchline_tests::logged::{self, tenant};
use touchline_tests::rows::texts;

/// Who, when, what, and on which page. `bot` is one; who begins with `@` has only a user id.
const EVENTS: [(&str, &str, &str, &str); 19] = [
    // Came in February already, so belongs to no cohort of March.
    ("old", "2026-02-20T10:00:00Z", "page_view", "/"),
    ("old", "2026-03-03T10:00:00Z", "page_view", "/lamps"),
    ("ann", "2026-03-02T10:00:00Z", "page_view", "/"),
    ("ann", "2026-03-02T10:01:00Z", "page_view", "/lamps"),
    ("ann", "2026-03-02T10:02:00Z", "page_view", "/lamps"),
    ("ann", "2026-03-02T10:03:00Z", "add_to_cart", "/lamps"),
    ("ann", "2026-03-02T10:04:00Z", "page_view", "/cart"),
    ("ann", "2026-03-04T09:00:00Z", "purchase", "/cart"),
    // Put something into the cart without having looked at lamps before.
    ("bob", "2026-03-02T11:00:00Z", "page_view", "/"),
    ("bob", "2026-03-02T11:00:00Z", "add_to_cart", "/"),
    ("bob", "2026-03-02T11:05:00Z", "page_view", "/lamps"),
    ("bob", "2026-03-10T11:05:00Z", "page_view", "/"),
    ("@cleo", "2026-03-09T23:45:00Z", "page_view", "/lamps"),
    // Past midnight, and past the end of the range that begins with the first.
    ("@cleo", "2026-03-10T00:10:00Z", "add_to_cart", "/lamps"),
    ("@cleo", "2026-03-10T00:20:00Z", "page_view", "/cart"),
    ("bot", "2026-03-02T10:00:00Z", "page_view", "/lamps"),
    ("bot", "2026-03-02T10:00:01Z", "add_to_cart", "/lamps"),
    ("bot", "2026-03-03T10:00:01Z", "page_view", "/"),
    // Nobody's.
    ("", "2026-03-02T10:00:00Z", "page_view", "/lamps"),
];

fn payload(number: usize, (who, at, event_type, path): (&str, &str, &str, &str)) -> Vec<u8> {
    let at_us = at.parse::<DateTime<Utc>>().unwrap().timestamp_micros();
    let mut event = Event::at(at_us);
    event.is_bot = who == "bot";
    event.set(TextField::EventId, format!("event-{number:02}"));
    event.set(TextField::EventType, event_type.to_owned());
    event.set(TextField::Path, path.to_owned());
    match who.strip_prefix('@') {
        Some(user) => event.set(TextField::UserId, user.to_owned()),
        None if who.is_empty() => {}
        None => event.set(TextField::VisitorId, who.to_owned()),
    }
    logged::of(tenant(), at_us, [event])
}

async fn visited() -> (tempfile::TempDir, Installation) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(MockClock::at("2026-03-20T00:00:00Z".parse().unwrap()));
    let mut installation = Installation::open(folder.path(), clock, 2).await.unwrap();
    let payloads: Vec<_> = EVENTS.into_iter().enumerate().map(|(number, event)| payload(number, event)).collect();
    // The later half arrives first.
    for (number, half) in [&payloads[9..], &payloads[..9]].into_iter().enumerate() {
        let requests: Vec<_> = half.iter().map(|payload| decode(payload).unwrap()).collect();
        installation.writer.store(number as i64 + 1, &requests).await.unwrap();
    }
    installation.run_jobs(false).await.unwrap();
    (folder, installation)
}

fn range(from: &str, to: &str) -> TimeRange {
    TimeRange { from: from.parse().ok(), to: to.parse().ok() }
}

fn march() -> TimeRange {
    range("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
}

async fn lines(answer: Answer) -> Vec<String> {
    texts(&answer.batches.try_collect::<Vec<_>>().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_funnel_follows_each_visitor() {
    let (_folder, installation) = visited().await;
    let ask = async |steps: &str, window: &str, range| {
        let params = funnel::Params { range, steps: steps.to_owned(), window: window.to_owned(), by: None };
        lines(funnel::query(&installation.engine, tenant(), &params).await.unwrap()).await
    };
    // ann, bob, cleo and old saw lamps; ann put some into the cart 2 min after she saw them first, cleo 25 min.
    let steps = "page_view:/lamps,add_to_cart,purchase";
    assert_eq!(
        ask(steps, "7d", march()).await,
        [
            "step=1 event=page_view:/lamps visitors=4 from_first=1.0 from_previous=∅ median_s=∅ p90_s=∅",
            "step=2 event=add_to_cart visitors=2 from_first=0.5 from_previous=0.5 median_s=810.0 p90_s=1362.0",
            "step=3 event=purchase visitors=1 from_first=0.25 from_previous=0.5 median_s=169020.0 p90_s=169020.0",
        ]
    );
    // ann bought two days later.
    let reached =
        |rows: Vec<String>| rows.iter().map(|row| row.split(' ').nth(2).unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(reached(ask(steps, "1d", march()).await), ["visitors=4", "visitors=2", "visitors=0"]);
    assert_eq!(reached(ask(steps, "20m", march()).await), ["visitors=4", "visitors=1", "visitors=0"]);
    // cleo began on the 9th, and goes on after the range.
    let ninth = range("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z");
    assert_eq!(reached(ask(steps, "7d", ninth).await), ["visitors=1", "visitors=1", "visitors=0"]);
    // bob's two events of one instant are in the order of their ids.
    assert_eq!(reached(ask("page_view:/,add_to_cart", "1s", march()).await), ["visitors=2", "visitors=1"]);
    assert_eq!(reached(ask("add_to_cart,page_view:/", "1s", march()).await), ["visitors=3", "visitors=0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_follows_cohorts() {
    let (_folder, installation) = visited().await;
    let ask = async |interval: &str, time_zone: &str| {
        let params =
            retention::Params { range: march(), interval: interval.to_owned(), time_zone: time_zone.to_owned() };
        lines(retention::query(&installation.engine, tenant(), &params).await.unwrap()).await
    };
    assert_eq!(
        ask("week", "UTC").await,
        [
            "cohort=2026-03-02 period=0 cohort_visitors=2 visitors=2 rate=1.0",
            "cohort=2026-03-02 period=1 cohort_visitors=2 visitors=1 rate=0.5",
            "cohort=2026-03-09 period=0 cohort_visitors=1 visitors=1 rate=1.0",
        ]
    );
    let days = ask("day", "Europe/Berlin").await;
    // A quarter to midnight is the next day in Berlin.
    assert_eq!(days.last().unwrap(), "cohort=2026-03-10 period=0 cohort_visitors=1 visitors=1 rate=1.0");
    // ann came again on day 2, bob on day 8.
    let of_second = days.iter().filter(|row| row.starts_with("cohort=2026-03-02"));
    let active: Vec<_> = of_second.map(|row| row.split(' ').nth(3).unwrap()).collect();
    assert_eq!(active, ["2", "0", "1", "0", "0", "0", "0", "0", "1"].map(|count| format!("visitors={count}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_follow_sessions() {
    let (_folder, installation) = visited().await;
    let ask = async |start: Option<&str>, depth: Option<&str>, range| {
        let (start, depth) = (start.map(str::to_owned), depth.map(str::to_owned));
        let params = paths::Params { range, start, depth, limit: None };
        lines(paths::query(&installation.engine, tenant(), &params).await.unwrap()).await
    };
    // old: /lamps · ann: / /lamps /cart (reloaded once), then a session without a page · bob: / /lamps, then / · cleo: /lamps /cart
    assert_eq!(
        ask(None, None, march()).await,
        [
            "node=1 parent=∅ level=1 page=/ sessions=3 exits=1",
            "node=2 parent=∅ level=1 page=/lamps sessions=2 exits=1",
            "node=3 parent=1 level=2 page=/lamps sessions=2 exits=1",
            "node=4 parent=2 level=2 page=/cart sessions=1 exits=1",
            "node=5 parent=3 level=3 page=/cart sessions=1 exits=1",
        ]
    );
    assert_eq!(
        ask(Some("/lamps"), Some("2"), march()).await,
        [
            "node=1 parent=∅ level=1 page=/lamps sessions=4 exits=2",
            "node=2 parent=1 level=2 page=/cart sessions=2 exits=2",
        ]
    );
    // cleo's session is whole although it ends after the range, and bob's of that day has not begun in it.
    assert_eq!(
        ask(None, None, range("2026-03-09T00:00:00Z", "2026-03-10T00:00:00Z")).await,
        [
            "node=1 parent=∅ level=1 page=/lamps sessions=1 exits=0",
            "node=2 parent=1 level=2 page=/cart sessions=1 exits=1",
        ]
    );
    assert_eq!(ask(None, None, range("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z")).await, [""; 0]);
}
