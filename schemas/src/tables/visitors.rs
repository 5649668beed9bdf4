//! `visitors`: one row per person with first and last touch. Written by the job `visitors`.
//!
//! Two rows of one person can be merged: counts add up, and of each touch the one with the smaller (first touches) or
//! greater (last touches) time holds, of equal times the one with the older anchor. The columns marked *merge state* are
//! there for that.

use arrow::datatypes::Field;

use super::{count, instant, money, text};

/// UTC date of `first_seen_at`; partition column.
pub const FIRST_SEEN_DATE: &str = "first_seen_date";
/// The person: `u:` and a user id, or `v:` and a visitor id of whom no user is known.
pub const PERSON_ID: &str = "person_id";
/// The visitor id of the person's first session.
pub const VISITOR_ID: &str = "visitor_id";
/// The user id that was seen first.
pub const USER_ID: &str = "user_id";
/// Start of the person's first session.
pub const FIRST_SEEN_AT: &str = "first_seen_at";
/// Latest end of a session of the person.
pub const LAST_SEEN_AT: &str = "last_seen_at";
/// Sessions.
pub const SESSION_COUNT: &str = "session_count";
/// When the first event that carried the user id came (merge state).
pub const USER_AT: &str = "user_at";
/// The session with that event (merge state).
pub const USER_SESSION_ID: &str = "user_session_id";
/// When the anchor of that session was received (merge state).
pub const USER_ANCHOR_RECEIVED_AT: &str = "user_anchor_received_at";
/// End of the last session whose channel is not `direct` (merge state).
pub const LAST_NON_DIRECT_ENDED_AT: &str = "last_non_direct_touch_ended_at";

/// The sessions that a person's touches are taken from; each is the prefix of the columns in [`TOUCH_COLUMNS`].
///
/// - `first_touch`: the first session in time.
/// - `first_utm_touch`: the first session in time that carries any campaign parameter.
/// - `last_touch`: the session that ended last.
/// - `last_non_direct_touch`: of those whose channel is not `direct`, the one that ended last.
pub const TOUCHES: [&str; 4] = ["first_touch", "first_utm_touch", "last_touch", "last_non_direct_touch"];

/// What is kept of each touch, besides the time at which the session began (`<touch>_at`).
pub const TOUCH_COLUMNS: [&str; 9] = [
    "session_id",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "referrer",
    "landing_page",
];

/// After a touch: when the anchor of its session was received (merge state).
///
/// Of two touches of the same time the one with the smaller anchor and session id holds. Where sessions become one, the
/// smallest anchor of them stays, so that what came is never worse than what went.
pub const TOUCH_ANCHOR: &str = "anchor_received_at";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![
        text(PERSON_ID),
        text(VISITOR_ID),
        text(USER_ID),
        instant(FIRST_SEEN_AT),
        instant(LAST_SEEN_AT),
        count(SESSION_COUNT),
        count("event_count"),
        count("page_view_count"),
        count("conversion_count"),
        money("revenue"),
    ];
    for touch in TOUCHES {
        fields.push(instant(&format!("{touch}_at")));
        fields.extend(TOUCH_COLUMNS.iter().map(|column| text(&format!("{touch}_{column}"))));
    }
    fields.extend([instant(USER_AT), text(USER_SESSION_ID), instant(USER_ANCHOR_RECEIVED_AT)]);
    fields.push(instant(LAST_NON_DIRECT_ENDED_AT));
    fields.extend(TOUCHES.map(|touch| instant(&format!("{touch}_{TOUCH_ANCHOR}"))));
    fields
}
