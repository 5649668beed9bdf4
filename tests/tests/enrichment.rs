//! What the job `enrichment` leaves is what would be there if events had been judged that way from the beginning, also in
//! what follows from them; and it rewrites nothing else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use touchline_enrich::{Enricher, path};
use touchline_ingest::event_ids::EventIdIndex;
use touchline_ingest::lake_writer::LakeWriter;
use touchline_ingest::record::decode;
use touchline_jobs::{CompactionJob, EnrichmentJob, Job, JobReport, RunRequest};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::messages::{Sent, history, payload};
use touchline_tests::rows::{only, rows};
use uuid::Uuid;

const DATABASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/country/test.mmdb");
const USER_AGENTS: [&str; 3] = [
    "curl/8.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 \
     Mobile/15E148 Safari/604.1",
];

fn now() -> DateTime<Utc> {
    "2026-04-01T00:00:00Z".parse().unwrap()
}

fn tenant(number: u128) -> Tenant {
    Tenant { account_id: AccountId(Uuid::from_u128(number)), environment: Environment::Live }
}

fn enricher() -> Arc<Enricher> {
    Arc::new(Enricher::open(Some(Path::new(DATABASE))).unwrap())
}

struct World {
    installation: Installation,
    segments: i64,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installation = Installation::open(folder.path(), Arc::new(MockClock::at(now())), 2).await.unwrap();
        Self { installation, segments: 0, folder }
    }

    async fn store(&mut self, tenant: Tenant, events: &[Sent]) {
        self.segments += 1;
        let payloads: Vec<_> = events.iter().map(|sent| payload(tenant, sent)).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        self.installation.writer.store(self.segments, &requests).await.unwrap();
    }

    async fn judge(&self, request: RunRequest) -> JobReport {
        let job = EnrichmentJob::new(self.installation.engine.lake().clone(), enricher());
        job.run(request, &self.installation.job_context()).await.unwrap()
    }

    /// The rows of all tables that are functions of the events, and of these.
    async fn tables(&self, tenant: Tenant) -> Vec<(Table, Vec<String>)> {
        let mut tables = Vec::new();
        // What ids went out of use is a history of runs.
        for table in Table::ALL.into_iter().filter(|table| *table != Table::SessionRevisions) {
            tables.push((table, rows(&self.installation.engine, table, tenant).await.unwrap()));
        }
        tables
    }
}

/// A history in which everything that is looked up was looked up by other lists, or not at all.
fn stale(random: &mut SmallRng, length: usize) -> Vec<Sent> {
    let mut events = history(random, length);
    for sent in &mut events {
        let mut changed = sent.clone();
        if random.random_bool(0.8) {
            changed = changed.with(TextField::UserAgent, USER_AGENTS.choose(random).unwrap());
        }
        if random.random_bool(0.5) {
            changed = changed.with(TextField::Browser, "Netscape").with(TextField::DeviceType, "desktop");
        }
        if random.random_bool(0.5) {
            let addresses = ["203.0.113.0", "198.51.100.0", "192.0.2.0"];
            changed = changed.with(TextField::Ip, addresses.choose(random).unwrap()).with(TextField::Country, "SE");
        }
        if random.random_bool(0.5) {
            let sent_as = ["/home//", "/%68ome", "/cart;jsessionid=7"].choose(random).unwrap();
            changed = changed.with(TextField::Url, sent_as).with(TextField::Path, sent_as);
        }
        *sent = changed;
    }
    events
}

/// The same event as it is stored today.
fn as_today(enricher: &Enricher, sent: &Sent) -> Sent {
    let mut today = sent.clone();
    if let Some(user_agent) = sent.text(TextField::UserAgent) {
        let device = enricher.device(user_agent);
        today.is_bot = device.is_bot;
        today = today
            .with(TextField::Browser, device.browser)
            .with(TextField::Os, device.os)
            .with(TextField::DeviceType, device.device_type.as_str());
    }
    if sent.text(TextField::Ip) == Some("203.0.113.0") {
        today = today.with(TextField::Country, "NZ");
    }
    match (sent.text(TextField::Url), sent.text(TextField::Path)) {
        (Some(_), Some(stored)) => today.with(TextField::Path, &path::normalized(stored)),
        _ => today,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_judged_anew_is_as_if_it_had_always_been_judged_so() {
    let enricher = enricher();
    for seed in 0..4 {
        let mut random = SmallRng::seed_from_u64(seed);
        let length = random.random_range(20..120);
        let events = stale(&mut random, length);
        let (mine, others) = (tenant(1), tenant(2));
        let mut world = World::new().await;
        for batch in events.chunks(events.len().div_ceil(3)) {
            world.store(mine, batch).await;
            world.store(others, batch).await;
            world.installation.run_jobs(false).await.unwrap();
        }
        if seed % 2 == 0 {
            let compaction = CompactionJob::new(world.installation.engine.lake().clone(), 1 << 20);
            world.installation.run_job(&compaction, true).await.unwrap();
        }
        let untouched = world.tables(others).await;

        assert!(world.judge(RunRequest::default()).await.unchanged, "nobody has asked for anything");
        let request = RunRequest { account: Some(mine.account_id), ..RunRequest::default() };
        let report = world.judge(request).await;
        assert!(!report.unchanged && report.rows_read == length as u64, "{seed}: {report:?}");
        let events_table = world.installation.engine.lake().table(Table::Events);
        let version = events_table.snapshot().await.unwrap();
        let judged_by = &version.info.as_ref().unwrap().counts["enrichment"]["judged_by"];
        assert_eq!(*judged_by, serde_json::to_value(enricher.versions()).unwrap());
        assert!(world.judge(request).await.unchanged, "{seed}: nothing is left to be judged");
        assert_eq!(events_table.snapshot().await.unwrap().version, version.version);
        world.installation.run_jobs(false).await.unwrap();

        let mut today = World::new().await;
        let judged: Vec<Sent> = events.iter().map(|sent| as_today(&enricher, sent)).collect();
        today.store(mine, &judged).await;
        today.installation.run_jobs(false).await.unwrap();
        let expected = today.tables(mine).await;
        for ((table, found), (_, expected)) in world.tables(mine).await.into_iter().zip(&expected) {
            assert_eq!(&found, expected, "{seed}: {table:?}");
        }
        assert_eq!(world.tables(others).await, untouched, "{seed}: others' rows");
        world.installation.run_jobs(true).await.unwrap();
        for ((table, found), (_, expected)) in world.tables(mine).await.into_iter().zip(&expected) {
            assert_eq!(&found, expected, "{seed}: {table:?}, in full");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_days_that_are_named_and_files_with_a_difference_are_rewritten() {
    let mut world = World::new().await;
    let at_us = |day: u32| {
        let day = NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
        day.and_hms_opt(12, 0, 0).unwrap().and_utc().timestamp_micros()
    };
    let firefox = enricher().device(USER_AGENTS[1]);
    for day in 1..=4 {
        let sent = Sent::new(format!("event-{day}"), "page_view", at_us(day))
            .with(TextField::VisitorId, "v")
            .with(TextField::UserAgent, USER_AGENTS[1]);
        // The third day is as it should be.
        let sent = if day == 3 {
            sent.with(TextField::Browser, firefox.browser)
                .with(TextField::Os, firefox.os)
                .with(TextField::DeviceType, firefox.device_type.as_str())
        } else {
            sent
        };
        world.store(tenant(1), &[sent]).await;
    }
    let table = world.installation.engine.lake().table(Table::Events).clone();
    let before = table.snapshot().await.unwrap();
    let day = |day| NaiveDate::from_ymd_opt(2026, 3, day);
    let report = world.judge(RunRequest { from: day(2), to: day(4), ..RunRequest::default() }).await;
    assert_eq!((report.rows_read, report.rows_written), (2, 1));
    let changes = table.file_changes(before.version, before.version + 1).await.unwrap().unwrap();
    assert_eq!(changes.removed, [(tenant(1), day(2).unwrap())]);
    let found =
        only(&rows(&world.installation.engine, Table::Events, tenant(1)).await.unwrap(), &["event_id", "browser"]);
    let expected = [(1, "∅"), (2, "Firefox"), (3, "Firefox"), (4, "∅")];
    assert_eq!(found, expected.map(|(day, browser)| format!("event_id=event-{day} browser={browser}")));

    // The ids are known as before, also to a writer that begins anew.
    let (lake, control) = (world.installation.engine.lake().clone(), world.installation.control.clone());
    let index = EventIdIndex::open(&world.folder.path().join("other-ids"), 1 << 20).unwrap();
    let clock = Arc::new(MockClock::at(now()));
    let mut writer = LakeWriter::new(lake, control, clock, "other".into(), index);
    let again = payload(tenant(1), &Sent::new("event-2", "page_view", at_us(2)).with(TextField::VisitorId, "v"));
    let stored = writer.store(1, &[decode(&again).unwrap()]).await.unwrap().tally;
    assert_eq!((stored.stored, stored.duplicates), (0, 1));
}
