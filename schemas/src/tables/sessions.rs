//! `sessions`: one row per session. Written by the job `sessions`.
//!
//! The columns marked *merge state* say which event a value came from. With them two rows that turn out to be parts
//! of one session can be merged without reading the events again.

use arrow::datatypes::Field;

use super::{count, flag, instant, money, text};
use crate::event::TextField;

/// UTC date of `started_at`; partition column.
pub const SESSION_DATE: &str = "session_date";
/// The `event_id` of the session's anchor: its event with the smallest `(received_at, event_id)`.
pub const SESSION_ID: &str = "session_id";
/// `received_at` of the anchor (merge state).
pub const ANCHOR_RECEIVED_AT: &str = "anchor_received_at";
/// Time of the first event.
pub const STARTED_AT: &str = "started_at";
/// Time of the last event.
pub const ENDED_AT: &str = "ended_at";
/// Whole seconds from the first to the last event.
pub const DURATION_S: &str = "duration_s";
/// Events in the session.
pub const EVENT_COUNT: &str = "event_count";
/// Page views in the session.
pub const PAGE_VIEW_COUNT: &str = "page_view_count";
/// Events that neither are page views nor begin with `$` (merge state of `is_bounce`).
pub const INTERACTION_COUNT: &str = "interaction_count";
/// Conversions in the session.
pub const CONVERSION_COUNT: &str = "conversion_count";
/// Sum of the events' revenue.
pub const REVENUE: &str = "revenue";
/// Exactly one page view and nothing else but `$` events.
pub const IS_BOUNCE: &str = "is_bounce";
/// Longer than 10 s, or a conversion, or at least two page views.
pub const IS_ENGAGED: &str = "is_engaged";
/// Whether the events are a bot's. Bots have sessions of their own, which reports leave out unless asked.
pub const IS_BOT: &str = "is_bot";
/// The `session_id` that the client gave, first seen.
pub const CLIENT_SESSION_ID: &str = "client_session_id";
/// Path of the first page view.
pub const ENTRY_PAGE: &str = "entry_page";
/// Path of the last page view.
pub const EXIT_PAGE: &str = "exit_page";
/// The acquisition channel, by the account's rule set.
pub const CHANNEL: &str = "channel";
/// Time of the first event that carried campaign parameters (merge state).
pub const UTM_AT: &str = "utm_at";
/// Id of that event (merge state).
pub const UTM_EVENT_ID: &str = "utm_event_id";
/// Time of the first event that came from elsewhere (merge state).
pub const REFERRER_AT: &str = "referrer_at";
/// Id of that event (merge state).
pub const REFERRER_EVENT_ID: &str = "referrer_event_id";
/// Id of the first event (merge state).
pub const FIRST_EVENT_ID: &str = "first_event_id";
/// Id of the last event (merge state).
pub const LAST_EVENT_ID: &str = "last_event_id";
/// Time of the first page view (merge state).
pub const ENTRY_AT: &str = "entry_at";
/// Id of the first page view (merge state).
pub const ENTRY_EVENT_ID: &str = "entry_event_id";
/// Time of the last page view (merge state).
pub const EXIT_AT: &str = "exit_at";
/// Id of the last page view (merge state).
pub const EXIT_EVENT_ID: &str = "exit_event_id";

/// Time of the first event that carried a user id (merge state).
pub const USER_AT: &str = "user_at";
/// Id of that event (merge state).
pub const USER_EVENT_ID: &str = "user_event_id";
/// Time of the first event that carried the client's session id (merge state).
pub const CLIENT_SESSION_AT: &str = "client_session_at";
/// Id of that event (merge state).
pub const CLIENT_SESSION_EVENT_ID: &str = "client_session_event_id";

/// The five campaign parameters and the click ids: taken together from the first event that carries any.
pub const UTM_FIELDS: [TextField; 13] = [
    TextField::UtmSource,
    TextField::UtmMedium,
    TextField::UtmCampaign,
    TextField::UtmContent,
    TextField::UtmTerm,
    TextField::Gclid,
    TextField::Gbraid,
    TextField::Wbraid,
    TextField::Fbclid,
    TextField::Msclkid,
    TextField::Ttclid,
    TextField::LiFatId,
    TextField::Dclid,
];

/// Where a session came from: taken together from the first event whose referrer is external.
pub const REFERRER_FIELDS: [TextField; 2] = [TextField::Referrer, TextField::ReferrerHost];

/// What a session takes from its first event.
pub const FIRST_EVENT_FIELDS: [TextField; 4] =
    [TextField::Country, TextField::DeviceType, TextField::Browser, TextField::Os];

/// The columns of the data files.
pub fn fields() -> Vec<Field> {
    let mut fields = vec![
        text(SESSION_ID),
        text(TextField::VisitorId.column()),
        text(TextField::UserId.column()),
        text(CLIENT_SESSION_ID),
        flag(IS_BOT),
        instant(STARTED_AT),
        instant(ENDED_AT),
        count(DURATION_S),
        count(EVENT_COUNT),
        count(PAGE_VIEW_COUNT),
        count(INTERACTION_COUNT),
        count(CONVERSION_COUNT),
        money(REVENUE),
        flag(IS_BOUNCE),
        flag(IS_ENGAGED),
        text(CHANNEL),
        text(ENTRY_PAGE),
        text(EXIT_PAGE),
    ];
    fields.extend(UTM_FIELDS.iter().map(|field| text(field.column())));
    fields.extend(REFERRER_FIELDS.iter().map(|field| text(field.column())));
    fields.extend(FIRST_EVENT_FIELDS.iter().map(|field| text(field.column())));
    fields.extend([
        instant(ANCHOR_RECEIVED_AT),
        text(FIRST_EVENT_ID),
        text(LAST_EVENT_ID),
        instant(UTM_AT),
        text(UTM_EVENT_ID),
        instant(REFERRER_AT),
        text(REFERRER_EVENT_ID),
        instant(ENTRY_AT),
        text(ENTRY_EVENT_ID),
        instant(EXIT_AT),
        text(EXIT_EVENT_ID),
        instant(USER_AT),
        text(USER_EVENT_ID),
        instant(CLIENT_SESSION_AT),
        text(CLIENT_SESSION_EVENT_ID),
    ]);
    fields
}
