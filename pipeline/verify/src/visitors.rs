//! People with their first and last touches: of each person the sessions sorted, and the first or the last taken.
//!
//! Definition `visitors/3`, from the person of each session on.

use polars::prelude::*;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::visitors as column;
use touchline_schemas::tables::{Table, sessions};

use crate::frame::{day_of, known_money};

/// The channel of which nothing is known, in small letters: rule sets write it differently.
pub const DIRECT: &str = "direct";
const SUMS: [&str; 3] = [sessions::EVENT_COUNT, sessions::PAGE_VIEW_COUNT, sessions::CONVERSION_COUNT];
const REVENUE_COUNT: &str = "revenue_count";
/// Where a touch's columns come from; the order is that of `TOUCH_COLUMNS`.
const TOUCH_SOURCES: [&str; 9] = [
    sessions::SESSION_ID,
    sessions::CHANNEL,
    TextField::UtmSource.column(),
    TextField::UtmMedium.column(),
    TextField::UtmCampaign.column(),
    TextField::UtmContent.column(),
    TextField::UtmTerm.column(),
    TextField::Referrer.column(),
    sessions::ENTRY_PAGE,
];

/// The columns of `visitors`.
pub fn columns() -> Vec<String> {
    Table::Visitors.schema().fields()[2..].iter().map(|field| field.name().clone()).collect()
}

/// The people of sessions that have a channel and a `person_id`.
pub fn visitors(sessions: LazyFrame) -> PolarsResult<DataFrame> {
    let human = sessions.filter(col(sessions::IS_BOT).not()).collect()?;
    let all = || human.clone().lazy();
    let has_campaign = sessions::UTM_FIELDS.iter().map(|field| col(field.column()).is_not_null()).reduce(Expr::or);
    let is_not_direct = || col(sessions::CHANNEL).str().to_lowercase().neq(lit(DIRECT));

    let mut totals = vec![
        col(TextField::VisitorId.column()).first().alias(column::VISITOR_ID),
        col(sessions::STARTED_AT).first().alias(column::FIRST_SEEN_AT),
        col(sessions::ENDED_AT).max().alias(column::LAST_SEEN_AT),
        len().cast(DataType::Int64).alias(column::SESSION_COUNT),
        col(sessions::REVENUE).sum(),
        col(sessions::REVENUE).count().alias(REVENUE_COUNT),
        col(sessions::ENDED_AT).filter(is_not_direct()).max().alias(column::LAST_NON_DIRECT_ENDED_AT),
    ];
    totals.extend(SUMS.map(|name| col(name).sum()));
    let totals = in_order(all(), sessions::STARTED_AT, Edge::First).group_by([col(column::PERSON_ID)]).agg(totals);
    let known = one(
        all().filter(col(sessions::USER_AT).is_not_null()),
        sessions::USER_AT,
        Edge::First,
        vec![
            (TextField::UserId.column(), column::USER_ID.to_owned()),
            (sessions::USER_AT, column::USER_AT.to_owned()),
            (sessions::SESSION_ID, column::USER_SESSION_ID.to_owned()),
            (sessions::ANCHOR_RECEIVED_AT, column::USER_ANCHOR_RECEIVED_AT.to_owned()),
        ],
    );
    let with_campaign = all().filter(has_campaign.unwrap_or_else(|| lit(false)));
    let touches = [
        one(all(), sessions::STARTED_AT, Edge::First, touch(column::TOUCHES[0])),
        one(with_campaign, sessions::STARTED_AT, Edge::First, touch(column::TOUCHES[1])),
        one(all(), sessions::ENDED_AT, Edge::Last, touch(column::TOUCHES[2])),
        one(all().filter(is_not_direct()), sessions::ENDED_AT, Edge::Last, touch(column::TOUCHES[3])),
    ];
    let whole = touches
        .into_iter()
        .fold(totals.left_join(known, col(column::PERSON_ID), col(column::PERSON_ID)), |rows, touch| {
            rows.left_join(touch, col(column::PERSON_ID), col(column::PERSON_ID))
        });
    whole
        .with_columns([
            known_money(sessions::REVENUE, REVENUE_COUNT),
            day_of(col(column::FIRST_SEEN_AT)).alias(column::FIRST_SEEN_DATE),
        ])
        .select(columns().iter().map(|name| col(name.as_str())).collect::<Vec<_>>())
        .collect()
}

/// Which of a person's sessions is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    First,
    Last,
}

/// Each person's sessions, the one that is meant in front. Of sessions of the same time it is the one whose anchor came
/// first, for last touches as well.
fn in_order(rows: LazyFrame, at: &'static str, edge: Edge) -> LazyFrame {
    let order = [column::PERSON_ID, at, sessions::ANCHOR_RECEIVED_AT, sessions::SESSION_ID];
    rows.sort(
        order,
        SortMultipleOptions::default().with_order_descending_multi([false, edge == Edge::Last, false, false]),
    )
}

/// Of each person one session, with some of its columns under other names.
fn one(rows: LazyFrame, at: &'static str, edge: Edge, values: Vec<(&'static str, String)>) -> LazyFrame {
    let values = values.into_iter().map(|(from, to)| col(from).first().alias(to));
    in_order(rows, at, edge).group_by([col(column::PERSON_ID)]).agg(values.collect::<Vec<_>>())
}

fn touch(name: &str) -> Vec<(&'static str, String)> {
    let columns = TOUCH_SOURCES.into_iter().zip(column::TOUCH_COLUMNS);
    let columns = columns.map(|(from, to)| (from, format!("{name}_{to}")));
    let times = [
        (sessions::STARTED_AT, format!("{name}_at")),
        (sessions::ANCHOR_RECEIVED_AT, format!("{name}_{}", column::TOUCH_ANCHOR)),
    ];
    times.into_iter().chain(columns).collect()
}
