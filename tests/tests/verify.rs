//! The second engine agrees with the first on any history, and says exactly what somebody changed behind its back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use chrono::{DateTime, Utc};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use touchline_ingest::record::{Event, decode};
use touchline_jobs::CompactionJob;
use touchline_lake::{Commit, EncodedRows};
use touchline_schemas::control::{AccountSettings, ConversionValue};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::logged;
use touchline_tests::runs::become_event_of_a_run;
use touchline_verify::{Report, VerifyRequest, verify};

const MINUTE_US: i64 = 60_000_000;
const TYPES: [&str; 9] = [
    "page_view",
    "page_view",
    "page_view",
    "add_to_cart",
    "purchase",
    "signup",
    "$session_start",
    "$message_viewed",
    "$identify",
];
const TEXTS: [(TextField, &[&str]); 9] = [
    (TextField::UtmSource, &["google", "newsletter", "facebook"]),
    (TextField::UtmMedium, &["cpc", "email"]),
    (TextField::Gclid, &["click-1"]),
    (TextField::Referrer, &["https://www.google.com/", "https://shop.example/a"]),
    (TextField::ReferrerHost, &["www.google.com", "shop.example", "blog.example"]),
    (TextField::Path, &["/", "/cart", "/lamps"]),
    (TextField::SessionId, &["client-1", "client-2"]),
    (TextField::Source, &["native", "conversion"]),
    (TextField::Country, &["DE", "FR"]),
];

fn now() -> DateTime<Utc> {
    "2026-03-05T00:00:00Z".parse().unwrap()
}

/// What an account can decide, all of it.
fn choices() -> AccountSettings {
    AccountSettings {
        session_timeout_minutes: Some(45),
        conversion_event_types: Some(vec!["add_to_cart".to_owned(), "signup".to_owned()]),
        conversion_values: BTreeMap::from([
            ("add_to_cart".to_owned(), ConversionValue::Fixed("2.5".to_owned())),
            ("signup".to_owned(), ConversionValue::Property("plan.price".to_owned())),
        ]),
        time_zone: Some("America/New_York".to_owned()),
        channel_rules: Some("ga4".to_owned()),
        own_domains: vec!["blog.example".to_owned()],
        attribution_lookback_days: Some(1),
        ..AccountSettings::default()
    }
}

/// An event of a small world, in which everything meets everything.
fn event(random: &mut SmallRng, tenants: &[Tenant], number: usize) -> Vec<u8> {
    let tenant = *tenants.choose(random).unwrap();
    let begin_us = "2026-02-27T20:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros();
    let at_us = begin_us + random.random_range(0..400) * 10 * MINUTE_US + random.random_range(0..3) * 5_000_000;
    let mut event = Event::at(at_us);
    event.is_bot = random.random_bool(0.05);
    event.set(TextField::EventId, format!("event-{number:04}"));
    event.set(TextField::Host, "shop.example");
    let users = ["anna", "ben", "carl", "dora"];
    // Few users of a visitor, so that most devices have one person and some are shared.
    let visitor = random.random_range(0..6_usize);
    if visitor > 0 {
        event.set(TextField::VisitorId, format!("visitor-{visitor}"));
    }
    if random.random_bool(0.3) {
        event.set(TextField::UserId, users[(visitor + usize::from(random.random_bool(0.2))) % users.len()]);
    }
    let event_type = match random.random_range(0..40) {
        0 => "$alias",
        1 => "$unmerge",
        _ => TYPES.choose(random).unwrap(),
    };
    event.set(TextField::EventType, event_type);
    if event_type.len() < 9 && event_type.starts_with('$') && random.random_bool(0.6) {
        let other = users.choose(random).unwrap();
        event.set(TextField::UserId, *users.choose(random).unwrap());
        event.set(TextField::Properties, format!(r#"{{"previous_id":"{other}"}}"#));
    }
    if event_type == "signup" && random.random_bool(0.7) {
        event.set(TextField::Properties, r#"{"plan":{"price":"12.3456"}}"#);
    }
    for (field, texts) in TEXTS {
        if random.random_bool(0.25) {
            event.set(field, *texts.choose(random).unwrap());
        }
    }
    if number.is_multiple_of(4) {
        become_event_of_a_run(&mut event, at_us, random);
    }
    event.revenue_e4 = random.random_bool(0.2).then(|| random.random_range(-10_000..1_000_000));
    logged::of(tenant, at_us + random.random_range(0..300) * MINUTE_US, [event])
}

struct World {
    installation: Installation,
    /// The first has decided nothing, the second everything.
    tenants: [Tenant; 2],
    settings: BTreeMap<AccountId, AccountSettings>,
    random: SmallRng,
    segments: i64,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installation = Installation::open(folder.path(), Arc::new(MockClock::at(now())), 2).await.unwrap();
        let plain = installation.control.create_account("plain", "Plain", now()).await.unwrap().id;
        let choosy = installation.control.create_account("choosy", "Choosy", now()).await.unwrap().id;
        installation.control.set_account_settings(choosy, &choices(), now()).await.unwrap();
        let tenants = [plain, choosy].map(|account_id| Tenant { account_id, environment: Environment::Test });
        let settings = BTreeMap::from([(choosy, choices())]);
        let random = SmallRng::seed_from_u64(seed);
        Self { installation, tenants, settings, random, segments: 0, _folder: folder }
    }

    /// Stores new events.
    async fn events(&mut self, count: usize) {
        let first = self.segments as usize * 1_000;
        let mut payloads: Vec<_> =
            (first..first + count).map(|number| event(&mut self.random, &self.tenants, number)).collect();
        payloads.shuffle(&mut self.random);
        self.store(&payloads).await;
    }

    async fn store(&mut self, payloads: &[Vec<u8>]) {
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        self.segments += 1;
        self.installation.writer.store(self.segments, &requests).await.unwrap();
    }

    /// A world in which the jobs have seen everything, in three runs.
    async fn settled(seed: u64) -> Self {
        let mut world = Self::new(seed).await;
        for _ in 0..3 {
            world.events(60).await;
            world.installation.run_jobs(false).await.unwrap();
        }
        world
    }

    /// All tables of all accounts.
    fn everything(&self) -> VerifyRequest {
        VerifyRequest { settings: self.settings.clone(), ..VerifyRequest::default() }
    }

    async fn verify(&self, request: VerifyRequest) -> Report {
        verify(self.installation.engine.lake(), &request).await.unwrap()
    }

    /// Changes the rows of a tenant's table, as nobody should.
    async fn tamper(&self, table: Table, tenant: Tenant, change: impl FnOnce(RecordBatch) -> RecordBatch) {
        let lake_table = self.installation.engine.lake().table(table);
        let stored = lake_table.snapshot().await.unwrap();
        let file = stored.files(tenant)[0].clone();
        let schema = table.file_schema();
        let day = file.date;
        let one = touchline_pipeline::scan::LakeScan::new(table, vec![file.clone()]);
        let rows = self.installation.engine.context().read_table(Arc::new(one)).unwrap().collect().await.unwrap();
        let rows = rows.iter().map(|batch| {
            let columns = schema
                .fields()
                .iter()
                .map(|field| cast(batch.column_by_name(field.name()).unwrap(), field.data_type()).unwrap());
            RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
        });
        let rows = change(concat_batches(&schema, &rows.collect::<Vec<_>>()).unwrap());
        let rows = EncodedRows::new(table, &rows).unwrap();
        let added = lake_table.write_file(tenant, day, "tampered", rows, now()).await.unwrap();
        let commit = Commit { add: vec![added], remove: vec![file], based_on: stored.version, ..Commit::default() };
        lake_table.commit(commit, now()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_agree_on_any_history() {
    for seed in 0..4 {
        let world = World::settled(seed).await;
        let report = world.verify(world.everything()).await;
        assert!(report.is_clean(), "seed {seed}:\n{}", report.text());
        for table in &report.tables {
            assert!(table.rows > 0 && table.skipped.is_empty(), "seed {seed}: {table:?}");
        }
        assert!(!report.checks.is_empty());
    }
}

/// One person visits more often than touches count, and pays twice more than a sum has digits for.
#[tokio::test(flavor = "multi_thread")]
async fn both_engines_agree_where_something_has_a_limit() {
    let mut world = World::new(1).await;
    let visits = (0..1_006_i64).map(|visit| {
        let at_us = now().timestamp_micros() - (1_006 - visit) * 31 * MINUTE_US;
        let mut event = Event::at(at_us);
        event.set(TextField::EventId, format!("event-{visit:04}"));
        event.set(TextField::EventType, if visit < 1_004 { "page_view" } else { "purchase" });
        event.set(TextField::VisitorId, "visitor-1");
        event.revenue_e4 = (visit >= 1_004).then_some(999_999_999_999_999_999);
        logged::of(world.tenants[0], at_us, [event])
    });
    let visits: Vec<_> = visits.collect();
    world.store(&visits).await;
    world.installation.run_jobs(false).await.unwrap();
    let report = world.verify(world.everything()).await;
    assert!(report.is_clean(), "{}", report.text());
    let touchpoints = report.tables.iter().find(|table| table.table == Table::Touchpoints.name()).unwrap();
    assert_eq!(touchpoints.rows, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_jobs_have_not_seen_yet_is_no_difference() {
    let mut world = World::settled(7).await;
    world.events(40).await;
    let report = world.verify(world.everything()).await;
    assert!(report.is_clean(), "{}", report.text());
    world.installation.run_jobs(false).await.unwrap();
    let report = world.verify(world.everything()).await;
    assert!(report.is_clean(), "{}", report.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_laid_together_hold_the_same_rows() {
    let mut world = World::settled(12).await;
    let compaction = CompactionJob::new(world.installation.engine.lake().clone(), 1 << 20);
    let report = world.installation.run_job(&compaction, false).await.unwrap();
    assert!(report.rows_written > 0);
    let report = world.verify(world.everything()).await;
    assert!(report.is_clean(), "{}", report.text());
    world.events(40).await;
    world.installation.run_jobs(false).await.unwrap();
    let report = world.verify(world.everything()).await;
    assert!(report.is_clean(), "{}", report.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_somebody_changed_is_named() {
    let world = World::settled(8).await;
    let mut changed = String::new();
    world
        .tamper(Table::Sessions, world.tenants[0], |rows| {
            let names = rows.schema();
            let place = names.index_of("exit_page").unwrap();
            let ids = rows.column_by_name("session_id").unwrap();
            changed = arrow::util::display::array_value_to_string(ids, 0).unwrap();
            let pages: Vec<Option<String>> = (0..rows.num_rows())
                .map(|row| match row {
                    0 => Some("/tampered".to_owned()),
                    _ => {
                        let page = arrow::util::display::array_value_to_string(rows.column(place), row).unwrap();
                        (!page.is_empty()).then_some(page)
                    }
                })
                .collect();
            let mut columns = rows.columns().to_vec();
            columns[place] = Arc::new(StringArray::from(pages)) as ArrayRef;
            RecordBatch::try_new(rows.schema(), columns).unwrap()
        })
        .await;
    let report = world.verify(world.everything()).await;
    assert_eq!(report.differences, 1, "{}", report.text());
    let found = &report.tables[0].examples;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].row.as_str(), found[0].column.as_deref(), found[0].stored.as_deref()),
        (format!("session_id={changed}").as_str(), Some("exit_page"), Some("/tampered"))
    );
    let elsewhere = VerifyRequest { account: Some(world.tenants[1].account_id), ..world.everything() };
    assert!(world.verify(elsewhere).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_removed_are_missing() {
    let world = World::settled(9).await;
    for table in [Table::Sessions, Table::Visitors, Table::IdentityEdges] {
        world.tamper(table, world.tenants[0], |rows| rows.slice(1, rows.num_rows() - 1)).await;
        let report = world.verify(VerifyRequest { tables: vec![table], ..world.everything() }).await;
        assert_eq!(report.tables[0].differences, 1, "{}", report.text());
        assert!(report.summary[0].ends_with("missing"), "{}", report.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_were_not_asked_for_are_left_alone() {
    let world = World::settled(10).await;
    world.tamper(Table::Sessions, world.tenants[0], |rows| rows.slice(1, rows.num_rows() - 1)).await;
    let first_day = "2026-02-27".parse().unwrap();
    let second_day = "2026-02-28".parse().unwrap();
    let tables = vec![Table::Sessions];
    let later = VerifyRequest { from: Some(second_day), tables: tables.clone(), ..world.everything() };
    let report = world.verify(later).await;
    assert!(report.is_clean() && report.tables[0].rows > 0, "{}", report.text());
    let earlier = VerifyRequest { from: Some(first_day), to: Some(second_day), tables, ..world.everything() };
    assert_eq!(world.verify(earlier).await.differences, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_decide_what_is_expected() {
    let world = World::settled(11).await;
    let account = world.tenants[0].account_id;
    let decided = |settings| VerifyRequest {
        settings: BTreeMap::from([(account, settings)]),
        account: Some(account),
        ..VerifyRequest::default()
    };
    let patient = AccountSettings { session_timeout_minutes: Some(300), ..AccountSettings::default() };
    assert!(!world.verify(decided(patient)).await.is_clean());

    let other = AccountSettings { session_profile: Some("ga4".to_owned()), ..AccountSettings::default() };
    let report = world.verify(decided(other)).await;
    assert!(report.is_clean(), "{}", report.text());
    assert_eq!(report.tables[0].skipped.len(), 1);
    assert!(report.text().ends_with("0 differences, 1 not verified"), "{}", report.text());
}
