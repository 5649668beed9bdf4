//! What holds of single texts, lists and numbers.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{ControlError, invalid, known};

/// As long as an event's type may be.
const MAX_EVENT_TYPE_CHARS: usize = 255;
pub(super) const MAX_PROPERTY_CHARS: usize = 255;
const MAX_HOST_CHARS: usize = 253;
const MAX_LABEL_CHARS: usize = 63;

pub(super) fn within<N: PartialOrd + Display>(
    field: &'static str,
    given: Option<N>,
    limits: &RangeInclusive<N>,
) -> Result<(), ControlError> {
    match given {
        Some(given) if !limits.contains(&given) => Err(invalid(field, &between(limits), &given.to_string())),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn one_of(
    field: &'static str,
    given: Option<&str>,
    words: &[&str],
    limit: &str,
) -> Result<(), ControlError> {
    match given {
        Some(given) if !words.contains(&given) => Err(invalid(field, limit, given)),
        Some(_) | None => Ok(()),
    }
}

/// Every item is one, and none comes twice.
pub(super) fn each(
    field: &'static str,
    limit: &str,
    items: &[String],
    is_one: impl Fn(&str) -> bool,
) -> Result<(), ControlError> {
    for (place, item) in items.iter().enumerate() {
        if !is_one(item) || items[..place].contains(item) {
            return Err(invalid(field, limit, item));
        }
    }
    Ok(())
}

/// Lower-case letters, digits and hyphens in at least two labels; the last is no number, which an address would have.
pub(super) fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=MAX_LABEL_CHARS).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = host.rsplit_once('.') else { return false };
    host.len() <= MAX_HOST_CHARS && host.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// What can be a type and can stand in a list.
pub(super) fn is_event_type(name: &str) -> bool {
    let forbidden = |char: char| char == ',' || char == '=' || char.is_control();
    (1..=MAX_EVENT_TYPE_CHARS).contains(&name.chars().count()) && name.trim() == name && !name.contains(forbidden)
}

pub(super) fn number<N: FromStr + Display>(
    limits: &RangeInclusive<N>,
    field: &str,
    text: &str,
) -> Result<N, ControlError> {
    parsed(known(field)?, &between(limits), text)
}

pub(super) fn parsed<T: FromStr>(field: &'static str, limit: &str, text: &str) -> Result<T, ControlError> {
    text.parse().map_err(|_| invalid(field, limit, text))
}

fn between<N: Display>(limits: &RangeInclusive<N>) -> String {
    format!("a whole number between {} and {}", limits.start(), limits.end())
}
