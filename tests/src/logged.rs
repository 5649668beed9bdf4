//! Events in the log's own form, for tests that bring them to the lake in ways no client would.

use touchline_ingest::event_ids::IdHash;
use touchline_ingest::record::{EncodedEvents, Event, RequestHead, put_head};
use touchline_schemas::event::TextField;
use touchline_schemas::{AccountId, Environment, Tenant};
use uuid::Uuid;

/// Whose events they are, where it does not matter.
pub fn tenant() -> Tenant {
    Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live }
}

/// A logged request with one event, which has `texts` and arrived when it happened.
pub fn request(tenant: Tenant, at_us: i64, texts: &[(TextField, &str)]) -> Vec<u8> {
    let mut event = Event::at(at_us);
    for (field, text) in texts {
        event.set(*field, *text);
    }
    of(tenant, at_us, [event])
}

/// A logged request with `events`.
pub fn of<'a>(tenant: Tenant, received_at_us: i64, events: impl IntoIterator<Item = Event<'a>>) -> Vec<u8> {
    let mut encoded = EncodedEvents::default();
    for event in events {
        encoded.push(IdHash::new(tenant, event.get(TextField::EventId).unwrap_or_default()), &event);
    }
    of_encoded(tenant, received_at_us, &encoded)
}

/// A logged request with events that are encoded already.
pub fn of_encoded(tenant: Tenant, received_at_us: i64, events: &EncodedEvents) -> Vec<u8> {
    let head = RequestHead { tenant, received_at_us, duplicates: 0, events: events.len() as u32, rejected: 0 };
    let mut payload = Vec::new();
    put_head(&mut payload, &head);
    events.iter().for_each(|(_, bytes)| payload.extend_from_slice(bytes));
    payload
}
