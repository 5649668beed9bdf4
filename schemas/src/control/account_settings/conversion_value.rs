//! What conversions are worth: the setting `conversion_values`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::limits::MAX_PROPERTY_CHARS;
use super::{ControlError, invalid, list};

/// An amount is kept with 18 digits, 4 of them after the point.
const MAX_WHOLE_DIGITS: usize = 14;
const MAX_DECIMALS: usize = 4;
pub(super) const VALUES_LIMIT: &str =
    "a list of event_type=revenue, event_type=fixed:12.50 or event_type=property:order.margin";

/// What a conversion is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversionValue {
    /// The event's revenue.
    #[default]
    Revenue,
    /// An amount with at most 4 decimals, whatever the event says.
    Fixed(String),
    /// The number in this member of the event's properties; members of members are joined by dots.
    Property(String),
}

pub(super) fn is_conversion_value(value: &ConversionValue) -> bool {
    match value {
        ConversionValue::Revenue => true,
        ConversionValue::Fixed(amount) => is_amount(amount),
        ConversionValue::Property(path) => {
            let forbidden = |char: char| char == ',' || char.is_control();
            path.chars().count() <= MAX_PROPERTY_CHARS
                && path.split('.').all(|member| !member.is_empty())
                && !path.contains(forbidden)
        }
    }
}

/// `12`, `12.5`, … `12.5000`: not negative, since credit is shared out.
fn is_amount(text: &str) -> bool {
    let digits =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, decimals)) => digits(whole, MAX_WHOLE_DIGITS) && digits(decimals, MAX_DECIMALS),
        None => digits(text, MAX_WHOLE_DIGITS),
    }
}

pub(super) fn conversion_values(text: &str) -> Result<BTreeMap<String, ConversionValue>, ControlError> {
    let mut values = BTreeMap::new();
    for item in list(text) {
        let refused = || invalid("conversion_values", VALUES_LIMIT, &item);
        let (event_type, value) = item.split_once('=').ok_or_else(refused)?;
        let value = conversion_value(value).ok_or_else(refused)?;
        if values.insert(event_type.to_owned(), value).is_some() {
            return Err(refused());
        }
    }
    Ok(values)
}

pub(super) fn conversion_value(text: &str) -> Option<ConversionValue> {
    match text.split_once(':') {
        None if text == "revenue" => Some(ConversionValue::Revenue),
        Some(("fixed", amount)) => Some(ConversionValue::Fixed(amount.to_owned())),
        Some(("property", path)) => Some(ConversionValue::Property(path.to_owned())),
        None | Some(_) => None,
    }
}

pub(super) fn rule(event_type: &str, value: &ConversionValue) -> String {
    format!("{event_type}={}", value_text(value))
}

pub(super) fn value_text(value: &ConversionValue) -> String {
    match value {
        ConversionValue::Revenue => "revenue".to_owned(),
        ConversionValue::Fixed(amount) => format!("fixed:{amount}"),
        ConversionValue::Property(path) => format!("property:{path}"),
    }
}
