//! Whether an event of messaging has the fields that its type needs, each in its type.

use std::borrow::Cow;

use serde_json::value::RawValue;
use touchline_schemas::event::properties::{OUTCOME, amount_e4, probability, whole, word};
use touchline_schemas::event::vocabulary::{Field, Kind, MessagingEvent, Need};
use touchline_schemas::timestamp;

use super::answer::FieldError;
use super::check::Limits;
use crate::normalize::properties::{Members, text_of};

/// The fields that an item gives: members of its properties, and members of its own that have no other meaning.
pub(super) struct Given<'a, 'm> {
    pub(super) properties: &'m Members<'a>,
    pub(super) others: &'m [(Cow<'a, str>, &'a RawValue)],
}

impl<'a> Given<'a, '_> {
    /// Every value of a field, nulls too, with the pointer to the object that holds it.
    fn all(&self, name: &str) -> impl Iterator<Item = (&'static str, &'a RawValue)> {
        let properties = self.properties.0.iter().map(|member| ("/properties", member));
        let others = self.others.iter().map(|member| ("", member));
        properties
            .chain(others)
            .filter(move |(_, (member, _))| member == name)
            .map(|(pointer, (_, value))| (pointer, *value))
    }
}

/// What the vocabulary has against an item of a type; nothing if the type is none of messaging.
pub(super) fn judge(event_type: &str, given: &Given<'_, '_>, limits: &Limits) -> Vec<FieldError> {
    let Some(event) = MessagingEvent::find(event_type) else { return Vec::new() };
    let outcome = given.all(OUTCOME).next().and_then(|(_, value)| text_of(value));
    event.fields().filter_map(|field| judge_field(event_type, field, outcome.as_deref(), given, limits)).collect()
}

fn judge_field(
    event_type: &str,
    field: &Field,
    outcome: Option<&str>,
    given: &Given<'_, '_>,
    limits: &Limits,
) -> Option<FieldError> {
    let mut values = given.all(field.name);
    let first = values.next();
    if let Some((object, _)) = values.next() {
        let detail = format!("`{}` stands twice in the event", field.name);
        return Some(error(object, field, "field_twice", detail));
    }
    match first {
        Some((object, value)) if !is_nothing(value) => {
            let (code, detail) = fault(field, value, limits)?;
            Some(error(object, field, code, detail))
        }
        Some(_) | None => {
            let detail = missing(event_type, field, outcome)?;
            Some(error("/properties", field, "field_missing", detail))
        }
    }
}

fn error(object: &str, field: &Field, code: &'static str, detail: String) -> FieldError {
    FieldError { pointer: format!("{object}/{}", field.name), code, detail }
}

fn is_nothing(value: &RawValue) -> bool {
    value.get() == "null" || text_of(value).is_some_and(|text| text.trim().is_empty())
}

fn missing(event_type: &str, field: &Field, outcome: Option<&str>) -> Option<String> {
    match field.need {
        Need::Required => Some(format!("`{}` is required in `{event_type}`", field.name)),
        Need::RequiredFor(outcomes) => outcome
            .filter(|outcome| outcomes.contains(outcome))
            .map(|outcome| format!("`{}` is required where the outcome is `{outcome}`", field.name)),
        Need::Optional => None,
    }
}

/// Why a field does not take a value: code and detail.
fn fault(field: &Field, value: &RawValue, limits: &Limits) -> Option<(&'static str, String)> {
    let name = field.name;
    let wrong = |what: &str| Some(("wrong_type", format!("`{name}` must be {what}")));
    match field.kind {
        Kind::Word => match word(value) {
            None => wrong("text"),
            Some(text) => fault_of_word(name, &text, limits),
        },
        Kind::Text if word(value).is_none() => wrong("text"),
        Kind::Choice(choices) => match text_of(value) {
            None => wrong("text"),
            Some(text) if choices.contains(&text.as_ref()) => None,
            Some(_) => Some(("unknown_value", format!("`{name}` must be one of {}", choices.join(", ")))),
        },
        Kind::Whole => number(value, whole(value).is_some())
            .map(|code| (code, format!("`{name}` must be a whole number from 0 to {}", u32::MAX))),
        Kind::Probability => number(value, probability(value).is_some())
            .map(|code| (code, format!("`{name}` must be a number greater than 0 and at most 1"))),
        Kind::Amount => match amount_e4(value) {
            None => wrong("an amount of money: a number, or the text of one"),
            Some(amount) if amount < 0 => Some(("out_of_range", format!("`{name}` must not be negative"))),
            Some(_) => None,
        },
        Kind::Instant if word(value).as_deref().and_then(timestamp::parse).is_none() => {
            Some(("timestamp_invalid", format!("`{name}` must be an ISO 8601 date and time")))
        }
        Kind::Text | Kind::Instant => None,
    }
}

/// Why a value is not the number it should be: it is none at all, or not one of those that are allowed.
fn number(value: &RawValue, is_allowed: bool) -> Option<&'static str> {
    let is_number = value.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match (is_allowed, is_number) {
        (true, _) => None,
        (false, true) => Some("out_of_range"),
        (false, false) => Some("wrong_type"),
    }
}

/// A word longer than a column takes would stay among the properties, where nobody looks for it.
fn fault_of_word(name: &str, text: &str, limits: &Limits) -> Option<(&'static str, String)> {
    let max_chars = limits.max_id_chars.min(limits.max_url_chars);
    if text.len() > max_chars && text.chars().count() > max_chars {
        return Some(("too_long", format!("`{name}` may have {max_chars} characters (`ingest.max_id_chars`)")));
    }
    let holds_control = text.bytes().any(|byte| byte.is_ascii_control());
    holds_control.then(|| ("control_character", format!("`{name}` holds a control character")))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json};
    use touchline_enrich::Enricher;
    use touchline_schemas::control::Erasures;
    use touchline_schemas::event::SOURCE_NATIVE;
    use touchline_schemas::event::vocabulary::VOCABULARY;
    use touchline_schemas::{AccountId, Environment, Tenant};
    use uuid::Uuid;

    use super::*;
    use crate::batch::Batch;
    use crate::receive::{Checked, RequestContext, events};
    use crate::record::decode;

    const PAGE: &str = include_str!("../../../docs/messages.md");

    fn tenant() -> Tenant {
        Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live }
    }

    fn read(event: &str) -> Checked<'_> {
        let limits =
            Limits { max_event_bytes: 10_000, max_properties_bytes: 10_000, max_future_s: 0, ..Limits::default() };
        let mut context = RequestContext {
            tenant: tenant(),
            received_at: "2026-02-01T00:00:00Z".parse().unwrap(),
            arrived_at: "2026-02-01T00:00:00Z".parse().unwrap(),
            mask_ip: true,
            device: None,
            global_privacy_control: false,
            idempotency_key: None,
            limits: &limits,
            enricher: &Enricher::default(),
            erased: &Erasures::default(),
            entropy: &mut || [0; 10],
        };
        events::event(event, 0, SOURCE_NATIVE, &mut context)
    }

    /// Pointer and code of each error that an event is refused with; none if it is taken.
    fn errors(event: &str) -> Vec<(String, &'static str)> {
        match read(event) {
            Checked::Accepted { .. } => Vec::new(),
            Checked::Refused(refusal) => refusal.errors.into_iter().map(|error| (error.pointer, error.code)).collect(),
        }
    }

    fn check(event: &str, expected: &[(&str, &'static str)]) {
        let expected: Vec<_> = expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect();
        assert_eq!(errors(event), expected, "{event}");
    }

    fn examples() -> Vec<&'static str> {
        let (_, examples) = PAGE.split_once("```json\n").unwrap();
        examples.lines().take_while(|line| *line != "```").collect()
    }

    #[test]
    fn every_example_of_the_documentation_is_taken() {
        for example in examples() {
            check(example, &[]);
        }
    }

    #[test]
    fn no_event_is_taken_without_a_field_that_it_needs() {
        for event in &VOCABULARY {
            let mut is_shown = false;
            for example in examples() {
                let example: Value = serde_json::from_str(example).unwrap();
                if example["event_type"] != event.event_type {
                    continue;
                }
                is_shown = true;
                for field in event.fields() {
                    let mut without = example.clone();
                    let object = without.as_object_mut().unwrap();
                    object.remove(field.name);
                    if let Some(properties) = object.get_mut("properties") {
                        properties.as_object_mut().unwrap().remove(field.name);
                    }
                    let is_needed = match field.need {
                        Need::Required => true,
                        Need::RequiredFor(outcomes) => {
                            outcomes.iter().any(|outcome| example["properties"]["outcome"] == *outcome)
                        }
                        Need::Optional => false,
                    };
                    let pointer = format!("/properties/{}", field.name);
                    let missing = [(pointer.as_str(), "field_missing")];
                    check(&without.to_string(), if is_needed { &missing } else { &[] });
                }
            }
            assert!(is_shown, "no example of {}", event.event_type);
        }
    }

    #[test]
    fn the_documentation_lists_each_field_where_it_belongs() {
        let needs = |row: &'static str| row.split('|').nth(3).unwrap_or_default();
        let origin = PAGE.lines().find(|line| line.starts_with("*The origin*")).unwrap();
        for event in &VOCABULARY {
            let start = format!("| `{}` |", event.event_type);
            let row = PAGE.lines().find(|line| line.starts_with(&start)).unwrap();
            for field in event.fields() {
                let name = format!("`{}`", field.name);
                let at = format!("{} {}", event.event_type, field.name);
                let is_needed = needs(row).contains(&name);
                match field.need {
                    Need::Required => assert!(is_needed, "{at}"),
                    Need::RequiredFor(_) => assert!(needs(row).contains("see [below]") || is_needed, "{at}"),
                    Need::Optional => {
                        let is_origin = row.contains("the origin") && origin.contains(&name);
                        assert!(!is_needed && (row.contains(&name) || is_origin), "{at}");
                    }
                }
                assert!(PAGE.lines().any(|line| line.starts_with(&format!("| {name} |"))), "{at}");
            }
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        let long = "x".repeat(201);
        for (event_type, name, value, code) in [
            ("$message_clicked", "message_id", json!(7), "wrong_type"),
            ("$message_clicked", "delivery_id", json!({}), "wrong_type"),
            ("$message_clicked", "delivery_id", json!(long), "too_long"),
            ("$message_clicked", "delivery_id", json!("a\u{0}b"), "control_character"),
            ("$message_clicked", "delivery_id", json!("  "), "field_missing"),
            ("$message_clicked", "delivery_id", json!(null), "field_missing"),
            ("$message_clicked", "element", json!(["a"]), "wrong_type"),
            ("$message_clicked", "url", json!(1), "wrong_type"),
            ("$message_clicked", "system", json!("pigeon"), "unknown_value"),
            ("$message_clicked", "system", json!(true), "wrong_type"),
            ("$message_clicked", "sequence_version", json!("3"), "wrong_type"),
            ("$message_clicked", "sequence_version", json!(1.5), "out_of_range"),
            ("$message_clicked", "sequence_version", json!(-1), "out_of_range"),
            ("$message_sent", "cost", json!("free"), "wrong_type"),
            ("$message_sent", "cost", json!(-0.5), "out_of_range"),
            ("$sequence_entered", "propensity", json!(0), "out_of_range"),
            ("$sequence_entered", "propensity", json!(1.01), "out_of_range"),
            ("$sequence_entered", "propensity", json!("0.5"), "wrong_type"),
            ("$sequence_step_due", "due_at", json!("tomorrow"), "timestamp_invalid"),
            ("$sequence_step_due", "due_at", json!(1), "timestamp_invalid"),
            ("$sequence_exited", "reason", json!("bored"), "unknown_value"),
            ("$sequence_step_done", "outcome", json!("allow"), "unknown_value"),
        ] {
            let is_of_type = |event: &Value| event["event_type"] == event_type;
            let examples = examples().into_iter().map(|example| serde_json::from_str(example).unwrap());
            let mut event: Value = examples.into_iter().find(is_of_type).unwrap();
            event["properties"][name] = value;
            check(&event.to_string(), &[(&format!("/properties/{name}"), code)]);
        }
    }

    #[test]
    fn values_at_the_limits_are_taken() {
        for value in [
            json!({"delivery_id": "é".repeat(200)}),
            json!({"delivery_id": format!(" {} ", "d".repeat(200))}),
            json!({"url": "u".repeat(2_000)}),
            json!({"cost": 0}),
            json!({"cost": "0.0001"}),
            json!({"sequence_version": u32::MAX}),
            json!({"system": null, "reason": 7}),
        ] {
            let mut properties = json!({"message_id": "m", "delivery_id": "d", "channel": "email"});
            properties.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            check(&json!({"event_type": "$message_sent", "user_id": "u", "properties": properties}).to_string(), &[]);
        }
    }

    #[test]
    fn fields_may_stand_in_the_event_itself_but_not_twice() {
        let check_with = |more: &str, expected| {
            let event = r#"{"event_type":"$message_viewed","user_id":"u","message_id":"m","channel":"site""#;
            check(&format!("{event},{more}}}"), expected);
        };
        check_with(r#""delivery_id":"d""#, &[]);
        check_with(r#""delivery\u005fid":"d""#, &[]);
        check_with(r#""delivery_id":"d","message_id":null"#, &[]);
        check_with(r#""delivery_id":7"#, &[("/delivery_id", "wrong_type")]);
        check_with(r#""properties":{"delivery_id":"d"},"delivery_id":"d""#, &[("/delivery_id", "field_twice")]);
        check_with(r#""delivery_id":"d","properties":{"channel":null}"#, &[("/channel", "field_twice")]);
        check_with(
            r#""delivery_id":"d","properties":{"system":"rule","system":"rule"}"#,
            &[("/properties/system", "field_twice")],
        );
    }

    #[test]
    fn what_is_refused_is_kept_with_its_reasons() {
        let event = r#"{"event_type":"$decision","event_id":"e1","user_id":"u","properties":{"outcome":"maybe"}}"#;
        let mut batch = Batch::new(tenant(), DateTime::UNIX_EPOCH, 1, 1_000);
        batch.push(read(event), &mut || [0; 10]);
        let mut logged = Vec::new();
        batch.put(|_| true, &mut logged);
        let logged = decode(&logged).unwrap();
        assert!(logged.events.is_empty());
        let kept = &logged.rejected[0];
        assert_eq!((&*kept.event_id, &*kept.event_type, &*kept.code), ("e1", "$decision", "unknown_value"));
        assert_eq!(kept.body, event);
        let errors: Value = serde_json::from_str(&kept.errors).unwrap();
        assert_eq!(errors[0]["pointer"], "/properties/outcome");
        assert_eq!(errors[0]["detail"], "`outcome` must be one of allow, suppress, holdout, no_match");
    }

    #[test]
    fn properties_that_cannot_be_read_are_one_error() {
        check(r#"{"event_type":"$message_sent","user_id":"u","properties":[1]}"#, &[("/properties", "wrong_type")]);
    }

    #[test]
    fn other_events_may_use_the_same_words_as_they_like() {
        for event_type in ["page_view", "$group", "message_sent"] {
            let properties = json!({"message_id": 7, "outcome": "allow", "propensity": 2});
            check(&json!({"event_type": event_type, "user_id": "u", "properties": properties}).to_string(), &[]);
        }
        check(r#"{"event_type":"$message_read","user_id":"u"}"#, &[("/event_type", "event_type_reserved")]);
    }
}
