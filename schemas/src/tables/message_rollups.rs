//! `message_rollups`: one row per system, message, variant, channel and day. Written by the job `messages`.
//!
//! Days are those of UTC, in two calendars: in `cohort` all that became of an attempt counts on the day of the attempt,
//! in `event` each thing on its own day. Counts of people must not be added up over rows.

use arrow::datatypes::{DataType, Field};

use super::{count, instant, list, money, text};

/// The day; partition column.
pub const ROLLUP_DATE: &str = "rollup_date";
/// The instant at which the day begins.
pub const DAY_AT: &str = "day_at";
/// `cohort` or `event`.
pub const CALENDAR: &str = "calendar";
/// What the rows are grouped by, besides calendar and day.
pub const DIMENSIONS: [&str; 4] = ["system", "message_id", "variant", "channel"];

/// All that became of an attempt, on the day of the attempt.
pub const CALENDAR_COHORT: &str = "cohort";
/// Each thing on its own day.
pub const CALENDAR_EVENT: &str = "event";

/// Attempts that were decided upon.
pub const DECIDED: &str = "decided";
/// Attempts that were handed over.
pub const SENT: &str = "sent";
/// Attempts that were held back.
pub const SUPPRESSED: &str = "suppressed";
/// Attempts withheld for comparison.
pub const HOLDOUT: &str = "holdout";
/// Attempts that failed.
pub const FAILED: &str = "failed";
/// Attempts that were allowed, and of which nothing more is known.
pub const PENDING: &str = "pending";
/// Attempts that arrived without having been sent; nothing else of them is counted.
pub const ORPHANS: &str = "orphans";
/// Sent attempts that arrived; a view or a click implies it.
pub const DELIVERED: &str = "delivered";
/// View events.
pub const VIEWS: &str = "views";
/// View events by others than bots.
pub const HUMAN_VIEWS: &str = "human_views";
/// Attempts whose first view is known from a click only: none is reported, or it came later.
pub const IMPLIED_VIEWS: &str = "implied_views";
/// Likewise, without bots.
pub const IMPLIED_HUMAN_VIEWS: &str = "implied_human_views";
/// Attempts that were viewed; a click implies it.
pub const UNIQUE_VIEWS: &str = "unique_views";
/// Likewise, without bots.
pub const UNIQUE_HUMAN_VIEWS: &str = "unique_human_views";
/// Distinct people of these attempts.
pub const UNIQUE_VIEWERS: &str = "unique_viewers";
/// Likewise, without bots.
pub const UNIQUE_HUMAN_VIEWERS: &str = "unique_human_viewers";
/// Click events.
pub const CLICKS: &str = "clicks";
/// Click events by others than bots.
pub const HUMAN_CLICKS: &str = "human_clicks";
/// Pairs of attempt and element that were clicked.
pub const UNIQUE_ELEMENT_CLICKS: &str = "unique_element_clicks";
/// Attempts that were clicked.
pub const UNIQUE_CLICKS: &str = "unique_clicks";
/// Likewise, without bots.
pub const UNIQUE_HUMAN_CLICKS: &str = "unique_human_clicks";
/// Distinct people of these attempts.
pub const UNIQUE_CLICKERS: &str = "unique_clickers";
/// Likewise, without bots.
pub const UNIQUE_HUMAN_CLICKERS: &str = "unique_human_clickers";
/// Events of a failed sending, also of attempts that were sent after all.
pub const FAILURES: &str = "failures";
/// Events of closing.
pub const DISMISSALS: &str = "dismissals";
/// Events of sending in a form.
pub const SUBMISSIONS: &str = "submissions";
/// Events of coming back.
pub const BOUNCES: &str = "bounces";
/// Events of wanting no more.
pub const UNSUBSCRIBES: &str = "unsubscribes";
/// Events of complaint.
pub const COMPLAINTS: &str = "complaints";
/// Pairs of attempt and goal, by the goal's own credit rule.
pub const CONVERSIONS: &str = "conversions";
/// Likewise, every attempt before the goal credited.
pub const CONVERSIONS_ANY_TOUCH: &str = "conversions_any_touch";
/// Likewise, only the last attempt before the goal credited.
pub const CONVERSIONS_LAST_TOUCH: &str = "conversions_last_touch";
/// All goal events, every attempt before them credited.
pub const CONVERSIONS_TOTAL: &str = "conversions_total";
/// Distinct people who reached a goal.
pub const CONVERTERS: &str = "converters";
/// Value of the goal events, by the goal's own credit rule.
pub const REVENUE: &str = "revenue";
/// Likewise, every attempt credited with all of it.
pub const REVENUE_ANY_TOUCH: &str = "revenue_any_touch";
/// Likewise, only the last attempt credited.
pub const REVENUE_LAST_TOUCH: &str = "revenue_last_touch";
/// What sending cost.
pub const COST: &str = "cost";
/// What the reasons beside are of: the name of another column.
pub const REASON_OF: &str = "reasons_of";
/// Reasons.
pub const REASON: &str = "reasons_reason";
/// How often.
pub const REASON_COUNT: &str = "reasons_count";
/// Names of the checks of conservation that this row fails; null if it holds.
pub const FAILED_CHECKS: &str = "failed_checks";

/// The names of the checks of conservation, in the order in which [`FAILED_CHECKS`] has them, joined by `; `.
pub const CHECKS: [&str; 9] = [
    "decided = sent + suppressed + holdout + failed + pending",
    "delivered <= sent",
    "unique_views <= delivered",
    "unique_clicks <= unique_views",
    "unique_views <= views + implied_views",
    "unique_clicks <= unique_element_clicks <= clicks",
    "people <= attempts",
    "conversions <= conversions_total",
    "human <= all",
];
/// The first so many of [`CHECKS`] hold in the calendar `cohort` only: what was sent today may arrive tomorrow.
pub const CHECKS_OF_COHORTS: usize = 4;

/// The counts, in the order of their columns.
pub const COUNTS: [&str; 34] = [
    DECIDED,
    SENT,
    SUPPRESSED,
    HOLDOUT,
    FAILED,
    PENDING,
    ORPHANS,
    DELIVERED,
    VIEWS,
    HUMAN_VIEWS,
    IMPLIED_VIEWS,
    IMPLIED_HUMAN_VIEWS,
    UNIQUE_VIEWS,
    UNIQUE_HUMAN_VIEWS,
    UNIQUE_VIEWERS,
    UNIQUE_HUMAN_VIEWERS,
    CLICKS,
    HUMAN_CLICKS,
    UNIQUE_ELEMENT_CLICKS,
    UNIQUE_CLICKS,
    UNIQUE_HUMAN_CLICKS,
    UNIQUE_CLICKERS,
    UNIQUE_HUMAN_CLICKERS,
    FAILURES,
    DISMISSALS,
    SUBMISSIONS,
    BOUNCES,
    UNSUBSCRIBES,
    COMPLAINTS,
    CONVERSIONS,
    CONVERSIONS_ANY_TOUCH,
    CONVERSIONS_LAST_TOUCH,
    CONVERSIONS_TOTAL,
    CONVERTERS,
];

/// The amounts, in the order of their columns.
pub const AMOUNTS: [&str; 4] = [REVENUE, REVENUE_ANY_TOUCH, REVENUE_LAST_TOUCH, COST];

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![instant(DAY_AT), text(CALENDAR)];
    fields.extend(DIMENSIONS.map(text));
    fields.extend(COUNTS.map(count));
    fields.extend(AMOUNTS.map(money));
    fields.extend([list(REASON_OF, DataType::Utf8), list(REASON, DataType::Utf8), list(REASON_COUNT, DataType::Int64)]);
    fields.push(text(FAILED_CHECKS));
    fields
}
