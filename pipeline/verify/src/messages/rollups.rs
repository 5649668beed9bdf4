//! Things summed up by day and message, the reasons that were given, and checks of what does not add up.

use std::collections::BTreeMap;

use polars::prelude::*;
use touchline_schemas::event::messaging::*;
use touchline_schemas::tables::event_sets::Member;
use touchline_schemas::tables::{Table, message_deliveries as column, message_rollups as rollup};

use super::things::{AMOUNT, COUNT, METRIC, all_things, in_calendars};
use super::{AT, COUNTED, ID, KEY, REASON_COLUMNS, ROLLUP_KEY, flat_columns, is, outcome};
use crate::frame::{DAY_US, ascending, number, stack};

/// The rollups without reasons, and the reasons.
pub fn rollups(
    attempts: &DataFrame,
    facts: &DataFrame,
    conversions: &DataFrame,
) -> PolarsResult<(DataFrame, DataFrame)> {
    let (counted, people) = all_things(attempts, facts, conversions)?;
    let (counted, people) = (in_calendars(&counted, attempts)?, in_calendars(&people, attempts)?);
    let of_metric = |metric: &str| col(METRIC).eq(lit(metric.to_owned()));
    let sums = |names: &[&str], from: &str| -> Vec<Expr> {
        let sum = |name: &&str| {
            let values = when(of_metric(name)).then(col(from)).otherwise(number(0));
            values.sum().cast(DataType::Int64).alias(*name)
        };
        names.iter().map(sum).collect()
    };
    let persons = [
        rollup::UNIQUE_VIEWERS,
        rollup::UNIQUE_HUMAN_VIEWERS,
        rollup::UNIQUE_CLICKERS,
        rollup::UNIQUE_HUMAN_CLICKERS,
        rollup::CONVERTERS,
    ];
    let counts: Vec<&str> = rollup::COUNTS.into_iter().filter(|name| !persons.contains(name)).collect();
    let mut measures = sums(&counts, COUNT);
    measures.extend(sums(&rollup::AMOUNTS, AMOUNT));
    let key = || ROLLUP_KEY.map(col);
    let grouped = counted.lazy().group_by(key()).agg(measures);
    let distinct = people.lazy().group_by(key()).agg(persons.map(|name| {
        let people = when(of_metric(name)).then(col(column::PERSON_ID)).otherwise(lit(NULL));
        people.drop_nulls().n_unique().cast(DataType::Int64).alias(name)
    }));
    let mut arguments = JoinArgs::new(JoinType::Left);
    arguments.nulls_equal = true;
    let rows = grouped
        .join(distinct, key(), key(), arguments)
        .with_columns(persons.map(|name| col(name).fill_null(number(0))))
        .with_column((col(rollup::ROLLUP_DATE) * lit(DAY_US)).alias(rollup::DAY_AT));
    // Attempts all of whose things count nothing and are worth nothing leave no row.
    let something = rollup::COUNTS.iter().chain(&rollup::AMOUNTS).map(|name| col(*name).neq(lit(0_i64)));
    let something = something.reduce(Expr::or).unwrap_or(lit(true));
    let mut rows = rows.filter(something).collect()?;
    let failed = failed_checks(&rows)?;
    rows.with_column(failed.with_name(rollup::FAILED_CHECKS.into()).into_column())?;
    let names = flat_columns(Table::MessageRollups);
    let rows = rows.select(names.iter().map(String::as_str))?;
    Ok((rows, reasons(attempts, facts)?))
}

fn reasons(attempts: &DataFrame, facts: &DataFrame) -> PolarsResult<DataFrame> {
    let reason = Member::Reason.column();
    let said = || facts.clone().lazy().filter(col(reason).is_not_null());
    let keys = attempts.clone().lazy().filter(col(column::SENT_AT).is_not_null()).select([col(KEY)]).collect()?;
    let of_sent = || said().semi_join(keys.clone().lazy(), col(KEY), col(KEY));
    let held_back =
        said().filter(is(MESSAGE_SUPPRESSED).or(outcome(OUTCOME_SUPPRESS))).sort([KEY, AT, ID], ascending());
    let held_back = held_back.group_by_stable([col(KEY)]).agg([col(AT).first(), col(reason).first()]);
    let of = |rows: LazyFrame, metric: &str| {
        rows.select([
            col(KEY),
            col(AT).cast(DataType::Int64).alias("at"),
            lit(metric.to_owned()).alias(rollup::REASON_OF),
            col(reason).alias(rollup::REASON),
        ])
        .collect()
    };
    let mut parts = vec![of(held_back, rollup::SUPPRESSED)?, of(said().filter(is(MESSAGE_FAILED)), rollup::FAILURES)?];
    for (event_type, metric) in COUNTED {
        parts.push(of(of_sent().filter(is(event_type)), metric)?);
    }
    let mut key = ROLLUP_KEY.map(col).to_vec();
    key.extend([col(rollup::REASON_OF), col(rollup::REASON)]);
    let counted = in_calendars(&stack(parts)?, attempts)?;
    let count = len().cast(DataType::Int64).alias(rollup::REASON_COUNT);
    let names: Vec<Expr> = ROLLUP_KEY.into_iter().chain(REASON_COLUMNS).map(col).collect();
    counted.lazy().group_by(key).agg([count]).select(names).collect()
}

/// Per row the names of the checks that do not hold.
fn failed_checks(rows: &DataFrame) -> PolarsResult<StringChunked> {
    use rollup::*;
    let calendars = rows.column(CALENDAR)?.str()?;
    let mut counts = BTreeMap::new();
    for name in COUNTS {
        counts.insert(name, rows.column(name)?.i64()?);
    }
    let failed = (0..rows.height()).map(|row| {
        let of = |name: &str| counts.get(name).and_then(|counts| counts.get(row)).unwrap_or_default();
        let ends: i64 = [SENT, SUPPRESSED, HOLDOUT, FAILED, PENDING].iter().map(|name| of(name)).sum();
        let ascending = |names: &[&str]| names.windows(2).all(|pair| of(pair[0]) <= of(pair[1]));
        let holds = [
            of(DECIDED) == ends,
            ascending(&[DELIVERED, SENT]),
            ascending(&[UNIQUE_VIEWS, DELIVERED]),
            ascending(&[UNIQUE_CLICKS, UNIQUE_VIEWS]) && ascending(&[UNIQUE_HUMAN_CLICKS, UNIQUE_HUMAN_VIEWS]),
            of(UNIQUE_VIEWS) <= of(VIEWS) + of(IMPLIED_VIEWS)
                && of(UNIQUE_HUMAN_VIEWS) <= of(HUMAN_VIEWS) + of(IMPLIED_HUMAN_VIEWS),
            ascending(&[UNIQUE_CLICKS, UNIQUE_ELEMENT_CLICKS, CLICKS])
                && ascending(&[UNIQUE_HUMAN_CLICKS, HUMAN_CLICKS]),
            ascending(&[UNIQUE_VIEWERS, UNIQUE_VIEWS])
                && ascending(&[UNIQUE_HUMAN_VIEWERS, UNIQUE_HUMAN_VIEWS])
                && ascending(&[UNIQUE_CLICKERS, UNIQUE_CLICKS])
                && ascending(&[UNIQUE_HUMAN_CLICKERS, UNIQUE_HUMAN_CLICKS]),
            ascending(&[CONVERSIONS_LAST_TOUCH, CONVERSIONS_TOTAL])
                && ascending(&[CONVERSIONS_ANY_TOUCH, CONVERSIONS_TOTAL]),
            ascending(&[HUMAN_VIEWS, VIEWS]) && ascending(&[HUMAN_CLICKS, CLICKS]),
        ];
        let first = if calendars.get(row) == Some(CALENDAR_COHORT) { 0 } else { CHECKS_OF_COHORTS };
        let names: Vec<&str> =
            CHECKS.into_iter().zip(holds).skip(first).filter(|(_, holds)| !holds).map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| names.join("; "))
    });
    Ok(failed.collect())
}
