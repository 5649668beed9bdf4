//! Events as a buggy client would send them, so that the table of rejected events has something to show.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::catalog::ORIGIN;
use super::chance::Dice;

/// How many ways there are to be wrong.
const WAYS: usize = 9;

/// The `number`th malformed event; the ways to be wrong take turns.
pub fn event(dice: &mut Dice, number: usize, at: DateTime<Utc>) -> Value {
    let mut event = json!({
        "event_id": dice.uuid(),
        "event_type": "page_view",
        "timestamp": at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "visitor_id": dice.hex(32),
        "properties": {"url": format!("{ORIGIN}/old-tracker")},
    });
    match number % WAYS {
        0 => drop(event.as_object_mut().map(|members| members.remove("event_type"))),
        1 => event["event_type"] = json!(42),
        2 => event["event_type"] = json!("x".repeat(300)),
        3 => event["timestamp"] = json!("yesterday at noon"),
        4 => event["timestamp"] = json!("1999-12-31T23:59:59Z"),
        5 => event["timestamp"] = json!("2100-01-01T00:00:00Z"),
        6 => event["properties"] = json!(["url", "title"]),
        7 => event["properties"]["debug_dump"] = json!("0123456789abcdef".repeat(3_300)),
        _ => event = json!(["page_view", "not an object"]),
    }
    event
}
