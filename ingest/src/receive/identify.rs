//! `POST /api/v1/identify`: a visitor is a known user; stored as `$identify`.

use touchline_schemas::event::{IDENTIFY, SOURCE_NATIVE};

use super::answer::{FieldError, ReceiveError};
use super::check::{Checked, Incoming, RequestContext, check};
use super::events::require_object;
use crate::normalize::properties::Members;

pub(super) fn read<'a>(body: &'a [u8], context: &mut RequestContext<'_>) -> Result<Vec<Checked<'a>>, ReceiveError> {
    require_object(body)?;
    let raw = std::str::from_utf8(body).map_err(|error| ReceiveError::InvalidJson { detail: error.to_string() })?;
    let members: Members<'a> = serde_json::from_str(raw)?;
    Ok(vec![identify(raw, members, context)])
}

/// Reads one identification: `raw`, and its members.
pub(super) fn identify<'a>(raw: &'a str, members: Members<'a>, context: &mut RequestContext<'_>) -> Checked<'a> {
    let mut incoming = Incoming {
        raw,
        source: SOURCE_NATIVE,
        implied_type: Some(IDENTIFY),
        key_suffix: Some("identify"),
        ..Incoming::default()
    };
    for (name, value) in members.0 {
        match name.as_ref() {
            "user_id" => incoming.user_id = Some(value),
            "visitor_id" => incoming.visitor_id = Some(value),
            "event_id" => incoming.event_id = Some(value),
            "timestamp" => incoming.timestamp = Some(("timestamp", value)),
            "ip" => incoming.ip = Some(value),
            "user_agent" => incoming.user_agent = Some(value),
            "properties" => incoming.properties = Some(value),
            _ if value.get() == "null" => {}
            _ => incoming.others.push((name, value)),
        }
    }
    if incoming.user_id.is_none_or(|value| matches!(value.get(), "null" | "\"\"")) {
        let detail = "`user_id` is required".to_owned();
        incoming.wrong = Some(FieldError { pointer: "/user_id".to_owned(), code: "user_id_missing", detail });
    }
    check(incoming, context)
}
