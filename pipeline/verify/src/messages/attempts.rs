//! One row for each attempt: what its events say, each question asked of all events at once.

use polars::prelude::*;
use touchline_schemas::event::messaging::*;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::event_sets::Member;
use touchline_schemas::tables::message_deliveries as column;

use super::{AT, BOT, ID, KEY, any_of, flat_columns, is, outcome};
use crate::frame::{ascending, day_of};

const RANK: &str = "rank";
const IS_ALLOWED: &str = "is_allowed";

/// What says of an attempt that it reached somebody.
const REACTIONS: [&str; 8] = [
    MESSAGE_DELIVERED,
    MESSAGE_VIEWED,
    MESSAGE_CLICKED,
    MESSAGE_DISMISSED,
    MESSAGE_SUBMITTED,
    MESSAGE_BOUNCED,
    MESSAGE_UNSUBSCRIBED,
    MESSAGE_COMPLAINED,
];

/// The earliest of some events of a group.
fn first_of(which: Expr, name: &str) -> Expr {
    when(which).then(col(AT)).otherwise(lit(NULL)).min().cast(DataType::Int64).alias(name)
}

fn sum_of(which: Expr, name: &str) -> Expr {
    which.cast(DataType::Int64).sum().cast(DataType::Int64).alias(name)
}

/// One row for each attempt, without people, conversions, and what follows from these.
pub fn attempts(facts: &DataFrame) -> PolarsResult<LazyFrame> {
    let rank = when(is(MESSAGE_SENT)).then(lit(0)).when(is(DECISION)).then(lit(1)).otherwise(lit(2));
    let ranked = facts.clone().lazy().with_column(rank.alias(RANK)).sort([KEY, RANK, AT, ID], ascending()).collect()?;
    let human = || col(BOT).not();
    let suppressed = || is(MESSAGE_SUPPRESSED).or(outcome(OUTCOME_SUPPRESS));
    let decided = any_of(&[MESSAGE_SENT, MESSAGE_FAILED, MESSAGE_SUPPRESSED, DECISION]);
    let seen = || any_of(&[MESSAGE_VIEWED, MESSAGE_CLICKED]);
    let mut aggregates = vec![
        col(AT).min().alias(column::FIRST_AT),
        col(AT).max().alias(column::LAST_AT),
        first_of(decided, column::DECIDED_AT),
        first_of(is(MESSAGE_SENT), column::SENT_AT),
        first_of(suppressed(), column::SUPPRESSED_AT),
        first_of(outcome(OUTCOME_HOLDOUT), column::HOLDOUT_AT),
        first_of(is(MESSAGE_FAILED), column::FAILED_AT),
        first_of(any_of(&[MESSAGE_DELIVERED, MESSAGE_VIEWED, MESSAGE_CLICKED]), column::DELIVERED_AT),
        first_of(seen(), column::FIRST_VIEWED_AT),
        first_of(seen().and(human()), column::FIRST_HUMAN_VIEWED_AT),
        first_of(is(MESSAGE_CLICKED), column::FIRST_CLICKED_AT),
        first_of(is(MESSAGE_CLICKED).and(human()), column::FIRST_HUMAN_CLICKED_AT),
        sum_of(is(MESSAGE_VIEWED), column::VIEWS),
        sum_of(is(MESSAGE_VIEWED).and(human()), column::HUMAN_VIEWS),
        sum_of(is(MESSAGE_CLICKED), column::CLICKS),
        sum_of(is(MESSAGE_CLICKED).and(human()), column::HUMAN_CLICKS),
        outcome(OUTCOME_ALLOW).any(true).alias(IS_ALLOWED),
        any_of(&REACTIONS).any(true).alias(column::IS_ORPHAN),
        col(Member::Cost.column()).sum().cast(DataType::Int64).alias(column::COST),
    ];
    aggregates.extend(column::PICKED.map(|(name, member)| col(member.column()).drop_nulls().first().alias(name)));
    let (visitor, user) = (Member::VisitorId.column(), Member::UserId.column());
    let identified = ranked
        .clone()
        .lazy()
        .filter(col(visitor).is_not_null().or(col(user).is_not_null()))
        .group_by_stable([col(KEY)])
        .agg([
            col(visitor).first().alias(column::IDS[0]),
            col(user).first().alias(column::IDS[1]),
            col(AT).first().alias(column::IDENTIFIED_AT),
        ])
        .collect()?;
    let sent = || col(column::SENT_AT).is_not_null();
    let no_end = [column::FAILED_AT, column::SUPPRESSED_AT, column::HOLDOUT_AT]
        .into_iter()
        .fold(sent().not(), |none, name| none.and(col(name).is_null()));
    let system = when(col(column::SYSTEM).is_not_null())
        .then(col(column::SYSTEM))
        .when(col("sequence_id").is_not_null())
        .then(lit(SYSTEM_SEQUENCE))
        .when(col("rule_name").is_not_null())
        .then(lit(SYSTEM_RULE))
        .otherwise(lit(SYSTEM_SITE_MESSAGE));
    let grouped = ranked.lazy().group_by_stable([col(KEY)]).agg(aggregates).collect()?.lazy();
    Ok(grouped
        .left_join(identified.lazy(), col(KEY), col(KEY))
        .with_columns([
            system.alias(column::SYSTEM),
            coalesce(&[col(column::SENT_AT), col(column::FIRST_AT)]).alias(column::COHORT_AT),
            col(IS_ALLOWED).and(no_end).alias(column::IS_PENDING),
            col(column::IS_ORPHAN).and(sent().not()).alias(column::IS_ORPHAN),
            when(sent())
                .then(lit(NULL))
                .otherwise(col(column::FAILED_AT))
                .cast(DataType::Int64)
                .alias(column::FAILED_AT),
        ])
        .with_columns([
            when(sent().not())
                .then(lit(NULL))
                .when(col(column::SYSTEM).eq(lit(SYSTEM_SITE_MESSAGE)))
                .then(col(column::FIRST_HUMAN_VIEWED_AT))
                .otherwise(col(column::SENT_AT))
                .cast(DataType::Int64)
                .alias(column::EXPOSED_AT),
            day_of(col(column::COHORT_AT)).alias(column::COHORT_DATE),
        ]))
}

/// Attempts with the end of what is known of them, in the columns of the table.
pub fn finished(attempts: &DataFrame, conversions: &DataFrame) -> PolarsResult<DataFrame> {
    const REACHED: &str = "last_reached_at";
    let ends =
        conversions.clone().lazy().group_by([col(KEY)]).agg([col(column::CONVERSION_OCCURRED_AT).max().alias(REACHED)]);
    let later = col(REACHED).gt(col(column::LAST_AT)).fill_null(lit(false));
    let end = when(later).then(col(REACHED)).otherwise(col(column::LAST_AT)).alias(column::LAST_AT);
    let names = flat_columns(Table::MessageDeliveries);
    let rows = attempts.clone().lazy().left_join(ends, col(KEY), col(KEY)).with_column(end);
    rows.select(names.iter().map(|name| col(name.as_str())).collect::<Vec<_>>()).collect()
}
