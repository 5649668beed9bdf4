//! Events of messages, and histories of them in which everything meets everything.

#![expect(clippy::unwrap_used, reason = "choices from lists that are not empty")]

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use touchline_ingest::record::Event;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;

use crate::logged;

const HOUR_US: i64 = 3_600_000_000;
/// 2026-03-01T20:00:00Z.
const BEGIN_US: i64 = 1_772_395_200_000_000;

/// An event: its id, its time, and texts by field.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// When it happened, in µs since 1970.
    pub at_us: i64,
    /// Whether a bot did it.
    pub is_bot: bool,
    /// Ten-thousandths of its revenue.
    pub revenue_e4: Option<i64>,
    texts: Vec<(TextField, String)>,
}

impl Sent {
    /// An event of this type.
    pub fn new(id: impl Into<String>, event_type: &str, at_us: i64) -> Self {
        let texts = vec![(TextField::EventType, event_type.to_owned())];
        Self { id: id.into(), at_us, is_bot: false, revenue_e4: None, texts }
    }

    /// The same under another id.
    #[must_use]
    pub fn named(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// What it says of a field; the last word counts.
    pub fn text(&self, field: TextField) -> Option<&str> {
        self.texts.iter().rev().find(|(known, _)| *known == field).map(|(_, text)| text.as_str())
    }

    /// The same, with a text.
    #[must_use]
    pub fn with(mut self, field: TextField, text: &str) -> Self {
        self.texts.push((field, text.to_owned()));
        self
    }
}

/// A request with one event, as the log has it.
pub fn payload(tenant: Tenant, sent: &Sent) -> Vec<u8> {
    let mut event = Event::at(sent.at_us);
    event.is_bot = sent.is_bot;
    event.revenue_e4 = sent.revenue_e4;
    event.set(TextField::EventId, sent.id.clone());
    for (field, text) in &sent.texts {
        event.set(*field, text.clone());
    }
    logged::of(tenant, sent.at_us, [event])
}

/// A history of a few people and deliveries, in which everything meets everything.
pub fn history(random: &mut SmallRng, length: usize) -> Vec<Sent> {
    const TYPES: [&str; 14] = [
        "$message_sent",
        "$message_sent",
        "$message_delivered",
        "$message_viewed",
        "$message_viewed",
        "$message_clicked",
        "$message_dismissed",
        "$message_submitted",
        "$message_bounced",
        "$message_failed",
        "$message_suppressed",
        "$message_unsubscribed",
        "$message_complained",
        "$decision",
    ];
    (0..length)
        .map(|number| {
            // Equal times, midnights and windows of exactly a day are common.
            let at_us = BEGIN_US + random.random_range(0..120) * HOUR_US;
            let person = random.random_range(0..4_usize);
            let id = format!("event-{number:04}");
            let mut sent = if random.random_bool(0.25) {
                let event_type =
                    *["purchase", "purchase", "signup", "page_view", "$alias", "$unmerge"].choose(random).unwrap();
                let mut sent = Sent::new(id, event_type, at_us);
                sent.revenue_e4 = random.random_bool(0.6).then(|| random.random_range(-10_000..100_000));
                sent = sent.with(TextField::Path, ["/home", "/cart"].choose(random).unwrap());
                let properties = match event_type {
                    "$alias" | "$unmerge" => format!(r#"{{"previous_id":"user-{}"}}"#, random.random_range(0..3)),
                    _ => [r#"{"order":{"size":"big","margin":"1.25"}}"#, r#"{"order":{"size":"small"}}"#, "{}"]
                        .choose(random)
                        .map(|text| (*text).to_owned())
                        .unwrap(),
                };
                sent.with(TextField::Properties, &properties)
            } else {
                let event_type = *TYPES.choose(random).unwrap();
                let mut sent = Sent::new(id, event_type, at_us);
                let delivery = random.random_range(0..14_usize);
                let says = |random: &mut SmallRng| random.random_bool(0.7);
                if event_type != "$decision" && event_type != "$message_suppressed" || says(random) {
                    sent = sent.with(TextField::DeliveryId, &format!("delivery-{delivery}"));
                }
                if says(random) {
                    sent = sent.with(TextField::MessageId, &format!("message-{}", delivery % 3));
                }
                if says(random) {
                    sent = sent.with(TextField::Channel, ["email", "site"][delivery % 2]);
                }
                if random.random_bool(0.2) {
                    sent = sent.with(TextField::Variant, ["a", "b"].choose(random).unwrap());
                }
                if random.random_bool(0.1) {
                    sent = sent.with(TextField::RuleName, "rule");
                }
                if random.random_bool(0.1) {
                    sent = sent.with(TextField::SequenceId, "sequence").with(TextField::StepId, "step");
                }
                let mut said = Vec::new();
                if event_type == "$decision" {
                    said.push(format!(
                        r#""outcome":"{}""#,
                        ["allow", "suppress", "holdout", "no_match"].choose(random).unwrap()
                    ));
                }
                for (name, values) in [
                    ("reason", &[r#""cap""#, r#"" quiet ""#, r#""""#][..]),
                    ("element", &[r#""button""#, r#""link""#]),
                    ("system", &[r#""site_message""#, r#""rule""#, r#""pigeon""#]),
                    ("cost", &["0.0004", r#""1.5""#, "-1"]),
                    ("decision_id", &[r#""event-0001""#, r#""event-0002""#]),
                    // What nobody asks for, and not everybody can read.
                    ("form", &[r#"{"reason":"cap"}"#, "1e999", r#""\ud800""#]),
                ] {
                    // Some say a thing twice.
                    for _ in 0..random.random_range(1..3) {
                        if random.random_bool(0.2) {
                            said.push(format!(r#""{name}":{}"#, values.choose(random).unwrap()));
                        }
                    }
                }
                sent.with(TextField::Properties, &format!("{{{}}}", said.join(",")))
            };
            sent.is_bot = random.random_bool(0.1);
            if random.random_bool(0.9) {
                sent = sent.with(TextField::VisitorId, &format!("visitor-{person}"));
            }
            if random.random_bool(0.25) {
                let other = usize::from(random.random_bool(0.2));
                sent = sent.with(TextField::UserId, &format!("user-{}", (person + other) % 3));
            }
            sent
        })
        .collect()
}
