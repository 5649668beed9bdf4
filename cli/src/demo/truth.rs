//! What the generator knows about its own traffic, to be compared with the answers of the API.

use std::collections::BTreeMap;

use serde::Serialize;

/// The numbers that must come out at the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// Events posted, whatever becomes of them: the sum of the next three.
    pub sent: u64,
    /// Events that must be in the lake.
    pub stored: u64,
    /// Events posted a second time under the same id.
    pub duplicates: u64,
    /// Events that must be refused.
    pub rejected: u64,
    /// Events of bots, among the stored ones.
    pub bot_events: u64,
    /// Events that are posted at least an hour after they happened, among the stored ones.
    pub late_events: u64,
    /// People.
    pub visitors: u64,
    /// Visits of people.
    pub sessions: u64,
    /// Orders.
    pub purchases: u64,
    /// Messages handed over to be mailed or shown.
    pub messages_sent: u64,
    /// Runs of the welcome sequence.
    pub runs: u64,
    /// Sum of the orders, in cents.
    pub revenue_cents: i64,
    /// People by the channel of their first visit.
    pub visitors_by_channel: BTreeMap<&'static str, u64>,
    /// Visits by the channel of their person's first visit.
    pub sessions_by_channel: BTreeMap<&'static str, u64>,
}
