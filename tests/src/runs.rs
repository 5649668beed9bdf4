//! Events of runs through sequences, as nobody would send them: any type at any time, twice, without what comes before.

use chrono::{DateTime, SecondsFormat};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};
use touchline_ingest::record::Event;
use touchline_schemas::event::TextField;
use touchline_schemas::event::messaging::{
    EXIT_REASONS, SEQUENCE_BRANCH, SEQUENCE_ENTERED, SEQUENCE_EXITED, SEQUENCE_STEP_DONE, SEQUENCE_STEP_DUE,
    STEP_OUTCOMES,
};

const TYPES: [&str; 7] = [
    SEQUENCE_ENTERED,
    SEQUENCE_STEP_DUE,
    SEQUENCE_STEP_DUE,
    SEQUENCE_STEP_DONE,
    SEQUENCE_STEP_DONE,
    SEQUENCE_BRANCH,
    SEQUENCE_EXITED,
];
/// The last of each is a word that is not counted by.
const REASONS: [&str; 4] = ["quiet_hours", "budget", "consent", "rain"];
const CHANNELS: [Option<&str>; 3] = [None, Some("email"), Some("push")];

/// Makes `event` one of a run. Some of the runs, sequences and versions are the same in many events.
pub fn become_event_of_a_run(event: &mut Event<'_>, at_us: i64, random: &mut SmallRng) {
    let one_of = |random: &mut SmallRng, words: &[&'static str]| *words.choose(random).unwrap_or(&"");
    let event_type = one_of(random, &TYPES);
    event.set(TextField::EventType, event_type);
    event.set(TextField::SequenceId, one_of(random, &["welcome", "welcome", "win_back"]));
    if random.random_bool(0.9) {
        event.set(TextField::StepId, one_of(random, &["first_mail", "wait", "which_offer"]));
    }
    if let Some(channel) = CHANNELS.choose(random).copied().flatten() {
        event.set(TextField::Channel, channel);
    }
    let mut said = Map::new();
    let mut say = |name: &str, value: Value| drop(said.insert(name.to_owned(), value));
    say("run_id", json!(format!("run-{}", random.random_range(0..25))));
    if random.random_bool(0.9) {
        say("sequence_version", json!(random.random_range(1..3)));
    }
    let reason = match event_type {
        SEQUENCE_EXITED if random.random_bool(0.95) => one_of(random, &EXIT_REASONS),
        _ => one_of(random, &REASONS),
    };
    say("reason", json!(reason));
    say("arm", json!(one_of(random, &["treatment", "holdout"])));
    say("propensity", json!(f64::from(random.random_range(1..=10)) / 10.0));
    if event_type == SEQUENCE_STEP_DONE && random.random_bool(0.95) {
        say("outcome", json!(one_of(random, &STEP_OUTCOMES)));
        event.set(TextField::MessageId, "welcome_1");
        event.set(TextField::DeliveryId, format!("delivery-{}", random.random_range(0..50)));
    }
    if event_type == SEQUENCE_STEP_DUE {
        let due_at = DateTime::from_timestamp_micros(at_us + random.random_range(0..2_000) * 60_000_000);
        say("due_at", json!(due_at.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)));
        if random.random_bool(0.7) {
            say("sla_s", json!(random.random_range(0..100_000)));
        }
    }
    event.set(TextField::Properties, Value::Object(said).to_string());
}
