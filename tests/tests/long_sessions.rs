//! Sessions that run over many days, and events that are nobody's: an incremental run gives what a full one gives.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::sync::Arc;

use touchline_ingest::record::decode;
use touchline_schemas::MockClock;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_tests::installation::Installation;
use touchline_tests::logged::{request, tenant};
use touchline_tests::rows::rows;

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;

fn view(visitor: &str, at_us: i64) -> Vec<u8> {
    let id = format!("{visitor}-{at_us}");
    let texts = [
        (TextField::EventId, id.as_str()),
        (TextField::EventType, "page_view"),
        (TextField::VisitorId, visitor),
        (TextField::Path, "/"),
    ];
    request(tenant(), at_us, &texts)
}

async fn store(installation: &mut Installation, number: i64, payloads: &[Vec<u8>]) {
    let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
    installation.writer.store(number, &requests).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_inside_a_session_of_weeks_replace_each_day_once() {
    let begin_us = "2026-01-01T00:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros();
    let clock = Arc::new(MockClock::at("2026-03-01T00:00:00Z".parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let mut installation = Installation::open(folder.path(), clock, 2).await.unwrap();
    // A kiosk that never pauses for 25 days, and a person with a short visit on each of 30 days.
    let kiosk = (0..25 * 72).map(|step| view("kiosk", begin_us + step * 20 * MINUTE_US));
    let person = (0..30).map(|day| view("person", begin_us + day * DAY_US + 600 * MINUTE_US));
    let events: Vec<_> = kiosk.chain(person).collect();
    store(&mut installation, 1, &events).await;
    installation.run_jobs(false).await.unwrap();
    let late = [7, 19].map(|day| view("late", begin_us + day * DAY_US + 5 * MINUTE_US));
    store(&mut installation, 2, &late).await;
    installation.run_jobs(false).await.unwrap();

    let incremental = rows(&installation.engine, Table::Sessions, tenant()).await.unwrap();
    installation.run_jobs(true).await.unwrap();
    let full = rows(&installation.engine, Table::Sessions, tenant()).await.unwrap();
    assert_eq!(incremental.len(), 1 + 30 + 2);
    assert_eq!(incremental, full);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_first_event_without_a_referrer_hides_no_later_one() {
    let clock = Arc::new(MockClock::at("2026-03-01T00:00:00Z".parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let mut installation = Installation::open(folder.path(), clock, 2).await.unwrap();
    let event = |id: &str, minute: i64, site: Option<&str>| {
        let referrer = site.map(|site| format!("https://{site}/{id}"));
        let texts = [
            (TextField::EventId, Some(id)),
            (TextField::EventType, Some("page_view")),
            (TextField::VisitorId, Some("v")),
            (TextField::Host, Some("www.example.com")),
            (TextField::Referrer, referrer.as_deref()),
            (TextField::ReferrerHost, site),
        ];
        let texts: Vec<_> = texts.into_iter().filter_map(|(field, text)| Some((field, text?))).collect();
        request(tenant(), DAY_US + minute * MINUTE_US, &texts)
    };
    let mut check = async |number: i64, late: Vec<u8>, expected: &[&str]| {
        store(&mut installation, number, &[late]).await;
        installation.run_jobs(false).await.unwrap();
        for table in [Table::Sessions, Table::Visitors] {
            let incremental = rows(&installation.engine, table, tenant()).await.unwrap();
            assert_eq!(incremental.len(), 1);
            expected.iter().for_each(|cell| assert!(incremental[0].contains(cell), "{cell}: {}", incremental[0]));
        }
        let incremental = rows(&installation.engine, Table::Sessions, tenant()).await.unwrap();
        installation.run_jobs(true).await.unwrap();
        assert_eq!(incremental, rows(&installation.engine, Table::Sessions, tenant()).await.unwrap());
    };
    let google = ["channel=organic_search ", "referrer=https://www.google.com/b "];
    check(1, event("b", 20, Some("www.google.com")), &google).await;
    check(2, event("a", 10, None), &google).await;
    check(3, event("own", 5, Some("blog.example.com")), &google).await;
    check(4, event("c", 30, Some("news.example")), &google).await;
    check(5, event("z", 0, Some("news.example")), &["channel=referral ", "referrer=https://news.example/z "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_did_makes_no_session_and_own_referrers_no_channel() {
    let clock = Arc::new(MockClock::at("2026-03-01T00:00:00Z".parse().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let mut installation = Installation::open(folder.path(), clock, 2).await.unwrap();
    let nameless = request(tenant(), DAY_US, &[(TextField::EventId, "n"), (TextField::EventType, "purchase")]);
    let inside = [
        (TextField::EventId, "i"),
        (TextField::EventType, "page_view"),
        (TextField::VisitorId, "v"),
        (TextField::Host, "www.shop.example"),
        (TextField::ReferrerHost, "shop.example"),
    ];
    store(&mut installation, 1, &[nameless, request(tenant(), DAY_US, &inside)]).await;
    installation.run_jobs(false).await.unwrap();
    let sessions = rows(&installation.engine, Table::Sessions, tenant()).await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert!(sessions[0].contains("channel=direct"), "{}", sessions[0]);
}
