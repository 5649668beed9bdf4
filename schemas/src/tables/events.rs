//! `events`: one row per accepted event. Written by ingest only.

use arrow::datatypes::{DataType, Field};

use super::{flag, instant, money, text};
use crate::event::TextField;

/// UTC date of `occurred_at`; partition column.
pub const EVENT_DATE: &str = "event_date";
/// The client's time, corrected for skew; UTC.
pub const OCCURRED_AT: &str = "occurred_at";
/// The server's time of arrival; never moved.
pub const RECEIVED_AT: &str = "received_at";
/// Whether the user agent is a crawler's or a tool's.
pub const IS_BOT: &str = "is_bot";
/// Amount of money that the event carries, in its `currency`.
pub const REVENUE: &str = "revenue";

/// The order of rows in merged files: a visitor's events lie together and in time, so that whoever wants one visitor
/// skips the rest.
pub const SORT_COLUMNS: [&str; 3] = [TextField::VisitorId.column(), OCCURRED_AT, TextField::EventId.column()];

/// The columns of the data files: times, flag and amount first, then every text field in the order of [`TextField`].
pub fn fields() -> Vec<Field> {
    let mut fields = vec![instant(OCCURRED_AT), instant(RECEIVED_AT), flag(IS_BOT), money(REVENUE)];
    fields.extend(TextField::ALL.iter().map(|field| text(field.column())));
    debug_assert!(fields.iter().all(|field| field.data_type() != &DataType::Null));
    fields
}
