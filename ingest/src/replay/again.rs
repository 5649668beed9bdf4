//! One refused event after the other: what is kept of it, changed, checked once more.

use std::cell::OnceCell;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use touchline_enrich::Enricher;
use touchline_schemas::Tenant;
use touchline_schemas::control::Erasures;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::rejected_events::RefusedEvent;

use super::changes::Changes;
use crate::batch::Batch;
use crate::receive::again::again;
use crate::receive::check::{CONSENT_MISSING, ERASED, TOO_LARGE};
use crate::receive::{Checked, FieldError, Limits, Receipt, RequestContext};

/// What ids begin with that events without one are given: with the id of the refusal they are the same in every replay.
const ID_PREFIX: &str = "rejected_";

/// How a replay went for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayStatus {
    /// It passes the check; nothing was sent.
    Valid,
    /// It is durable, and new as far as the hot window knows.
    Accepted,
    /// It is in the lake, and was not before.
    Stored,
    /// It was there before.
    Duplicate,
    /// It is refused again, and stays as it was.
    Rejected,
}

impl ReplayStatus {
    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Accepted => "accepted",
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
        }
    }
}

/// What became of one refused event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayedEvent {
    /// The refusal.
    pub rejected_id: String,
    /// What became of it.
    pub status: ReplayStatus,
    /// The event's id, as far as it could be read.
    pub event_id: Option<String>,
    /// The event's type, as far as it could be read.
    pub event_type: Option<String>,
    /// Why it is refused again; empty if it is not.
    pub errors: Vec<FieldError>,
    /// The event with all changes: only of a trial, and of the first events of a large one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// By what events are checked again.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'t> {
    /// Whose they are.
    pub tenant: Tenant,
    /// The time of the replay.
    pub now: DateTime<Utc>,
    /// Whether addresses are masked before they are stored.
    pub mask_ip: bool,
    /// Limits.
    pub limits: &'t Limits,
    /// Tells browsers, bots and countries.
    pub(crate) enricher: &'t Enricher,
    /// Whose events are refused.
    pub(crate) erased: &'t Erasures,
    /// Whether the events are shown with their changes, as far as they fit into an answer as large as a request may be.
    pub(crate) shows_bodies: bool,
}

/// Refused events that were checked again, and of which those that pass can go into the log or the lake.
#[derive(Debug)]
pub struct Replay {
    batch: Batch,
    events: Vec<ReplayedEvent>,
    /// Those of `events` that are in the batch, in its order.
    passed: Vec<usize>,
    shown_bytes: usize,
}

impl Replay {
    /// Changes and checks events.
    pub(crate) fn check(events: &[RefusedEvent], changes: &Changes, terms: Terms<'_>) -> Self {
        let batch = Batch::new(terms.tenant, terms.now, events.len(), terms.limits.max_event_bytes);
        let mut replay = Self { batch, events: Vec::with_capacity(events.len()), passed: Vec::new(), shown_bytes: 0 };
        for event in events {
            replay.push(event, changes, terms);
        }
        replay
    }

    /// How many pass.
    pub fn passed(&self) -> usize {
        self.passed.len()
    }

    /// What would become of each, if those that pass went in; each with its body.
    pub fn tried(self) -> Vec<ReplayedEvent> {
        self.events
    }

    /// What became of each, where none passes.
    pub(crate) fn refused(self) -> Vec<ReplayedEvent> {
        self.into_parts().1.told(std::iter::empty())
    }

    /// The batch of those that pass, and how to tell what became of each.
    pub(crate) fn into_parts(self) -> (Batch, Outcome) {
        (self.batch, Outcome { events: self.events, passed: self.passed })
    }

    fn push(&mut self, refused: &RefusedEvent, changes: &Changes, terms: Terms<'_>) {
        let mut replayed = ReplayedEvent {
            rejected_id: refused.rejected_id.clone(),
            status: ReplayStatus::Rejected,
            event_id: refused.event_id.clone(),
            event_type: refused.event_type.clone(),
            errors: Vec::new(),
            body: None,
        };
        let changed =
            kept(refused).and_then(|body| changes.apply(body).map_err(|error| cannot("change_failed", &error)));
        match changed {
            Ok(body) => {
                self.check_body(refused, &body, terms, &mut replayed);
                if terms.shows_bodies && self.shown_bytes + body.len() <= terms.limits.max_body_bytes {
                    self.shown_bytes += body.len();
                    replayed.body = Some(body.into_owned());
                }
            }
            Err(error) => replayed.errors = vec![error],
        }
        self.events.push(replayed);
    }

    fn check_body(&mut self, refused: &RefusedEvent, body: &str, terms: Terms<'_>, replayed: &mut ReplayedEvent) {
        let key = format!("{ID_PREFIX}{}", refused.rejected_id);
        let mut entropy = rand::random::<[u8; 10]>;
        let mut context = RequestContext {
            tenant: terms.tenant,
            received_at: terms.now,
            arrived_at: refused.received_at,
            mask_ip: terms.mask_ip,
            device: None,
            global_privacy_control: false,
            idempotency_key: Some(&key),
            limits: terms.limits,
            enricher: terms.enricher,
            erased: terms.erased,
            entropy: &mut entropy,
        };
        let event_type = refused.event_type.as_deref().unwrap_or_default();
        let anew = OnceCell::new();
        match again(&refused.source, event_type, body, 0, &anew, &mut context) {
            Some(Checked::Accepted { hash, event }) => {
                let text = |field| event.get(field).map(str::to_owned);
                replayed.status = ReplayStatus::Valid;
                replayed.event_id = text(TextField::EventId);
                replayed.event_type = text(TextField::EventType);
                self.passed.push(self.events.len());
                self.batch.push(Checked::Accepted { hash, event }, &mut rand::random::<[u8; 10]>);
            }
            Some(Checked::Refused(refusal)) => {
                replayed.event_id = refusal.event_id.map(Into::into);
                replayed.event_type = refusal.event_type.map(Into::into);
                replayed.errors = refusal.errors;
            }
            None => {
                let detail = format!("nothing that came from `{}` can be sent again", refused.source);
                replayed.errors = vec![cannot("not_replayable", &detail)];
            }
        }
    }
}

/// What is kept of a refused event, if that is an event.
fn kept(refused: &RefusedEvent) -> Result<&str, FieldError> {
    if refused.code == ERASED {
        return Err(cannot(ERASED, &"the person was erased, and nothing of the event is kept"));
    }
    if refused.code == CONSENT_MISSING {
        return Err(cannot(CONSENT_MISSING, &"the person did not agree, and nothing of the event is kept"));
    }
    if has_error(refused, TOO_LARGE) {
        let detail = "only the beginning of the event is kept, because it was larger than `ingest.max_event_bytes`";
        return Err(cannot("body_cut", &detail));
    }
    let body = refused.body.as_deref().unwrap_or_default();
    if serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok() && body.trim_start().starts_with('{') {
        return Ok(body);
    }
    let detail = "what is kept is no JSON object: correct the line of the file, or the client, and send it again";
    Err(cannot("not_json", &detail))
}

fn has_error(refused: &RefusedEvent, code: &str) -> bool {
    #[derive(Deserialize)]
    struct Reason {
        code: String,
    }

    let reasons: Vec<Reason> = serde_json::from_str(&refused.errors).unwrap_or_default();
    reasons.iter().any(|reason| reason.code == code)
}

fn cannot(code: &'static str, detail: &dyn std::fmt::Display) -> FieldError {
    FieldError { pointer: String::new(), code, detail: detail.to_string() }
}

/// What became of the events of a replay, once that is known of those that pass.
#[derive(Debug)]
pub(crate) struct Outcome {
    events: Vec<ReplayedEvent>,
    passed: Vec<usize>,
}

impl Outcome {
    /// After they went into the log.
    pub fn accepted(self, receipt: &Receipt) -> Vec<ReplayedEvent> {
        let statuses = receipt
            .events
            .iter()
            .map(|item| if item.is_duplicate() { ReplayStatus::Duplicate } else { ReplayStatus::Accepted });
        self.told(statuses)
    }

    /// With the status of each that passes, in order.
    pub fn told(mut self, statuses: impl Iterator<Item = ReplayStatus>) -> Vec<ReplayedEvent> {
        for (&place, status) in self.passed.iter().zip(statuses) {
            self.events[place].status = status;
        }
        for event in &mut self.events {
            event.body = None;
        }
        self.events
    }
}

#[cfg(test)]
mod tests {
    use touchline_schemas::event::{SOURCE_CONVERSION, SOURCE_IMPORT, SOURCE_NATIVE};
    use touchline_schemas::{AccountId, Environment};
    use uuid::Uuid;

    use super::*;
    use crate::record::decode;

    const RECEIVED_AT: &str = "2026-02-01T00:00:00Z";

    fn tenant() -> Tenant {
        Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live }
    }

    fn refused(source: &str, event_type: &str, body: &str) -> RefusedEvent {
        RefusedEvent {
            rejected_id: "r".to_owned(),
            received_at: RECEIVED_AT.parse().unwrap(),
            event_id: None,
            event_type: Some(event_type.to_owned()).filter(|text| !text.is_empty()),
            code: "identity_missing".to_owned(),
            errors: r#"[{"pointer":"","code":"identity_missing","detail":""}]"#.to_owned(),
            body: Some(body.to_owned()),
            source: source.to_owned(),
        }
    }

    /// Checks an event three days after it was refused.
    fn replay(event: &RefusedEvent, changes: &Changes) -> Replay {
        let limits =
            Limits { max_event_bytes: 10_000, max_properties_bytes: 10_000, max_future_s: 60, ..Limits::default() };
        let (now, enricher, erased) =
            ("2026-02-04T00:00:00Z".parse().unwrap(), Enricher::default(), Erasures::default());
        let terms = Terms {
            tenant: tenant(),
            now,
            mask_ip: true,
            limits: &limits,
            enricher: &enricher,
            erased: &erased,
            shows_bodies: true,
        };
        Replay::check(std::slice::from_ref(event), changes, terms)
    }

    fn set(path: &str, value: &str) -> Changes {
        Changes { unset: Vec::new(), set: vec![(path.parse().unwrap(), Changes::value(value))] }
    }

    fn codes(replay: Replay) -> Vec<&'static str> {
        replay.tried().remove(0).errors.iter().map(|error| error.code).collect()
    }

    #[test]
    fn each_goes_through_the_receiver_that_refused_it() {
        let visitor = set("visitor_id", "v1");
        for (source, of_type, body, changes, id, event_type) in [
            (SOURCE_NATIVE, "buy", r#"{"event_type":"buy"}"#, &visitor, "rejected_r_0", "buy"),
            (SOURCE_NATIVE, "buy", r#"{"event_type":"buy","event_id":"e1"}"#, &visitor, "e1", "buy"),
            (SOURCE_NATIVE, "$session_start", r#"{"url":"/"}"#, &visitor, "rejected_r_session", "$session_start"),
            (
                SOURCE_NATIVE,
                "$session_start",
                r#"{"event_type":"$session_start"}"#,
                &visitor,
                "rejected_r_0",
                "$session_start",
            ),
            (
                SOURCE_NATIVE,
                "$identify",
                r#"{"visitor_id":"v1"}"#,
                &set("user_id", "u"),
                "rejected_r_identify",
                "$identify",
            ),
            (
                SOURCE_CONVERSION,
                "",
                r#"{"user_id":"u"}"#,
                &set("conversion_type", "sale"),
                "rejected_r_conversion",
                "sale",
            ),
            (SOURCE_IMPORT, "buy", r#"{"event_id":"line_1","event_type":"buy"}"#, &visitor, "line_1", "buy"),
        ] {
            let event = replay(&refused(source, of_type, body), changes).tried().remove(0);
            assert!(event.errors.is_empty(), "{body}: {:?}", event.errors);
            let said = (event.status, event.event_id.as_deref(), event.event_type.as_deref());
            assert_eq!(said, (ReplayStatus::Valid, Some(id), Some(event_type)), "{body}");
        }
    }

    #[test]
    fn what_has_no_time_happened_when_it_first_arrived() {
        let check = |changes: &Changes, expected: &str| {
            let event = refused(SOURCE_NATIVE, "buy", r#"{"event_type":"buy","user_id":"u"}"#);
            let (batch, _) = replay(&event, changes).into_parts();
            let mut payload = Vec::new();
            batch.put(|_| true, &mut payload);
            let request = decode(&payload).unwrap();
            let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp_micros();
            assert_eq!(request.events[0].occurred_at_us, at(expected));
            assert_eq!(request.head.received_at_us, at("2026-02-04T00:00:00Z"));
        };
        check(&Changes::default(), RECEIVED_AT);
        // What was the future then is past now.
        check(&set("timestamp", "2026-02-03T00:00:00Z"), "2026-02-03T00:00:00Z");
    }

    #[test]
    fn what_cannot_be_sent_again_says_why() {
        let native = |body: &str| refused(SOURCE_NATIVE, "buy", body);
        let nothing = Changes::default();
        let valid = r#"{"event_type":"buy","user_id":"u"}"#;
        let cut = RefusedEvent { errors: r#"[{"code":"x"},{"code":"event_too_large"}]"#.to_owned(), ..native(valid) };
        let erased = RefusedEvent { code: ERASED.to_owned(), body: None, ..native("") };
        for (event, changes, expected) in [
            (native(valid), &nothing, &[][..]),
            (native(r#"{"event_type":"buy"}"#), &nothing, &["identity_missing"][..]),
            (native(valid), &set("timestamp", "never"), &["timestamp_invalid"][..]),
            (native(valid), &set("user_id.x", "1"), &["change_failed"][..]),
            (native(r#"{"event_type":"bu"#), &nothing, &["not_json"][..]),
            (native("7"), &nothing, &["not_json"][..]),
            (refused(SOURCE_IMPORT, "", "1.2.3.4 - - [x] GET"), &nothing, &["not_json"][..]),
            (refused("elsewhere", "", valid), &nothing, &["not_replayable"][..]),
            (cut, &nothing, &["body_cut"][..]),
            (erased, &set("user_id", "u"), &["erased"][..]),
        ] {
            assert_eq!(codes(replay(&event, changes)), expected, "{event:?}");
        }
    }

    #[test]
    fn what_is_refused_again_is_neither_kept_nor_counted() {
        let event = refused(SOURCE_NATIVE, "buy", r#"{"event_type":"buy"}"#);
        let (batch, outcome) = replay(&event, &Changes::default()).into_parts();
        let mut payload = Vec::new();
        batch.put(|_| true, &mut payload);
        let request = decode(&payload).unwrap();
        assert_eq!((request.head.duplicates, request.head.events, request.head.rejected), (0, 0, 0));
        let told = outcome.told(std::iter::empty()).remove(0);
        assert_eq!((told.status, told.body), (ReplayStatus::Rejected, None));
    }
}
