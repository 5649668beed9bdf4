//! Single events in the log's own form, for tests that bring them to the lake in ways no client would.

use touchline_ingest::event_ids::IdHash;
use touchline_ingest::record::{EncodedEvents, Event, RequestHead, put_head};
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;

/// A logged request with one event, which has `texts` and arrived when it happened.
pub fn request(tenant: Tenant, at_us: i64, texts: &[(TextField, &str)]) -> Vec<u8> {
    let mut event = Event::at(at_us);
    for (field, text) in texts {
        event.set(*field, *text);
    }
    let mut events = EncodedEvents::default();
    events.push(IdHash::new(tenant, event.get(TextField::EventId).unwrap_or_default()), &event);
    let head = RequestHead { tenant, received_at_us: at_us, duplicates: 0, events: 1, rejected: 0 };
    let mut payload = Vec::new();
    put_head(&mut payload, &head);
    events.iter().for_each(|(_, bytes)| payload.extend_from_slice(bytes));
    payload
}
