//! Edges between ids: of each kind, pair and UTC day the first and the last time.

use polars::prelude::*;
use serde_json::Value;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::events;
use touchline_schemas::tables::identity_edges as edge;

use crate::frame::{day_of, stack};

const ALIAS: &str = "$alias";
const UNMERGE: &str = "$unmerge";
/// The member of the properties that names the other user.
const PREVIOUS_ID: &str = "previous_id";
const AT: &str = "at";

/// The columns of `events` that edges are made of.
pub const EVENT_COLUMNS: [&str; 5] = [
    events::OCCURRED_AT,
    TextField::EventType.column(),
    TextField::VisitorId.column(),
    TextField::UserId.column(),
    TextField::Properties.column(),
];

/// The columns of `identity_edges`.
pub const COLUMNS: [&str; 8] = [
    edge::EDGE_DATE,
    edge::KIND,
    edge::LEFT_TYPE,
    edge::LEFT_ID,
    edge::RIGHT_TYPE,
    edge::RIGHT_ID,
    edge::FIRST_AT,
    edge::LAST_AT,
];

/// The columns that tell edges apart.
pub const KEY: [&str; 6] =
    [edge::EDGE_DATE, edge::KIND, edge::LEFT_TYPE, edge::LEFT_ID, edge::RIGHT_TYPE, edge::RIGHT_ID];

/// The edges of `events`, which hold [`EVENT_COLUMNS`] of one tenant.
pub fn edges(events: &DataFrame) -> PolarsResult<DataFrame> {
    let event_type = || col(TextField::EventType.column());
    let (visitor, user) = (TextField::VisitorId.column(), TextField::UserId.column());
    let known = events.clone().lazy().filter(col(user).is_not_null());
    let is_special = || event_type().eq(lit(ALIAS)).or(event_type().eq(lit(UNMERGE))).fill_null(lit(false));

    // Few events name another user, so that their properties can be looked at one by one.
    let mut special = known.clone().filter(is_special()).collect()?;
    let previous =
        special.column(TextField::Properties.column())?.str()?.iter().map(previous_id).collect::<StringChunked>();
    special.with_column(previous.with_name(PREVIOUS_ID.into()).into_column())?;
    let special = special.lazy();
    let names_user = || col(PREVIOUS_ID).is_not_null();
    let is_unmerge = || event_type().eq(lit(UNMERGE));

    let with_visitor = |rows: LazyFrame, kind: Expr| {
        rows.filter(col(visitor).is_not_null()).select([
            kind.alias(edge::KIND),
            lit(edge::TYPE_VISITOR).alias(edge::LEFT_TYPE),
            col(visitor).alias(edge::LEFT_ID),
            lit(edge::TYPE_USER).alias(edge::RIGHT_TYPE),
            col(user).alias(edge::RIGHT_ID),
            col(events::OCCURRED_AT).alias(AT),
        ])
    };
    let kind_or = |other: &'static str| when(is_unmerge()).then(lit(edge::KIND_UNMERGE)).otherwise(lit(other));
    let in_order = || col(PREVIOUS_ID).lt(col(user));
    // A pair of users has no direction: the smaller id stands first.
    let users = special.clone().filter(names_user().and(col(PREVIOUS_ID).neq(col(user)))).select([
        kind_or(edge::KIND_ALIAS).alias(edge::KIND),
        lit(edge::TYPE_USER).alias(edge::LEFT_TYPE),
        when(in_order()).then(col(PREVIOUS_ID)).otherwise(col(user)).alias(edge::LEFT_ID),
        lit(edge::TYPE_USER).alias(edge::RIGHT_TYPE),
        when(in_order()).then(col(user)).otherwise(col(PREVIOUS_ID)).alias(edge::RIGHT_ID),
        col(events::OCCURRED_AT).alias(AT),
    ]);
    let named = stack(vec![
        with_visitor(known.filter(is_special().not()), lit(edge::KIND_LINK)).collect()?,
        with_visitor(special.filter(names_user().not()), kind_or(edge::KIND_LINK)).collect()?,
        users.collect()?,
    ])?;
    let named = named.lazy().with_columns([
        day_of(col(AT)).alias(edge::EDGE_DATE),
        col(AT).alias(edge::FIRST_AT),
        col(AT).alias(edge::LAST_AT),
    ]);
    merged(named.collect()?)
}

/// Edges of the same kind, pair and day as one.
pub fn merged(edges: DataFrame) -> PolarsResult<DataFrame> {
    let days = edges.lazy().group_by(KEY.map(col)).agg([col(edge::FIRST_AT).min(), col(edge::LAST_AT).max()]);
    days.select(COLUMNS.map(col)).collect()
}

/// The member `previous_id`, if it is a text that is not empty.
fn previous_id(properties: Option<&str>) -> Option<String> {
    match serde_json::from_str::<Value>(properties?).ok()?.get(PREVIOUS_ID)? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    }
}
