//! The receiver by which a refused item came, for when it is sent again.

use serde::Deserialize;
use serde_json::value::RawValue;
use touchline_schemas::event::{IDENTIFY, SESSION_START, SOURCE_CONVERSION, SOURCE_IMPORT, SOURCE_NATIVE};

use super::check::{Checked, RequestContext};
use super::{conversion, events, identify, session};
use crate::normalize::properties::Members;

/// Reads an item as the receiver did that refused one of this source and type. `raw` is what is kept of it: of a session
/// or a conversion what stood in the wrapper, of a file's line the event that it was made into. None if it is no object,
/// or if no receiver has this source.
pub(crate) fn again<'a>(
    source: &str,
    event_type: &str,
    raw: &'a str,
    index: u32,
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
