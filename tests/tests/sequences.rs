//! Runs through sequences and their metrics: what a run of the job after each batch of events leaves is what one over
//! everything computes, and what the second engine makes of the events.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use touchline_ingest::record::{Event, decode};
use touchline_jobs::{Job, SequencesJob};
use touchline_pipeline::reports::sequences::{self, steps};
use touchline_pipeline::reports::{Answer, TimeRange};
use touchline_schemas::MockClock;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_tests::installation::Installation;
use touchline_tests::logged::{self, tenant};
use touchline_tests::rows::{only, rows, texts, value};
use touchline_tests::runs::become_event_of_a_run;
use touchline_verify::{VerifyRequest, verify};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
const TABLES: [Table; 2] = [Table::SequenceRuns, Table::SequenceMetrics];

fn now() -> DateTime<Utc> {
    "2026-03-09T00:00:00Z".parse().unwrap()
}

fn begin_us() -> i64 {
    "2026-03-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros()
}

/// An event of somebody; when it arrives says the batch.
type Sent = Event<'static>;

fn sent(at_us: i64, id: String, says: impl FnOnce(&mut Event<'static>)) -> Sent {
    let mut event = Event::at(at_us);
    event.set(TextField::EventId, id);
    says(&mut event);
    event
}

/// An event of a run, or one that says whose a visitor id is.
fn any_event(random: &mut SmallRng, number: usize) -> Sent {
    let at_us = begin_us() + random.random_range(0..6 * 24 * 12) * 5 * MINUTE_US;
    sent(at_us, format!("event-{number:04}"), |event| {
        if random.random_bool(0.85) {
            become_event_of_a_run(event, at_us, random);
            if random.random_bool(0.6) {
                event.set(TextField::VisitorId, format!("visitor-{}", random.random_range(0..5)));
            } else {
                event.set(TextField::UserId, format!("user-{}", random.random_range(0..3)));
            }
        } else {
            event.set(TextField::EventType, "$identify");
            event.set(TextField::VisitorId, format!("visitor-{}", random.random_range(0..5)));
            event.set(TextField::UserId, format!("user-{}", random.random_range(0..3)));
        }
    })
}

/// An installation with what was stored in it.
struct World {
    installation: Installation,
    segments: i64,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installation = Installation::open(folder.path(), Arc::new(MockClock::at(now())), 2).await.unwrap();
        Self { installation, segments: 0, _folder: folder }
    }

    async fn store(&mut self, batch: &[Sent], received_at_us: i64) {
        let payloads: Vec<_> = batch.iter().map(|sent| logged::of(tenant(), received_at_us, [sent.clone()])).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        self.segments += 1;
        self.installation.writer.store(self.segments, &requests).await.unwrap();
    }

    async fn tables(&self) -> [Vec<String>; 2] {
        let mut found = Vec::new();
        for table in TABLES {
            found.push(rows(&self.installation.engine, table, tenant()).await.unwrap());
        }
        found.try_into().unwrap()
    }

    async fn assert_verified(&self, which: &str) {
        let request = VerifyRequest { tables: TABLES.to_vec(), ..VerifyRequest::default() };
        let report = verify(self.installation.engine.lake(), &request).await.unwrap();
        assert!(report.is_clean(), "{which}:\n{}", report.text());
        assert!(report.tables.iter().all(|table| table.rows > 0 && table.skipped.is_empty()), "{which}");
        assert!(!report.checks.is_empty(), "{which}");
    }

    fn job(&self) -> SequencesJob {
        SequencesJob::new(self.installation.engine.clone())
    }
}

/// Batches in an order of arrival, some events twice, and when each arrives. The times may go back.
fn arrivals(events: &[Sent], random: &mut SmallRng) -> Vec<(Vec<Sent>, i64)> {
    let mut arriving: Vec<Sent> = events.iter().chain(events.iter().step_by(6)).cloned().collect();
    arriving.shuffle(random);
    let batches = random.random_range(2..5);
    let length = arriving.len().div_ceil(batches);
    let batches = arriving.chunks(length).map(<[Sent]>::to_vec);
    batches.map(|batch| (batch, begin_us() + random.random_range(0..8 * 24 * 60) * MINUTE_US)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_the_job_one_by_one_all_at_once_and_the_second_engine_agree() {
    for seed in 0..8 {
        let mut random = SmallRng::seed_from_u64(seed);
        let events: Vec<Sent> = (0..120).map(|number| any_event(&mut random, number)).collect();
        let batches = arrivals(&events, &mut random);
        let last = batches.last().unwrap().1;

        let mut world = World::new().await;
        for (number, (batch, received_at_us)) in batches.iter().enumerate() {
            world.store(batch, *received_at_us).await;
            world.installation.run_jobs(false).await.unwrap();
            world.assert_verified(&format!("seed {seed}, batch {number}")).await;
        }
        let incremental = world.tables().await;
        world.installation.run_jobs(true).await.unwrap();
        assert_eq!(world.tables().await, incremental, "seed {seed}: computed anew");

        let mut at_once = World::new().await;
        at_once.store(&events, last).await;
        at_once.installation.run_jobs(false).await.unwrap();
        assert_eq!(at_once.tables().await, incremental, "seed {seed}: all at once");
    }
}

/// An event of a run of `welcome`, by `ada`.
fn of_run(run: &str, at_us: i64, event_type: &str, step: Option<&str>, more: &str) -> Sent {
    sent(at_us, format!("{run}-{event_type}-{}-{at_us}", step.unwrap_or("")), |event| {
        event.set(TextField::EventType, event_type.to_owned());
        event.set(TextField::UserId, "ada");
        event.set(TextField::SequenceId, "welcome");
        if let Some(step) = step {
            event.set(TextField::StepId, step.to_owned());
        }
        event.set(TextField::Properties, format!(r#"{{"run_id":"{run}","sequence_version":1{more}}}"#));
    })
}

fn entered(run: &str, at_us: i64) -> Sent {
    of_run(run, at_us, "$sequence_entered", None, r#","arm":"t","propensity":0.5"#)
}

fn exited(run: &str, at_us: i64) -> Sent {
    of_run(run, at_us, "$sequence_exited", None, r#","reason":"completed""#)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_of_runs_that_changed_and_days_that_count_otherwise_are_written() {
    let mut world = World::new().await;
    let day = |day: i64| begin_us() + day * DAY_US + MINUTE_US;
    // Two runs that ended long ago, and one that goes on.
    let mut first: Vec<Sent> = Vec::new();
    for (run, from) in [("old-1", 0), ("old-2", 1)] {
        first.extend([entered(run, day(from)), exited(run, day(from) + MINUTE_US)]);
    }
    first.push(entered("open", day(4)));
    world.store(&first, day(5)).await;
    world.installation.run_jobs(false).await.unwrap();
    let days = async |world: &World, table: Table| {
        let snapshot = world.installation.engine.lake().table(table).snapshot().await.unwrap();
        snapshot.files(tenant()).iter().map(|file| (file.date.to_string(), file.path.clone())).collect::<Vec<_>>()
    };
    let (runs, metrics) = (days(&world, TABLES[0]).await, days(&world, TABLES[1]).await);
    assert_eq!(runs.len(), 3);

    world.store(&[exited("open", day(6))], day(6)).await;
    let plan = world.job().plan(Default::default(), &world.installation.job_context()).await.unwrap();
    let [part] = plan.parts.as_slice() else { panic!("{plan:?}") };
    assert_eq!((part.reason, part.rows), ("new rows", 1));
    world.installation.run_jobs(false).await.unwrap();
    let (runs_now, metrics_now) = (days(&world, TABLES[0]).await, days(&world, TABLES[1]).await);
    let kept = |before: &[(String, String)], now: &[(String, String)]| {
        let kept = before.iter().filter(|file| now.contains(file));
        kept.map(|(day, _)| day.clone()).collect::<Vec<_>>()
    };
    assert_eq!(kept(&runs, &runs_now), ["2026-03-01", "2026-03-02"]);
    assert_eq!(kept(&metrics, &metrics_now), ["2026-03-01", "2026-03-02"]);
    let dates: Vec<&str> = metrics_now.iter().map(|(day, _)| day.as_str()).collect();
    assert_eq!(dates, ["2026-03-01", "2026-03-02", "2026-03-05", "2026-03-07"]);
    world.assert_verified("after the run ended").await;

    let report = world.installation.run_job(&world.job(), false).await.unwrap();
    assert!(report.unchanged, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_which_the_counts_do_not_add_up_is_marked() {
    let mut world = World::new().await;
    let at_us = begin_us();
    let odd = of_run("r", at_us + MINUTE_US, "$sequence_exited", None, r#","reason":"bored""#);
    world.store(&[entered("r", at_us), odd, entered("s", at_us + DAY_US)], at_us + DAY_US).await;
    world.installation.run_jobs(false).await.unwrap();
    let [_, metrics] = world.tables().await;
    let marked: Vec<_> = metrics.iter().filter(|row| value(row, "failed_checks") != "∅").collect();
    assert_eq!(marked.len(), 2, "{metrics:#?}");
    assert!(marked.iter().all(|row| value(row, "day_at").starts_with("2026-03-01")), "{marked:#?}");
    world.assert_verified("a marked row is the same for both").await;
}

/// Rows of a report, without columns that the table has not; in any order.
async fn reported(answer: Answer, columns: &[String]) -> Vec<String> {
    let batches = answer.batches.try_collect::<Vec<_>>().await.unwrap();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    only(&texts(&batches).unwrap(), &columns)
}

/// All runs of the history `any_event` makes.
fn whole() -> TimeRange {
    TimeRange { from: None, to: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_by_everything_are_the_table_and_coarser_ones_add_up() {
    for seed in 0..4 {
        let mut random = SmallRng::seed_from_u64(seed);
        let events: Vec<_> = (0..240).map(|number| any_event(&mut random, number)).collect();
        let mut world = World::new().await;
        world.store(&events, now().timestamp_micros()).await;
        world.installation.run_jobs(false).await.unwrap();
        let engine = &world.installation.engine;
        let [_, table] = world.tables().await;
        let table: Vec<String> =
            table.iter().map(|row| row.replacen("T00:00:00Z", "", 1).replacen("day_at=", "day=", 1)).collect();
        for calendar in sequences::CALENDARS {
            let stored = || table.iter().filter(|row| value(row, "calendar") == calendar).cloned();
            let all_columns = Table::SequenceMetrics.file_schema();
            let number_of = |name: &str| all_columns.index_of(name).unwrap();
            let counts: Vec<String> = (number_of("entries")..=number_of("exits_expired"))
                .chain([number_of("failed_checks")])
                .map(|place| all_columns.field(place).name().clone())
                .collect();

            let by = "day,sequence_id,sequence_version,arm".to_owned();
            let params =
                sequences::Params { range: whole(), by: by.clone(), calendar: calendar.to_owned(), limit: None };
            let answer = sequences::query(engine, tenant(), &params).await.unwrap();
            let columns: Vec<String> = by.split(',').map(str::to_owned).chain(counts.clone()).collect();
            let runs: Vec<String> = stored().filter(|row| value(row, "step_id") == "∅").collect();
            let named: Vec<&str> = columns.iter().map(String::as_str).collect();
            assert_eq!(reported(answer, &columns).await, only(&runs, &named), "{seed} {calendar}");

            let params = sequences::Params { by: "sequence_id".to_owned(), ..params };
            let answer = sequences::query(engine, tenant(), &params).await.unwrap();
            let coarse = reported(answer, &columns).await;
            for name in ["entries", "orphans", "exits", "exits_completed"] {
                let sum =
                    |rows: &[String]| rows.iter().map(|row| value(row, name).parse::<i64>().unwrap()).sum::<i64>();
                assert_eq!(sum(&coarse), sum(&runs), "{seed} {calendar} {name}");
            }

            let ids: BTreeSet<String> = runs.iter().map(|row| value(row, "sequence_id").to_owned()).collect();
            for id in ids.iter().filter(|id| *id != "∅") {
                let params = steps::Params {
                    sequence_id: id.clone(),
                    range: whole(),
                    by: "day,sequence_version,arm,channel".to_owned(),
                    calendar: calendar.to_owned(),
                };
                let answer = steps::query(engine, tenant(), &params).await.unwrap();
                let mut columns: Vec<String> =
                    ["day", "sequence_version", "step_id", "arm", "channel", "active"].map(str::to_owned).to_vec();
                let last = if calendar == "cohort" { "time_in_step_p75_s" } else { "overdue" };
                let numbers = (number_of("reached")..=number_of(last)).chain([number_of("failed_checks")]);
                columns.extend(numbers.map(|place| all_columns.field(place).name().clone()));
                let named: Vec<&str> = columns.iter().map(String::as_str).collect();
                let of_id = stored().filter(|row| value(row, "sequence_id") == id && value(row, "step_id") != "∅");
                let expected = only(&of_id.collect::<Vec<_>>(), &named);
                assert_eq!(reported(answer, &columns).await, expected, "{seed} {calendar} {id}");
            }
        }
    }
}
