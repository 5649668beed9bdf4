//! Traffic rollups: an incremental run gives what a full one gives, and both what a plain count over sessions and
//! events gives; visitors are distinct over any range.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use futures::TryStreamExt;
use proptest::prelude::*;
use touchline_ingest::record::{Event, decode};
use touchline_jobs::{Job, JobContext, JobPlan, JobReport, RunRequest, TrafficJob};
use touchline_lake::{Commit, LakeTable};
use touchline_pipeline::reports::{Bots, TimeRange, traffic};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{Clock, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::logged;
use touchline_tests::rows::{rows, texts, value};

const TYPES: [&str; 6] = ["page_view", "page_view", "add_to_cart", "purchase", "lead", "$message_viewed"];
const SOURCES: [Option<&str>; 4] = [None, None, Some("google"), Some("newsletter")];
const ZONES: [Option<&str>; 4] = [None, Some("UTC"), Some("Europe/Berlin"), Some("America/New_York")];
const NULL: &str = "∅";

#[derive(Debug, Clone)]
struct Sent {
    id: u32,
    /// 0 has only a user id, 1 has no id at all.
    visitor: u8,
    occurred_at_us: i64,
    event_type: usize,
    utm_source: usize,
    is_bot: bool,
    is_posted_conversion: bool,
}

impl Sent {
    fn event_type(&self) -> &'static str {
        TYPES[self.event_type]
    }

    fn path(&self) -> String {
        format!("/page-{}", self.id % 5)
    }

    fn revenue_e4(&self) -> Option<i64> {
        (self.event_type() == "purchase").then_some(i64::from(self.id) * 10_000 + 5)
    }

    fn device(&self) -> Option<String> {
        match self.visitor {
            0 => Some("u-same".to_owned()),
            1 => None,
            // The visitor 2 is called what the user is called, and is somebody else.
            2 => Some("v-same".to_owned()),
            visitor => Some(format!("v-{visitor}")),
        }
    }
}

fn begin_us() -> i64 {
    "2026-03-27T00:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

fn sent_events() -> impl Strategy<Value = Vec<Sent>> {
    // Three days with the night in which Berlin moves its clocks, in steps of ten minutes.
    let event = (0..7_u8, 0..432_i64, 0..TYPES.len(), 0..SOURCES.len(), 0..20_u8, 0..12_u8);
    proptest::collection::vec(event, 1..70).prop_map(|events| {
        let events = events.into_iter().enumerate();
        let sent = events.map(|(id, (visitor, step, event_type, utm_source, bot, posted))| Sent {
            id: id as u32,
            visitor,
            occurred_at_us: begin_us() + step * 600_000_000,
            event_type,
            utm_source,
            is_bot: bot == 0,
            is_posted_conversion: posted == 0,
        });
        sent.collect()
    })
}

/// An order of arrival: shuffled, some twice, cut into batches, each with the zone that the account has by then.
fn deliveries() -> impl Strategy<Value = (Vec<Sent>, Vec<Vec<Sent>>, Vec<usize>)> {
    sent_events().prop_flat_map(|events| {
        let doubled: Vec<Sent> = events.iter().cloned().chain(events.iter().step_by(5).cloned()).collect();
        let zones = proptest::collection::vec(0..ZONES.len(), 4);
        (Just(events), Just(doubled).prop_shuffle(), 1..4_usize, zones).prop_map(
            |(events, shuffled, batches, zones)| {
                let length = shuffled.len().div_ceil(batches);
                (events, shuffled.chunks(length).map(<[Sent]>::to_vec).collect(), zones)
            },
        )
    })
}

fn payload(tenant: Tenant, sent: &Sent) -> Vec<u8> {
    let mut event = Event::at(sent.occurred_at_us);
    event.is_bot = sent.is_bot;
    event.set(TextField::EventId, format!("event-{:04}", sent.id));
    event.set(TextField::EventType, sent.event_type());
    event.set(TextField::Path, sent.path());
    if let Some(source) = SOURCES[sent.utm_source] {
        event.set(TextField::UtmSource, source);
    }
    match sent.device() {
        Some(device) if device.starts_with("v-") => event.set(TextField::VisitorId, device[2..].to_owned()),
        Some(device) => event.set(TextField::UserId, device[2..].to_owned()),
        None => {}
    }
    event.set(TextField::Source, if sent.is_posted_conversion { "conversion" } else { "native" });
    event.revenue_e4 = sent.revenue_e4();
    logged::of(tenant, sent.occurred_at_us, [event])
}

struct Shop {
    installation: Installation,
    clock: Arc<MockClock>,
    tenant: Tenant,
    stored: i64,
    _folder: tempfile::TempDir,
}

impl Shop {
    async fn open() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let now = "2026-04-05T00:00:00Z".parse()?;
        let clock = Arc::new(MockClock::at(now));
        let installation = Installation::open(folder.path(), clock.clone(), 2).await?;
        let account = installation.control.create_account("shop", "Shop", now).await?;
        let tenant = Tenant { account_id: account.id, environment: Environment::Live };
        Ok(Self { installation, clock, tenant, stored: 0, _folder: folder })
    }

    async fn set_zone(&self, zone: Option<&str>) -> anyhow::Result<()> {
        let settings = AccountSettings { time_zone: zone.map(str::to_owned), ..AccountSettings::default() };
        self.installation.control.set_account_settings(self.tenant.account_id, &settings, self.clock.now()).await?;
        Ok(())
    }

    async fn store(&mut self, events: &[Sent]) -> anyhow::Result<()> {
        let payloads: Vec<_> = events.iter().map(|sent| payload(self.tenant, sent)).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload)).collect::<Result<_, _>>()?;
        self.stored += 1;
        self.installation.writer.store(self.stored, &requests).await?;
        Ok(())
    }

    fn job(&self) -> (TrafficJob, JobContext) {
        let job = TrafficJob::new(self.installation.engine.clone(), self.installation.control.clone());
        let context =
            JobContext { clock: self.clock.clone(), cancellation: Default::default(), progress: Arc::default() };
        (job, context)
    }

    async fn run(&self, request: RunRequest) -> anyhow::Result<JobReport> {
        let (job, context) = self.job();
        Ok(job.run(request, &context).await?)
    }

    async fn plan(&self, request: RunRequest) -> anyhow::Result<JobPlan> {
        let (job, context) = self.job();
        Ok(job.plan(request, &context).await?)
    }

    async fn rows(&self, table: Table) -> anyhow::Result<Vec<String>> {
        rows(&self.installation.engine, table, self.tenant).await
    }

    fn table(&self, table: Table) -> &LakeTable {
        self.installation.engine.lake().table(table)
    }
}

#[derive(Debug, Default)]
struct Counted {
    devices: BTreeSet<String>,
    rows: i64,
    /// Page views, events, bounces, engaged sessions, duration, conversions.
    amounts: [i64; 6],
    revenue_e4: Option<i64>,
}

impl Counted {
    fn add(&mut self, device: &str, amounts: [i64; 6], revenue_e4: Option<i64>) {
        self.devices.insert(device.to_owned());
        self.rows += 1;
        self.amounts.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
        self.revenue_e4 = match (self.revenue_e4, revenue_e4) {
            (None, other) | (other, None) => other,
            (Some(sum), Some(amount)) => Some(sum + amount),
        };
    }
}

fn money(amount_e4: Option<i64>) -> String {
    amount_e4.map_or(NULL.to_owned(), |amount| format!("{}.{:04}", amount / 10_000, amount % 10_000))
}

/// What a person's session says.
struct Human {
    device: String,
    started_at: DateTime<Utc>,
    amounts: [i64; 6],
    revenue_e4: Option<i64>,
}

/// Reads a session; none for bots'.
fn human(session: &str) -> Option<Human> {
    let device = match (value(session, "visitor_id"), value(session, "user_id")) {
        (NULL, user) => format!("u-{user}"),
        (visitor, _) => format!("v-{visitor}"),
    };
    let count = |column: &str| match value(session, column) {
        "true" => 1,
        "false" => 0,
        number => number.parse::<i64>().unwrap(),
    };
    let amounts =
        ["page_view_count", "event_count", "is_bounce", "is_engaged", "duration_s", "conversion_count"].map(count);
    let revenue = Some(value(session, "revenue")).filter(|text| *text != NULL);
    let revenue_e4 = revenue.map(|text| text.replace('.', "").parse().unwrap());
    let started_at = value(session, "started_at").parse().unwrap();
    (value(session, "is_bot") == "false").then_some(Human { device, started_at, amounts, revenue_e4 })
}

/// The rollups by their definition, from sessions as text and events as sent.
fn by_definition(sessions: &[String], events: &[Sent], zone: Tz) -> Vec<String> {
    let dimensions = [
        ("channel", "channel"),
        ("utm_source", "utm_source"),
        ("utm_medium", "utm_medium"),
        ("utm_campaign", "utm_campaign"),
        ("utm_content", "utm_content"),
        ("utm_term", "utm_term"),
        ("referrer_host", "referrer_host"),
        ("landing_page", "entry_page"),
        ("country", "country"),
        ("device_type", "device_type"),
        ("browser", "browser"),
        ("os", "os"),
    ];
    let mut counted: BTreeMap<(String, &str, &str, String), Counted> = BTreeMap::new();
    for (calendar, zone) in [("utc", Tz::UTC), ("account", zone)] {
        let day_at = |at: DateTime<Utc>| {
            let midnight = at.with_timezone(&zone).date_naive().and_time(chrono::NaiveTime::MIN);
            let begin = zone.from_local_datetime(&midnight).earliest().unwrap();
            begin.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        for session in sessions {
            let Some(Human { device, started_at, amounts, revenue_e4 }) = human(session) else { continue };
            let values = dimensions.map(|(dimension, column)| (dimension, value(session, column)));
            for (dimension, value) in values.into_iter().chain([("total", NULL)]) {
                let group = (day_at(started_at), calendar, dimension, value.to_owned());
                counted.entry(group).or_default().add(&device, amounts, revenue_e4);
            }
        }
        for sent in events.iter().filter(|sent| !sent.is_bot) {
            let Some(device) = sent.device() else { continue };
            let day_at = day_at(DateTime::from_timestamp_micros(sent.occurred_at_us).unwrap());
            let is_view = i64::from(sent.event_type() == "page_view");
            let is_conversion = i64::from(sent.is_posted_conversion || sent.event_type() == "purchase");
            let amounts = [is_view, 1, 0, 0, 0, is_conversion];
            let group = (day_at.clone(), calendar, "event_type", sent.event_type().to_owned());
            counted.entry(group).or_default().add(&device, amounts, sent.revenue_e4());
            if is_view == 1 {
                let group = (day_at, calendar, "page", sent.path());
                counted.entry(group).or_default().add(&device, amounts, None);
            }
        }
    }
    let mut rows: Vec<_> = counted.into_iter().map(|((day_at, calendar, dimension, value), counted)| {
        let of_sessions = !matches!(dimension, "page" | "event_type");
        let if_any = |known: bool, number: i64| if known { number.to_string() } else { NULL.to_owned() };
        let [page_views, events, bounces, engaged, duration_s, conversions] = counted.amounts;
        format!(
            "day_at={day_at} calendar={calendar} dimension={dimension} value={value} visitors={} sessions={} \
             page_views={page_views} events={events} bounces={} engaged_sessions={} duration_s={} conversions={} revenue={}",
            counted.devices.len(),
            if_any(of_sessions, counted.rows),
            if_any(of_sessions, bounces),
            if_any(of_sessions, engaged),
            if_any(of_sessions, duration_s),
            if_any(dimension != "page", conversions),
            money(counted.revenue_e4),
        )
    }).collect();
    rows.sort();
    rows
}

/// Rollups after the batches came, with the jobs run after each, and the sessions that they are of.
async fn tables_after(batches: &[Vec<Sent>], zones: &[usize]) -> anyhow::Result<(Shop, Vec<String>, Vec<String>)> {
    let mut shop = Shop::open().await?;
    for (number, batch) in batches.iter().enumerate() {
        // The last batch always finds the first of the zones.
        let zone = if number + 1 == batches.len() { zones[0] } else { zones[number + 1] };
        shop.set_zone(ZONES[zone]).await?;
        shop.store(batch).await?;
        shop.installation.run_jobs(false).await?;
    }
    let (rollups, sessions) = (shop.rows(Table::TrafficRollups).await?, shop.rows(Table::Sessions).await?);
    Ok((shop, rollups, sessions))
}

/// Sessions, visitors and events of a range by a column, as the report has to say it.
fn report_by_definition(sessions: &[String], column: &str, range: (DateTime<Utc>, DateTime<Utc>)) -> Vec<String> {
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    for session in sessions {
        let Some(Human { device, started_at, amounts, revenue_e4 }) = human(session) else { continue };
        if range.0 <= started_at && started_at < range.1 {
            counted.entry(value(session, column).to_owned()).or_default().add(&device, amounts, revenue_e4);
        }
    }
    let mut rows: Vec<_> = counted
        .into_iter()
        .map(|(value, counted)| {
            format!(
                "{value} {} {} {} {}",
                counted.devices.len(),
                counted.rows,
                counted.amounts[1],
                money(counted.revenue_e4)
            )
        })
        .collect();
    rows.sort();
    rows
}

async fn report(shop: &Shop, by: &str, range: (DateTime<Utc>, DateTime<Utc>)) -> anyhow::Result<Vec<String>> {
    let range = TimeRange { from: Some(range.0), to: Some(range.1) };
    let params = traffic::Params {
        range,
        by: by.to_owned(),
        interval: None,
        bots: Bots::Exclude,
        filters: Vec::new(),
        time_zone: "UTC".to_owned(),
        compare: None,
        sort: None,
        limit: None,
    };
    let answer = traffic::query(&shop.installation.engine, shop.tenant, &params).await?;
    let rows = texts(&answer.batches.try_collect::<Vec<_>>().await?)?;
    let sizes: Vec<i64> = rows.iter().map(|row| value(row, "sessions").parse().unwrap()).collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "most first: {rows:?}");
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| [by, "visitors", "sessions", "events", "revenue"].map(|column| value(row, column)).join(" "))
        .collect();
    rows.sort();
    Ok(rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_gives_what_a_plain_count_gives(
        (events, batches, zones) in deliveries(),
        from_h in 0..48_i64,
        length_h in 1..60_i64,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (shop, arrived, sessions) = tables_after(&batches, &zones).await.unwrap();
            let zone = ZONES[zones[0]].map_or(Tz::UTC, |zone| zone.parse().unwrap());
            prop_assert_eq!(&arrived, &by_definition(&sessions, &events, zone));
            shop.run(RunRequest::FULL).await.unwrap();
            prop_assert_eq!(&arrived, &shop.rows(Table::TrafficRollups).await.unwrap());

            let from = DateTime::from_timestamp_micros(begin_us()).unwrap() + Duration::hours(from_h);
            let range = (from, from + Duration::hours(length_h));
            for (by, column) in [("utm_source", "utm_source"), ("exit_page", "exit_page"), ("country", "country")] {
                prop_assert_eq!(report(&shop, by, range).await.unwrap(), report_by_definition(&sessions, column, range));
            }
            Ok(())
        })?;
    }
}

fn view(id: u32, visitor: u8, at: &str) -> Sent {
    let occurred_at_us = at.parse::<DateTime<Utc>>().unwrap().timestamp_micros();
    Sent { id, visitor, occurred_at_us, event_type: 0, utm_source: 0, is_bot: false, is_posted_conversion: false }
}

fn totals(rollups: &[String], calendar: &str) -> Vec<String> {
    let of = |row: &&String| value(row, "calendar") == calendar && value(row, "dimension") == "total";
    let said = |row: &String| ["day_at", "visitors", "sessions"].map(|column| value(row, column)).join(" ");
    rollups.iter().filter(of).map(said).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_of_both_calendars_and_visitors_count_once_on_each() {
    let mut shop = Shop::open().await.unwrap();
    shop.set_zone(Some("Europe/Berlin")).await.unwrap();
    let events = [
        view(1, 3, "2026-03-28T12:00:00Z"),
        view(2, 3, "2026-03-28T22:30:00Z"),
        // Already Sunday in Berlin, the day on which clocks are moved.
        view(3, 3, "2026-03-28T23:30:00Z"),
        view(4, 3, "2026-03-29T21:30:00Z"),
        view(5, 4, "2026-03-29T21:45:00Z"),
        // Monday in Berlin.
        view(6, 4, "2026-03-29T22:30:00Z"),
    ];
    shop.store(&events).await.unwrap();
    shop.installation.run_jobs(false).await.unwrap();
    let rollups = shop.rows(Table::TrafficRollups).await.unwrap();
    assert_eq!(totals(&rollups, "utc"), ["2026-03-28T00:00:00Z 1 3", "2026-03-29T00:00:00Z 2 3"]);
    assert_eq!(
        totals(&rollups, "account"),
        ["2026-03-27T23:00:00Z 1 2", "2026-03-28T23:00:00Z 2 3", "2026-03-29T22:00:00Z 1 1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_what_is_new_and_what_is_asked_for() {
    let mut shop = Shop::open().await.unwrap();
    let days: Vec<_> = (1..=9).map(|day| view(day, 3, &format!("2026-03-0{day}T12:00:00Z"))).collect();
    shop.store(&days).await.unwrap();
    shop.installation.run_jobs(false).await.unwrap();
    let before = shop.rows(Table::TrafficRollups).await.unwrap();
    assert!(shop.run(RunRequest::default()).await.unwrap().unchanged);
    assert_eq!(shop.plan(RunRequest::default()).await.unwrap().parts, []);

    let planned = async |request: RunRequest| {
        let plan = shop.plan(request).await.unwrap();
        let part = plan.parts.into_iter().next().unwrap();
        (part.reason, part.days.len(), part.rows)
    };
    // A row of sessions and one of events for each day.
    assert_eq!(planned(RunRequest::FULL).await, ("asked for", 9, 18));
    let of_account = RunRequest { account: Some(shop.tenant.account_id), ..RunRequest::default() };
    assert_eq!(planned(of_account).await, ("asked for", 9, 18));
    let from = RunRequest { from: "2026-03-08".parse().ok(), ..RunRequest::default() };
    assert_eq!(planned(from).await, ("asked for", 2, 4));
    assert_eq!(shop.run(from).await.unwrap().rows_read, 4);
    assert_eq!(shop.rows(Table::TrafficRollups).await.unwrap(), before);

    shop.set_zone(Some("Asia/Tokyo")).await.unwrap();
    // Each day of UTC reaches into the next of Tokyo.
    assert_eq!(planned(RunRequest::default()).await.0, "settings changed");
    assert_eq!(planned(RunRequest::default()).await.1, 10);
    assert!(!shop.run(RunRequest::default()).await.unwrap().unchanged);
    assert!(shop.run(RunRequest::default()).await.unwrap().unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_out_of_the_sources_goes_from_the_rollups() {
    let mut shop = Shop::open().await.unwrap();
    let days: Vec<_> = (1..=3).map(|day| view(day, 3, &format!("2026-03-0{day}T12:00:00Z"))).collect();
    shop.store(&days).await.unwrap();
    shop.installation.run_jobs(false).await.unwrap();
    for table in [Table::Events, Table::Sessions] {
        let table = shop.table(table);
        let snapshot = table.snapshot().await.unwrap();
        let remove = snapshot.files(shop.tenant)[..1].to_vec();
        let info = snapshot.info.clone().unwrap_or_default();
        let commit = Commit { remove, info, based_on: snapshot.version, ..Commit::default() };
        table.commit(commit, "2026-04-05T00:00:00Z".parse().unwrap()).await.unwrap();
    }
    let report = shop.run(RunRequest::default()).await.unwrap();
    assert_eq!(report.rows_read, 0);
    let rollups = shop.rows(Table::TrafficRollups).await.unwrap();
    assert_eq!(totals(&rollups, "utc"), ["2026-03-02T00:00:00Z 1 1", "2026-03-03T00:00:00Z 1 1"]);
    shop.run(RunRequest::FULL).await.unwrap();
    assert_eq!(shop.rows(Table::TrafficRollups).await.unwrap(), rollups);
}
