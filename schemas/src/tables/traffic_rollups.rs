//! `traffic_rollups`: one row per day, dimension and value. Written by the job `traffic`.
//!
//! Days are those of a calendar: UTC, or the account's time zone. `visitors` counts each visitor once a day, so it
//! must not be added up over days; reports over longer ranges count anew from `sessions`.

use arrow::datatypes::Field;

use super::{count, instant, money, text};

/// The day in its calendar; partition column.
pub const ROLLUP_DATE: &str = "rollup_date";
/// The instant at which the day begins.
pub const DAY_AT: &str = "day_at";
/// `utc` or `account`.
pub const CALENDAR: &str = "calendar";
/// What the rows are grouped by.
pub const DIMENSION: &str = "dimension";
/// The value of the dimension; null where there is none.
pub const VALUE: &str = "value";
/// Distinct visitors of the day.
pub const VISITORS: &str = "visitors";
/// Sessions that began on the day.
pub const SESSIONS: &str = "sessions";
/// Page views.
pub const PAGE_VIEWS: &str = "page_views";
/// Events.
pub const EVENTS: &str = "events";
/// Sessions of one page view and nothing else.
pub const BOUNCES: &str = "bounces";
/// Engaged sessions.
pub const ENGAGED_SESSIONS: &str = "engaged_sessions";
/// Sum of the sessions' durations in seconds.
pub const DURATION_S: &str = "duration_s";
/// Conversions.
pub const CONVERSIONS: &str = "conversions";
/// Revenue.
pub const REVENUE: &str = "revenue";

/// Days of UTC.
pub const CALENDAR_UTC: &str = "utc";
/// Days of the account's time zone.
pub const CALENDAR_ACCOUNT: &str = "account";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    vec![
        instant(DAY_AT),
        text(CALENDAR),
        text(DIMENSION),
        text(VALUE),
        count(VISITORS),
        count(SESSIONS),
        count(PAGE_VIEWS),
        count(EVENTS),
        count(BOUNCES),
        count(ENGAGED_SESSIONS),
        count(DURATION_S),
        count(CONVERSIONS),
        money(REVENUE),
    ]
}
