//! The receiver by which a refused item came, for when it is sent again.

use std::cell::OnceCell;

use serde::Deserialize;
use serde_json::value::RawValue;
use touchline_schemas::event::{
    IDENTIFY, SESSION_START, SOURCE_CONVERSION, SOURCE_IMPORT, SOURCE_NATIVE, SOURCE_PLAUSIBLE, SOURCE_POSTHOG,
    SOURCE_SEGMENT, SOURCE_UMAMI,
};

use super::check::{Checked, RequestContext};
use super::{conversion, events, identify, plausible, posthog, segment, session, transcript, umami};
use crate::normalize::properties::Members;

/// Reads an item as the receiver did that refused one of this source and type. `raw` is what is kept of it: of a session
/// or a conversion what stood in the wrapper, of a file's line the event that it was made into. None if it is no object,
/// or if no receiver has this source. `anew` is where an item that has to be written anew is kept.
pub(crate) fn again<'a>(
    source: &str,
    event_type: &str,
    raw: &'a str,
    index: u32,
    anew: &'a OnceCell<String>,
    context: &mut RequestContext<'_>,
) -> Option<Checked<'a>> {
    let members: Members<'a> = serde_json::from_str(raw).ok()?;
    match source {
        // Only in a batch of events an item names its type itself.
        SOURCE_NATIVE if event_type == SESSION_START && !names_its_type(raw) => {
            Some(session::session(raw, members, context))
        }
        SOURCE_NATIVE if event_type == IDENTIFY && !names_its_type(raw) => {
            Some(identify::identify(raw, members, context))
        }
        SOURCE_NATIVE => Some(events::event(raw, index, SOURCE_NATIVE, context)),
        SOURCE_CONVERSION => Some(conversion::conversion(raw, members, context)),
        SOURCE_IMPORT => Some(events::event(raw, index, SOURCE_IMPORT, context)),
        SOURCE_SEGMENT => Some(segment::alone(raw, event_type, index, context)),
        SOURCE_POSTHOG => Some(posthog::alone(raw, index, context)),
        SOURCE_PLAUSIBLE => {
            let native = plausible::transcribe(raw.as_bytes()).ok()?;
            Some(transcript::check(anew.get_or_init(|| native), raw, SOURCE_PLAUSIBLE, context))
        }
        SOURCE_UMAMI => {
            let native = umami::transcribe(raw.as_bytes()).ok()?;
            Some(transcript::check(anew.get_or_init(|| native), raw, SOURCE_UMAMI, context))
        }
        _ => None,
    }
}

fn names_its_type(raw: &str) -> bool {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, default)]
        event_type: Option<&'a RawValue>,
    }

    serde_json::from_str::<Typed<'_>>(raw).is_ok_and(|typed| typed.event_type.is_some())
}
