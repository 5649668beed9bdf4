//! Attempts to bring messages to people: events grouped by their key, once for each question (`attempts`); goals beside
//! exposures of the same person (`goals`); and every count as a row of its own (`things`), summed up in the end
//! (`rollups`).
//!
//! Definition `messages/1`.

mod attempts;
mod goals;
mod rollups;
mod things;

use polars::prelude::*;
use touchline_schemas::event::messaging::*;
use touchline_schemas::event::properties;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::event_sets::{self, Member};
use touchline_schemas::tables::message_deliveries::{self as column, MEMBERS};
use touchline_schemas::tables::message_rollups as rollup;

pub use self::attempts::{attempts, finished};
pub use self::goals::{conversions, goal_columns, goal_events};
pub use self::rollups::rollups;
use crate::events;

const TYPES: [&str; 12] = [
    MESSAGE_SENT,
    MESSAGE_DELIVERED,
    MESSAGE_VIEWED,
    MESSAGE_CLICKED,
    MESSAGE_DISMISSED,
    MESSAGE_SUBMITTED,
    MESSAGE_BOUNCED,
    MESSAGE_FAILED,
    MESSAGE_SUPPRESSED,
    MESSAGE_UNSUBSCRIBED,
    MESSAGE_COMPLAINED,
    DECISION,
];
/// Events that are counted as they are, if their attempt was sent.
const COUNTED: [(&str, &str); 5] = [
    (MESSAGE_DISMISSED, rollup::DISMISSALS),
    (MESSAGE_SUBMITTED, rollup::SUBMISSIONS),
    (MESSAGE_BOUNCED, rollup::BOUNCES),
    (MESSAGE_UNSUBSCRIBED, rollup::UNSUBSCRIBES),
    (MESSAGE_COMPLAINED, rollup::COMPLAINTS),
];

const KEY: &str = column::ATTEMPT_ID;
const ID: &str = event_sets::EVENT_ID;
const TYPE: &str = event_sets::EVENT_TYPE;
const AT: &str = event_sets::OCCURRED_AT;
const BOT: &str = event_sets::IS_BOT;
const GOAL: &str = column::CONVERSION_GOAL;

/// The columns that tell events of sets apart.
pub const EVENT_KEY: [&str; 2] = [KEY, ID];
/// The columns that tell conversions apart.
pub const CONVERSION_KEY: [&str; 3] = [KEY, GOAL, column::CONVERSION_EVENT_ID];
/// The columns of a conversion besides.
pub const CONVERSION_COLUMNS: [&str; 6] = [
    GOAL,
    column::CONVERSION_EVENT_ID,
    column::CONVERSION_OCCURRED_AT,
    column::CONVERSION_VALUE,
    column::CONVERSION_IS_LAST_TOUCH,
    column::CONVERSION_IS_CREDITED,
];
/// The columns that tell rollups apart.
pub const ROLLUP_KEY: [&str; 6] = [rollup::ROLLUP_DATE, rollup::CALENDAR, "system", "message_id", "variant", "channel"];
/// The columns of a reason.
pub const REASON_COLUMNS: [&str; 3] = [rollup::REASON_OF, rollup::REASON, rollup::REASON_COUNT];

/// The names of a table's columns that are no lists, with its date.
pub fn flat_columns(table: Table) -> Vec<String> {
    let schema = table.schema();
    let is_list = |field: &arrow::datatypes::Field| matches!(field.data_type(), arrow::datatypes::DataType::List(_));
    schema.fields()[2..].iter().filter(|field| !is_list(field)).map(|field| field.name().clone()).collect()
}

/// The columns of `events` that attempts are made of.
pub fn event_columns() -> Vec<&'static str> {
    events::event_columns(&MEMBERS)
}

/// The lists of a set, in their order.
pub fn set_columns() -> Vec<&'static str> {
    events::list_columns(&MEMBERS)
}

/// The events of attempts, one row each, with the key of their attempt, from rows with [`event_columns`].
pub fn facts(rows: &DataFrame) -> PolarsResult<DataFrame> {
    let mut found = events::of_types(rows, &TYPES, &MEMBERS, properties::DECISION_ID)?;
    let text = |name: &str| found.column(name).and_then(|column| column.str());
    let (ids, types, deliveries) = (text(ID)?, text(TYPE)?, text(Member::DeliveryId.column())?);
    let (outcomes, decisions) = (text(Member::Outcome.column())?, text(properties::DECISION_ID)?);
    let keys = (0..found.height()).map(|row| {
        let is_decision = types.get(row) == Some(DECISION);
        if is_decision && !["allow", "suppress", "holdout"].iter().any(|known| outcomes.get(row) == Some(*known)) {
            return None;
        }
        let decision = if is_decision { ids.get(row) } else { decisions.get(row) };
        Some(match (deliveries.get(row), decision) {
            (Some(delivery), _) => format!("d:{delivery}"),
            (None, Some(decision)) => format!("x:{decision}"),
            (None, None) => format!("e:{}", ids.get(row).unwrap_or_default()),
        })
    });
    let keys: StringChunked = keys.collect();
    found.with_column(keys.with_name(KEY.into()).into_column())?;
    let mut order = vec![KEY];
    order.extend(set_columns());
    found.select(order)?.lazy().filter(col(KEY).is_not_null()).collect()
}

fn is(event_type: &str) -> Expr {
    col(TYPE).eq(lit(event_type.to_owned()))
}

fn any_of(types: &[&str]) -> Expr {
    types.iter().map(|event_type| is(event_type)).reduce(Expr::or).unwrap_or(lit(false))
}

fn outcome(word: &str) -> Expr {
    is(DECISION).and(col(Member::Outcome.column()).eq(lit(word.to_owned())))
}
