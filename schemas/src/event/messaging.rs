//! The words of messaging: event types, systems, outcomes and reasons, as they stand in events.

/// A message was handed to its provider, or given to the page that shows it.
pub const MESSAGE_SENT: &str = "$message_sent";
/// The provider accepted the message, or the page got it.
pub const MESSAGE_DELIVERED: &str = "$message_delivered";
/// The message was seen.
pub const MESSAGE_VIEWED: &str = "$message_viewed";
/// Something in the message was clicked.
pub const MESSAGE_CLICKED: &str = "$message_clicked";
/// The message was closed.
pub const MESSAGE_DISMISSED: &str = "$message_dismissed";
/// The message's form was sent in.
pub const MESSAGE_SUBMITTED: &str = "$message_submitted";
/// The message came back.
pub const MESSAGE_BOUNCED: &str = "$message_bounced";
/// An attempt to send the message failed.
pub const MESSAGE_FAILED: &str = "$message_failed";
/// The message was held back.
pub const MESSAGE_SUPPRESSED: &str = "$message_suppressed";
/// The person wants no more of these.
pub const MESSAGE_UNSUBSCRIBED: &str = "$message_unsubscribed";
/// The person called it spam.
pub const MESSAGE_COMPLAINED: &str = "$message_complained";
/// It was decided whether a message is sent.
pub const DECISION: &str = "$decision";
/// A person began a run of a sequence.
pub const SEQUENCE_ENTERED: &str = "$sequence_entered";
/// A run reached a step.
pub const SEQUENCE_STEP_DUE: &str = "$sequence_step_due";
/// A run is through with a step.
pub const SEQUENCE_STEP_DONE: &str = "$sequence_step_done";
/// A run took one of the ways that a step offers.
pub const SEQUENCE_BRANCH: &str = "$sequence_branch";
/// A run ended.
pub const SEQUENCE_EXITED: &str = "$sequence_exited";

/// Messages of a page. The system of a delivery none of whose events says or implies another.
pub const SYSTEM_SITE_MESSAGE: &str = "site_message";
/// Messages of rules. Implied by a `rule_name`.
pub const SYSTEM_RULE: &str = "rule";
/// Messages of sequences. Implied by a `sequence_id`, also where there is a `rule_name`.
pub const SYSTEM_SEQUENCE: &str = "sequence";
/// Messages of conversations.
pub const SYSTEM_CONVERSATION: &str = "conversation";
/// What sends messages.
pub const SYSTEMS: [&str; 4] = [SYSTEM_SITE_MESSAGE, SYSTEM_RULE, SYSTEM_SEQUENCE, SYSTEM_CONVERSATION];

/// The message may be sent.
pub const OUTCOME_ALLOW: &str = "allow";
/// The message is held back.
pub const OUTCOME_SUPPRESS: &str = "suppress";
/// The person is in the group that gets none.
pub const OUTCOME_HOLDOUT: &str = "holdout";
/// There was no message to decide on.
pub const OUTCOME_NO_MATCH: &str = "no_match";
/// The outcomes of [`DECISION`].
pub const DECISION_OUTCOMES: [&str; 4] = [OUTCOME_ALLOW, OUTCOME_SUPPRESS, OUTCOME_HOLDOUT, OUTCOME_NO_MATCH];

/// The step did what it is there for.
pub const OUTCOME_EXECUTED: &str = "executed";
/// The step was passed over.
pub const OUTCOME_SKIPPED: &str = "skipped";
/// The step's message was held back.
pub const OUTCOME_SUPPRESSED: &str = "suppressed";
/// The step was tried, and given up.
pub const OUTCOME_FAILED: &str = "failed";
/// The outcomes of [`SEQUENCE_STEP_DONE`].
pub const STEP_OUTCOMES: [&str; 4] = [OUTCOME_EXECUTED, OUTCOME_SKIPPED, OUTCOME_SUPPRESSED, OUTCOME_FAILED];

/// The reasons of [`SEQUENCE_EXITED`].
pub const EXIT_REASONS: [&str; 11] = [
    "completed",
    "goal_met",
    "exit_rule",
    "unsubscribed",
    "suppressed",
    "paused",
    "holdout",
    "error",
    "timeout",
    "merged",
    "expired",
];

/// The reasons for which messages of sequences are held back, as far as they are counted by name. `reason` is an open
/// word: there may be others.
pub const SUPPRESSION_REASONS: [&str; 6] =
    ["frequency_cap", "quiet_hours", "budget", "consent", "missing_identifier", "paused"];
