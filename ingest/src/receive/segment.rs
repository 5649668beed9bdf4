//! Messages in the form of Segment, which RudderStack speaks as well: `POST /v1/batch`, `/v1/track` and their kin.
//!
//! What a message's context holds is kept under `context_…`, except what an event has columns for.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use touchline_schemas::event::{ALIAS, GROUP, IDENTIFY, PAGE_VIEW, SCREEN_VIEW, SOURCE_SEGMENT};
use touchline_schemas::timestamp;

use super::answer::{FieldError, ReceiveError};
use super::check::{Checked, Incoming, Names, Refusal, RequestContext, check};
use super::events::{not_a_list, require_object, unreadable};
use crate::normalize::properties::{Members, text_of};

const NAMES: &Names = &Names {
    event_id: "messageId",
    visitor_id: "anonymousId",
    user_id: "userId",
    session_id: "context/sessionId",
    ip: "context/ip",
    user_agent: "context/userAgent",
};

/// What a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// Something happened; `event` names it.
    Track,
    /// A page was viewed.
    Page,
    /// A screen of an app was viewed.
    Screen,
    /// Who a visitor is.
    Identify,
    /// A user belongs to a group.
    Group,
    /// Two user ids are one person's.
    Alias,
}

impl MessageType {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "track" => Self::Track,
            "page" => Self::Page,
            "screen" => Self::Screen,
            "identify" => Self::Identify,
            "group" => Self::Group,
            "alias" => Self::Alias,
            _ => return None,
        })
    }

    /// The type of a message that did not say it, by the type of the event that it was to become.
    fn of_event(event_type: &str) -> Self {
        let all = [Self::Page, Self::Screen, Self::Identify, Self::Group, Self::Alias];
        all.into_iter().find(|kind| kind.event_type() == Some(event_type)).unwrap_or(Self::Track)
    }

    /// The type of the event; a tracked one names its own.
    const fn event_type(self) -> Option<&'static str> {
        Some(match self {
            Self::Track => return None,
            Self::Page => PAGE_VIEW,
            Self::Screen => SCREEN_VIEW,
            Self::Identify => IDENTIFY,
            Self::Group => GROUP,
            Self::Alias => ALIAS,
        })
    }
}

/// What is posted to one of the paths below `/v1/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentCall {
    /// `{"batch":[…]}`: each message says its type.
    Batch,
    /// One message, of this type unless it says another.
    One(MessageType),
}

impl SegmentCall {
    /// The call whose path ends in `name`: the whole word or its short form.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "batch" | "b" | "import" => Self::Batch,
            "track" | "t" => Self::One(MessageType::Track),
            "page" | "p" => Self::One(MessageType::Page),
            "screen" | "s" => Self::One(MessageType::Screen),
            "identify" | "i" => Self::One(MessageType::Identify),
            "group" | "g" => Self::One(MessageType::Group),
            "alias" | "a" => Self::One(MessageType::Alias),
            _ => return None,
        })
    }
}

/// What the messages of a request have in common.
#[derive(Debug, Clone, Copy, Default)]
struct Common<'a> {
    /// The client's clock when it sent them.
    sent_at: Option<&'a RawValue>,
    /// Stands for the context of a message that has none.
    context: Option<&'a RawValue>,
    /// Whether a server has received them before, as those of an export: their times are put right already.
    was_received: bool,
}

impl Common<'_> {
    /// Keeps with a refused message what it did not say itself.
    fn keep_in(&self, refusal: &mut Refusal<'_>) {
        let said: Members<'_> = serde_json::from_str(&refusal.raw).unwrap_or_default();
        let missing = [("sentAt", self.sent_at), ("context", self.context)];
        let missing: Vec<_> = missing.into_iter().filter(|(name, _)| said.get(name).is_none()).collect();
        for (name, value) in missing {
            if let Some(value) = value {
                refusal.keep(name, value.get());
            }
        }
    }
}

pub(super) fn read<'a>(
    call: SegmentCall,
    body: &'a [u8],
    context: &mut RequestContext<'_>,
) -> Result<Vec<Checked<'a>>, ReceiveError> {
    require_object(body)?;
    match call {
        SegmentCall::Batch => {
            let (messages, common) = batch(body)?;
            let limit = context.limits.max_events_per_request;
            if messages.len() > limit {
                return Err(ReceiveError::TooManyEvents { limit, sent: messages.len() });
            }
            let read = |(index, raw): (usize, &'a RawValue)| {
                let mut checked = message(raw.get(), index as u32, None, common, context);
                if let Checked::Refused(refusal) = &mut checked {
                    common.keep_in(refusal);
                }
                checked
            };
            Ok(messages.into_iter().enumerate().map(read).collect())
        }
        SegmentCall::One(kind) => {
            let raw =
                std::str::from_utf8(body).map_err(|error| ReceiveError::InvalidJson { detail: error.to_string() })?;
            serde_json::from_str::<&RawValue>(raw)?;
            Ok(vec![message(raw, 0, Some(kind), Common::default(), context)])
        }
    }
}

fn batch(body: &[u8]) -> Result<(Vec<&RawValue>, Common<'_>), ReceiveError> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, default)]
        batch: Option<Vec<&'a RawValue>>,
        #[serde(borrow, default, rename = "sentAt")]
        sent_at: Option<&'a RawValue>,
        #[serde(borrow, default)]
        context: Option<&'a RawValue>,
    }

    match serde_json::from_slice::<Body<'_>>(body) {
        Ok(Body { batch: Some(messages), sent_at, context }) => {
            Ok((messages, Common { sent_at, context, was_received: false }))
        }
        Ok(Body { batch: None, .. }) => Err(ReceiveError::MissingField {
            pointer: "/batch".into(),
            detail: "`batch` is required: an array of messages".into(),
        }),
        Err(error) => Err(not_a_list("batch", "messages", error)),
    }
}

/// Reads one message without what stood beside it. `event_type` is what it was to become.
pub(crate) fn alone<'a>(raw: &'a str, event_type: &str, index: u32, context: &mut RequestContext<'_>) -> Checked<'a> {
    let implied = MessageType::of_event(event_type);
    message(raw, index, Some(implied), Common::default(), context)
}

/// Reads one message of an export, which arrived long ago.
pub(crate) fn exported<'a>(raw: &'a str, index: u32, context: &mut RequestContext<'_>) -> Checked<'a> {
    let common = Common { was_received: true, ..Common::default() };
    message(raw, index, Some(MessageType::Track), common, context)
}

/// Reads one message. `implied` is its type if it does not say one.
fn message<'a>(
    raw: &'a str,
    index: u32,
    implied: Option<MessageType>,
    common: Common<'a>,
    context: &mut RequestContext<'_>,
) -> Checked<'a> {
    let members = match serde_json::from_str::<Members<'a>>(raw) {
        Ok(members) => members,
        Err(error) => return unreadable(raw, index, SOURCE_SEGMENT, &error),
    };
    let mut incoming =
        Incoming { raw, names: NAMES, index, source: SOURCE_SEGMENT, numeric_ids: true, ..Incoming::default() };
    let (mut said_type, mut event, mut original_timestamp) = (None, None, None);
    let Common { mut sent_at, context: mut message_context, mut was_received } = common;
    for (name, value) in members.0 {
        if value.get() == "null" {
            continue;
        }
        match name.as_ref() {
            "type" => said_type = Some(value),
            "event" => event = Some(value),
            "messageId" => incoming.event_id = Some(value),
            "anonymousId" => incoming.visitor_id = Some(value),
            "userId" => incoming.user_id = Some(value),
            "timestamp" => incoming.timestamp = Some(("timestamp", value)),
            "originalTimestamp" => original_timestamp = Some(value),
            "sentAt" => sent_at = Some(value),
            "receivedAt" => {
                was_received = true;
                incoming.others.push((name, value));
            }
            "properties" => incoming.properties = Some(value),
            "context" => message_context = Some(value),
            "request_ip" => incoming.ip = Some(value),
            "previousId" => incoming.others.push((Cow::Borrowed("previous_id"), value)),
            "groupId" => incoming.others.push((Cow::Borrowed("group_id"), value)),
            // Where it was sent from; of a message event, `channel` is where it went.
            "channel" => incoming.others.push((Cow::Borrowed("context_channel"), value)),
            // Which of Segment's destinations get it, and a secret.
            "integrations" | "writeKey" => {}
            _ => incoming.others.push((name, value)),
        }
    }
    // What the application said of the time counts; RudderStack's libraries add when they were told.
    let original = original_timestamp.map(|original| ("originalTimestamp", original));
    incoming.timestamp = incoming.timestamp.or(original);
    // A message that a server has received before, as in an export, has its time put right already.
    if !was_received {
        incoming.clock_behind = clock_behind(sent_at, context.arrived_at);
    }
    let kind = match said_type {
        None => implied,
        Some(word) => text_of(word).as_deref().and_then(MessageType::read),
    };
    if let Some(around) = message_context {
        read_context(&mut incoming, kind, around);
    }
    match kind {
        Some(kind) => {
            incoming.implied_type = kind.event_type();
            incoming.event_type = Some(("event", event.unwrap_or(RawValue::NULL)));
        }
        None => incoming.wrong = Some(unknown_type(said_type)),
    }
    check(incoming, context)
}

/// By how much the client's clock is behind ours, when it says when it sent.
pub(super) fn clock_behind(sent_at: Option<&RawValue>, arrived_at: DateTime<Utc>) -> TimeDelta {
    let sent_at = sent_at.and_then(text_of).as_deref().and_then(timestamp::parse);
    sent_at.map_or(TimeDelta::zero(), |sent_at| arrived_at - sent_at)
}

fn read_context<'a>(incoming: &mut Incoming<'a>, kind: Option<MessageType>, context: &'a RawValue) {
    let Ok(members) = serde_json::from_str::<Members<'a>>(context.get()) else {
        incoming.others.push((Cow::Borrowed("context"), context));
        return;
    };
    // Those of the user: with a group they are not the group's.
    let tells_traits = kind == Some(MessageType::Identify);
    for (name, value) in members.0 {
        if value.get() == "null" {
            continue;
        }
        match name.as_ref() {
            "ip" => incoming.ip = Some(value),
            "userAgent" => incoming.user_agent = Some(value),
            "sessionId" => incoming.session_id = Some(value),
            "page" => read_part(incoming, "page", value, |around, name, value| around.set_page(name, value)),
            "campaign" => {
                read_part(incoming, "campaign", value, |around, name, value| around.set_campaign(name, value));
            }
            // RudderStack's libraries put them here.
            "traits" if tells_traits && !incoming.others.iter().any(|(name, _)| name == "traits") => {
                incoming.others.push((name, value));
            }
            // Which categories of use were agreed to: ours is one of their names.
            "consent" => {
                let categories = serde_json::from_str::<Members<'a>>(value.get()).ok();
                let categories = categories.and_then(|said| said.get("categoryPreferences"));
                incoming.others.push((Cow::Borrowed("consent"), categories.unwrap_or(value)));
            }
            "library" => incoming.others.push((Cow::Borrowed("context_library"), value)),
            "locale" => incoming.others.push((Cow::Borrowed("context_locale"), value)),
            "timezone" => incoming.others.push((Cow::Borrowed("context_timezone"), value)),
            _ => incoming.others.push((Cow::Owned(format!("context_{name}")), value)),
        }
    }
}

fn read_part<'a>(
    incoming: &mut Incoming<'a>,
    part: &str,
    value: &'a RawValue,
    set: impl Fn(&mut super::surroundings::Surroundings<'a>, &str, &'a RawValue) -> bool,
) {
    let Ok(members) = serde_json::from_str::<Members<'a>>(value.get()) else {
        incoming.others.push((Cow::Owned(format!("context_{part}")), value));
        return;
    };
    let has_url = part == "page" && members.get("url").is_some();
    for (name, value) in members.0 {
        // The URL says it.
        let is_said = name == "search" && has_url;
        if value.get() != "null" && !is_said && !set(&mut incoming.surroundings, &name, value) {
            incoming.others.push((Cow::Owned(format!("context_{part}_{name}")), value));
        }
    }
}

fn unknown_type(said: Option<&RawValue>) -> FieldError {
    let (code, detail) = match said {
        None => ("field_missing", "`type` is required: track, page, screen, identify, group or alias"),
        Some(_) => ("unknown_value", "`type` must be track, page, screen, identify, group or alias"),
    };
    FieldError { pointer: "/type".into(), code, detail: detail.into() }
}
