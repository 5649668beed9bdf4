//! The items of one request on their way into the log: encoded, and counted once it is known which are new.

use chrono::{DateTime, Utc};
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use uuid::Builder;

use crate::event_ids::IdHash;
use crate::receive::answer::{ACCEPTED, DUPLICATE};
use crate::receive::check::errors_json;
use crate::receive::{Checked, ItemStatus, Receipt, Refusal, RejectedItem};
use crate::record::{EncodedEvents, Rejected, RequestHead, put_head, put_rejected};

/// Checked items of one tenant that arrived together.
#[derive(Debug)]
pub(crate) struct Batch {
    tenant: Tenant,
    received_at: DateTime<Utc>,
    max_kept_bytes: usize,
    events: EncodedEvents,
    statuses: Vec<ItemStatus>,
    rejected: Vec<RejectedItem>,
    rejected_bytes: Vec<u8>,
}

impl Batch {
    /// Of a refused item no text longer than `max_kept_bytes` is kept whole.
    pub(crate) fn new(tenant: Tenant, received_at: DateTime<Utc>, items: usize, max_kept_bytes: usize) -> Self {
        Self {
            tenant,
            received_at,
            max_kept_bytes,
            events: EncodedEvents::with_capacity(items),
            statuses: Vec::with_capacity(items),
            rejected: Vec::new(),
            rejected_bytes: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, item: Checked<'_>, entropy: &mut dyn FnMut() -> [u8; 10]) {
        match item {
            Checked::Accepted { hash, event } => {
                let text = |field| event.get(field).unwrap_or_default().to_owned();
                self.events.push(hash, &event);
                self.statuses.push(ItemStatus {
                    id: text(TextField::EventId),
                    event_type: text(TextField::EventType),
                    status: ACCEPTED,
                });
            }
            Checked::Refused(refusal) => self.refuse(refusal, entropy),
        }
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal<'_>, entropy: &mut dyn FnMut() -> [u8; 10]) {
        let code = refusal.errors.first().map_or("invalid", |error| error.code);
        let millis = self.received_at.timestamp_millis().unsigned_abs();
        let rejected_id = Builder::from_unix_timestamp_millis(millis, &entropy()).into_uuid().to_string();
        // It may be refused for its size alone.
        let kept_of = |text: &str| text[..text.floor_char_boundary(self.max_kept_bytes)].to_owned();
        let event_type = kept_of(refusal.event_type.as_deref().unwrap_or_default());
        let kept = Rejected {
            rejected_id: rejected_id.into(),
            event_id: kept_of(refusal.event_id.as_deref().unwrap_or_default()).into(),
            event_type: event_type.as_str().into(),
            code: code.into(),
            errors: errors_json(&refusal.errors).into(),
            body: kept_of(&refusal.raw).into(),
            source: refusal.source.into(),
        };
        put_rejected(&mut self.rejected_bytes, &kept);
        self.rejected.push(RejectedItem {
            index: refusal.index,
            event_type: Some(event_type).filter(|text| !text.is_empty()),
            code,
            errors: refusal.errors,
        });
    }

    /// Writes the request's record, without the events that `is_new` says are known.
    pub(crate) fn put(mut self, mut is_new: impl FnMut(IdHash) -> bool, out: &mut Vec<u8>) -> Receipt {
        let mut duplicates = 0;
        for ((hash, _), status) in self.events.iter().zip(&mut self.statuses) {
            if !is_new(hash) {
                status.status = DUPLICATE;
                duplicates += 1;
            }
        }
        let accepted = self.events.len() as u32 - duplicates;
        let head = RequestHead {
            tenant: self.tenant,
            received_at_us: self.received_at.timestamp_micros(),
            duplicates,
            events: accepted,
            rejected: self.rejected.len() as u32,
        };
        put_head(out, &head);
        for ((_, bytes), status) in self.events.iter().zip(&self.statuses) {
            if status.status == ACCEPTED {
                out.extend_from_slice(bytes);
            }
        }
        out.extend_from_slice(&self.rejected_bytes);
        Receipt { accepted, duplicates, rejected: self.rejected, events: self.statuses }
    }
}

#[cfg(test)]
mod tests {
    use touchline_schemas::{AccountId, Environment};
    use uuid::Uuid;

    use super::*;
    use crate::receive::FieldError;
    use crate::record::decode;

    #[test]
    fn of_a_refused_item_no_more_is_kept_than_an_event_may_have() {
        let tenant = Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live };
        let mut batch = Batch::new(tenant, DateTime::UNIX_EPOCH, 1, 3);
        let error = FieldError { pointer: String::new(), code: "event_too_large", detail: String::new() };
        let refusal = Refusal {
            index: 0,
            event_id: None,
            event_type: Some("purchase".into()),
            errors: vec![error],
            raw: r#"{"é":1}"#.into(),
            source: "api",
        };
        batch.refuse(refusal, &mut || [0; 10]);
        let mut payload = Vec::new();
        batch.put(|_| true, &mut payload);
        let request = decode(&payload).unwrap();
        let [kept] = request.rejected.as_slice() else { panic!("one is refused: {request:?}") };
        assert_eq!((kept.body.as_ref(), kept.event_type.as_ref()), (r#"{""#, "pur"));
    }
}
