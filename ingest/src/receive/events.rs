//! `POST /api/v1/events`: a batch of events, each judged by itself.

use serde::Deserialize;
use serde_json::value::RawValue;
use touchline_schemas::event::SOURCE_NATIVE;

use super::answer::{FieldError, ReceiveError};
use super::check::{Checked, Incoming, Refusal, RequestContext, check};
use crate::normalize::properties::Members;

pub(super) fn read<'a>(body: &'a [u8], context: &mut RequestContext<'_>) -> Result<Vec<Checked<'a>>, ReceiveError> {
    let items = items(body)?;
    let limit = context.limits.max_events_per_request;
    if items.len() > limit {
        return Err(ReceiveError::TooManyEvents { limit, sent: items.len() });
    }
    Ok(items
        .into_iter()
        .enumerate()
        .map(|(index, item)| event(item.get(), index as u32, SOURCE_NATIVE, context))
        .collect())
}

/// Reads one event in the native form.
pub(crate) fn event<'a>(
    raw: &'a str,
    index: u32,
    source: &'static str,
    context: &mut RequestContext<'_>,
) -> Checked<'a> {
    let members = match serde_json::from_str::<Members<'a>>(raw) {
        Ok(members) => members,
        Err(error) => return unreadable(raw, index, source, &error),
    };
    let mut incoming = Incoming { raw, index, source, ..Incoming::default() };
    for (name, value) in members.0 {
        match name.as_ref() {
            "event_type" => incoming.event_type = Some(("event_type", value)),
            "event_id" => incoming.event_id = Some(value),
            "visitor_id" => incoming.visitor_id = Some(value),
            "user_id" => incoming.user_id = Some(value),
            "session_id" => incoming.session_id = Some(value),
            "timestamp" => incoming.timestamp = Some(("timestamp", value)),
            "ip" => incoming.ip = Some(value),
            "user_agent" => incoming.user_agent = Some(value),
            "properties" => incoming.properties = Some(value),
            // Explicit nulls are absent; what we do not know is kept with the properties.
            _ if value.get() == "null" => {}
            _ => incoming.others.push((name, value)),
        }
    }
    check(incoming, context)
}

/// The raw texts of the body's `events`.
fn items(body: &[u8]) -> Result<Vec<&RawValue>, ReceiveError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        events: Option<Vec<&'a RawValue>>,
    }

    require_object(body)?;
    match serde_json::from_slice::<Body<'_>>(body) {
        Ok(Body { events: Some(events) }) => Ok(events),
        Ok(Body { events: None }) => Err(ReceiveError::MissingField {
            pointer: "/events".into(),
            detail: "`events` is required: an array of events".into(),
        }),
        Err(error) => Err(not_a_list("events", "events", error)),
    }
}

/// The refusal of an item that is no object.
pub(super) fn unreadable<'a>(raw: &'a str, index: u32, source: &'static str, error: &serde_json::Error) -> Checked<'a> {
    let detail = if raw.starts_with('{') { error.to_string() } else { "an event must be an object".into() };
    let errors = vec![FieldError { pointer: String::new(), code: "wrong_type", detail }];
    Checked::Refused(Refusal { index, event_id: None, event_type: None, errors, raw: raw.into(), source })
}

/// Why a body has no list of `things` in its member `name`.
pub(super) fn not_a_list(name: &str, things: &str, error: serde_json::Error) -> ReceiveError {
    if !error.is_data() {
        return error.into();
    }
    let detail = format!("`{name}` must be one array of {things}: {error}");
    ReceiveError::WrongType { pointer: format!("/{name}"), detail }
}

/// Refuses a body that is JSON but no object with a better word than the parser has.
pub(super) fn require_object(body: &[u8]) -> Result<(), ReceiveError> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        return Ok(());
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(body)?;
    Err(ReceiveError::WrongType { pointer: String::new(), detail: "the body must be an object".into() })
}
