//! Which run when, and what is said of those that fail.

use std::net::IpAddr;

use async_trait::async_trait;
use serde_json::{Value, json};
use touchline_schemas::control::{ExportRunState, WebhookState};

use super::*;
use crate::manifest::SUCCESS_FILE;
use crate::question::AskError;
use crate::testing::{Fixture, Trouble, day, start};
use crate::webhook::Resolver;

/// Every host is at this machine.
struct Here;

#[async_trait]
impl Resolver for Here {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(vec![[127, 0, 0, 1].into()])
    }
}

fn exporter(fixture: &Fixture, holder: &str) -> Exporter {
    let clock: SharedClock = fixture.clock.clone();
    Exporter::new(Parts {
        control: fixture.control.clone(),
        clock: clock.clone(),
        questions: fixture.lake.clone(),
        tables: fixture.lake.clone(),
        places: fixture.places.clone(),
        announcer: Announcer::new(Arc::new(Here), Vec::new(), None, clock).unwrap(),
        config: ExportsConfig { max_attempts: 3, retry_pause_s: 30, ..ExportsConfig::default() },
        pace: Pace {
            poll_interval: Duration::from_millis(10),
            lease_ttl: Duration::from_secs(60),
            is_scheduled: true,
            holder: holder.to_owned(),
        },
        wake: Arc::default(),
    })
}

async fn runs(fixture: &Fixture) -> Vec<ExportRun> {
    let mut runs = fixture.control.export_runs(fixture.export.id, None, 100).await.unwrap();
    runs.reverse();
    runs
}

async fn hourly(fields: Value) -> Fixture {
    let mut definition = json!({"schedule": {"cron": "0 0 * * * *"}});
    definition.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let fixture = Fixture::new(definition).await;
    fixture.lake.add(day(0), 1);
    fixture
}

#[tokio::test]
async fn times_of_the_schedule_that_were_missed_are_made_up_for_once() {
    let fixture = hourly(json!({})).await;
    let exporter = exporter(&fixture, "one");
    for (minutes, expected) in [(0, 0), (59, 0), (1, 1), (0, 0), (30, 0), (30, 1), (600, 1), (0, 0)] {
        fixture.clock.advance(TimeDelta::minutes(minutes));
        assert_eq!(exporter.tick().await.unwrap(), expected, "{minutes}");
    }
    let times: Vec<i64> = runs(&fixture).await.iter().map(|run| (run.scheduled_for - start()).num_hours()).collect();
    assert_eq!(times, [1, 2, 12]);
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_after_pauses_until_there_have_been_enough() {
    let fixture = hourly(json!({})).await;
    let exporter = exporter(&fixture, "one");
    fixture.lake.refuse(Some(AskError::Failed("no memory".to_owned())));
    fixture.clock.advance(TimeDelta::hours(1));
    for (seconds, expected) in [(0, 1), (29, 0), (1, 1), (119, 0), (1, 1), (600, 0)] {
        fixture.clock.advance(TimeDelta::seconds(seconds));
        assert_eq!(exporter.tick().await.unwrap(), expected, "{seconds}");
    }
    let [run] = &runs(&fixture).await[..] else { panic!("one run") };
    assert_eq!((run.state, run.attempt, run.error.as_deref()), (ExportRunState::Failed, 3, Some("no memory")));
    fixture.lake.refuse(None);
    fixture.clock.advance(TimeDelta::hours(1));
    assert_eq!(exporter.tick().await.unwrap(), 1);
    assert_eq!(runs(&fixture).await[1].state, ExportRunState::Succeeded);
}

#[tokio::test]
async fn a_question_that_is_refused_is_not_asked_again() {
    let fixture = hourly(json!({})).await;
    let exporter = exporter(&fixture, "one");
    fixture.lake.refuse(Some(AskError::Refused("no such column".to_owned())));
    fixture.clock.advance(TimeDelta::hours(1));
    assert_eq!(exporter.tick().await.unwrap(), 1);
    let [run] = &runs(&fixture).await[..] else { panic!("one run") };
    assert_eq!((run.state, run.error.as_deref()), (ExportRunState::Failed, Some("no such column")));
}

#[tokio::test]
async fn a_destination_that_fails_once_does_not_fail_the_run() {
    let fixture = hourly(json!({})).await;
    let exporter = exporter(&fixture, "one");
    // The third call, after a look for what is there and for what is to be cleared.
    fixture.bucket.expect(2, Trouble::Fails);
    fixture.clock.advance(TimeDelta::hours(1));
    assert_eq!(exporter.tick().await.unwrap(), 1);
    let [run] = &runs(&fixture).await[..] else { panic!("one run") };
    let error = run.error.clone().unwrap();
    assert!(run.state == ExportRunState::Queued && error.ends_with("could not be written: other error"), "{error}");
    fixture.clock.advance(TimeDelta::seconds(30));
    assert_eq!(exporter.tick().await.unwrap(), 1);
    let [run] = &runs(&fixture).await[..] else { panic!("one run") };
    assert_eq!((run.state, run.attempt, run.error.as_deref()), (ExportRunState::Succeeded, 2, None));
}

#[tokio::test]
async fn a_run_that_a_dead_process_left_is_taken_up() {
    let fixture = hourly(json!({})).await;
    let run = fixture.queue().await;
    fixture.begin(&run).await;
    assert_eq!(exporter(&fixture, "one").tick().await.unwrap(), 1);
    let [run] = &runs(&fixture).await[..] else { panic!("one run") };
    assert_eq!((run.state, run.attempt), (ExportRunState::Succeeded, 2));
}

#[tokio::test]
async fn a_run_whose_complete_set_can_be_seen_has_not_failed() {
    let mut seen = Vec::new();
    for number in 0.. {
        let fixture = hourly(json!({})).await;
        let exporter = exporter(&fixture, "one");
        let run = fixture.queue().await;
        let run = fixture.begin(&run).await;
        fixture.bucket.expect(number, Trouble::FailsDone);
        if fixture.workshop().attempt(&run).await.is_ok() {
            break;
        }
        let folder = fixture.places.open(&run.folder.clone().unwrap().parse().unwrap()).unwrap();
        let is_seen = folder.read(SUCCESS_FILE, 100).await.unwrap().is_some();
        exporter.inner.failed(&run, "the last attempt failed", true).await.unwrap();
        let expected = if is_seen { ExportRunState::Succeeded } else { ExportRunState::Failed };
        assert_eq!(runs(&fixture).await[0].state, expected, "{number}");
        seen.push(is_seen);
    }
    assert!(seen.contains(&true) && seen.contains(&false), "{seen:?}");
}

#[tokio::test]
async fn a_run_is_taken_up_also_when_the_lease_of_its_dead_process_lives_on() {
    let fixture = hourly(json!({})).await;
    let run = fixture.queue().await;
    fixture.begin(&run).await;
    let ttl = Duration::from_secs(60);
    let now = start() + TimeDelta::minutes(1);
    assert!(fixture.control.acquire_lease(EXPORTS_LEASE, "dead", ttl, now).await.unwrap());
    let (one, shutdown) = (exporter(&fixture, "one"), CancellationToken::new());
    let taken_up = async {
        assert_eq!(one.tick().await.unwrap(), 0);
        fixture.clock.advance(TimeDelta::seconds(61));
        while ended(&fixture.control, run.id).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    tokio::join!(one.serve(shutdown.clone()), taken_up);
    assert_eq!(runs(&fixture).await[0].state, ExportRunState::Succeeded);
}

#[tokio::test]
async fn one_process_at_a_time_runs_exports() {
    let fixture = hourly(json!({})).await;
    let ttl = Duration::from_secs(60);
    let now = start() + TimeDelta::hours(1);
    assert!(fixture.control.acquire_lease(EXPORTS_LEASE, "other", ttl, now).await.unwrap());
    let exporter = exporter(&fixture, "one");
    fixture.clock.advance(TimeDelta::hours(1));
    assert_eq!(exporter.tick().await.unwrap(), 0);
    fixture.clock.advance(TimeDelta::seconds(61));
    assert_eq!(exporter.tick().await.unwrap(), 1);
}

#[tokio::test]
async fn a_run_that_is_stopped_with_its_process_waits_for_the_next() {
    let fixture = hourly(json!({})).await;
    let run = fixture.queue().await;
    // The bucket does not answer.
    fixture.bucket.expect(1, Trouble::Dies);
    let shutdown = CancellationToken::new();
    let stopped = async {
        fixture.bucket.death().await;
        shutdown.cancel();
    };
    let one = exporter(&fixture, "one");
    tokio::join!(one.serve(shutdown.clone()), stopped);
    let run = fixture.control.export_run(run.id).await.unwrap().unwrap();
    assert_eq!((run.state, run.error.as_deref()), (ExportRunState::Queued, Some(SHUT_DOWN)));
    assert_eq!(exporter(&fixture, "two").tick().await.unwrap(), 1);
    assert_eq!(runs(&fixture).await[0].state, ExportRunState::Succeeded);
}

#[tokio::test]
async fn a_webhook_that_may_not_be_told_is_no_failure_of_the_run() {
    let fixture = hourly(json!({"webhook": "https://hooks.example/in"})).await;
    let exporter = exporter(&fixture, "one");
    let run = fixture.queue().await;
    let run = exporter.run_to_end(run.id).await.unwrap();
    assert_eq!((run.state, run.webhook_state), (ExportRunState::Succeeded, WebhookState::Pending));
    let run = fixture.control.export_run(run.id).await.unwrap().unwrap();
    let said = "the webhook's host leads to an address that is not public (this machine)";
    assert_eq!((run.webhook_state, run.webhook_error.as_deref()), (WebhookState::Failed, Some(said)));
    assert_eq!(exporter.announce().await.unwrap(), 0);
}
