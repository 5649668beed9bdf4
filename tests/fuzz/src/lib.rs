//! What must hold of any bytes that are sent or imported. The fuzzer calls it with what it makes up, and a test with the
//! corpus, so that what the fuzzer has found stays found.

use std::cell::OnceCell;
use std::io::BufReader;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use touchline_enrich::Enricher;
use touchline_ingest::event_ids::IdHash;
use touchline_ingest::import::combined::CombinedReader;
use touchline_ingest::import::csv::{CsvOptions, CsvReader};
use touchline_ingest::import::ndjson::{Form, ImportedLine, NdjsonReader};
use touchline_ingest::receive::{self, Checked, Endpoint, Limits, MessageType, Refusal, RequestContext, SegmentCall};
use touchline_ingest::record::{EncodedEvents, Event, RequestHead, decode, put_head};
use touchline_schemas::control::Erasures;
use touchline_schemas::event::TextField;
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

/// What can be given bytes, by the name of its corpus.
pub const TARGETS: [(&str, Target); 12] = [
    ("events", Target::Receiver(Endpoint::Events)),
    ("session", Target::Receiver(Endpoint::Session)),
    ("conversion", Target::Receiver(Endpoint::Conversion)),
    ("identify", Target::Receiver(Endpoint::Identify)),
    ("segment_batch", Target::Receiver(Endpoint::Segment(SegmentCall::Batch))),
    ("segment_message", Target::Receiver(Endpoint::Segment(SegmentCall::One(MessageType::Track)))),
    ("posthog", Target::Receiver(Endpoint::PostHog)),
    ("plausible", Target::Receiver(Endpoint::Plausible)),
    ("umami", Target::Receiver(Endpoint::Umami)),
    ("access_log", Target::AccessLog),
    ("ndjson", Target::Ndjson),
    ("csv", Target::Csv),
];

/// What is given bytes.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// A body that is posted.
    Receiver(Endpoint),
    /// A file in the combined format.
    AccessLog,
    /// A file of native events.
    Ndjson,
    /// A file of rows.
    Csv,
}

/// Its patterns take a moment to compile.
static ENRICHER: LazyLock<Enricher> = LazyLock::new(Enricher::default);
const MAX_BYTES: usize = 100_000;
const MAX_LINE_BYTES: usize = 1_000;

impl Target {
    /// The target of this name.
    pub fn find(name: &str) -> Option<Self> {
        TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
    }

    /// Gives it `bytes`.
    ///
    /// # Panics
    ///
    /// Something that must hold does not.
    pub fn give(self, bytes: &[u8]) {
        match self {
            Self::Receiver(endpoint) => receive(endpoint, bytes),
            Self::AccessLog => {
                lines(CombinedReader::new(BufReader::new(bytes), MAX_LINE_BYTES).map_while(Result::ok), bytes);
            }
            Self::Csv => {
                if let Ok(rows) = CsvReader::new(BufReader::new(bytes), &CsvOptions::default(), MAX_LINE_BYTES) {
                    lines(rows.map_while(Result::ok), bytes);
                }
            }
            Self::Ndjson => {
                lines(
                    NdjsonReader::new(BufReader::new(bytes), Form::Native, MAX_LINE_BYTES).map_while(Result::ok),
                    bytes,
                );
            }
        }
    }
}

/// 2026-01-01T00:00:00Z.
fn received_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default()
}

fn limits() -> Limits {
    Limits {
        max_body_bytes: MAX_BYTES,
        max_events_per_request: 100,
        max_event_bytes: 10_000,
        max_properties_bytes: 5_000,
        ..Limits::default()
    }
}

fn receive(endpoint: Endpoint, bytes: &[u8]) {
    let _ = endpoint.credential(bytes);
    let Ok(body) = endpoint.unpack(bytes.to_vec().into(), MAX_BYTES) else { return };
    assert!(body.len() <= MAX_BYTES.max(bytes.len()), "a body grew to {} bytes", body.len());
    let (limits, erased, mut entropy) = (limits(), Erasures::default(), || [7; 10]);
    let mut context = RequestContext {
        tenant: Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live },
        received_at: received_at(),
        arrived_at: received_at(),
        mask_ip: true,
        device: None,
        global_privacy_control: bytes.len().is_multiple_of(2),
        idempotency_key: None,
        limits: &limits,
        enricher: &ENRICHER,
        erased: &erased,
        entropy: &mut entropy,
    };
    let anew = OnceCell::new();
    let Ok(items) = receive::read(endpoint, &body, &anew, &mut context) else { return };
    assert!(items.len() <= limits.max_events_per_request);
    for item in &items {
        match item {
            Checked::Accepted { event, .. } => accepted(event, &limits),
            Checked::Refused(refusal) => refused(refusal, &body),
        }
    }
    logged(&items, context.tenant);
}

fn accepted(event: &Event<'_>, limits: &Limits) {
    let at = DateTime::from_timestamp_micros(event.occurred_at_us).unwrap_or_default();
    let latest = received_at() + TimeDelta::seconds(limits.max_future_s);
    assert!(at >= limits.min_timestamp && at <= latest, "{at}");
    for field in [TextField::EventId, TextField::EventType, TextField::Source] {
        assert!(event.get(field).is_some_and(|text| !text.is_empty()), "{}", field.column());
    }
    for field in [TextField::VisitorId, TextField::UserId, TextField::SessionId] {
        assert!(event.get(field).is_none_or(|id| id.chars().count() <= limits.max_id_chars), "{}", field.column());
    }
    if let Some(properties) = event.get(TextField::Properties) {
        let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(properties);
        assert!(properties.starts_with('{') && read.is_ok(), "{properties}");
    }
}

fn refused(refusal: &Refusal<'_>, body: &[u8]) {
    assert!(!refusal.errors.is_empty());
    // The item, and what stood beside it.
    assert!(refusal.raw.len() <= body.len() + 4 * (Refusal::MAX_KEPT_BYTES + 32));
    for error in &refusal.errors {
        assert!(!error.code.is_empty() && !error.detail.is_empty());
    }
}

/// What is accepted comes out of the log as it went in.
fn logged(items: &[Checked<'_>], tenant: Tenant) {
    let mut encoded = EncodedEvents::default();
    let events = items.iter().filter_map(|item| match item {
        Checked::Accepted { hash, event } => Some((*hash, event)),
        Checked::Refused(_) => None,
    });
    let events: Vec<(IdHash, &Box<Event<'_>>)> = events.collect();
    for (hash, event) in &events {
        encoded.push(*hash, event);
    }
    let head = RequestHead { tenant, received_at_us: 0, duplicates: 0, events: events.len() as u32, rejected: 0 };
    let mut payload = Vec::new();
    put_head(&mut payload, &head);
    encoded.iter().for_each(|(_, bytes)| payload.extend_from_slice(bytes));
    let read = decode(&payload).map(|request| request.events).unwrap_or_default();
    assert_eq!(read.len(), events.len(), "what was logged cannot be read");
    for (logged, (_, event)) in read.iter().zip(events) {
        let texts: Vec<_> = logged.texts().collect();
        let fields = TextField::ALL.into_iter().filter_map(|field| Some((field.index(), event.get(field)?)));
        assert_eq!(texts, fields.collect::<Vec<_>>());
    }
}

/// Every line is an event, with an id, or refused with its bytes.
fn lines(lines: impl Iterator<Item = ImportedLine>, bytes: &[u8]) {
    for line in lines {
        match line {
            ImportedLine::Event(event) => {
                assert!(!event.event_id.is_empty());
                let read: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&event.json);
                assert!(read.is_ok(), "{}", event.json);
                receive(Endpoint::Events, format!("{{\"events\":[{}]}}", event.json).as_bytes());
            }
            ImportedLine::Refused(refused) => {
                assert!(refused.body.len() <= bytes.len() && refused.line_number > 0);
            }
        }
    }
}
