//! Touchpoints and credits are those of the definition, whatever the order, lateness and batching of events and however
//! often people are joined and parted (`properties`); a crash between the two tables heals; every model's report sums to
//! all conversions and their value (`scenes`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod properties;
mod scenes;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use touchline_ingest::record::{Event, decode};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::logged::{self, tenant};
use touchline_tests::rows::rows;

const TYPES: [&str; 7] = ["page_view", "page_view", "add_to_cart", "purchase", "signup", "$alias", "$unmerge"];
const SOURCES: [Option<&str>; 4] = [None, None, Some("google"), Some("newsletter")];
const HOUR_US: i64 = 3_600_000_000;

#[derive(Debug, Clone)]
struct Sent {
    id: u32,
    visitor: u8,
    user: Option<u8>,
    occurred_at_us: i64,
    event_type: usize,
    source: usize,
    is_bot: bool,
}

fn begin_us() -> i64 {
    "2026-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

fn payload(tenant: Tenant, sent: &Sent) -> Vec<u8> {
    let mut event = Event::at(sent.occurred_at_us);
    event.is_bot = sent.is_bot;
    event.set(TextField::EventId, format!("event-{:04}", sent.id));
    event.set(TextField::EventType, TYPES[sent.event_type]);
    // Some people are known by their user id only, and some conversions are nobody's.
    if sent.visitor > 0 {
        event.set(TextField::VisitorId, format!("visitor-{}", sent.visitor));
    }
    if let Some(user) = sent.user {
        event.set(TextField::UserId, format!("user-{user}"));
    }
    event.set(TextField::Path, format!("/page-{}", sent.id % 7));
    if let Some(source) = SOURCES[sent.source] {
        event.set(TextField::UtmSource, source);
    }
    if TYPES[sent.event_type] == "purchase" {
        // Refunds are negative; many amounts do not divide evenly.
        event.revenue_e4 = Some(i64::from(sent.id) * 10_007 - 100_000);
        event.set(TextField::Properties, r#"{"margin":0.1}"#);
    }
    if TYPES[sent.event_type] == "$alias" {
        event.set(TextField::Properties, format!(r#"{{"previous_id":"user-{}"}}"#, sent.source % 2));
    }
    logged::of(tenant, sent.occurred_at_us, [event])
}

async fn installation(folder: &tempfile::TempDir) -> Installation {
    let clock = Arc::new(MockClock::at("2026-05-01T00:00:00Z".parse().unwrap()));
    Installation::open(folder.path(), clock, 2).await.unwrap()
}

/// Runs some jobs of which `attribution` reads the tables.
async fn run_named(installation: &Installation, names: &[&str]) {
    for job in installation.jobs().into_iter().filter(|job| names.contains(&job.name())) {
        installation.run_job(&*job, false).await.unwrap();
    }
}

async fn store(installation: &mut Installation, number: i64, events: &[Sent]) {
    store_of(installation, tenant(), number, events).await;
}

async fn store_of(installation: &mut Installation, tenant: Tenant, number: i64, events: &[Sent]) {
    let payloads: Vec<_> = events.iter().map(|sent| payload(tenant, sent)).collect();
    let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
    installation.writer.store(number, &requests).await.unwrap();
}

async fn tables(installation: &Installation, tenant: Tenant) -> [Vec<String>; 2] {
    [
        rows(&installation.engine, Table::Touchpoints, tenant).await.unwrap(),
        rows(&installation.engine, Table::Attribution, tenant).await.unwrap(),
    ]
}

fn cell<'a>(row: &'a str, column: &str) -> &'a str {
    row.split(' ').find_map(|cell| cell.strip_prefix(column)?.strip_prefix('=')).unwrap()
}

fn units(text: &str) -> i128 {
    (text.parse::<f64>().unwrap() * 10_000.0).round() as i128
}

/// Credits of each conversion and model, and their values.
fn sums(attribution: &[String]) -> BTreeMap<(String, String), (i128, Option<i128>)> {
    let mut sums: BTreeMap<(String, String), (i128, Option<i128>)> = BTreeMap::new();
    for row in attribution {
        let key = (cell(row, "conversion_id").to_owned(), cell(row, "model").to_owned());
        let sum = sums.entry(key).or_default();
        sum.0 += units(cell(row, "credit"));
        if cell(row, "value") != "∅" {
            sum.1 = Some(sum.1.unwrap_or_default() + units(cell(row, "value")));
        }
    }
    sums
}
