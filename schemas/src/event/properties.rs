//! What the properties of a messaging event say: the fields of the vocabulary that have no column of their own.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::messaging::SYSTEMS;
use crate::{money, timestamp};

/// Which system sends the message.
pub const SYSTEM: &str = "system";
/// Why, as a word that is counted by.
pub const REASON: &str = "reason";
/// Which part of the message.
pub const ELEMENT: &str = "element";
/// How a decision or a step ended.
pub const OUTCOME: &str = "outcome";
/// The event id of the decision that an event follows from.
pub const DECISION_ID: &str = "decision_id";
/// Which version of the rules decided.
pub const RULES_VERSION: &str = "rules_version";
/// What was drawn.
pub const ARM: &str = "arm";
/// With what probability it was drawn.
pub const PROPENSITY: &str = "propensity";
/// What sending cost, in the event's currency.
pub const COST: &str = "cost";
/// One person's way through a sequence.
pub const RUN_ID: &str = "run_id";
/// Which version of the sequence.
pub const SEQUENCE_VERSION: &str = "sequence_version";
/// When a step is to be carried out.
pub const DUE_AT: &str = "due_at";
/// How many seconds later it still counts as in time.
pub const SLA_S: &str = "sla_s";

/// The fields of the vocabulary that stand among the properties. A value that the vocabulary does not allow is absent
/// (ingest refuses it; events that are older than the vocabulary may have any).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessagingProperties<'a> {
    /// One of [`SYSTEMS`].
    pub system: Option<&'static str>,
    /// [`REASON`]
    pub reason: Option<Cow<'a, str>>,
    /// [`ELEMENT`]
    pub element: Option<Cow<'a, str>>,
    /// [`OUTCOME`]; what is allowed depends on the event's type.
    pub outcome: Option<Cow<'a, str>>,
    /// [`DECISION_ID`]
    pub decision_id: Option<Cow<'a, str>>,
    /// [`RULES_VERSION`]
    pub rules_version: Option<Cow<'a, str>>,
    /// [`ARM`]
    pub arm: Option<Cow<'a, str>>,
    /// [`PROPENSITY`], greater than 0 and at most 1.
    pub propensity: Option<f64>,
    /// Ten-thousandths of [`COST`], not negative.
    pub cost_e4: Option<i64>,
    /// [`RUN_ID`]
    pub run_id: Option<Cow<'a, str>>,
    /// [`SEQUENCE_VERSION`]
    pub sequence_version: Option<u32>,
    /// [`DUE_AT`] in microseconds since 1970, UTC.
    pub due_at_us: Option<i64>,
    /// [`SLA_S`] in seconds.
    pub sla_s: Option<u32>,
}

impl<'a> MessagingProperties<'a> {
    /// Reads the JSON text of an event's `properties`. Text that is no object says nothing; of members of one name the
    /// last holds.
    pub fn read(json: &'a str) -> Self {
        let Ok(raw) = serde_json::from_str::<Raw<'a>>(json) else { return Self::default() };
        let system = raw.system.and_then(word);
        Self {
            system: system.and_then(|text| SYSTEMS.into_iter().find(|system| *system == text)),
            reason: raw.reason.and_then(word),
            element: raw.element.and_then(word),
            outcome: raw.outcome.and_then(word),
            decision_id: raw.decision_id.and_then(word),
            rules_version: raw.rules_version.and_then(word),
            arm: raw.arm.and_then(word),
            propensity: raw.propensity.and_then(probability),
            cost_e4: raw.cost.and_then(amount_e4).filter(|cost| *cost >= 0),
            run_id: raw.run_id.and_then(word),
            sequence_version: raw.sequence_version.and_then(whole),
            due_at_us: raw
                .due_at
                .and_then(word)
                .and_then(|text| timestamp::parse(&text))
                .map(|at| at.timestamp_micros()),
            sla_s: raw.sla_s.and_then(whole),
        }
    }
}

/// The members by their names; each is read by itself, so that one that is wrong does not hide the others.
#[derive(Default)]
struct Raw<'a> {
    system: Option<&'a RawValue>,
    reason: Option<&'a RawValue>,
    element: Option<&'a RawValue>,
    outcome: Option<&'a RawValue>,
    decision_id: Option<&'a RawValue>,
    rules_version: Option<&'a RawValue>,
    arm: Option<&'a RawValue>,
    propensity: Option<&'a RawValue>,
    cost: Option<&'a RawValue>,
    run_id: Option<&'a RawValue>,
    sequence_version: Option<&'a RawValue>,
    due_at: Option<&'a RawValue>,
    sla_s: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    System,
    Reason,
    Element,
    Outcome,
    DecisionId,
    RulesVersion,
    Arm,
    Propensity,
    Cost,
    RunId,
    SequenceVersion,
    DueAt,
    SlaS,
    #[serde(other)]
    Other,
}

impl<'a> Raw<'a> {
    fn member(&mut self, name: Name) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            Name::System => &mut self.system,
            Name::Reason => &mut self.reason,
            Name::Element => &mut self.element,
            Name::Outcome => &mut self.outcome,
            Name::DecisionId => &mut self.decision_id,
            Name::RulesVersion => &mut self.rules_version,
            Name::Arm => &mut self.arm,
            Name::Propensity => &mut self.propensity,
            Name::Cost => &mut self.cost,
            Name::RunId => &mut self.run_id,
            Name::SequenceVersion => &mut self.sequence_version,
            Name::DueAt => &mut self.due_at,
            Name::SlaS => &mut self.sla_s,
            Name::Other => return None,
        })
    }
}

/// By hand, as a derived one refuses an object that names a member twice.
impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut raw = Raw::default();
                while let Some(name) = map.next_key::<Name>()? {
                    match raw.member(name) {
                        Some(member) => *member = map.next_value()?,
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A text without blanks at either end; an empty one is absent.
pub fn word(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let trimmed = match serde_json::from_str::<Text<'_>>(value.get()).ok()?.0 {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    (!trimmed.is_empty()).then_some(trimmed)
}

/// A whole number from 0.
pub fn whole(value: &RawValue) -> Option<u32> {
    value.get().parse().ok()
}

/// A number greater than 0 and at most 1.
pub fn probability(value: &RawValue) -> Option<f64> {
    serde_json::from_str::<f64>(value.get()).ok().filter(|number| *number > 0.0 && *number <= 1.0)
}

/// Ten-thousandths of an amount of money: a number, or the text of one.
pub fn amount_e4(value: &RawValue) -> Option<i64> {
    money::parse_e4(word(value).as_deref().unwrap_or(value.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &MessagingProperties<'_>) {
        assert_eq!(MessagingProperties::read(json), *expected, "{json}");
    }

    #[test]
    fn fields_are_read_in_their_types() {
        let said = r#"{"system":"rule","reason":"budget","element":"b\u00fctton","outcome":"allow","decision_id":"d",
            "rules_version":"r1","arm":"a","propensity":0.25,"cost":"0.0301","run_id":" r ","sequence_version":3,
            "due_at":"1970-01-01T00:00:01+00:00","sla_s":60,"form":{"reason":"other"}}"#;
        let read = MessagingProperties {
            system: Some("rule"),
            reason: Some("budget".into()),
            element: Some("bütton".into()),
            outcome: Some("allow".into()),
            decision_id: Some("d".into()),
            rules_version: Some("r1".into()),
            arm: Some("a".into()),
            propensity: Some(0.25),
            cost_e4: Some(301),
            run_id: Some("r".into()),
            sequence_version: Some(3),
            due_at_us: Some(1_000_000),
            sla_s: Some(60),
        };
        check(said, &read);
    }

    #[test]
    fn a_value_that_is_not_allowed_is_absent_and_hides_no_other() {
        let budget = MessagingProperties { reason: Some("budget".into()), ..MessagingProperties::default() };
        for wrong in [
            r#""system":"pigeon""#,
            r#""system":7"#,
            r#""arm":"  ""#,
            r#""arm":null"#,
            r#""propensity":0"#,
            r#""propensity":1.5"#,
            r#""propensity":"0.5""#,
            r#""cost":-1"#,
            r#""cost":"free""#,
            r#""cost":{}"#,
            r#""sequence_version":1.5"#,
            r#""sequence_version":"3""#,
            r#""sla_s":-1"#,
            r#""sla_s":4294967296"#,
            r#""due_at":"tomorrow""#,
            r#""due_at":1"#,
        ] {
            check(&format!(r#"{{{wrong},"reason":"budget"}}"#), &budget);
        }
    }

    #[test]
    fn of_members_of_one_name_the_last_holds_and_no_other_is_hidden() {
        let said = |arm: Option<&'static str>| MessagingProperties {
            arm: arm.map(Cow::from),
            reason: Some("budget".into()),
            ..MessagingProperties::default()
        };
        check(r#"{"arm":"a","reason":"budget","arm":"b"}"#, &said(Some("b")));
        check(r#"{"\u0061rm":"b","reason":"budget","arm":"a","x":1,"x":2}"#, &said(Some("a")));
        check(r#"{"arm":"a","reason":"budget","arm":null}"#, &said(None));
        check(r#"{"arm":"a","reason":"budget","arm":7}"#, &said(None));
        check(r#"{"far":1e999,"half":"\ud800","reason":"budget"}"#, &said(None));
    }

    #[test]
    fn what_is_no_object_says_nothing() {
        for json in ["", "{", "[]", "7", r#"{"arm":"a"} "#.repeat(2).as_str()] {
            check(json, &MessagingProperties::default());
        }
    }
}
