//! What a receiver has found in an item.

use std::borrow::Cow;

use chrono::TimeDelta;
use serde_json::value::RawValue;

use crate::receive::answer::FieldError;
use crate::receive::surroundings::Surroundings;

/// What an endpoint calls the fields of an item, as JSON pointers without their first slash.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// `event_id`
    pub event_id: &'static str,
    /// `visitor_id`
    pub visitor_id: &'static str,
    /// `user_id`
    pub user_id: &'static str,
    /// `session_id`
    pub session_id: &'static str,
    /// `ip`
    pub ip: &'static str,
    /// `user_agent`
    pub user_agent: &'static str,
}

impl Names {
    /// The names of the native API.
    pub const NATIVE: &'static Self = &Self {
        event_id: "event_id",
        visitor_id: "visitor_id",
        user_id: "user_id",
        session_id: "session_id",
        ip: "ip",
        user_agent: "user_agent",
    };
}

impl Default for &Names {
    fn default() -> Self {
        Names::NATIVE
    }
}

/// An item before the check: raw JSON values by their meaning.
#[derive(Debug, Default)]
pub struct Incoming<'a> {
    /// The item as it was sent.
    pub raw: &'a str,
    /// What its fields are called there.
    pub names: &'static Names,
    /// Its place in the request.
    pub index: u32,
    /// `source` of the event.
    pub source: &'static str,
    /// An event type that the endpoint implies.
    pub implied_type: Option<&'static str>,
    /// `event_type`, and the name under which the endpoint calls it.
    pub event_type: Option<(&'static str, &'a RawValue)>,
    /// `event_id`
    pub event_id: Option<&'a RawValue>,
    /// `visitor_id`
    pub visitor_id: Option<&'a RawValue>,
    /// `user_id`
    pub user_id: Option<&'a RawValue>,
    /// `session_id`
    pub session_id: Option<&'a RawValue>,
    /// The item's time, and the name under which the endpoint calls it.
    pub timestamp: Option<(&'static str, &'a RawValue)>,
    /// `ip`
    pub ip: Option<&'a RawValue>,
    /// `user_agent`
    pub user_agent: Option<&'a RawValue>,
    /// `properties`
    pub properties: Option<&'a RawValue>,
    /// Everything else, treated as properties.
    pub others: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// What is said of the page and the campaign besides the properties.
    pub surroundings: Surroundings<'a>,
    /// What the item's time must be put forward by, since the client's clock is behind ours by that much.
    pub clock_behind: TimeDelta,
    /// How long before its sending it happened, of an item that says that instead of a time.
    pub age: TimeDelta,
    /// Whether an id may be a number: then its digits are the id.
    pub numeric_ids: bool,
    /// Whether a type that begins with `$` is of the client's kind, not of ours: it is taken without the `$`.
    pub foreign_types: bool,
    /// What an `Idempotency-Key` is continued with for this item, instead of its place in the request.
    pub key_suffix: Option<&'static str>,
    /// Whether an item may come without visitor, user and device (it names another event instead).
    pub may_lack_identity: bool,
    /// What its receiver has found wrong with it.
    pub wrong: Option<FieldError>,
}
