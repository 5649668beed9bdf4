//! `message_deliveries`: one row per attempt to bring a message to a person: what became of it, its events, and the
//! goals that its person reached after it. Written by the job `messages`.
//!
//! Everything here follows from the lists: those of the events ([`event_sets`]) and those of the conversions.

use arrow::datatypes::{DataType, Field};

use super::event_sets::{self, Member};
use super::{count, flag, instant, instant_type, list, money, money_type, text};

/// UTC date of `cohort_at`; partition column.
pub const COHORT_DATE: &str = "cohort_date";
/// What tells attempts apart: `d:` and the delivery id, or if there is none `x:` and the id of the decision, or else
/// `e:` and the id of the only event.
pub const ATTEMPT_ID: &str = "attempt_id";
/// When it was sent; if it was not, its first event.
pub const COHORT_AT: &str = "cohort_at";
/// The first of its events.
pub const FIRST_AT: &str = "first_at";
/// The last of its events and conversions.
pub const LAST_AT: &str = "last_at";
/// Who it went to.
pub const PERSON_ID: &str = "person_id";
/// What sends the message.
pub const SYSTEM: &str = "system";
/// The time of the event that says who the person is.
pub const IDENTIFIED_AT: &str = "identified_at";
/// When it was decided upon: the first decision; a sent, failed or held back event implies one.
pub const DECIDED_AT: &str = "decided_at";
/// When it was handed over.
pub const SENT_AT: &str = "sent_at";
/// When it was held back.
pub const SUPPRESSED_AT: &str = "suppressed_at";
/// When it was withheld for comparison.
pub const HOLDOUT_AT: &str = "holdout_at";
/// When it failed; null if it was sent after all.
pub const FAILED_AT: &str = "failed_at";
/// Whether it was allowed, and nothing came of that yet.
pub const IS_PENDING: &str = "is_pending";
/// Whether something happened to it although it was not sent.
pub const IS_ORPHAN: &str = "is_orphan";
/// When it arrived; of the first view or click, if that comes before or nothing else is known.
pub const DELIVERED_AT: &str = "delivered_at";
/// The first view; or click, if that comes before.
pub const FIRST_VIEWED_AT: &str = "first_viewed_at";
/// Likewise, without bots.
pub const FIRST_HUMAN_VIEWED_AT: &str = "first_human_viewed_at";
/// The first click.
pub const FIRST_CLICKED_AT: &str = "first_clicked_at";
/// Likewise, without bots.
pub const FIRST_HUMAN_CLICKED_AT: &str = "first_human_clicked_at";
/// From when on goals count: the first view that is no bot's for site messages, else the sending.
pub const EXPOSED_AT: &str = "exposed_at";
/// Views.
pub const VIEWS: &str = "views";
/// Views by others than bots.
pub const HUMAN_VIEWS: &str = "human_views";
/// Clicks.
pub const CLICKS: &str = "clicks";
/// Clicks by others than bots.
pub const HUMAN_CLICKS: &str = "human_clicks";
/// What sending cost.
pub const COST: &str = "cost";

/// Names of the goals reached.
pub const CONVERSION_GOAL: &str = "conversions_goal";
/// Ids of the events that reached them.
pub const CONVERSION_EVENT_ID: &str = "conversions_event_id";
/// Times of these events.
pub const CONVERSION_OCCURRED_AT: &str = "conversions_occurred_at";
/// What they are worth.
pub const CONVERSION_VALUE: &str = "conversions_value";
/// Whether no other message of the person that the goal counts for came between.
pub const CONVERSION_IS_LAST_TOUCH: &str = "conversions_is_last_touch";
/// Whether the goal's own rule gives the attempt credit.
pub const CONVERSION_IS_CREDITED: &str = "conversions_is_credited";

/// What is kept of each event.
pub const MEMBERS: [Member; 15] = [
    Member::VisitorId,
    Member::UserId,
    Member::DeliveryId,
    Member::MessageId,
    Member::Variant,
    Member::Channel,
    Member::RuleName,
    Member::SequenceId,
    Member::StepId,
    Member::Currency,
    Member::System,
    Member::Reason,
    Member::Element,
    Member::Outcome,
    Member::Cost,
];

/// The texts of the row that are taken from its events: from the first that says them, sent before decided before others.
pub const PICKED: [(&str, Member); 9] = [
    ("delivery_id", Member::DeliveryId),
    ("message_id", Member::MessageId),
    ("variant", Member::Variant),
    ("channel", Member::Channel),
    (SYSTEM, Member::System),
    ("rule_name", Member::RuleName),
    ("sequence_id", Member::SequenceId),
    ("step_id", Member::StepId),
    ("currency", Member::Currency),
];

/// The ids of the event that says who the person is.
pub const IDS: [&str; 2] = ["visitor_id", "user_id"];

/// When what became of it happened.
pub const TIMES: [&str; 11] = [
    DECIDED_AT,
    SENT_AT,
    SUPPRESSED_AT,
    HOLDOUT_AT,
    FAILED_AT,
    DELIVERED_AT,
    FIRST_VIEWED_AT,
    FIRST_HUMAN_VIEWED_AT,
    FIRST_CLICKED_AT,
    FIRST_HUMAN_CLICKED_AT,
    EXPOSED_AT,
];

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![text(ATTEMPT_ID), instant(COHORT_AT), instant(FIRST_AT), instant(LAST_AT), text(PERSON_ID)];
    fields.extend(IDS.map(text));
    fields.extend(PICKED.map(|(name, _)| text(name)));
    fields.push(instant(IDENTIFIED_AT));
    fields.extend(TIMES.map(instant));
    fields.extend([IS_PENDING, IS_ORPHAN].map(flag));
    fields.extend([VIEWS, HUMAN_VIEWS, CLICKS, HUMAN_CLICKS].map(count));
    fields.push(money(COST));
    fields.extend(event_sets::fields(&MEMBERS));
    fields.extend([
        list(CONVERSION_GOAL, DataType::Utf8),
        list(CONVERSION_EVENT_ID, DataType::Utf8),
        list(CONVERSION_OCCURRED_AT, instant_type()),
        list(CONVERSION_VALUE, money_type()),
        list(CONVERSION_IS_LAST_TOUCH, DataType::Boolean),
        list(CONVERSION_IS_CREDITED, DataType::Boolean),
    ]);
    fields
}
