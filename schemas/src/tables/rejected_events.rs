//! `rejected_events`: one row per refused event, with its bytes as they came. Written by ingest only.

use arrow::datatypes::Field;
use chrono::{DateTime, Utc};

use super::{instant, text};

/// UTC date of `received_at`; partition column.
pub const RECEIVED_DATE: &str = "received_date";
/// The server's time of arrival.
pub const RECEIVED_AT: &str = "received_at";
/// Our id of the refusal.
pub const REJECTED_ID: &str = "rejected_id";
/// The id that the client gave the event, if it could be read.
pub const EVENT_ID: &str = "event_id";
/// The type that the client gave the event, if it could be read.
pub const EVENT_TYPE: &str = "event_type";
/// The first reason, as a stable word.
pub const CODE: &str = "code";
/// All reasons: JSON text, an array of `{pointer, code, detail}`.
pub const ERRORS: &str = "errors";
/// The event's bytes as they arrived, up to the size that an event may have.
pub const BODY: &str = "body";
/// The endpoint that received it.
pub const SOURCE: &str = "source";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    vec![
        text(REJECTED_ID),
        instant(RECEIVED_AT),
        text(EVENT_ID),
        text(EVENT_TYPE),
        text(CODE),
        text(ERRORS),
        text(BODY),
        text(SOURCE),
    ]
}

/// A row as values, for what looks at refused events one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEvent {
    /// [`REJECTED_ID`]
    pub rejected_id: String,
    /// [`RECEIVED_AT`]
    pub received_at: DateTime<Utc>,
    /// [`EVENT_ID`]
    pub event_id: Option<String>,
    /// [`EVENT_TYPE`]
    pub event_type: Option<String>,
    /// [`CODE`]
    pub code: String,
    /// [`ERRORS`]
    pub errors: String,
    /// [`BODY`]; none if nothing of it is kept.
    pub body: Option<String>,
    /// [`SOURCE`]
    pub source: String,
}
