//! The columns of rows that are sets of events: all events of a delivery, of a run through a sequence.
//!
//! A set holds what its row is computed from, so that a row can take up more events without reading the old ones. It
//! lies in columns of lists, which are of equal length and in one order, by time and event id: the first of every list
//! is the first event. A set is a set by the ids of its events.

use arrow::datatypes::{DataType, Field};

use super::{instant_type, list, money_type};

/// Ids of the events.
pub const EVENT_ID: &str = "events_id";
/// Types of the events.
pub const EVENT_TYPE: &str = "events_type";
/// Times of the events.
pub const OCCURRED_AT: &str = "events_occurred_at";
/// Whether a bot made the event.
pub const IS_BOT: &str = "events_is_bot";

/// A field of an event that a set may keep, besides id, type, time and bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Member {
    /// The event's visitor id.
    VisitorId,
    /// The event's user id.
    UserId,
    /// The delivery.
    DeliveryId,
    /// The message.
    MessageId,
    /// The variant of the message.
    Variant,
    /// The message's channel.
    Channel,
    /// The rule that matched.
    RuleName,
    /// The sequence.
    SequenceId,
    /// The step of the sequence.
    StepId,
    /// Currency of the cost.
    Currency,
    /// What sends the message.
    System,
    /// Why.
    Reason,
    /// Part of the message.
    Element,
    /// How a decision or a step ended.
    Outcome,
    /// What was drawn.
    Arm,
    /// What sending cost.
    Cost,
    /// With what probability the arm was drawn.
    Propensity,
    /// Version of the sequence.
    SequenceVersion,
    /// When a step is to be carried out.
    DueAt,
    /// Seconds that a step may be late.
    SlaS,
}

/// What the values of a member are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// Text.
    Text,
    /// A whole number.
    Whole,
    /// An amount of money.
    Money,
    /// An instant.
    Instant,
    /// A binary fraction.
    Fraction,
}

impl Member {
    /// The members that are text; they come first in the order of the variants.
    pub const TEXTS: usize = 15;
    /// The members that are numbers.
    pub const NUMBERS: usize = 5;

    /// The name of its list.
    pub const fn column(self) -> &'static str {
        match self {
            Self::VisitorId => "events_visitor_id",
            Self::UserId => "events_user_id",
            Self::DeliveryId => "events_delivery_id",
            Self::MessageId => "events_message_id",
            Self::Variant => "events_variant",
            Self::Channel => "events_channel",
            Self::RuleName => "events_rule_name",
            Self::SequenceId => "events_sequence_id",
            Self::StepId => "events_step_id",
            Self::Currency => "events_currency",
            Self::System => "events_system",
            Self::Reason => "events_reason",
            Self::Element => "events_element",
            Self::Outcome => "events_outcome",
            Self::Arm => "events_arm",
            Self::Cost => "events_cost",
            Self::Propensity => "events_propensity",
            Self::SequenceVersion => "events_sequence_version",
            Self::DueAt => "events_due_at",
            Self::SlaS => "events_sla_s",
        }
    }

    /// What its values are.
    pub const fn kind(self) -> MemberKind {
        match self {
            Self::Cost => MemberKind::Money,
            Self::Propensity => MemberKind::Fraction,
            Self::SequenceVersion | Self::SlaS => MemberKind::Whole,
            Self::DueAt => MemberKind::Instant,
            Self::VisitorId
            | Self::UserId
            | Self::DeliveryId
            | Self::MessageId
            | Self::Variant
            | Self::Channel
            | Self::RuleName
            | Self::SequenceId
            | Self::StepId
            | Self::Currency
            | Self::System
            | Self::Reason
            | Self::Element
            | Self::Outcome
            | Self::Arm => MemberKind::Text,
        }
    }

    /// Its place among the variants.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The lists of a table whose sets keep these members.
pub fn fields(members: &[Member]) -> Vec<Field> {
    let mut fields = vec![
        list(EVENT_ID, DataType::Utf8),
        list(EVENT_TYPE, DataType::Utf8),
        list(OCCURRED_AT, instant_type()),
        list(IS_BOT, DataType::Boolean),
    ];
    fields.extend(members.iter().map(|member| {
        let of = match member.kind() {
            MemberKind::Text => DataType::Utf8,
            MemberKind::Whole => DataType::Int64,
            MemberKind::Money => money_type(),
            MemberKind::Instant => instant_type(),
            MemberKind::Fraction => DataType::Float64,
        };
        list(member.column(), of)
    }));
    fields
}
