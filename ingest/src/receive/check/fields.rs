//! Single fields, and what is wrong with them.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use touchline_schemas::event::{RESERVED_PREFIX, is_known_reserved_type};
use touchline_schemas::timestamp;

use super::{Limits, RequestContext};
use crate::normalize::campaign;
use crate::normalize::properties::{Members, is_longer_than, text_of};
use crate::receive::answer::FieldError;

const MAX_EVENT_TYPE_CHARS: usize = 255;

/// An id's text; a number is taken by its digits where that may be.
pub(super) fn id_of(value: &RawValue, numeric_ids: bool) -> Option<Cow<'_, str>> {
    let json = value.get();
    let is_number = json.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    if is_number && numeric_ids { Some(Cow::Borrowed(json)) } else { text_of(value) }
}

/// What is wrong with an item, as far as it was read.
pub(super) struct Errors(pub(super) Vec<FieldError>);

impl Errors {
    pub(super) fn push(&mut self, pointer: &str, code: &'static str, detail: String) {
        self.0.push(FieldError { pointer: pointer.to_owned(), code, detail });
    }

    pub(super) fn text<'a>(&mut self, name: &str, value: &'a RawValue) -> Option<Cow<'a, str>> {
        if value.get() == "null" {
            return None;
        }
        let text = text_of(value);
        if text.is_none() {
            self.push(&format!("/{name}"), "wrong_type", format!("`{name}` must be text"));
        }
        text
    }

    pub(super) fn id<'a>(
        &mut self,
        name: &str,
        value: &'a RawValue,
        numeric_ids: bool,
        max_chars: usize,
    ) -> Option<Cow<'a, str>> {
        let text = match id_of(value, numeric_ids) {
            Some(text) => Some(text),
            None => self.text(name, value),
        };
        let text = text.filter(|text| !text.is_empty())?;
        if is_longer_than(&text, max_chars) {
            let detail = format!("`{name}` may have {max_chars} characters (`ingest.max_id_chars`)");
            self.push(&format!("/{name}"), "too_long", detail);
            return None;
        }
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            self.push(&format!("/{name}"), "control_character", format!("`{name}` holds a control character"));
            return None;
        }
        Some(text)
    }

    pub(super) fn event_type<'a>(
        &mut self,
        name: &str,
        value: &'a RawValue,
        foreign_types: bool,
    ) -> Option<Cow<'a, str>> {
        let pointer = format!("/{name}");
        if value.get() == "null" {
            self.push(&pointer, "event_type_missing", format!("`{name}` is required"));
            return None;
        }
        let mut text = campaign::trimmed(self.text(name, value)?);
        if foreign_types && text.starts_with(RESERVED_PREFIX) {
            text = Cow::Owned(text.trim_start_matches(RESERVED_PREFIX).to_owned());
        }
        let chars = text.chars().count();
        if chars == 0 {
            self.push(&pointer, "event_type_missing", format!("`{name}` is required"));
        } else if chars > MAX_EVENT_TYPE_CHARS {
            self.push(&pointer, "too_long", format!("`{name}` may have {MAX_EVENT_TYPE_CHARS} characters"));
        } else if text.bytes().any(|byte| byte.is_ascii_control()) {
            self.push(&pointer, "control_character", format!("`{name}` holds a control character"));
        } else if text.starts_with(RESERVED_PREFIX) && !is_known_reserved_type(&text) {
            let detail = format!("names that begin with `{RESERVED_PREFIX}` are reserved, and this is none of them");
            self.push(&pointer, "event_type_reserved", detail);
        } else {
            return Some(text);
        }
        None
    }

    pub(super) fn time(
        &mut self,
        name: &str,
        value: &RawValue,
        clock_behind: TimeDelta,
        context: &RequestContext<'_>,
    ) -> Option<DateTime<Utc>> {
        if value.get() == "null" {
            return None;
        }
        let said = text_of(value).as_deref().and_then(timestamp::parse);
        let Some(time) = said.and_then(|said| said.checked_add_signed(clock_behind)) else {
            self.push(&format!("/{name}"), "timestamp_invalid", format!("`{name}` must be an ISO 8601 date and time"));
            return None;
        };
        self.within_limits(name, time, context)
    }

    pub(super) fn age(&mut self, age: TimeDelta, context: &RequestContext<'_>) -> Option<DateTime<Utc>> {
        if age.is_zero() {
            return None;
        }
        self.within_limits("offset", context.arrived_at.checked_sub_signed(age)?, context)
    }

    fn within_limits(
        &mut self,
        name: &str,
        time: DateTime<Utc>,
        context: &RequestContext<'_>,
    ) -> Option<DateTime<Utc>> {
        let limits = context.limits;
        let pointer = format!("/{name}");
        if time > context.received_at + TimeDelta::seconds(limits.max_future_s) {
            let detail = format!(
                "`{name}` is more than {} s ahead of the server's clock (`ingest.max_future_s`)",
                limits.max_future_s
            );
            self.push(&pointer, "timestamp_in_future", detail);
            return None;
        }
        if time < limits.min_timestamp {
            let detail = format!("`{name}` is before {} (`ingest.min_timestamp`)", limits.min_timestamp.to_rfc3339());
            self.push(&pointer, "timestamp_too_old", detail);
            return None;
        }
        Some(time)
    }

    pub(super) fn properties<'a>(&mut self, value: &'a RawValue, limits: &Limits) -> Option<Members<'a>> {
        let json = value.get();
        // An empty array is how PHP writes an object without members.
        if matches!(json, "null" | "[]") {
            return None;
        }
        let is_too_large = json.len() > limits.max_properties_bytes;
        if is_too_large {
            let detail = format!(
                "`properties` may have {} bytes (`ingest.max_properties_bytes`), these have {}",
                limits.max_properties_bytes,
                json.len()
            );
            self.push("/properties", "properties_too_large", detail);
        }
        match serde_json::from_str(json) {
            // What they say of consent counts, however large they are.
            Ok(members) => Some(members),
            Err(_) if is_too_large => None,
            Err(_) => {
                self.push("/properties", "wrong_type", "`properties` must be an object".into());
                None
            }
        }
    }
}
