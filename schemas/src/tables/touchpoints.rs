//! `touchpoints`: one row per conversion and session that may have led to it. Written by the job `attribution`.

use arrow::datatypes::Field;

use super::{count, instant, money, text};

/// UTC date of `converted_at`; partition column.
pub const CONVERSION_DATE: &str = "conversion_date";
/// `event_id` of the conversion.
pub const CONVERSION_ID: &str = "conversion_id";
/// Time of the conversion.
pub const CONVERTED_AT: &str = "converted_at";
/// Event type of the conversion.
pub const EVENT_TYPE: &str = "event_type";
/// Who converted.
pub const PERSON_ID: &str = "person_id";
/// The ids that the conversion carried.
pub const IDS: [&str; 2] = ["visitor_id", "user_id"];
/// What the conversion is worth by the account's rule; null if it has no value.
pub const VALUE: &str = "value";
/// Currency of the value.
pub const CURRENCY: &str = "currency";
/// Place of the touch in the journey, from 1; 0 if the conversion has no touch.
pub const POSITION: &str = "position";
/// Touches of the journey.
pub const TOUCH_COUNT: &str = "touch_count";
/// The session; null if the conversion has no touch.
pub const SESSION_ID: &str = "session_id";
/// When the session began.
pub const TOUCHED_AT: &str = "touched_at";
/// Channel of the session.
pub const CHANNEL: &str = "channel";
/// The five campaign parameters of the session.
pub const UTM: [&str; 5] = ["utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term"];
/// Referring host of the session.
pub const REFERRER_HOST: &str = "referrer_host";
/// First page of the session.
pub const LANDING_PAGE: &str = "landing_page";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![
        text(CONVERSION_ID),
        instant(CONVERTED_AT),
        text(EVENT_TYPE),
        text(PERSON_ID),
        text(IDS[0]),
        text(IDS[1]),
        money(VALUE),
        text(CURRENCY),
        count(POSITION),
        count(TOUCH_COUNT),
        text(SESSION_ID),
        instant(TOUCHED_AT),
        text(CHANNEL),
    ];
    fields.extend(UTM.map(text));
    fields.extend([text(REFERRER_HOST), text(LANDING_PAGE)]);
    fields
}
