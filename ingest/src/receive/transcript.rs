//! Requests of one small event in another form, written anew in the native form before they are read.
//!
//! It costs a copy, and these requests are no more than a few hundred bytes each.

use serde::de::DeserializeOwned;
use serde_json::Value;

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
            Checked::Refused(super::Refusal { raw: original, ..refusal })
        }
        checked => checked,
    }
}
