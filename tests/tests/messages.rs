//! Deliveries and rollups are those of the definition, whatever the order, lateness and batching of events, whoever turns
//! out to be whom, and whatever goals are chosen in between; the second engine finds the same; and what does not add up
//! is marked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use touchline_ingest::record::decode;
use touchline_jobs::{JobReport, RunRequest};
use touchline_lake::Commit;
use touchline_pipeline::messages::compare::{Counted, compare};
use touchline_pipeline::messages::goals::Goals;
use touchline_schemas::control::{AccountSettings, goals};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::messages::{Sent, history, payload};
use touchline_tests::rows::{rows, value};
use touchline_verify::{Report, VerifyRequest, verify};

const TABLES: [Table; 2] = [Table::MessageDeliveries, Table::MessageRollups];

fn now() -> DateTime<Utc> {
    "2026-04-01T00:00:00Z".parse().unwrap()
}

fn us(text: &str) -> i64 {
    text.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

struct World {
    installation: Installation,
    account: AccountId,
    settings: AccountSettings,
    segments: i64,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(goals: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installation = Installation::open(folder.path(), Arc::new(MockClock::at(now())), 2).await.unwrap();
        let account = installation.control.create_account("shop", "Shop", now()).await.unwrap().id;
        let settings = AccountSettings::default();
        let mut world = Self { installation, account, settings, segments: 0, _folder: folder };
        world.choose(goals).await;
        world
    }

    fn tenant(&self) -> Tenant {
        Tenant { account_id: self.account, environment: Environment::Live }
    }

    async fn choose(&mut self, goals: &str) {
        match goals {
            "" => self.settings.unset("goals").unwrap(),
            goals => self.settings.set("goals", goals).unwrap(),
        }
        self.installation.control.set_account_settings(self.account, &self.settings, now()).await.unwrap();
    }

    async fn store(&mut self, events: &[Sent]) {
        self.segments += 1;
        let payloads: Vec<_> = events.iter().map(|sent| payload(self.tenant(), sent)).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        self.installation.writer.store(self.segments, &requests).await.unwrap();
    }

    /// Runs `identities` and `messages`; what the latter did.
    async fn run(&self, full: bool) -> JobReport {
        let mut last = JobReport::default();
        for job in self.installation.jobs().iter().filter(|job| ["identities", "messages"].contains(&job.name())) {
            last = self.installation.run_job(&**job, full && job.name() == "messages").await.unwrap();
        }
        last
    }

    async fn tables(&self) -> Vec<Vec<String>> {
        let mut tables = Vec::new();
        for table in TABLES {
            tables.push(rows(&self.installation.engine, table, self.tenant()).await.unwrap());
        }
        tables
    }

    async fn verify(&self) -> Report {
        let request = VerifyRequest {
            tables: TABLES.to_vec(),
            settings: BTreeMap::from([(self.account, self.settings.clone())]),
            ..VerifyRequest::default()
        };
        verify(self.installation.engine.lake(), &request).await.unwrap()
    }
}

const GOALS: &str = "bought=purchase;window_days=1;credit=last_touch,big=purchase;where=order.size:big;\
                     value=property:order.margin,home=page_view;where=path:/home;window_days=2;value=fixed:0.5,joined=signup";

#[tokio::test(flavor = "multi_thread")]
async fn any_history_in_any_batches_comes_to_the_same_and_the_second_engine_agrees() {
    let (mut marked, mut converted) = (0, 0);
    for seed in 0..8 {
        let mut random = SmallRng::seed_from_u64(seed);
        let length = random.random_range(20..160);
        let events = history(&mut random, length);
        let mut at_once = World::new(GOALS).await;
        at_once.store(&events).await;
        at_once.run(false).await;
        let expected = at_once.tables().await;
        let report = at_once.verify().await;
        assert!(report.is_clean() && report.tables.iter().all(|table| table.rows > 0), "{seed}: {}", report.text());

        let mut arrived = events.clone();
        arrived.shuffle(&mut random);
        // Some come twice.
        arrived.extend(events.iter().step_by(7).cloned());
        let mut world = World::new(if seed % 2 == 0 { GOALS } else { "joined=signup" }).await;
        for batch in arrived.chunks(arrived.len().div_ceil(random.random_range(1..7))) {
            world.store(batch).await;
            world.run(false).await;
            if seed < 3 {
                let report = world.verify().await;
                assert!(report.is_clean(), "{seed}: {}", report.text());
            }
        }
        // Goals that change make history anew.
        world.choose(GOALS).await;
        world.run(false).await;
        assert_eq!(world.tables().await, expected, "{seed}: by batches");
        assert!(world.run(false).await.unchanged);
        world.run(true).await;
        assert_eq!(world.tables().await, expected, "{seed}: computed anew");
        world.choose("").await;
        world.run(false).await;
        assert!(world.verify().await.is_clean(), "{seed}: without goals");
        converted += expected[1].iter().filter(|row| value(row, "conversions_last_touch") != "0").count();
        marked += expected[1].iter().filter(|row| !row.ends_with("failed_checks=∅")).count();
    }
    assert!(converted > 0);
    // Such histories hold attempts that were held back and sent all the same.
    assert!(marked > 0);
}

fn event(id: &str, event_type: &str, at: &str, delivery: &str) -> Sent {
    let sent = Sent::new(id, &format!("${event_type}"), us(at)).with(TextField::MessageId, "m");
    let sent = sent.with(TextField::Channel, "email").with(TextField::UserId, "anna");
    if delivery.is_empty() { sent } else { sent.with(TextField::DeliveryId, delivery) }
}

fn saying(sent: Sent, properties: &str) -> Sent {
    sent.with(TextField::Properties, properties)
}

/// The counts of the rows of a calendar and day that are not zero.
async fn counts(world: &World, calendar: &str, day: &str) -> String {
    let rollups = rows(&world.installation.engine, Table::MessageRollups, world.tenant()).await.unwrap();
    let begins = format!("day_at={day}T00:00:00Z calendar={calendar} ");
    let rows = rollups.iter().filter(|row| row.starts_with(&begins));
    let counts = rows.flat_map(|row| {
        let named = touchline_schemas::tables::message_rollups::COUNTS.into_iter().map(|name| (name, value(row, name)));
        named.filter(|(_, count)| *count != "0").map(|(name, count)| format!("{name}={count}")).collect::<Vec<_>>()
    });
    counts.collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_implies_a_view_and_a_view_delivery_but_nothing_implies_sending() {
    let mut world = World::new("").await;
    world
        .store(&[
            event("1", "message_sent", "2026-03-01T23:50:00Z", "clicked"),
            event("2", "message_clicked", "2026-03-02T00:10:00Z", "clicked"),
            event("3", "message_viewed", "2026-03-03T00:10:00Z", "clicked"),
            event("4", "message_delivered", "2026-03-01T10:00:00Z", "orphan"),
            event("5", "message_clicked", "2026-03-01T11:00:00Z", "orphan"),
        ])
        .await;
    world.run(false).await;
    let cohort = "decided=1 sent=1 orphans=1 delivered=1 views=1 human_views=1 implied_views=1 implied_human_views=1 \
                  unique_views=1 unique_human_views=1 unique_viewers=1 unique_human_viewers=1 clicks=1 human_clicks=1 \
                  unique_element_clicks=1 unique_clicks=1 unique_human_clicks=1 unique_clickers=1 unique_human_clickers=1";
    assert_eq!(counts(&world, "cohort", "2026-03-01").await, cohort);
    assert_eq!(counts(&world, "event", "2026-03-01").await, "decided=1 sent=1 orphans=1");
    let clicked = "delivered=1 implied_views=1 implied_human_views=1 unique_views=1 unique_human_views=1 \
                   unique_viewers=1 unique_human_viewers=1 clicks=1 human_clicks=1 unique_element_clicks=1 \
                   unique_clicks=1 unique_human_clicks=1 unique_clickers=1 unique_human_clickers=1";
    assert_eq!(counts(&world, "event", "2026-03-02").await, clicked);
    assert_eq!(counts(&world, "event", "2026-03-03").await, "views=1 human_views=1");

    // What the orphan lacked comes late, from the day before.
    world.store(&[event("6", "message_sent", "2026-02-28T23:00:00Z", "orphan")]).await;
    world.run(false).await;
    assert!(counts(&world, "cohort", "2026-02-28").await.starts_with("decided=1 sent=1 delivered=1 implied_views=1"));
    assert!(counts(&world, "cohort", "2026-03-01").await.starts_with("decided=1 sent=1 delivered=1 views=1"));
    assert!(world.verify().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_thing_on_the_same_element_is_unique_once_and_bots_are_told_apart() {
    let mut world = World::new("").await;
    let mut bot = event("2", "message_viewed", "2026-03-01T10:01:00Z", "d");
    bot.is_bot = true;
    let on = |element: &str| format!(r#"{{"element":"{element}"}}"#);
    world
        .store(&[
            event("1", "message_sent", "2026-03-01T10:00:00Z", "d"),
            bot,
            saying(event("3", "message_clicked", "2026-03-01T10:02:00Z", "d"), &on("button")),
            saying(event("4", "message_clicked", "2026-03-01T10:03:00Z", "d"), &on("button")),
            saying(event("5", "message_clicked", "2026-03-01T10:04:00Z", "d"), &on("link")),
        ])
        .await;
    world.run(false).await;
    let expected = "decided=1 sent=1 delivered=1 views=1 implied_human_views=1 unique_views=1 unique_human_views=1 \
                    unique_viewers=1 unique_human_viewers=1 clicks=3 human_clicks=3 unique_element_clicks=2 \
                    unique_clicks=1 unique_human_clicks=1 unique_clickers=1 unique_human_clickers=1";
    for calendar in ["cohort", "event"] {
        assert_eq!(counts(&world, calendar, "2026-03-01").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end_in_one_way_and_a_row_whose_attempts_do_not_is_marked() {
    let mut world = World::new("").await;
    let decision = |id: &str, delivery: &str, outcome: &str| {
        saying(
            event(id, "decision", "2026-03-01T10:00:00Z", delivery),
            &format!(r#"{{"outcome":"{outcome}","reason":"cap"}}"#),
        )
    };
    let suppressed = event("s", "message_suppressed", "2026-03-01T10:00:01Z", "");
    world
        .store(&[
            decision("allowed", "sent", "allow"),
            event("1", "message_sent", "2026-03-01T10:00:01Z", "sent"),
            decision("waits", "waiting", "allow"),
            decision("2", "", "holdout"),
            decision("3", "", "no_match"),
            decision("held", "", "suppress"),
            saying(suppressed, r#"{"decision_id":"held","reason":"cap"}"#),
            event("4", "message_failed", "2026-03-01T10:00:00Z", "failed"),
            event("5", "message_failed", "2026-03-01T10:00:00Z", "retried"),
            event("6", "message_sent", "2026-03-01T10:00:09Z", "retried"),
        ])
        .await;
    world.run(false).await;
    let whole = "decided=6 sent=2 suppressed=1 holdout=1 failed=1 pending=1 failures=2";
    assert_eq!(counts(&world, "cohort", "2026-03-01").await, whole);
    let row = |world: &Vec<Vec<String>>| world[1].iter().find(|row| row.contains("calendar=cohort")).cloned().unwrap();
    let fine = row(&world.tables().await);
    assert!(fine.contains("reasons_of=[suppressed] reasons_reason=[cap] reasons_count=[1] failed_checks=∅"), "{fine}");

    world
        .store(&[
            event("7", "message_sent", "2026-03-01T11:00:00Z", "").with(TextField::DeliveryId, "both"),
            decision("8", "both", "holdout"),
        ])
        .await;
    world.run(false).await;
    let broken = row(&world.tables().await);
    assert!(broken.ends_with("failed_checks=decided = sent + suppressed + holdout + failed + pending"), "{broken}");
    assert!(world.verify().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn goals_count_for_messages_before_them_and_follow_people_and_settings() {
    let mut world = World::new("bought=purchase;window_days=2;credit=last_touch").await;
    let purchase = |id: &str, at: &str| {
        let mut sent = Sent::new(id, "purchase", us(at)).with(TextField::VisitorId, "phone");
        sent.revenue_e4 = Some(100_000);
        sent
    };
    world
        .store(&[
            event("1", "message_sent", "2026-03-01T10:00:00Z", "first").with(TextField::RuleName, "r"),
            event("2", "message_sent", "2026-03-02T10:00:00Z", "second").with(TextField::RuleName, "r"),
            purchase("3", "2026-03-03T10:00:00Z"),
            purchase("4", "2026-03-03T10:00:01Z"),
        ])
        .await;
    world.run(false).await;
    let conversions = async |world: &World| {
        let rows = rows(&world.installation.engine, Table::MessageRollups, world.tenant()).await.unwrap();
        let rows = rows.into_iter().filter(|row| row.contains("calendar=cohort"));
        let names =
            ["conversions", "conversions_any_touch", "conversions_total", "converters", "revenue", "revenue_any_touch"];
        rows.map(|row| names.map(|name| value(&row, name).to_owned()).join(" ")).collect::<Vec<_>>()
    };
    let none = "0 0 0 0 0.0000 0.0000";
    assert_eq!(conversions(&world).await, [none, none], "nobody knows whose phone it is");

    world
        .store(&[Sent::new("5", "$identify", us("2026-03-04T00:00:00Z"))
            .with(TextField::VisitorId, "phone")
            .with(TextField::UserId, "anna")])
        .await;
    world.run(false).await;
    // Of the two purchases, one is exactly two days after the first message.
    assert_eq!(conversions(&world).await, ["0 1 1 0 0.0000 10.0000", "1 1 2 1 20.0000 20.0000"]);

    // A message that comes to light in between takes the credit.
    world.store(&[event("6", "message_sent", "2026-03-03T09:00:00Z", "third").with(TextField::RuleName, "r")]).await;
    world.run(false).await;
    assert_eq!(
        conversions(&world).await,
        ["0 1 1 0 0.0000 10.0000", "0 1 2 0 0.0000 20.0000", "1 1 2 1 20.0000 20.0000"]
    );
    assert!(world.verify().await.is_clean());

    // What other goals would count is known before anybody chooses them.
    let other = Goals::new(goals("bought=purchase;window_days=1").unwrap());
    let now = Goals::of(&world.settings);
    let compared = compare(&world.installation.engine, world.tenant(), [&now, &other]).await.unwrap();
    let counted = |counted: Counted| (counted.conversions, counted.conversions_total, counted.revenue_e4);
    let compared: Vec<_> = compared.into_iter().map(|row| (row.goal, row.counted.map(counted))).collect();
    assert_eq!(compared, [("bought".to_owned(), [(1, 5, 200_000), (2, 3, 300_000)])]);

    world.choose("bought=purchase;window_days=1").await;
    world.run(false).await;
    assert_eq!(conversions(&world).await, [none, "1 1 1 1 10.0000 10.0000", "1 1 2 1 20.0000 20.0000"]);
    assert!(world.verify().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_one_delivery_leave_other_days_alone() {
    let mut world = World::new("joined=signup").await;
    let days = ["2026-03-01", "2026-03-02", "2026-03-03"];
    let sent = days.map(|day| event(day, "message_sent", &format!("{day}T10:00:00Z"), day));
    world.store(&sent).await;
    world.run(false).await;
    let files = async |world: &World, table: Table| {
        let snapshot = world.installation.engine.lake().table(table).snapshot().await.unwrap();
        let files = snapshot.files(world.tenant()).iter().map(|file| (file.date.to_string(), file.path.clone()));
        files.collect::<BTreeMap<_, _>>()
    };
    let before = [files(&world, TABLES[0]).await, files(&world, TABLES[1]).await];
    world.store(&[event("click", "message_clicked", "2026-03-03T11:00:00Z", "2026-03-02")]).await;
    let report = world.run(false).await;
    // Of the rollups: of the message's day what was sent on it, of the next both cohort and events.
    assert_eq!(report.rows_written, 1 + 2 + 2);
    let after = [files(&world, TABLES[0]).await, files(&world, TABLES[1]).await];
    let same = |table: usize| days.map(|day| before[table][day] == after[table][day]);
    assert_eq!((same(0), same(1)), ([true, false, true], [true, false, false]));
    let request = RunRequest { account: Some(world.account), ..RunRequest::default() };
    let job = world.installation.jobs().into_iter().find(|job| job.name() == "messages").unwrap();
    let context = touchline_jobs::JobContext {
        clock: Arc::new(MockClock::at(now())),
        cancellation: tokio_util::sync::CancellationToken::new(),
        progress: Arc::default(),
    };
    let plan = job.plan(request, &context).await.unwrap();
    assert_eq!((plan.parts[0].reason, plan.parts[0].rows), ("asked for", 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_took_away_are_missed() {
    let mut world = World::new("").await;
    world.store(&[event("1", "message_sent", "2026-03-01T10:00:00Z", "d")]).await;
    world.run(false).await;
    assert!(world.verify().await.is_clean());
    for (table, expected) in [(Table::MessageRollups, 2), (Table::MessageDeliveries, 2)] {
        let table = world.installation.engine.lake().table(table);
        let snapshot = table.snapshot().await.unwrap();
        let commit = Commit {
            remove: snapshot.files(world.tenant()).to_vec(),
            info: snapshot.info.clone().unwrap_or_default(),
            based_on: snapshot.version,
            ..Commit::default()
        };
        table.commit(commit, now()).await.unwrap();
        let report = world.verify().await;
        let of_table = report.tables.iter().find(|found| found.table == table.table().name()).unwrap();
        assert_eq!(of_table.differences, expected, "{}", report.text());
    }
}
