//! Messages: what became of each attempt to bring one to a person, which goals followed, and counts by day.
//!
//! Definition, version 1. An *attempt* is the set of the events of one delivery id; of events without one, those of one
//! decision; else the event alone. What it was (message, variant, channel, …) says the first event that says it: sent
//! before decided before others, then by time and id. A click implies a view, a view or click implies delivery, and all
//! of that counts only for attempts that were sent: one that arrived without is an *orphan*.
//!
//! A *conversion* is an event of one of the account's goals by the person of a sent attempt, no bot, later than the
//! exposure and not later than the goal's window after it. Exposure is the first view that is no bot's for site
//! messages, else the sending. Of several attempts before it, the one exposed last is the last touch.
//!
//! `delivery` tells from a set what became of the attempt, [`rows`] makes rows of it, [`goals`] finds the events of
//! goals, [`conversions`] brings both together by person, [`rollup`] counts rows by day, [`compare`] by two sets of
//! goals, and `checks` says which counts do not fit together.

mod checks;
pub mod compare;
pub mod conversions;
mod delivery;
pub mod goals;
pub mod rollup;
pub mod rows;

use touchline_schemas::event::messaging::*;
use touchline_schemas::tables::event_sets::Member;

use crate::event_sets::{EventRow, Key, Source};

/// Names this definition in answers.
pub const DEFINITION: &str = "messages/1";

/// Kinds of keys: of a delivery, of a decision, of an event alone.
const KINDS: [u8; 3] = [b'd', b'x', b'e'];

/// The events of attempts.
pub const SOURCE: Source = Source {
    event_types: &[
        MESSAGE_SENT,
        MESSAGE_DELIVERED,
        MESSAGE_VIEWED,
        MESSAGE_CLICKED,
        MESSAGE_DISMISSED,
        MESSAGE_SUBMITTED,
        MESSAGE_BOUNCED,
        MESSAGE_FAILED,
        MESSAGE_SUPPRESSED,
        MESSAGE_UNSUBSCRIBED,
        MESSAGE_COMPLAINED,
        DECISION,
    ],
    key,
};

fn key<'a>(event: &EventRow<'a>) -> Option<Key<'a>> {
    let [of_delivery, of_decision, alone] = KINDS;
    let is_decision = event.event_type() == DECISION;
    let decided = [OUTCOME_ALLOW, OUTCOME_SUPPRESS, OUTCOME_HOLDOUT];
    if is_decision && !event.properties().outcome.is_some_and(|outcome| decided.contains(&&*outcome)) {
        return None;
    }
    if let Some(delivery) = event.text(Member::DeliveryId) {
        return Some(Key::of(of_delivery, delivery));
    }
    Some(match event.properties().decision_id {
        _ if is_decision => Key::of(of_decision, event.id()),
        Some(decision) => Key::of(of_decision, decision),
        None => Key::of(alone, event.id()),
    })
}
