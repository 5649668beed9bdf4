//! `visitors`: one row per visitor with first and last touch. Written by the job `visitors`.

use arrow::datatypes::Field;

use super::{count, instant, money, text};

/// UTC date of `first_seen_at`; partition column.
pub const FIRST_SEEN_DATE: &str = "first_seen_date";
/// Start of the visitor's first session.
pub const FIRST_SEEN_AT: &str = "first_seen_at";

/// The sessions that a visitor's touches are taken from; each is the prefix of the columns in [`TOUCH_COLUMNS`].
///
/// - `first_touch`: the first session in time.
/// - `first_utm_touch`: the first session in time that carries any campaign parameter.
/// - `last_touch`: the last session in time.
/// - `last_non_direct_touch`: the last session in time whose channel is not `direct`.
pub const TOUCHES: [&str; 4] = ["first_touch", "first_utm_touch", "last_touch", "last_non_direct_touch"];

/// What is kept of each touch.
pub const TOUCH_COLUMNS: [&str; 8] =
    ["channel", "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "referrer", "landing_page"];

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![
        text("visitor_id"),
        text("user_id"),
        instant(FIRST_SEEN_AT),
        instant("last_seen_at"),
        count("session_count"),
        count("event_count"),
        count("page_view_count"),
        count("conversion_count"),
        money("revenue"),
    ];
    for touch in TOUCHES {
        fields.push(instant(&format!("{touch}_at")));
        fields.extend(TOUCH_COLUMNS.iter().map(|column| text(&format!("{touch}_{column}"))));
    }
    fields
}
