//! What counts: every sending, view, click, conversion, … as a row of its own.

use polars::prelude::*;
use touchline_schemas::event::messaging::*;
use touchline_schemas::tables::event_sets::Member;
use touchline_schemas::tables::{message_deliveries as column, message_rollups as rollup};

use super::{AT, BOT, COUNTED, GOAL, KEY, is};
use crate::frame::{day_of, number, stack};

/// How many, of things.
pub(super) const COUNT: &str = "count";
/// What counts them.
pub(super) const METRIC: &str = "metric";
/// How much they are worth.
pub(super) const AMOUNT: &str = "amount";

/// Things that count: attempt, time, what, how many, how much.
fn things(rows: LazyFrame, at: &str, metric: &str) -> PolarsResult<DataFrame> {
    things_worth(rows, at, metric, number(1), number(0))
}

fn things_worth(rows: LazyFrame, at: &str, metric: &str, count: Expr, amount: Expr) -> PolarsResult<DataFrame> {
    rows.filter(col(at).is_not_null())
        .select([
            col(KEY),
            col(at).cast(DataType::Int64).alias("at"),
            lit(metric.to_owned()).alias(METRIC),
            count.alias(COUNT),
            amount.alias(AMOUNT),
        ])
        .collect()
}

/// What counts, of attempts, their events and their conversions; and what of it counts people.
pub(super) fn all_things(
    attempts: &DataFrame,
    facts: &DataFrame,
    conversions: &DataFrame,
) -> PolarsResult<(DataFrame, DataFrame)> {
    let all = || attempts.clone().lazy();
    let sent = || all().filter(col(column::SENT_AT).is_not_null());
    let keys = sent().select([col(KEY)]).collect()?;
    let of_sent = || facts.clone().lazy().semi_join(keys.clone().lazy(), col(KEY), col(KEY));
    let human = || col(BOT).not();
    let mut parts = vec![
        things(all(), column::DECIDED_AT, rollup::DECIDED)?,
        things(all(), column::SENT_AT, rollup::SENT)?,
        things(all(), column::SUPPRESSED_AT, rollup::SUPPRESSED)?,
        things(all(), column::HOLDOUT_AT, rollup::HOLDOUT)?,
        things(all(), column::FAILED_AT, rollup::FAILED)?,
        things(all().filter(col(column::IS_PENDING)), column::DECIDED_AT, rollup::PENDING)?,
        things(all().filter(col(column::IS_ORPHAN)), column::COHORT_AT, rollup::ORPHANS)?,
        things(sent(), column::DELIVERED_AT, rollup::DELIVERED)?,
        things(of_sent().filter(is(MESSAGE_VIEWED)), AT, rollup::VIEWS)?,
        things(of_sent().filter(is(MESSAGE_VIEWED).and(human())), AT, rollup::HUMAN_VIEWS)?,
        things(of_sent().filter(is(MESSAGE_CLICKED)), AT, rollup::CLICKS)?,
        things(of_sent().filter(is(MESSAGE_CLICKED).and(human())), AT, rollup::HUMAN_CLICKS)?,
        things(facts.clone().lazy().filter(is(MESSAGE_FAILED)), AT, rollup::FAILURES)?,
        things_worth(
            facts.clone().lazy(),
            AT,
            rollup::COST,
            number(0),
            col(Member::Cost.column()).fill_null(lit(0_i64)),
        )?,
    ];
    for (event_type, metric) in COUNTED {
        parts.push(things(of_sent().filter(is(event_type)), AT, metric)?);
    }
    let elements = of_sent().filter(is(MESSAGE_CLICKED)).group_by([col(KEY), col(Member::Element.column())]);
    parts.push(things(elements.agg([col(AT).min()]), AT, rollup::UNIQUE_ELEMENT_CLICKS)?);

    let mut people = Vec::new();
    for (at, metric, persons) in [
        (column::FIRST_VIEWED_AT, rollup::UNIQUE_VIEWS, rollup::UNIQUE_VIEWERS),
        (column::FIRST_HUMAN_VIEWED_AT, rollup::UNIQUE_HUMAN_VIEWS, rollup::UNIQUE_HUMAN_VIEWERS),
        (column::FIRST_CLICKED_AT, rollup::UNIQUE_CLICKS, rollup::UNIQUE_CLICKERS),
        (column::FIRST_HUMAN_CLICKED_AT, rollup::UNIQUE_HUMAN_CLICKS, rollup::UNIQUE_HUMAN_CLICKERS),
    ] {
        parts.push(things(sent(), at, metric)?);
        people.push(things(sent(), at, persons)?);
    }
    for (views, first, metric) in [
        (is(MESSAGE_VIEWED), column::FIRST_VIEWED_AT, rollup::IMPLIED_VIEWS),
        (is(MESSAGE_VIEWED).and(human()), column::FIRST_HUMAN_VIEWED_AT, rollup::IMPLIED_HUMAN_VIEWS),
    ] {
        let reported = of_sent().filter(views).group_by([col(KEY)]).agg([col(AT).min()]);
        let implied =
            sent().left_join(reported, col(KEY), col(KEY)).filter(col(AT).is_null().or(col(AT).gt(col(first))));
        parts.push(things(implied, first, metric)?);
    }

    let at = column::CONVERSION_OCCURRED_AT;
    let reached = || conversions.clone().lazy();
    parts.push(things(reached(), at, rollup::CONVERSIONS_TOTAL)?);
    let worth = || col(column::CONVERSION_VALUE).fill_null(lit(0_i64));
    for (which, metric, amount) in [
        (lit(true), rollup::CONVERSIONS_ANY_TOUCH, rollup::REVENUE_ANY_TOUCH),
        (col(column::CONVERSION_IS_LAST_TOUCH), rollup::CONVERSIONS_LAST_TOUCH, rollup::REVENUE_LAST_TOUCH),
        (col(column::CONVERSION_IS_CREDITED), rollup::CONVERSIONS, rollup::REVENUE),
    ] {
        let once = reached().filter(which.clone()).group_by([col(KEY), col(GOAL)]).agg([col(at).min()]);
        parts.push(things(once, at, metric)?);
        parts.push(things_worth(reached().filter(which), at, amount, number(0), worth())?);
    }
    people.push(things(reached().filter(col(column::CONVERSION_IS_CREDITED)), at, rollup::CONVERTERS)?);
    Ok((stack(parts)?, stack(people)?))
}

/// Each thing with the group of its attempt, once on the day of the attempt and once on its own.
pub(super) fn in_calendars(things: &DataFrame, attempts: &DataFrame) -> PolarsResult<DataFrame> {
    let mut of_attempt = vec![col(KEY), col(column::COHORT_DATE), col(column::PERSON_ID)];
    of_attempt.extend(rollup::DIMENSIONS.map(col));
    let joined =
        things.clone().lazy().inner_join(attempts.clone().lazy().select(of_attempt), col(KEY), col(KEY)).collect()?;
    let calendar = |name: &str, day: Expr| {
        joined
            .clone()
            .lazy()
            .with_columns([lit(name.to_owned()).alias(rollup::CALENDAR), day.alias(rollup::ROLLUP_DATE)])
            .collect()
    };
    stack(vec![
        calendar(rollup::CALENDAR_COHORT, col(column::COHORT_DATE))?,
        calendar(rollup::CALENDAR_EVENT, day_of(col("at")))?,
    ])
}
