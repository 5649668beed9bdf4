//! `sequence_runs`: one row per run, that is one person's way through a sequence: its steps and its events. Written by the
//! job `sequences`.
//!
//! Everything here follows from the events ([`event_sets`]), but for the person. The steps lie in columns of lists, which
//! are of equal length and in the order in which the run reached them.

use arrow::datatypes::{DataType, Field};

use super::event_sets::{self, Member};
use super::{count, instant, instant_type, list, text};

/// UTC date of `began_at`; partition column.
pub const BEGAN_DATE: &str = "began_date";
/// The run.
pub const RUN_ID: &str = "run_id";
/// When it was entered; of a run of which no event says so, its first event.
pub const BEGAN_AT: &str = "began_at";
/// When it was last under way: its end or its last event, whichever is later; [`NEVER_US`] while it goes on.
pub const UNDER_WAY_UNTIL: &str = "under_way_until";
/// The sequence.
pub const SEQUENCE_ID: &str = "sequence_id";
/// Its version.
pub const SEQUENCE_VERSION: &str = "sequence_version";
/// What was drawn when it was entered.
pub const ARM: &str = "arm";
/// With which probability.
pub const PROPENSITY: &str = "propensity";
/// Who runs.
pub const PERSON_ID: &str = "person_id";
/// The ids by which the events name the person.
pub const IDS: [&str; 2] = ["visitor_id", "user_id"];
/// When it was entered; null if no event says so: then the run is an orphan.
pub const ENTERED_AT: &str = "entered_at";
/// When it ended.
pub const EXITED_AT: &str = "exited_at";
/// Why it ended.
pub const EXIT_REASON: &str = "exit_reason";
/// The step in which it ended.
pub const EXIT_STEP_ID: &str = "exit_step_id";

/// The steps that it reached.
pub const STEPS_ID: &str = "steps_id";
/// When it reached them.
pub const STEPS_REACHED_AT: &str = "steps_reached_at";
/// When they are to be carried out.
pub const STEPS_DUE_AT: &str = "steps_due_at";
/// How many seconds later they are in time.
pub const STEPS_SLA_S: &str = "steps_sla_s";
/// When it was through with them.
pub const STEPS_DONE_AT: &str = "steps_done_at";
/// How they ended.
pub const STEPS_OUTCOME: &str = "steps_outcome";
/// Why they ended so.
pub const STEPS_REASON: &str = "steps_reason";
/// Whether they were done in time; null if they were not done, or if it is not known when they were to be.
pub const STEPS_IN_TIME: &str = "steps_in_time";
/// The ways that were taken from them.
pub const STEPS_BRANCH_ARM: &str = "steps_branch_arm";
/// With which probabilities.
pub const STEPS_BRANCH_PROPENSITY: &str = "steps_branch_propensity";
/// The channels through which they speak.
pub const STEPS_CHANNEL: &str = "steps_channel";
/// Their messages.
pub const STEPS_MESSAGE_ID: &str = "steps_message_id";
/// Their deliveries.
pub const STEPS_DELIVERY_ID: &str = "steps_delivery_id";

/// The last instant of the year 9999: later than anything.
pub const NEVER_US: i64 = 253_402_300_799_999_999;

/// What is kept of each event.
pub const MEMBERS: [Member; 14] = [
    Member::VisitorId,
    Member::UserId,
    Member::DeliveryId,
    Member::MessageId,
    Member::Channel,
    Member::SequenceId,
    Member::StepId,
    Member::Reason,
    Member::Outcome,
    Member::Arm,
    Member::Propensity,
    Member::SequenceVersion,
    Member::DueAt,
    Member::SlaS,
];

/// The lists of the steps.
pub fn step_fields() -> Vec<Field> {
    vec![
        list(STEPS_ID, DataType::Utf8),
        list(STEPS_REACHED_AT, instant_type()),
        list(STEPS_DUE_AT, instant_type()),
        list(STEPS_SLA_S, DataType::Int64),
        list(STEPS_DONE_AT, instant_type()),
        list(STEPS_OUTCOME, DataType::Utf8),
        list(STEPS_REASON, DataType::Utf8),
        list(STEPS_IN_TIME, DataType::Boolean),
        list(STEPS_BRANCH_ARM, DataType::Utf8),
        list(STEPS_BRANCH_PROPENSITY, DataType::Float64),
        list(STEPS_CHANNEL, DataType::Utf8),
        list(STEPS_MESSAGE_ID, DataType::Utf8),
        list(STEPS_DELIVERY_ID, DataType::Utf8),
    ]
}

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![
        text(RUN_ID),
        instant(BEGAN_AT),
        instant(UNDER_WAY_UNTIL),
        text(SEQUENCE_ID),
        count(SEQUENCE_VERSION),
        text(ARM),
        Field::new(PROPENSITY, DataType::Float64, true),
        text(PERSON_ID),
        text(IDS[0]),
        text(IDS[1]),
        instant(ENTERED_AT),
        instant(EXITED_AT),
        text(EXIT_REASON),
        text(EXIT_STEP_ID),
    ];
    fields.extend(step_fields());
    fields.extend(event_sets::fields(&MEMBERS));
    fields
}
