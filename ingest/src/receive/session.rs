//! `POST /api/v1/sessions`: a client opened a session of its own; stored as `$session_start`.

use touchline_schemas::event::{SESSION_START, SOURCE_NATIVE};

use super::answer::ReceiveError;
use super::check::{Checked, Incoming, RequestContext, check};
use super::events::require_object;
use crate::normalize::properties::Members;

pub(super) fn read<'a>(body: &'a [u8], context: &mut RequestContext<'_>) -> Result<Vec<Checked<'a>>, ReceiveError> {
    require_object(body)?;
    let outer: Members<'a> = serde_json::from_slice(body)?;
    let Some((_, wrapped)) = outer.0.into_iter().find(|(name, _)| name == "session") else {
        return Err(ReceiveError::MissingField {
            pointer: "/session".into(),
            detail: "`session` is required: an object".into(),
        });
    };
    let raw = wrapped.get();
    let members: Members<'a> = serde_json::from_str(raw).map_err(|_| ReceiveError::WrongType {
        pointer: "/session".into(),
        detail: "`session` must be an object".into(),
    })?;
    Ok(vec![session(raw, members, context)])
}

/// Reads one session: `raw`, and its members.
pub(super) fn session<'a>(raw: &'a str, members: Members<'a>, context: &mut RequestContext<'_>) -> Checked<'a> {
    let mut incoming = Incoming {
        raw,
        source: SOURCE_NATIVE,
        implied_type: Some(SESSION_START),
        key_suffix: Some("session"),
        ..Incoming::default()
    };
    for (name, value) in members.0 {
        match name.as_ref() {
            "event_id" => incoming.event_id = Some(value),
            "visitor_id" => incoming.visitor_id = Some(value),
            "user_id" => incoming.user_id = Some(value),
            "session_id" => incoming.session_id = Some(value),
            "started_at" => incoming.timestamp = Some(("started_at", value)),
            "ip" => incoming.ip = Some(value),
            "user_agent" => incoming.user_agent = Some(value),
            "properties" => incoming.properties = Some(value),
            _ if value.get() == "null" => {}
            _ => incoming.others.push((name, value)),
        }
    }
    check(incoming, context)
}
