//! Lift from events to verdict: people enter a sequence, are sent messages, buy or do not, and the reports say what is
//! known from elsewhere for these numbers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use touchline_ingest::record::decode;
use touchline_pipeline::reports::sequences::{branches, lift, steps};
use touchline_pipeline::reports::{Answer, TimeRange};
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::TextField;
use touchline_schemas::{AccountId, Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::messages::{Sent, payload};
use touchline_tests::rows::{texts, value};

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * 60 * MINUTE_US;
const GOALS: &str = "bought=purchase;window_days=3";

fn now() -> DateTime<Utc> {
    "2026-04-01T00:00:00Z".parse().unwrap()
}

/// A day of March, in µs.
fn march(day: i64) -> i64 {
    "2026-03-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros() + (day - 1) * DAY_US
}

struct World {
    installation: Installation,
    account: AccountId,
    settings: AccountSettings,
    _folder: tempfile::TempDir,
}

impl World {
    async fn of(events: &[Sent]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installation = Installation::open(folder.path(), Arc::new(MockClock::at(now())), 2).await.unwrap();
        let account = installation.control.create_account("shop", "Shop", now()).await.unwrap().id;
        let mut settings = AccountSettings::default();
        settings.set("goals", GOALS).unwrap();
        installation.control.set_account_settings(account, &settings, now()).await.unwrap();
        let mut world = Self { installation, account, settings, _folder: folder };
        let payloads: Vec<_> = events.iter().map(|sent| payload(world.tenant(), sent)).collect();
        let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
        world.installation.writer.store(1, &requests).await.unwrap();
        let needed = ["identities", "messages", "sequences"];
        for job in world.installation.jobs().iter().filter(|job| needed.contains(&job.name())) {
            world.installation.run_job(&**job, false).await.unwrap();
        }
        world
    }

    fn tenant(&self) -> Tenant {
        Tenant { account_id: self.account, environment: Environment::Live }
    }

    async fn lift(&self) -> Vec<String> {
        let params = lift::Params {
            sequence_id: "welcome".to_owned(),
            range: TimeRange::default(),
            goals: self.settings.goals.clone(),
            goal: None,
            window_days: None,
            sequence_version: None,
            control: None,
            alpha: lift::DEFAULT_ALPHA,
        };
        rows(lift::query(&self.installation.engine, self.tenant(), &params).await.unwrap()).await
    }
}

async fn rows(answer: Answer) -> Vec<String> {
    texts(&answer.batches.try_collect::<Vec<_>>().await.unwrap()).unwrap()
}

fn of_run(run: &str, person: &str, event_type: &str, at_us: i64, step: Option<&str>, more: &str) -> Sent {
    let sent = Sent::new(format!("{run}-{event_type}-{}", step.unwrap_or("")), event_type, at_us)
        .with(TextField::UserId, person)
        .with(TextField::SequenceId, "welcome");
    let sent = step.into_iter().fold(sent, |sent, step| sent.with(TextField::StepId, step));
    sent.with(TextField::Properties, &format!(r#"{{"run_id":"{run}","sequence_version":1{more}}}"#))
}

fn entered(person: &str, arm: &str, propensity: f64, at_us: i64) -> Sent {
    let drawn = format!(r#","arm":"{arm}","propensity":{propensity}"#);
    of_run(&format!("run-{person}-{at_us}"), person, "$sequence_entered", at_us, None, &drawn)
}

/// The step `greeting` of the person's run that was entered at `entered_us`: a message that costs 0.25.
fn greeted(person: &str, entered_us: i64) -> [Sent; 2] {
    let run = format!("run-{person}-{entered_us}");
    let at_us = entered_us + MINUTE_US;
    let delivery = format!("delivery-{run}");
    let message = |sent: Sent| {
        let sent = sent.with(TextField::DeliveryId, &delivery).with(TextField::MessageId, "greeting");
        sent.with(TextField::Channel, "email")
    };
    let done = of_run(&run, person, "$sequence_step_done", at_us, Some("greeting"), r#","outcome":"executed""#);
    // The sender of mails knows the delivery, and not for which sequence it is.
    let sent = Sent::new(format!("{run}-sent"), "$message_sent", at_us)
        .with(TextField::UserId, person)
        .with(TextField::Properties, r#"{"system":"sequence","cost":0.25}"#);
    [message(done), message(sent)]
}

fn bought(person: &str, at_us: i64, revenue_e4: i64) -> Sent {
    let mut sent = Sent::new(format!("bought-{person}-{at_us}"), "purchase", at_us).with(TextField::UserId, person);
    sent.revenue_e4 = Some(revenue_e4);
    sent
}

/// So many people enter an arm on the first of March; some buy for 10.00 on the next day.
fn arm(arm: &str, propensity: f64, people: usize, buyers: usize) -> Vec<Sent> {
    let names = (0..people).map(|number| format!("{arm}-{number}"));
    let person = |(number, name): (usize, String)| {
        let mut events = vec![entered(&name, arm, propensity, march(1))];
        if number < buyers {
            events.push(bought(&name, march(2), 100_000));
        }
        events
    };
    names.enumerate().flat_map(person).collect()
}

#[track_caller]
fn near(row: &str, column: &str, expected: f64, error: f64) {
    let found: f64 = value(row, column).parse().unwrap();
    assert!((found - expected).abs() <= error, "{column} is {found}, not {expected}, in {row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_of_people_are_compared_as_newcombe_did() {
    let mut events = [arm("treatment", 0.5, 70, 56), arm("holdout", 0.5, 80, 48)].concat();
    events.extend((0..70).flat_map(|number| greeted(&format!("treatment-{number}"), march(1))));
    // Everybody's window is over by then.
    events.push(bought("somebody", march(20), 10_000));
    let world = World::of(&events).await;
    let rows = world.lift().await;
    assert_eq!(rows.len(), 2);
    let (rate, worth) = (&rows[0], &rows[1]);
    for (column, expected) in [
        ("goal", "bought"),
        ("metric", "conversion_rate"),
        ("arm", "treatment"),
        ("control_arm", "holdout"),
        ("people", "70"),
        ("control_people", "80"),
        ("open_windows", "0"),
        ("total", "56.0"),
        ("control_total", "48.0"),
        ("cuped_theta", "0.0"),
        ("fixed_verdict", "win"),
        ("withheld_because", "∅"),
    ] {
        assert_eq!(value(rate, column), expected, "{column} in {rate}");
    }
    near(rate, "fixed_lower", 0.052_431_5, 1e-7);
    near(rate, "fixed_upper", 0.333_872_7, 1e-7);
    near(rate, "adjusted_difference", 0.2, 1e-12);
    near(rate, "incremental", 14.0, 1e-9);

    assert_eq!(value(worth, "metric"), "value_per_person");
    near(worth, "mean", 8.0, 1e-12);
    near(worth, "control_mean", 6.0, 1e-12);
    // 140 more than otherwise, for 70 messages of 0.25.
    near(worth, "cost", 17.5, 1e-12);
    near(worth, "incremental", 140.0, 1e-9);
    near(worth, "roi", 7.0, 1e-9);

    let params = steps::Params {
        sequence_id: "welcome".to_owned(),
        range: TimeRange::default(),
        by: "arm,channel".to_owned(),
        calendar: "cohort".to_owned(),
    };
    let steps = self::rows(steps::query(&world.installation.engine, world.tenant(), &params).await.unwrap()).await;
    assert_eq!(steps.len(), 1);
    for (column, expected) in [
        ("step_id", "greeting"),
        ("arm", "treatment"),
        ("channel", "email"),
        ("reached", "70"),
        ("executed", "70"),
        ("entries", "70"),
        ("cumulative_reach", "1.0"),
        ("step_through", "1.0"),
        ("drop_off", "0.0"),
        ("reliability", "∅"),
        ("error_rate", "0.0"),
        ("time_to_step_p50_s", "60"),
        ("messages_sent", "70"),
        ("messages_conversions", "56"),
        ("messages_converters", "56"),
        ("messages_revenue", "560.0000"),
        ("messages_cost", "17.5000"),
        ("messages_failed_checks", "∅"),
        ("failed_checks", "∅"),
    ] {
        assert_eq!(value(&steps[0], column), expected, "{column} in {}", steps[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_came_in_other_shares_withhold_the_verdict() {
    let events = [arm("treatment", 0.5, 5_200, 1_040), arm("control", 0.5, 4_800, 480)].concat();
    let rows = World::of(&events).await.lift().await;
    for row in &rows {
        near(row, "srm_chi_squared_p_value", 6.334_25e-5, 1e-9);
        near(row, "srm_p_value", 0.003_647_86, 1e-8);
        assert_eq!((value(row, "verdict"), value(row, "fixed_verdict")), ("withheld", "withheld"));
        assert!(row.contains("withheld_because=sample-ratio mismatch"), "{row}");
        near(row, "difference", if row.contains("metric=value") { 1.0 } else { 0.1 }, 1e-12);
    }
    assert_eq!(rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_counts_once_and_goals_count_in_their_window() {
    let events = vec![
        entered("ann", "treatment", 0.5, march(10)),
        // A second entry is no second person, and its arm does not count.
        entered("ann", "control", 0.5, march(12)),
        entered("bob", "treatment", 0.5, march(10)),
        entered("eve", "control", 0.5, march(10)),
        entered("dan", "control", 0.5, march(30)),
        // Exactly three days later still counts, and nothing after it; before the entry it explains.
        bought("ann", march(13), 10_000),
        bought("bob", march(13) + 1, 10_000),
        bought("bob", march(9), 50_000),
        bought("eve", march(10) - 28 * DAY_US - 1, 70_000),
        bought("eve", march(10), 20_000),
    ];
    let rows = World::of(&events).await.lift().await;
    let (rate, worth) = (&rows[0], &rows[1]);
    for (column, expected) in [
        ("people", "2"),
        ("control_people", "2"),
        ("total", "1.0"),
        ("control_total", "0.0"),
        ("open_windows", "0"),
        ("control_open_windows", "1"),
        // What they did before explains all: nobody differs from anybody.
        ("verdict", "withheld"),
    ] {
        assert_eq!(value(rate, column), expected, "{column} in {rate}");
    }
    near(worth, "total", 1.0, 1e-12);
    near(worth, "control_total", 0.0, 1e-12);
    // Within the treatment alone: x = (0, 5), y = (1, 0).
    near(worth, "cuped_theta", -0.2, 1e-12);
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_are_weighed_by_the_probability_of_each_choice() {
    let chosen = |number: usize, way: &str, propensity: f64, buys: bool| {
        let person = format!("{way}-{number}");
        let run = format!("run-{person}-{}", march(1));
        let more = format!(r#","arm":"{way}","propensity":{propensity}"#);
        let mut events = vec![
            entered(&person, "treatment", 1.0, march(1)),
            of_run(&run, &person, "$sequence_branch", march(2), Some("which_offer"), &more),
        ];
        if buys {
            events.push(bought(&person, march(3), 10_000));
        }
        events.into_iter()
    };
    let mut events: Vec<Sent> = Vec::new();
    events.extend((0..150).flat_map(|number| chosen(number, "ten_percent", 0.75, number < 30)));
    events.extend((0..50).flat_map(|number| chosen(number, "free_shipping", 0.25, number < 20)));
    // Neither a run of which nobody says that it was entered, nor another version, says anything about these ways.
    let way = r#","arm":"ten_percent","propensity":0.75"#;
    events.push(of_run("orphan", "nobody", "$sequence_branch", march(2), Some("which_offer"), way));
    events.extend(chosen(900, "ten_percent", 0.75, true).map(|sent| {
        let run = r#"{"run_id":"older","sequence_version":0"#;
        let way = r#","arm":"ten_percent","propensity":0.75}"#;
        let id = format!("older-{}", sent.id);
        sent.named(id).with(TextField::Properties, &format!("{run}{way}"))
    }));
    let world = World::of(&events).await;
    let params = branches::Params {
        sequence_id: "welcome".to_owned(),
        range: TimeRange::default(),
        goals: world.settings.goals.clone(),
        goal: Some("bought".to_owned()),
        sequence_version: None,
        window_days: None,
        alpha: 0.05,
    };
    let ways = rows(branches::query(&world.installation.engine, world.tenant(), &params).await.unwrap()).await;
    let (free, ten) = (&ways[0], &ways[1]);
    assert_eq!((value(free, "arm"), value(free, "choices"), value(free, "conversions")), ("free_shipping", "50", "20"));
    assert_eq!((value(free, "effective_sample_size"), value(free, "snips")), ("50.0", "∅"));
    assert!(free.contains("at least 100 are needed"), "{free}");
    near(ten, "effective_sample_size", 150.0, 1e-9);
    near(ten, "snips", 0.2, 1e-12);
    // 30 purchases that weigh 1 / 0.75, of 200 choices.
    near(ten, "ips", 0.2, 1e-12);
    near(free, "rate", 0.4, 1e-12);
    assert!(value(free, "probability_best").parse::<f64>().unwrap() > 0.99);
    // One arm is no comparison.
    assert!(world.lift().await.is_empty());
}
