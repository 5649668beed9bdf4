//! What is refused, and what is kept of it.

use std::borrow::Cow;

use super::RequestContext;
use crate::normalize::address;
use crate::normalize::properties::push_json_string;
use crate::receive::answer::FieldError;

/// The code of an item that is larger than an event may be: only its beginning is kept.
pub(crate) const TOO_LARGE: &str = "event_too_large";
/// The code of an item of a person who was erased.
pub(crate) const ERASED: &str = "erased";
/// The code of an item that its person does not want to be kept.
pub(crate) const CONSENT_MISSING: &str = "consent_missing";

/// A refused item.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Its place in the request.
    pub index: u32,
    /// Its id, as far as it could be read.
    pub event_id: Option<Cow<'a, str>>,
    /// Its type, as far as it could be read.
    pub event_type: Option<Cow<'a, str>>,
    /// Why; never empty.
    pub errors: Vec<FieldError>,
    /// The item as it was sent, with what is kept of its surroundings; empty if nothing of it may be kept.
    pub raw: Cow<'a, str>,
    /// `source` of the event it would have been.
    pub source: &'static str,
}

impl Refusal<'_> {
    /// What stood beside an item is kept with each of them: no more than this of one thing.
    pub const MAX_KEPT_BYTES: usize = 4_096;

    /// Puts a member in front of the item's own: what stood beside it, without which it would be read otherwise when it is
    /// sent again. An item that is no object stays as it is.
    pub(in crate::receive) fn keep(&mut self, name: &str, value: &str) {
        if value.len() > Self::MAX_KEPT_BYTES {
            return;
        }
        let Some(members) = self.raw.trim_start().strip_prefix('{') else { return };
        let separator = if members.trim_start().starts_with('}') { "" } else { "," };
        self.raw = Cow::Owned(format!("{{\"{name}\":{value}{separator}{members}"));
    }

    /// Keeps that the visitor's browser asked for Global Privacy Control.
    pub(in crate::receive) fn keep_privacy_control(&mut self, context: &RequestContext<'_>) {
        if context.global_privacy_control {
            self.keep("consent", r#"{"advertising":false}"#);
        }
    }

    /// Keeps whose browser it was, under the names of the native form.
    pub(in crate::receive) fn keep_device(&mut self, context: &RequestContext<'_>) {
        let Some((ip, agent)) = context.device else { return };
        let mut said = String::new();
        if !context.global_privacy_control {
            let ip = if context.mask_ip { address::mask(ip) } else { ip.to_canonical() };
            push_json_string(&mut said, &ip.to_string());
            self.keep("ip", &said);
        }
        if let Some(agent) = agent {
            said.clear();
            push_json_string(&mut said, agent);
            self.keep("user_agent", &said);
        }
    }
}

/// The refusal of an item of a person who was erased: nothing of it is kept, neither its body nor its ids, only that it came.
pub(super) fn of_erased(index: u32, source: &'static str, hash: &str) -> Refusal<'static> {
    let detail = format!("this person was erased and is not taken again (hash of the id: {hash})");
    let errors = vec![FieldError { pointer: String::new(), code: ERASED, detail }];
    Refusal { index, event_id: None, event_type: None, errors, raw: Cow::Borrowed(""), source }
}

/// The refusal of an item whose `consent` does not allow to keep it: as little of it is kept as of an erased person's.
pub(super) fn without_consent(index: u32, source: &'static str) -> Refusal<'static> {
    let detail = "`consent.analytics` is not true: nothing of the event is kept".to_owned();
    let errors = vec![FieldError { pointer: String::new(), code: CONSENT_MISSING, detail }];
    Refusal { index, event_id: None, event_type: None, errors, raw: Cow::Borrowed(""), source }
}

/// The errors of a refusal as JSON text, for `rejected_events`.
pub fn errors_json(errors: &[FieldError]) -> String {
    let mut json = String::from("[");
    for error in errors {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str("{\"pointer\":");
        push_json_string(&mut json, &error.pointer);
        json.push_str(",\"code\":");
        push_json_string(&mut json, error.code);
        json.push_str(",\"detail\":");
        push_json_string(&mut json, &error.detail);
        json.push('}');
    }
    json.push(']');
    json
}
