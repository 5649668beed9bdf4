//! `attribution`: the credit of each touch for each conversion, by each model that looks at one journey at a time.
//! Written by the job `attribution`.
//!
//! The credits of a conversion sum to 1 and to its value, to the last decimal. Touches without credit have no row.

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
/// The model.
pub const MODEL: &str = "model";
/// Place of the touch in the journey, from 1; 0 if the conversion has no touch.
pub const POSITION: &str = "position";
/// The session; null if the conversion has no touch.
pub const SESSION_ID: &str = "session_id";
/// Channel of the session.
pub const CHANNEL: &str = "channel";
/// The five campaign parameters of the session.
pub const UTM: [&str; 5] = ["utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term"];
/// Referring host of the session.
pub const REFERRER_HOST: &str = "referrer_host";
/// First page of the session.
pub const LANDING_PAGE: &str = "landing_page";
/// Share of the conversion, 0 to 1.
pub const CREDIT: &str = "credit";
/// Share of the conversion's value; null if it has none.
pub const VALUE: &str = "value";
/// Currency of the value.
pub const CURRENCY: &str = "currency";

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![
        text(CONVERSION_ID),
        instant(CONVERTED_AT),
        text(EVENT_TYPE),
        text(PERSON_ID),
        text(MODEL),
        count(POSITION),
        text(SESSION_ID),
        text(CHANNEL),
    ];
    fields.extend(UTM.map(text));
    fields.extend([text(REFERRER_HOST), text(LANDING_PAGE), money(CREDIT), money(VALUE), text(CURRENCY)]);
    fields
}
