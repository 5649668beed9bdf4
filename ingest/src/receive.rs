//! Receivers: one file per dialect, all ending in the same check and the same event.

use std::cell::OnceCell;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use touchline_schemas::event::{SOURCE_PLAUSIBLE, SOURCE_UMAMI};

use crate::body::BodyError;

pub(crate) mod again;
pub(crate) mod answer;
pub(crate) mod check;
mod conversion;
pub(crate) mod events;
mod identify;
mod plausible;
mod posthog;
pub(crate) mod segment;
mod session;
mod surroundings;
mod transcript;
mod umami;
mod vocabulary;

pub use answer::{FieldError, ItemStatus, Receipt, ReceiveError, RejectedItem};
pub use check::{Checked, Incoming, Limits, Refusal, RequestContext};
pub use segment::{MessageType, SegmentCall};

/// What events are posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /api/v1/events`
    Events,
    /// `POST /api/v1/sessions`
    Session,
    /// `POST /api/v1/conversions`
    Conversion,
    /// `POST /api/v1/identify`
    Identify,
    /// Segment's, below `/v1/`.
    Segment(SegmentCall),
    /// PostHog's.
    PostHog,
    /// Plausible's `POST /api/event`.
    Plausible,
    /// Umami's `POST /api/send`.
    Umami,
}

/// What a request presents in its body, where it has no header for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A key.
    Key(String),
    /// A domain that an account has said to be its own.
    Domain(String),
}

impl Endpoint {
    /// The body as its dialect is read: some clients pack it without saying so in a header.
    pub fn unpack(self, body: Bytes, limit_bytes: usize) -> Result<Bytes, BodyError> {
        match self {
            Self::PostHog => posthog::unpack(body, limit_bytes),
            Self::Events
            | Self::Session
            | Self::Conversion
            | Self::Identify
            | Self::Segment(_)
            | Self::Plausible
            | Self::Umami => Ok(body),
        }
    }

    /// What the body presents; none in the native form, which has it in a header.
    pub fn credential(self, body: &[u8]) -> Option<Credential> {
        match self {
            Self::Events | Self::Session | Self::Conversion | Self::Identify => None,
            Self::Segment(_) => write_key(body).map(Credential::Key),
            Self::PostHog => posthog::key(body).map(Credential::Key),
            Self::Plausible => plausible::domain(body).map(Credential::Domain),
            Self::Umami => umami::key(body).map(Credential::Key),
        }
    }
}

/// The body with another character for each of the key's, wherever it stands: a refused item is kept as it came, and who
/// may read it is not who may send.
pub fn without_key(body: Bytes, key: &str) -> Bytes {
    if key.is_empty() {
        return body;
    }
    let places: Vec<usize> = memchr::memmem::find_iter(&body, key).collect();
    if places.is_empty() {
        return body;
    }
    let mut cleared = BytesMut::from(body.as_ref());
    for place in places {
        cleared[place..place + key.len()].fill(b'x');
    }
    cleared.freeze()
}

fn write_key(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "writeKey")]
        write_key: String,
    }

    serde_json::from_slice::<Body>(body).ok().map(|body| body.write_key)
}

/// Reads a body and checks each of its items. `anew` is where a body that has to be written anew is kept.
pub fn read<'a>(
    endpoint: Endpoint,
    body: &'a [u8],
    anew: &'a OnceCell<String>,
    context: &mut RequestContext<'_>,
) -> Result<Vec<Checked<'a>>, ReceiveError> {
    let (native, source) = match endpoint {
        Endpoint::Events => return events::read(body, context),
        Endpoint::Session => return session::read(body, context),
        Endpoint::Conversion => return conversion::read(body, context),
        Endpoint::Identify => return identify::read(body, context),
        Endpoint::Segment(call) => return segment::read(call, body, context),
        Endpoint::PostHog => return posthog::read(body, context),
        Endpoint::Plausible => (plausible::transcribe(body)?, SOURCE_PLAUSIBLE),
        Endpoint::Umami => (umami::transcribe(body)?, SOURCE_UMAMI),
    };
    let original =
        std::str::from_utf8(body).map_err(|error| ReceiveError::InvalidJson { detail: error.to_string() })?;
    Ok(vec![transcript::check(anew.get_or_init(|| native), original, source, context)])
}

#[cfg(test)]
mod tests;
