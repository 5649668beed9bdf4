//! `POST /api/v1/conversions`: a conversion, wrapped in `conversion` or flat.
//!
//! Its `event_id` names the event that converted, not the conversion; it is kept among the properties.

use touchline_schemas::event::SOURCE_CONVERSION;

use super::answer::ReceiveError;
use super::check::{Checked, Incoming, RequestContext, check};
use super::events::require_object;
use crate::normalize::properties::Members;

pub(super) fn read<'a>(body: &'a [u8], context: &mut RequestContext<'_>) -> Result<Vec<Checked<'a>>, ReceiveError> {
    require_object(body)?;
    let mut raw = std::str::from_utf8(body).map_err(|error| ReceiveError::InvalidJson { detail: error.to_string() })?;
    let mut members: Members<'a> = serde_json::from_str(raw)?;
    if let Some((_, wrapped)) = members.0.iter().find(|(name, _)| name == "conversion") {
        raw = wrapped.get();
        members = serde_json::from_str(raw).map_err(|_| ReceiveError::WrongType {
            pointer: "/conversion".into(),
            detail: "`conversion` must be an object".into(),
        })?;
    }
    Ok(vec![conversion(raw, members, context)])
}

/// Reads one conversion: `raw`, and its members.
pub(super) fn conversion<'a>(raw: &'a str, members: Members<'a>, context: &mut RequestContext<'_>) -> Checked<'a> {
    let mut incoming =
        Incoming { raw, source: SOURCE_CONVERSION, key_suffix: Some("conversion"), ..Incoming::default() };
    for (name, value) in members.0 {
        match name.as_ref() {
            "conversion_type" => incoming.event_type = Some(("conversion_type", value)),
            "visitor_id" => incoming.visitor_id = Some(value),
            "user_id" => incoming.user_id = Some(value),
            "session_id" => incoming.session_id = Some(value),
            "timestamp" => incoming.timestamp = Some(("timestamp", value)),
            "ip" => incoming.ip = Some(value),
            "user_agent" => incoming.user_agent = Some(value),
            "properties" => incoming.properties = Some(value),
            _ if value.get() == "null" => {}
            _ => {
                incoming.may_lack_identity |= name == "event_id";
                incoming.others.push((name, value));
            }
        }
    }
    check(incoming, context)
}
