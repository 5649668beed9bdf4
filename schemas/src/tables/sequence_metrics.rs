//! `sequence_metrics`: one row per day, sequence, version, arm, and either the run as a whole (`step_id` is null) or a step
//! of it and the channel it spoke through. Written by the job `sequences`.
//!
//! Each row counts in one of two calendars. In the calendar `cohort` the day is the one on which runs were entered, and
//! the row says what has become of those runs by now. In the calendar `event` the day is the one on which things happened,
//! whenever the runs were entered. Counts add up over rows of the same calendar, but for `unique_entrants`, the
//! quartiles, and `active` in the calendar `event`.

use arrow::datatypes::Field;

use super::{count, instant, text};
use crate::event::messaging::{EXIT_REASONS, STEP_OUTCOMES, SUPPRESSION_REASONS};

/// The UTC day in its calendar; partition column.
pub const METRIC_DATE: &str = "metric_date";
/// The instant at which the day begins.
pub const DAY_AT: &str = "day_at";
/// `cohort` or `event`.
pub const CALENDAR: &str = "calendar";
/// The sequence.
pub const SEQUENCE_ID: &str = "sequence_id";
/// Its version.
pub const SEQUENCE_VERSION: &str = "sequence_version";
/// The step; null in the rows of whole runs.
pub const STEP_ID: &str = "step_id";
/// The arm that runs drew when they were entered.
pub const ARM: &str = "arm";
/// The channel that the step spoke through; null for steps that speak through none, and in the rows of whole runs.
pub const CHANNEL: &str = "channel";

/// Runs that were entered. In rows of whole runs only.
pub const ENTRIES: &str = "entries";
/// Distinct people behind the entries.
pub const UNIQUE_ENTRANTS: &str = "unique_entrants";
/// Runs of which no event says that they were entered. They count here and nowhere else.
pub const ORPHANS: &str = "orphans";
/// Runs under way, or waiting in the step: now (`cohort`), or at the end of the day (`event`).
pub const ACTIVE: &str = "active";
/// Runs that ended; in rows of steps, those that ended while they were in the step, which is its drop-off.
pub const EXITS: &str = "exits";
/// Runs that reached the step.
pub const REACHED: &str = "reached";
/// Runs that got through the step, however it ended.
pub const ADVANCED: &str = "advanced";
/// Steps with a time to be carried out at, of which it is settled whether that was done in time.
pub const DUE: &str = "due";
/// Of those, the ones executed in time.
pub const IN_TIME: &str = "in_time";
/// Of those, the ones that were not done when their time was over.
pub const OVERDUE: &str = "overdue";
/// Names of the checks of conservation that this row fails; null if it holds.
pub const FAILED_CHECKS: &str = "failed_checks";

/// Days on which runs were entered.
pub const CALENDAR_COHORT: &str = "cohort";
/// Days on which things happened.
pub const CALENDAR_EVENT: &str = "event";

/// Kaplan–Meier quartiles, in seconds: from entering the run to reaching the step. In rows of the calendar `cohort` only.
pub const TIME_TO_STEP: [&str; 3] = ["time_to_step_p25_s", "time_to_step_p50_s", "time_to_step_p75_s"];
/// Kaplan–Meier quartiles, in seconds: from reaching the step to leaving it. In rows of the calendar `cohort` only.
pub const TIME_IN_STEP: [&str; 3] = ["time_in_step_p25_s", "time_in_step_p50_s", "time_in_step_p75_s"];

/// Prefix of the columns that count exits by reason.
const EXIT_PREFIX: &str = "exits_";
/// Prefix of the columns that count suppressed steps by reason.
const SUPPRESSED_PREFIX: &str = "suppressed_";
/// Steps suppressed for any other reason, or for none that is known.
const SUPPRESSED_OTHER: &str = "suppressed_other";

/// The columns that count exits by reason, in the order of [`EXIT_REASONS`].
pub fn exits_by_reason() -> impl Iterator<Item = String> {
    EXIT_REASONS.into_iter().map(|reason| format!("{EXIT_PREFIX}{reason}"))
}

/// The columns that count steps by outcome, which are named by [`STEP_OUTCOMES`].
pub fn steps_by_outcome() -> impl Iterator<Item = String> {
    STEP_OUTCOMES.into_iter().map(str::to_owned)
}

/// The columns that count suppressed steps by reason, in the order of [`SUPPRESSION_REASONS`]; last any other.
pub fn suppressed_by_reason() -> impl Iterator<Item = String> {
    let named = SUPPRESSION_REASONS.into_iter().map(|reason| format!("{SUPPRESSED_PREFIX}{reason}"));
    named.chain(std::iter::once(SUPPRESSED_OTHER.to_owned()))
}

/// The columns that tell rows apart, without the day's instant.
pub const KEY: [&str; 7] = [METRIC_DATE, CALENDAR, SEQUENCE_ID, SEQUENCE_VERSION, STEP_ID, ARM, CHANNEL];

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![
        instant(DAY_AT),
        text(CALENDAR),
        text(SEQUENCE_ID),
        count(SEQUENCE_VERSION),
        text(STEP_ID),
        text(ARM),
        text(CHANNEL),
        count(ENTRIES),
        count(UNIQUE_ENTRANTS),
        count(ORPHANS),
        count(ACTIVE),
        count(EXITS),
    ];
    fields.extend(exits_by_reason().map(|name| count(&name)));
    fields.extend([count(REACHED), count(ADVANCED)]);
    fields.extend(steps_by_outcome().chain(suppressed_by_reason()).map(|name| count(&name)));
    fields.extend([DUE, IN_TIME, OVERDUE].map(count));
    fields.extend(TIME_TO_STEP.into_iter().chain(TIME_IN_STEP).map(count));
    fields.push(text(FAILED_CHECKS));
    fields
}
