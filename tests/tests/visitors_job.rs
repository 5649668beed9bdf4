//! The job `visitors` reads and writes what a change touches, and claims no more than it knows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use touchline_ingest::record::{Event, decode};
use touchline_jobs::JobReport;
use touchline_schemas::MockClock;
use touchline_schemas::event::{PAGE_VIEW, TextField};
use touchline_schemas::tables::Table;
use touchline_tests::installation::Installation;
use touchline_tests::logged::{self, tenant};
use touchline_tests::rows::{only, rows};

const MINUTE_US: i64 = 60_000_000;
/// The most that an amount can be, in ten-thousandths.
const MOST_E4: i64 = 999_999_999_999_999_999;

/// An event: the visitor's number, whether the user of that number is logged in, and minutes after the begin.
#[derive(Clone, Copy)]
struct Sent {
    visitor: u32,
    is_logged_in: bool,
    minutes: i64,
    revenue_e4: Option<i64>,
}

fn begin_us() -> i64 {
    "2026-03-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

async fn store(installation: &mut Installation, number: i64, events: &[Sent]) {
    let received_at_us = begin_us() + events.iter().map(|sent| sent.minutes).max().unwrap() * MINUTE_US;
    let events = events.iter().map(|Sent { visitor, is_logged_in, minutes, revenue_e4 }| {
        let mut event = Event::at(begin_us() + minutes * MINUTE_US);
        event.revenue_e4 = *revenue_e4;
        event.set(TextField::EventId, format!("event-{visitor}-{minutes}"));
        event.set(TextField::EventType, PAGE_VIEW);
        event.set(TextField::VisitorId, format!("visitor-{visitor}"));
        if *is_logged_in {
            event.set(TextField::UserId, format!("user-{visitor}"));
        }
        event
    });
    let payload = logged::of(tenant(), received_at_us, events);
    installation.writer.store(number, &[decode(&payload).unwrap()]).await.unwrap();
}

async fn installation(folder: &tempfile::TempDir) -> Installation {
    let clock = Arc::new(MockClock::at("2026-05-01T00:00:00Z".parse().unwrap()));
    Installation::open(folder.path(), clock, 2).await.unwrap()
}

/// Runs some jobs; the report of the last.
async fn run(installation: &Installation, names: &[&str], full: bool) -> JobReport {
    let mut report = JobReport::default();
    for job in installation.jobs().into_iter().filter(|job| names.contains(&job.name())) {
        report = installation.run_job(&*job, full).await.unwrap();
    }
    report
}

const ALL: [&str; 3] = ["identities", "sessions", "visitors"];

async fn visitors(installation: &Installation) -> Vec<String> {
    rows(&installation.engine, Table::Visitors, tenant()).await.unwrap()
}

/// The revenue of a table's rows, by one of its columns.
async fn revenue(installation: &Installation, table: Table, column: &str) -> Vec<String> {
    only(&rows(&installation.engine, table, tenant()).await.unwrap(), &[column, "revenue"])
}

async fn check_full_run_changes_nothing(installation: &Installation) {
    let known = visitors(installation).await;
    run(installation, &["visitors"], true).await;
    assert_eq!(visitors(installation).await, known);
}

fn sent(visitor: u32, hours: i64) -> Sent {
    Sent { visitor, is_logged_in: false, minutes: hours * 60, revenue_e4: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_day_only_files_of_touched_people_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let people: Vec<Sent> = (0..40_000).map(|visitor| sent(visitor, i64::from(visitor / 4_000))).collect();
    store(&mut installation, 1, &people).await;
    run(&installation, &ALL, false).await;
    store(&mut installation, 2, &[sent(39_999, 12), sent(40_000, 12)]).await;
    let report = run(&installation, &ALL, false).await;
    // The file that is full keeps its rows; the other holds the one who came back, and takes up the one who is new.
    assert_eq!(report.rows_written, 40_001 - 32_768);
    check_full_run_changes_nothing(&installation).await;

    store(&mut installation, 3, &[sent(0, 30)]).await;
    assert_eq!(run(&installation, &ALL, false).await.rows_written, 32_768);
    check_full_run_changes_nothing(&installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_reads_the_sessions_of_its_own_days() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let people: Vec<Sent> = (0..1_000).map(|visitor| sent(visitor, i64::from(visitor / 50) * 24)).collect();
    store(&mut installation, 1, &people).await;
    run(&installation, &ALL, false).await;
    store(&mut installation, 2, &[Sent { is_logged_in: true, ..sent(120, 5 * 24) }]).await;
    let report = run(&installation, &ALL, false).await;
    // All people are looked through for the one; besides, two days of both tables.
    assert!(report.rows_read < 1_000 + 250, "{}", report.rows_read);
    let person = only(&visitors(&installation).await, &["person_id", "session_count"]);
    assert!(person.contains(&"person_id=u:user-120 session_count=2".to_owned()));
    check_full_run_changes_nothing(&installation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_time_is_claimed_that_one_source_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let received = |hours: i64| DateTime::from_timestamp_micros(begin_us() + hours * 60 * MINUTE_US);
    store(&mut installation, 1, &[sent(1, 1)]).await;
    assert_eq!(run(&installation, &["sessions", "visitors"], false).await.watermark, None);
    assert_eq!(run(&installation, &ALL, false).await.watermark, received(1));
    store(&mut installation, 2, &[sent(1, 2)]).await;
    assert_eq!(run(&installation, &["sessions", "visitors"], false).await.watermark, received(1));
    assert_eq!(run(&installation, &ALL, false).await.watermark, received(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_with_too_many_digits_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = installation(&folder).await;
    let paid = |visitor: u32, minutes: i64| Sent { minutes, revenue_e4: Some(MOST_E4), ..sent(visitor, 0) };
    // Two sessions, one session, and one that can be paid.
    store(&mut installation, 1, &[paid(1, 0), paid(1, 600), paid(2, 0), paid(2, 1), paid(3, 0)]).await;
    run(&installation, &ALL, false).await;
    let most = "99999999999999.9999";
    let of_people = ["person_id=v:visitor-1 revenue=∅", "person_id=v:visitor-2 revenue=∅"].map(str::to_owned);
    let of_people = [&of_people[..], &[format!("person_id=v:visitor-3 revenue={most}")]].concat();
    assert_eq!(revenue(&installation, Table::Visitors, "person_id").await, of_people);
    assert!(
        revenue(&installation, Table::Sessions, "visitor_id")
            .await
            .contains(&"visitor_id=visitor-2 revenue=∅".to_owned())
    );

    // What was paid in the second session cannot be taken back from none.
    store(&mut installation, 2, &[Sent { minutes: 601, ..sent(1, 0) }]).await;
    run(&installation, &ALL, false).await;
    assert_eq!(revenue(&installation, Table::Visitors, "person_id").await, of_people);
    check_full_run_changes_nothing(&installation).await;
}
