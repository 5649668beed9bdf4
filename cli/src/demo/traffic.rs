//! Generates a month of a shop's traffic, as the requests that its clients would post.
//!
//! Everything follows from a seed and the window's end: the same two give the same bytes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use touchline_schemas::event::messaging::{MESSAGE_SENT, SEQUENCE_ENTERED};

use super::catalog::{self, ORIGIN};
use super::chance::Dice;
use super::malformed;
use super::messages;
use super::people::{self, Visitor};
use super::rhythm::{DAY_MS, HOUR_MS, Rhythm, instant};
use super::sources::Source;
use super::truth::Truth;
use super::visit::{self, Draft, timestamp};

/// Where events are posted to, many at a time.
pub const EVENTS_ENDPOINT: &str = "/api/v1/events";
/// Where a person's two ids are posted to, one at a time.
pub const IDENTIFY_ENDPOINT: &str = "/api/v1/identify";

const WINDOW_DAYS: i64 = 30;
const BATCH_EVENTS: u32 = 250;
const BOT_SHARE_PERCENT: u64 = 3;
const DUPLICATE_RATE: f64 = 0.01;
const LATE_VISIT_RATE: f64 = 0.02;
const MAX_MALFORMED: u64 = 50;
/// One malformed event for so many good ones, until there are enough of them.
const EVENTS_PER_MALFORMED: u64 = 1_000;
/// From this delay on an event counts as late.
const LATE_MS: i64 = HOUR_MS;
const RETURN_RATE: f64 = 0.62;
const MEAN_DAYS_AWAY: f64 = 4.0;
const UNANSWERED_EMAIL_RATE: f64 = 0.5;

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct TrafficOptions {
    /// The seed of all chance.
    pub seed: u64,
    /// The end of the window; no event is later.
    pub end: DateTime<Utc>,
    /// About how many events there are, before duplicates and malformed ones are added.
    pub events: u64,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The path it is posted to.
    pub endpoint: &'static str,
    /// Its body: JSON.
    pub body: Vec<u8>,
    /// How many events are in it.
    pub sent: u32,
}

/// The requests in the order in which they are posted, and what must come of them.
#[derive(Debug)]
pub struct Traffic {
    /// The requests.
    pub batches: Vec<Batch>,
    /// What must come of them.
    pub truth: Truth,
}

/// Generates the traffic.
pub fn generate(options: TrafficOptions) -> Traffic {
    let mut shop = Shop {
        dice: Dice::new(options.seed),
        rhythm: Rhythm::new(options.end, WINDOW_DAYS),
        outgoing: Vec::new(),
        truth: Truth::default(),
    };
    shop.bots(options.events * BOT_SHARE_PERCENT / 100);
    while shop.truth.stored < options.events {
        shop.person();
    }
    shop.malformed(MAX_MALFORMED.min(options.events / EVENTS_PER_MALFORMED));
    let Shop { mut outgoing, mut truth, .. } = shop;
    truth.sent = truth.stored + truth.duplicates + truth.rejected;
    outgoing.sort_by_key(|item| item.posted_ms);
    Traffic { batches: into_batches(&outgoing), truth }
}

/// An event or an identification on its way.
struct Outgoing {
    posted_ms: i64,
    endpoint: &'static str,
    json: Vec<u8>,
}

/// An event as the native API reads it.
#[derive(Serialize)]
struct WireEvent<'a> {
    event_id: &'a str,
    event_type: &'a str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    ip: &'a str,
    user_agent: &'a str,
    properties: &'a Map<String, Value>,
}

struct Shop {
    dice: Dice,
    rhythm: Rhythm,
    outgoing: Vec<Outgoing>,
    truth: Truth,
}

impl Shop {
    /// Everything that one person does in the window.
    fn person(&mut self) {
        let mut visitor = Visitor::new(&mut self.dice);
        let first = Source::of_first_visit(&mut self.dice);
        let mut visits = 0;
        let mut source = first;
        let mut next_ms = Some(self.rhythm.draw(&mut self.dice));
        while let Some(start_ms) = next_ms {
            let left_ms = self.visit(&mut visitor, source, start_ms, visits > 0);
            visits += 1;
            if !self.dice.chance(RETURN_RATE) {
                break;
            }
            next_ms = self.rhythm.draw_return(&mut self.dice, left_ms, MEAN_DAYS_AWAY);
            source = Source::of_return(&mut self.dice);
        }
        if let Some(run) = visitor.run.take() {
            let drafts = run.play(&mut self.dice, &visitor);
            self.post_all(&visitor, drafts, 0);
        }
        self.truth.visitors += 1;
        self.truth.sessions += visits;
        *self.truth.visitors_by_channel.entry(first.channel).or_default() += 1;
        *self.truth.sessions_by_channel.entry(first.channel).or_default() += visits;
    }

    /// One visit; returns when it ended, in Unix milliseconds.
    fn visit(&mut self, visitor: &mut Visitor, source: &Source, start_ms: i64, is_return: bool) -> i64 {
        let delay_ms = if self.dice.chance(LATE_VISIT_RATE) { self.dice.between(LATE_MS, 2 * DAY_MS) } else { 0 };
        // Whoever comes back through a newsletter was sent one before.
        if is_return && source.channel == "email" {
            let sent_ms = start_ms - self.dice.between(HOUR_MS, 20 * HOUR_MS);
            let drafts = messages::email(&mut self.dice, visitor, sent_ms, Some(start_ms));
            self.post_all(visitor, drafts, 0);
        }
        let visit = visit::play(&mut self.dice, visitor, source, start_ms);
        let left_ms = visit.drafts.last().map_or(start_ms, |draft| draft.at_ms);
        self.post_all(visitor, visit.drafts, delay_ms);
        if let Some(at_ms) = visit.signed_up_at_ms.filter(|at_ms| *at_ms < self.rhythm.end_ms()) {
            self.identify(visitor, at_ms + delay_ms);
        }
        if visitor.user_id.is_some() && self.dice.chance(UNANSWERED_EMAIL_RATE) {
            let sent_ms = left_ms + self.dice.between(12 * HOUR_MS, 3 * DAY_MS);
            let drafts = messages::email(&mut self.dice, visitor, sent_ms, None);
            self.post_all(visitor, drafts, 0);
        }
        left_ms
    }

    fn post_all(&mut self, visitor: &Visitor, drafts: Vec<Draft>, delay_ms: i64) {
        let end_ms = self.rhythm.end_ms();
        for draft in drafts.into_iter().filter(|draft| draft.at_ms < end_ms) {
            self.count(&draft);
            // Clients collect for a moment before they post.
            let posted_ms = draft.at_ms + delay_ms + self.dice.between(200, 15_000);
            self.truth.late_events += u64::from(posted_ms - draft.at_ms >= LATE_MS);
            let event = WireEvent {
                event_id: &self.dice.uuid(),
                event_type: draft.event_type,
                timestamp: timestamp(draft.at_ms),
                visitor_id: Some(&visitor.visitor_id),
                user_id: draft.user_id.as_deref(),
                session_id: draft.session_id.as_deref(),
                ip: &visitor.ip,
                user_agent: visitor.user_agent,
                properties: &draft.properties,
            };
            self.post(posted_ms, &event);
        }
    }

    fn count(&mut self, draft: &Draft) {
        self.truth.messages_sent += u64::from(draft.event_type == MESSAGE_SENT);
        self.truth.runs += u64::from(draft.event_type == SEQUENCE_ENTERED);
        if draft.event_type == "purchase" {
            self.truth.purchases += 1;
            let revenue = draft.properties.get("revenue").and_then(Value::as_f64).unwrap_or(0.0);
            #[expect(clippy::cast_possible_truncation, reason = "an order is far below 2^53 cents")]
            let cents = (revenue * 100.0).round() as i64;
            self.truth.revenue_cents += cents;
        }
    }

    /// Posts an event, and sometimes the very same bytes again.
    fn post(&mut self, posted_ms: i64, event: &WireEvent<'_>) {
        let json = json!(event).to_string().into_bytes();
        self.truth.stored += 1;
        if self.dice.chance(DUPLICATE_RATE) {
            let retry_ms = if self.dice.chance(0.2) { 2 * DAY_MS } else { 10 * 60_000 };
            let posted_ms = posted_ms + self.dice.between(1_000, retry_ms);
            self.truth.duplicates += 1;
            self.outgoing.push(Outgoing { posted_ms, endpoint: EVENTS_ENDPOINT, json: json.clone() });
        }
        self.outgoing.push(Outgoing { posted_ms, endpoint: EVENTS_ENDPOINT, json });
    }

    fn identify(&mut self, visitor: &Visitor, posted_ms: i64) {
        let body = json!({
            "user_id": visitor.user_id,
            "visitor_id": visitor.visitor_id,
            "traits": {"newsletter": self.dice.chance(0.7), "language": self.dice.pick(&["de", "en", "fr"])},
        });
        self.truth.stored += 1;
        let json = body.to_string().into_bytes();
        self.outgoing.push(Outgoing { posted_ms, endpoint: IDENTIFY_ENDPOINT, json });
    }

    /// Crawlers walk through the shop at all hours, known by their address and user agent only.
    fn bots(&mut self, events: u64) {
        let crawlers: Vec<_> =
            (0..40).map(|_| (people::address(&mut self.dice), *self.dice.pick(&people::BOTS))).collect();
        for _ in 0..events {
            let at_ms = self.rhythm.end_ms() - self.dice.between(1, WINDOW_DAYS * DAY_MS);
            let product = catalog::any_product(&mut self.dice);
            let url = format!("{ORIGIN}{}", catalog::product_page(product).path);
            let properties =
                Map::from_iter([("url".to_owned(), json!(url)), ("title".to_owned(), json!(product.name))]);
            let (ip, user_agent) = self.dice.pick(&crawlers);
            let event = WireEvent {
                event_id: &self.dice.uuid(),
                event_type: "page_view",
                timestamp: timestamp(at_ms),
                visitor_id: None,
                user_id: None,
                session_id: None,
                ip,
                user_agent,
                properties: &properties,
            };
            self.post(at_ms + 1_000, &event);
        }
        self.truth.bot_events = events;
    }

    fn malformed(&mut self, events: u64) {
        for number in 0..usize::try_from(events).unwrap_or(0) {
            let posted_ms = self.rhythm.draw(&mut self.dice);
            let json = malformed::event(&mut self.dice, number, instant(posted_ms)).to_string().into_bytes();
            self.outgoing.push(Outgoing { posted_ms, endpoint: EVENTS_ENDPOINT, json });
        }
        self.truth.rejected = events;
    }
}

/// Puts what is posted at about the same time into one request; an identification is a request of its own.
fn into_batches(outgoing: &[Outgoing]) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut open = OpenBatch::default();
    for item in outgoing {
        if item.endpoint == IDENTIFY_ENDPOINT {
            batches.push(Batch { endpoint: IDENTIFY_ENDPOINT, body: item.json.clone(), sent: 1 });
            continue;
        }
        open.push(&item.json);
        if open.events == BATCH_EVENTS {
            batches.extend(open.close());
        }
    }
    batches.extend(open.close());
    batches
}

/// The array of events that is being filled.
#[derive(Default)]
struct OpenBatch {
    body: Vec<u8>,
    events: u32,
}

impl OpenBatch {
    fn push(&mut self, event: &[u8]) {
        self.body.extend_from_slice(if self.events == 0 { br#"{"events":["# } else { b"," });
        self.body.extend_from_slice(event);
        self.events += 1;
    }

    fn close(&mut self) -> Option<Batch> {
        let Self { mut body, events } = std::mem::take(self);
        body.extend_from_slice(b"]}");
        (events > 0).then_some(Batch { endpoint: EVENTS_ENDPOINT, body, sent: events })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    use super::*;

    fn options(seed: u64, events: u64) -> TrafficOptions {
        TrafficOptions { seed, end: "2026-03-31T12:34:56.789Z".parse().expect("valid"), events }
    }

    /// The events of all batches, as posted.
    fn posted(traffic: &Traffic) -> Vec<Value> {
        let batches = traffic.batches.iter().filter(|batch| batch.endpoint == EVENTS_ENDPOINT);
        let bodies = batches.map(|batch| serde_json::from_slice::<Value>(&batch.body).expect("JSON"));
        bodies.flat_map(|mut body| body["events"].as_array_mut().map(std::mem::take).expect("an array")).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let first = generate(options(7, 3_000));
        let again = generate(options(7, 3_000));
        assert_eq!(first.batches, again.batches);
        assert_eq!(first.truth, again.truth);
        assert_ne!(first.batches, generate(options(8, 3_000)).batches);
    }

    #[test]
    fn a_full_demo_is_of_the_promised_size() {
        let Traffic { batches, truth } = generate(options(1, 200_000));
        let check = |what: &str, value: u64, low: u64, high: u64| {
            assert!((low..=high).contains(&value), "{what}: {value} is not within {low} and {high}: {truth:#?}");
        };
        check("stored", truth.stored, 200_000, 200_200);
        check("visitors", truth.visitors, 9_000, 11_000);
        check("duplicates", truth.duplicates, 1_700, 2_300);
        check("rejected", truth.rejected, 50, 50);
        check("bot events", truth.bot_events, 6_000, 6_000);
        check("late events", truth.late_events, 2_000, 8_000);
        check("sessions", truth.sessions, 16_000, 30_000);
        check("purchases", truth.purchases, 1_000, 6_000);
        check("messages sent", truth.messages_sent, 2_000, 10_000);
        check("runs", truth.runs, 300, 1_500);
        check("channels", truth.visitors_by_channel.len() as u64, 9, 12);
        assert_eq!(truth.visitors_by_channel.values().sum::<u64>(), truth.visitors);
        assert_eq!(truth.sessions_by_channel.values().sum::<u64>(), truth.sessions);
        assert_eq!(batches.iter().map(|batch| u64::from(batch.sent)).sum::<u64>(), truth.sent);
        assert!(batches.iter().all(|batch| batch.body.len() < 1_000_000));
    }

    #[test]
    fn what_is_posted_agrees_with_the_truth() {
        let traffic = generate(options(11, 8_000));
        let mut seen: HashMap<String, Value> = HashMap::new();
        let mut repeated = 0;
        for event in posted(&traffic) {
            let Some(id) = event["event_id"].as_str() else { continue };
            match seen.get(id) {
                Some(first) => {
                    assert_eq!(*first, event, "a duplicate is the same event");
                    repeated += 1;
                }
                None => drop(seen.insert(id.to_owned(), event.clone())),
            }
        }
        assert_eq!(repeated, traffic.truth.duplicates);
        let well_formed = |event: &&Value| {
            let timestamp = event["timestamp"].as_str().unwrap_or("");
            event["event_type"].as_str().is_some_and(|kind| kind.len() < 100)
                && ("2026-03-01T12:34:56.789Z".."2026-03-31T12:34:56.789Z").contains(&timestamp)
                && event["properties"].is_object()
                && event["properties"].get("debug_dump").is_none()
        };
        let people: BTreeSet<_> =
            seen.values().filter(well_formed).filter_map(|event| event["visitor_id"].as_str()).collect();
        assert_eq!(people.len() as u64, traffic.truth.visitors);
        let visits: BTreeSet<_> = seen.values().filter_map(|event| event["session_id"].as_str()).collect();
        assert_eq!(visits.len() as u64, traffic.truth.sessions);
    }

    #[test]
    fn late_events_are_posted_after_later_ones() {
        let traffic = generate(options(13, 8_000));
        let mut newest = String::new();
        let mut behind: BTreeMap<bool, u64> = BTreeMap::new();
        for event in posted(&traffic) {
            let timestamp = event["timestamp"].as_str().unwrap_or("").to_owned();
            *behind.entry(timestamp < newest).or_default() += 1;
            if timestamp.starts_with("2026") {
                newest = newest.max(timestamp);
            }
        }
        assert!(behind[&true] > 100, "{behind:?}");
    }
}
