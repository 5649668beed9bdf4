//! What the properties of an event say: members by their names, each read by itself, so that one that is wrong hides no
//! other. Of members of one name the last holds.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use touchline_schemas::money::parse_e4;
use touchline_schemas::timestamp;

/// The members of an object; of text that is none, no members.
#[derive(Debug, Default)]
pub struct Said(BTreeMap<String, Box<RawValue>>);

impl Said {
    pub fn read(json: Option<&str>) -> Self {
        json.and_then(|json| serde_json::from_str(json).ok().map(Self)).unwrap_or_default()
    }

    /// Text without blanks at either end, unless there is nothing between them.
    pub fn word(&self, name: &str) -> Option<String> {
        let text = text_of(self.0.get(name)?)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Ten-thousandths of an amount that is not negative: a number, or the text of one.
    pub fn amount_e4(&self, name: &str) -> Option<i64> {
        let written = self.word(name).or_else(|| Some(self.0.get(name)?.get().to_owned()))?;
        parse_e4(&written).filter(|amount| *amount >= 0)
    }

    /// A whole number from 0 to the largest of 32 bits.
    pub fn whole(&self, name: &str) -> Option<i64> {
        serde_json::from_str::<u32>(self.0.get(name)?.get()).ok().map(i64::from)
    }

    /// The bits of a fraction greater than 0 and at most 1.
    pub fn share_bits(&self, name: &str) -> Option<i64> {
        let share = serde_json::from_str::<f64>(self.0.get(name)?.get()).ok()?;
        (share > 0.0 && share <= 1.0).then(|| share.to_bits() as i64)
    }

    /// An instant in microseconds since 1970.
    pub fn instant_us(&self, name: &str) -> Option<i64> {
        Some(timestamp::parse(&self.word(name)?)?.timestamp_micros())
    }
}

/// The text, or the digits of the number or truth value, at a path of members joined by dots.
pub fn scalar_at(json: &str, path: &str) -> Option<String> {
    let (member, rest) = path.split_once('.').map_or((path, None), |(member, rest)| (member, Some(rest)));
    let said = Said::read(Some(json));
    let found = said.0.get(member)?;
    match rest {
        Some(rest) => scalar_at(found.get(), rest),
        None => match found.get().as_bytes().first()? {
            b'"' => text_of(found),
            b'{' | b'[' | b'n' => None,
            _ => Some(found.get().to_owned()),
        },
    }
}

fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_wrong_hides_no_other_and_the_last_of_a_name_holds() {
        let said = Said::read(Some(
            r#"{"arm":"a","far":1e999,"half":"\ud800","cost":"0.5","arm":" b ","cost":1,"reason":""}"#,
        ));
        assert_eq!((said.word("arm").as_deref(), said.amount_e4("cost")), (Some("b"), Some(10_000)));
        assert_eq!((said.word("half"), said.word("reason"), said.share_bits("far")), (None, None, None));
        assert_eq!(Said::read(Some("[]")).word("arm"), None);
    }

    #[test]
    fn scalars_are_found_by_paths() {
        let json = r#"{"plan":{"name":"free","name":"pro","seats":3},"trial":true,"none":null,"list":[1]}"#;
        for (path, expected) in [
            ("plan.name", Some("pro")),
            ("plan.seats", Some("3")),
            ("trial", Some("true")),
            ("plan", None),
            ("none", None),
            ("list", None),
            ("plan.name.first", None),
        ] {
            assert_eq!(scalar_at(json, path).as_deref(), expected, "{path}");
        }
    }
}
