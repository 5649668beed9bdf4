//! Events in the form of PostHog: `POST /batch/`, `/capture/`, `/e/`, `/i/v0/e/`.

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::value::RawValue;
use touchline_schemas::event::{ALIAS, GROUP, IDENTIFY, PAGE_LEAVE, PAGE_VIEW, SCREEN_VIEW, SOURCE_POSTHOG};

use super::answer::ReceiveError;
use super::check::{Checked, Incoming, Names, RequestContext, check};
use super::events::{not_a_list, require_object, unreadable};
use super::segment::clock_behind;
use crate::body::{self, BodyError};
use crate::normalize::properties::{Members, text_of};

const NAMES: &Names = &Names {
    event_id: "uuid",
    visitor_id: "distinct_id",
    user_id: "distinct_id",
    session_id: "properties/$session_id",
    ip: "properties/$ip",
    user_agent: "properties/$raw_user_agent",
};

/// The id that every visitor without cookies has: nobody's.
const COOKIELESS: &str = "\"$posthog_cookieless\"";

const GZIP_MAGIC: &[u8] = b"\x1f\x8b";

/// The JSON of a body that a browser may have packed without saying so in a header: gzip, or a form whose field `data`
/// holds JSON, in Base64 or not.
pub fn unpack(body: Bytes, limit_bytes: usize) -> Result<Bytes, BodyError> {
    if body.starts_with(GZIP_MAGIC) {
        return body::decode(Some("gzip"), body, limit_bytes);
    }
    let Some(data) = form_field(&body, "data") else { return Ok(body) };
    if data.starts_with(b"{") || data.starts_with(b"[") {
        return Ok(data.into());
    }
    let mut decoded = Vec::new();
    let engine = &base64::engine::general_purpose::STANDARD;
    // A plus sign that was not escaped came out as a blank.
    let text: Vec<u8> = data.into_iter().map(|byte| if byte == b' ' { b'+' } else { byte }).collect();
    base64::read::DecoderReader::new(text.as_slice(), engine)
        .read_to_end(&mut decoded)
        .map_err(|error| BodyError::Corrupt { encoding: "base64".to_owned(), detail: error.to_string() })?;
    Ok(decoded.into())
}

fn form_field(body: &[u8], name: &str) -> Option<Vec<u8>> {
    if matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return None;
    }
    let (_, value) = url::form_urlencoded::parse(body).find(|(field, _)| field == name)?;
    Some(value.into_owned().into_bytes())
}

pub(super) fn read<'a>(body: &'a [u8], context: &mut RequestContext<'_>) -> Result<Vec<Checked<'a>>, ReceiveError> {
    let (events, sent_at) = events(body)?;
    let limit = context.limits.max_events_per_request;
    if events.len() > limit {
        return Err(ReceiveError::TooManyEvents { limit, sent: events.len() });
    }
    let events = events.into_iter().enumerate();
    let read = |(index, raw): (usize, &'a RawValue)| {
        let mut checked = event(raw.get(), index as u32, sent_at, context);
        if let (Checked::Refused(refusal), Some(sent_at)) = (&mut checked, sent_at) {
            refusal.keep("sent_at", sent_at.get());
        }
        checked
    };
    Ok(events.map(read).collect())
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    batch: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    api_key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
}

/// The events of a body (one, a list, or a list in `batch`), and the client's clock when it sent them.
fn events(body: &[u8]) -> Result<(Vec<&RawValue>, Option<&RawValue>), ReceiveError> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Ok((serde_json::from_slice(body)?, None));
    }
    require_object(body)?;
    match serde_json::from_slice::<Body<'_>>(body) {
        Ok(Body { batch: Some(events), sent_at, .. }) => Ok((events, sent_at)),
        Ok(Body { sent_at, .. }) => Ok((vec![serde_json::from_slice(body)?], sent_at)),
        Err(error) => Err(not_a_list("batch", "events", error)),
    }
}

/// The key in a body: beside the events, or in the first of them.
pub(super) fn key(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Properties<'a> {
        #[serde(borrow, default)]
        token: Option<&'a RawValue>,
    }

    let outer: Body<'_> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice::<Vec<Body<'_>>>(body).ok()?.into_iter().next()?,
        _ => serde_json::from_slice(body).ok()?,
    };
    let of = |body: &Body<'_>| {
        let in_properties = || serde_json::from_str::<Properties<'_>>(body.properties?.get()).ok()?.token;
        body.api_key.or(body.token).or_else(in_properties).and_then(text_of).map(Cow::into_owned)
    };
    // One level, however deep a stranger nests them.
    let in_batch = || of(&serde_json::from_str(outer.batch.as_deref()?.first()?.get()).ok()?);
    of(&outer).or_else(in_batch)
}

/// Reads one event without what stood beside it.
pub(super) fn alone<'a>(raw: &'a str, index: u32, context: &mut RequestContext<'_>) -> Checked<'a> {
    event(raw, index, None, context)
}

fn event<'a>(raw: &'a str, index: u32, sent_at: Option<&'a RawValue>, context: &mut RequestContext<'_>) -> Checked<'a> {
    let members = match serde_json::from_str::<Members<'a>>(raw) {
        Ok(members) => members,
        Err(error) => return unreadable(raw, index, SOURCE_POSTHOG, &error),
    };
    let mut incoming = Incoming {
        raw,
        names: NAMES,
        index,
        source: SOURCE_POSTHOG,
        numeric_ids: true,
        foreign_types: true,
        clock_behind: clock_behind(sent_at, context.arrived_at),
        event_type: Some(("event", RawValue::NULL)),
        ..Incoming::default()
    };
    let mut ids = Ids::default();
    let mut properties = None;
    for (name, value) in members.0 {
        if value.get() == "null" {
            continue;
        }
        match name.as_ref() {
            "event" => incoming.event_type = Some(("event", value)),
            "uuid" => incoming.event_id = Some(value),
            "distinct_id" => ids.distinct = Some(value),
            "timestamp" => incoming.timestamp = Some(("timestamp", value)),
            "properties" => properties = Some(value),
            "offset" => incoming.age = age(value),
            "sent_at" if sent_at.is_none() => {
                incoming.clock_behind = clock_behind(Some(value), context.arrived_at);
            }
            "api_key" | "token" | "sent_at" | "type" => {}
            _ => incoming.others.push((name, value)),
        }
    }
    if let Some(properties) = properties {
        read_properties(&mut incoming, &mut ids, properties, context.limits.max_properties_bytes);
    }
    ids.settle(&mut incoming);
    check(incoming, context)
}

/// How long before its sending an event happened, from its milliseconds.
fn age(offset_ms: &RawValue) -> TimeDelta {
    let offset_ms = serde_json::from_str(offset_ms.get()).ok();
    offset_ms.and_then(TimeDelta::try_milliseconds).unwrap_or_default()
}

/// What says who it was.
#[derive(Debug, Default)]
struct Ids<'a> {
    distinct: Option<&'a RawValue>,
    also_distinct: Option<&'a RawValue>,
    device: Option<&'a RawValue>,
    anonymous: Option<&'a RawValue>,
    alias: Option<&'a RawValue>,
    is_identified: Option<bool>,
}

fn read_properties<'a>(
    incoming: &mut Incoming<'a>,
    ids: &mut Ids<'a>,
    properties: &'a RawValue,
    max_properties_bytes: usize,
) {
    // What is too large or no object is refused by the check; also of what is too large it must be known whose it is.
    let is_too_large = properties.get().len() > max_properties_bytes;
    let members = serde_json::from_str::<Members<'a>>(properties.get()).ok();
    if is_too_large || members.is_none() {
        incoming.properties = Some(properties);
    }
    for (name, value) in members.unwrap_or_default().0 {
        if value.get() == "null" {
            continue;
        }
        let slot = match name.as_ref() {
            "$ip" => &mut incoming.ip,
            "$raw_user_agent" => &mut incoming.user_agent,
            "$session_id" => &mut incoming.session_id,
            "$device_id" => &mut ids.device,
            "$anon_distinct_id" => &mut ids.anonymous,
            "alias" => &mut ids.alias,
            "distinct_id" => &mut ids.also_distinct,
            // The key, and their word for no referrer.
            "token" => continue,
            "$referrer" if value.get() == r#""$direct""# => continue,
            "$is_identified" => {
                ids.is_identified = serde_json::from_str(value.get()).ok();
                incoming.others.push((name, value));
                continue;
            }
            _ if is_too_large => continue,
            _ => {
                incoming.others.push((property(name), value));
                continue;
            }
        };
        *slot = Some(value);
    }
}

/// What a property is called here.
fn property(name: Cow<'_, str>) -> Cow<'_, str> {
    match name.as_ref() {
        "$current_url" => Cow::Borrowed("url"),
        "$referrer" => Cow::Borrowed("referrer"),
        "$title" => Cow::Borrowed("title"),
        _ => name,
    }
}

impl<'a> Ids<'a> {
    /// Decides whose the ids are: PostHog has one name for those of visitors and of users.
    fn settle(self, incoming: &mut Incoming<'a>) {
        let event = incoming.event_type.and_then(|(_, value)| text_of(value)).unwrap_or_default();
        incoming.implied_type = match event.as_ref() {
            "$pageview" => Some(PAGE_VIEW),
            "$pageleave" => Some(PAGE_LEAVE),
            "$screen" => Some(SCREEN_VIEW),
            "$identify" | "$set" => Some(IDENTIFY),
            "$create_alias" => Some(ALIAS),
            "$groupidentify" => Some(GROUP),
            _ => None,
        };
        let distinct = self.distinct.or(self.also_distinct).filter(|id| id.get() != COOKIELESS);
        incoming.visitor_id = self.anonymous.or(self.device);
        let is_device = self.device.is_some_and(|device| distinct.is_some_and(|id| id.get() == device.get()));
        if is_device || self.is_identified == Some(false) {
            incoming.visitor_id = distinct;
        } else {
            incoming.user_id = distinct;
        }
        if let Some(alias) = self.alias {
            let name = if incoming.implied_type == Some(ALIAS) { "previous_id" } else { "alias" };
            incoming.others.push((Cow::Borrowed(name), alias));
        }
    }
}
