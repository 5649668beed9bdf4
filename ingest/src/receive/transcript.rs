//! Requests of one small event in another form, written anew in the native form before they are read.
//!
//! It costs a copy; their bodies may be no larger than an event.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::answer::ReceiveError;
use super::check::{Checked, RequestContext};
use super::events::{event, require_object};

/// Reads a body into its form.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ReceiveError> {
    require_object(body)?;
    serde_json::from_slice(body).map_err(|error| {
        if error.is_data() {
            ReceiveError::WrongType { pointer: String::new(), detail: error.to_string() }
        } else {
            error.into()
        }
    })
}

/// A value's text, if it is one.
pub(super) fn text(value: &Option<Value>) -> Option<&str> {
    value.as_ref().and_then(Value::as_str)
}

/// Checks the event in `native`. What is kept of a refused one is `original`.
pub(super) fn check<'a>(
    native: &'a str,
    original: &'a str,
    source: &'static str,
    context: &mut RequestContext<'_>,
) -> Checked<'a> {
    match event(native, 0, source, context) {
        Checked::Refused(refusal) if !refusal.raw.is_empty() => {
            let mut refusal = super::Refusal { raw: original.into(), ..refusal };
            refusal.keep_privacy_control(context);
            refusal.keep_device(context);
            Checked::Refused(refusal)
        }
        checked => checked,
    }
}

/// Takes what their forms have no name for under ours: whoever sends it says more, and a refused event is put right so.
pub(super) fn lift(others: &mut Map<String, Value>, event: &mut Map<String, Value>) {
    for name in ["event_id", "visitor_id", "user_id", "ip", "user_agent", "consent"] {
        if let Some(value) = others.remove(name) {
            event.entry(name).or_insert(value);
        }
    }
}

/// Puts a member in under its name or, if that is taken by another value, with `prefix`: nothing is lost.
pub(super) fn put(properties: &mut Map<String, Value>, prefix: &str, name: String, value: Value) {
    let is_taken = properties.get(&name).is_some_and(|present| *present != value);
    properties.insert(if is_taken { format!("{prefix}{name}") } else { name }, value);
}
