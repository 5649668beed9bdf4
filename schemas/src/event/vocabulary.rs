//! The vocabulary of messaging as data: which fields each event carries, in which type, and which it needs.
//!
//! Ingest refuses by it, and the page of the documentation is tested against it. A field is a text column of `events` if
//! one has its name, and else a member of `properties`, read by [`MessagingProperties`].
//! What is not named here may be sent all the same, and stays among the properties.

use super::TextField;
use super::messaging::*;
use super::properties::*;

/// What a field takes. JSON null, and text without anything but blanks, is the same as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text like an id: as long as an id may be, without control characters.
    Word,
    /// Text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number from 0 to 4,294,967,295.
    Whole,
    /// A number greater than 0 and at most 1.
    Probability,
    /// An amount of money that is not negative: a number, or the text of one.
    Amount,
    /// Date and time, ISO 8601; without an offset UTC.
    Instant,
}

/// Whether an event may come without a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It may not.
    Required,
    /// It may not if its `outcome` is one of these.
    RequiredFor(&'static [&'static str]),
    /// It may.
    Optional,
}

/// A field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name of the column, or of the member of the properties.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether the event may come without it.
    pub need: Need,
}

/// A type of event with its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessagingEvent {
    /// The type.
    pub event_type: &'static str,
    fields: &'static [&'static [Field]],
}

impl MessagingEvent {
    /// The fields of an event type, if it is one of messaging.
    pub fn find(event_type: &str) -> Option<&'static Self> {
        VOCABULARY.iter().find(|event| event.event_type == event_type)
    }

    /// Its fields; each name once.
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().copied().flatten()
    }
}

const fn required(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, need: Need::Required }
}

const fn required_for(outcomes: &'static [&'static str], name: &'static str, kind: Kind) -> Field {
    Field { name, kind, need: Need::RequiredFor(outcomes) }
}

const fn optional(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, need: Need::Optional }
}

const MESSAGE_ID: &str = TextField::MessageId.column();
const DELIVERY_ID: &str = TextField::DeliveryId.column();
const VARIANT: &str = TextField::Variant.column();
const CHANNEL: &str = TextField::Channel.column();
const RULE_NAME: &str = TextField::RuleName.column();
const SEQUENCE_ID: &str = TextField::SequenceId.column();
const STEP_ID: &str = TextField::StepId.column();
const URL: &str = TextField::Url.column();
const CURRENCY: &str = TextField::Currency.column();

/// Where a message comes from, as far as the sender knows.
const ORIGIN: [Field; 8] = [
    optional(VARIANT, Kind::Word),
    optional(SYSTEM, Kind::Choice(&SYSTEMS)),
    optional(RULE_NAME, Kind::Word),
    optional(SEQUENCE_ID, Kind::Word),
    optional(SEQUENCE_VERSION, Kind::Whole),
    optional(STEP_ID, Kind::Word),
    optional(RUN_ID, Kind::Word),
    optional(DECISION_ID, Kind::Word),
];
/// A message on its way to a person.
const DELIVERY: [Field; 3] =
    [required(MESSAGE_ID, Kind::Word), required(DELIVERY_ID, Kind::Word), required(CHANNEL, Kind::Word)];
/// What a person did with a message.
const REACTION: [Field; 2] = [optional(ELEMENT, Kind::Word), optional(URL, Kind::Text)];
const PRICE: [Field; 2] = [optional(COST, Kind::Amount), optional(CURRENCY, Kind::Word)];
const WHY: [Field; 1] = [optional(REASON, Kind::Word)];
/// A message that did not get as far as a delivery.
const HELD_BACK: [Field; 4] = [
    required(MESSAGE_ID, Kind::Word),
    optional(DELIVERY_ID, Kind::Word),
    required(CHANNEL, Kind::Word),
    required(REASON, Kind::Word),
];
/// The outcomes of a decision that was about a message.
const DECIDED: [&str; 3] = [OUTCOME_ALLOW, OUTCOME_SUPPRESS, OUTCOME_HOLDOUT];
const DECIDING: [Field; 15] = [
    required(OUTCOME, Kind::Choice(&DECISION_OUTCOMES)),
    required_for(&DECIDED, MESSAGE_ID, Kind::Word),
    required_for(&DECIDED, CHANNEL, Kind::Word),
    required_for(&[OUTCOME_ALLOW], DELIVERY_ID, Kind::Word),
    required_for(&[OUTCOME_SUPPRESS], REASON, Kind::Word),
    optional(VARIANT, Kind::Word),
    optional(SYSTEM, Kind::Choice(&SYSTEMS)),
    optional(RULE_NAME, Kind::Word),
    optional(RULES_VERSION, Kind::Word),
    optional(SEQUENCE_ID, Kind::Word),
    optional(SEQUENCE_VERSION, Kind::Whole),
    optional(STEP_ID, Kind::Word),
    optional(RUN_ID, Kind::Word),
    optional(ARM, Kind::Word),
    optional(PROPENSITY, Kind::Probability),
];
const RUN: [Field; 3] =
    [required(SEQUENCE_ID, Kind::Word), required(SEQUENCE_VERSION, Kind::Whole), required(RUN_ID, Kind::Word)];
/// What was drawn; a probability of 1 if nothing was left to chance.
const DRAW: [Field; 2] = [required(ARM, Kind::Word), required(PROPENSITY, Kind::Probability)];
const STEP: [Field; 1] = [required(STEP_ID, Kind::Word)];
const DUE: [Field; 3] = [required(DUE_AT, Kind::Instant), optional(SLA_S, Kind::Whole), optional(CHANNEL, Kind::Word)];
const DONE: [Field; 5] = [
    required(OUTCOME, Kind::Choice(&STEP_OUTCOMES)),
    required_for(&[OUTCOME_SKIPPED, OUTCOME_SUPPRESSED, OUTCOME_FAILED], REASON, Kind::Word),
    optional(MESSAGE_ID, Kind::Word),
    optional(DELIVERY_ID, Kind::Word),
    optional(CHANNEL, Kind::Word),
];
const EXIT: [Field; 2] = [required(REASON, Kind::Choice(&EXIT_REASONS)), optional(STEP_ID, Kind::Word)];

const fn event(event_type: &'static str, fields: &'static [&'static [Field]]) -> MessagingEvent {
    MessagingEvent { event_type, fields }
}

/// Every event of messaging.
pub static VOCABULARY: [MessagingEvent; 17] = [
    event(MESSAGE_SENT, &[&DELIVERY, &ORIGIN, &PRICE]),
    event(MESSAGE_DELIVERED, &[&DELIVERY, &ORIGIN]),
    event(MESSAGE_VIEWED, &[&DELIVERY, &ORIGIN, &REACTION]),
    event(MESSAGE_CLICKED, &[&DELIVERY, &ORIGIN, &REACTION]),
    event(MESSAGE_DISMISSED, &[&DELIVERY, &ORIGIN, &REACTION, &WHY]),
    event(MESSAGE_SUBMITTED, &[&DELIVERY, &ORIGIN, &REACTION]),
    event(MESSAGE_BOUNCED, &[&DELIVERY, &ORIGIN, &WHY]),
    event(MESSAGE_FAILED, &[&DELIVERY, &ORIGIN, &WHY]),
    event(MESSAGE_SUPPRESSED, &[&HELD_BACK, &ORIGIN]),
    event(MESSAGE_UNSUBSCRIBED, &[&DELIVERY, &ORIGIN, &REACTION, &WHY]),
    event(MESSAGE_COMPLAINED, &[&DELIVERY, &ORIGIN, &WHY]),
    event(DECISION, &[&DECIDING]),
    event(SEQUENCE_ENTERED, &[&RUN, &DRAW]),
    event(SEQUENCE_STEP_DUE, &[&RUN, &STEP, &DUE]),
    event(SEQUENCE_STEP_DONE, &[&RUN, &STEP, &DONE]),
    event(SEQUENCE_BRANCH, &[&RUN, &STEP, &DRAW, &WHY]),
    event(SEQUENCE_EXITED, &[&RUN, &EXIT]),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_event_names_a_field_once_and_each_type_stands_once() {
        let mut types = HashSet::new();
        for event in &VOCABULARY {
            assert!(types.insert(event.event_type), "{}", event.event_type);
            let mut names = HashSet::new();
            for field in event.fields() {
                assert!(names.insert(field.name), "{} {}", event.event_type, field.name);
            }
        }
    }

    #[test]
    fn what_depends_on_an_outcome_depends_on_one_that_the_event_can_have() {
        for event in &VOCABULARY {
            let outcome = event.fields().find(|field| field.name == OUTCOME);
            for field in event.fields() {
                let Need::RequiredFor(outcomes) = field.need else { continue };
                let Some(Field { kind: Kind::Choice(choices), need: Need::Required, .. }) = outcome else {
                    panic!("{} has no outcome to choose", event.event_type)
                };
                assert!(
                    outcomes.iter().all(|outcome| choices.contains(outcome)),
                    "{} {}",
                    event.event_type,
                    field.name
                );
            }
        }
    }
}
