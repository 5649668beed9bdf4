//! Attribution: conversions beside the sessions of the same person, and the credit of each by every model that looks at
//! one journey at a time.
//!
//! Definition `attribution/2`.

use std::collections::BTreeMap;

use polars::prelude::*;
use serde_json::value::RawValue;
use touchline_schemas::control::ConversionValue;
use touchline_schemas::event::{SOURCE_CONVERSION, TextField};
use touchline_schemas::money::parse_e4;
use touchline_schemas::tables::{Table, attribution, events, sessions, touchpoints as column};

use crate::frame::{DAY_US, ascending, day_of, number, stack};
use crate::visitors::DIRECT;

/// A whole conversion, and an amount of 1, in the units of the lake's decimals.
const ONE: i64 = 10_000;
/// Time in which a touch loses half of its weight.
const HALF_LIFE_US: f64 = 7.0 * DAY_US as f64;
/// The weight of the last touch in time decay, so that weights are whole numbers.
const FULL_WEIGHT: f64 = (1_u64 << 50) as f64;
/// Touches of a conversion that count; of more, the last do.
const MAX_TOUCHES: i64 = 1_000;
/// The models, in any order.
const MODELS: [&str; 6] = ["first", "last", "last_non_direct", "linear", "position", "time_decay"];

/// The account's choices.
#[derive(Debug, Clone)]
pub struct AttributionRules {
    /// Event types that are conversions, besides events posted as conversions.
    pub conversion_types: Vec<String>,
    /// What conversions are worth, by event type.
    pub values: BTreeMap<String, ConversionValue>,
    /// The longest time from a touch to the conversion.
    pub lookback_us: i64,
}

/// The columns of `events` that conversions are made of.
pub const EVENT_COLUMNS: [&str; 10] = [
    events::OCCURRED_AT,
    events::IS_BOT,
    events::REVENUE,
    TextField::EventId.column(),
    TextField::EventType.column(),
    TextField::VisitorId.column(),
    TextField::UserId.column(),
    TextField::Currency.column(),
    TextField::Properties.column(),
    TextField::Source.column(),
];

/// The columns that tell touchpoints apart.
pub const TOUCHPOINT_KEY: [&str; 2] = [column::CONVERSION_ID, column::POSITION];
/// The columns that tell credits apart.
pub const CREDIT_KEY: [&str; 3] = [attribution::CONVERSION_ID, attribution::MODEL, attribution::POSITION];

/// The columns of a table with its date, in its order.
pub fn columns(table: Table) -> Vec<String> {
    table.schema().fields()[2..].iter().map(|field| field.name().clone()).collect()
}

/// The conversions among events, which hold [`EVENT_COLUMNS`] of one tenant.
pub fn conversions(rows: DataFrame, rules: &AttributionRules) -> PolarsResult<DataFrame> {
    let event_type = || col(TextField::EventType.column());
    let posted = col(TextField::Source.column()).eq_missing(lit(SOURCE_CONVERSION));
    let known = rules.conversion_types.iter();
    let is_conversion = known.fold(posted, |any, known| any.or(event_type().eq_missing(lit(known.as_str()))));
    let human = rows.lazy().filter(col(events::IS_BOT).fill_null(lit(false)).not());
    let mut found = human.filter(is_conversion).collect()?;
    let types = found.column(TextField::EventType.column())?.str()?;
    let revenues = found.column(events::REVENUE)?.i64()?;
    let properties = found.column(TextField::Properties.column())?.str()?;
    let values = types.iter().zip(revenues.iter()).zip(properties.iter()).map(|((event_type, revenue), properties)| {
        match event_type.and_then(|event_type| rules.values.get(event_type)) {
            None | Some(ConversionValue::Revenue) => revenue,
            Some(ConversionValue::Fixed(amount)) => parse_e4(amount),
            Some(ConversionValue::Property(path)) => number_at(properties?, path),
        }
    });
    let values: Int64Chunked = values.collect();
    found.with_column(values.with_name(column::VALUE.into()).into_column())?;
    let selected = [
        col(TextField::EventId.column()).alias(column::CONVERSION_ID),
        col(events::OCCURRED_AT).alias(column::CONVERTED_AT),
        event_type().alias(column::EVENT_TYPE),
        col(TextField::VisitorId.column()),
        col(TextField::UserId.column()),
        col(column::VALUE),
        col(TextField::Currency.column()).alias(column::CURRENCY),
    ];
    found.lazy().select(selected).collect()
}

/// The number, or the text of one, at a path of members joined by dots, by its digits.
fn number_at(properties: &str, path: &str) -> Option<i64> {
    let (member, rest) = path.split_once('.').map_or((path, None), |(member, rest)| (member, Some(rest)));
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(properties).ok()?;
    let found = members.get(member)?.get();
    match rest {
        Some(rest) => number_at(found, rest),
        None => parse_e4(&serde_json::from_str::<String>(found).unwrap_or_else(|_| found.to_owned())),
    }
}

/// The touchpoints of conversions that have a person, from sessions that have one.
pub fn touchpoints(conversions: LazyFrame, people: LazyFrame, rules: &AttributionRules) -> PolarsResult<DataFrame> {
    let mut touch = vec![
        col(column::PERSON_ID),
        col(sessions::SESSION_ID),
        col(sessions::STARTED_AT).alias(column::TOUCHED_AT),
        col(sessions::CHANNEL),
        col(TextField::ReferrerHost.column()),
        col(sessions::ENTRY_PAGE).alias(column::LANDING_PAGE),
    ];
    touch.extend(column::UTM.map(col));
    let touches = people.filter(col(sessions::IS_BOT).not()).select(touch);
    let age = || col(column::CONVERTED_AT) - col(column::TOUCHED_AT);
    let conversions = conversions.collect()?.lazy();
    let place = || col(column::POSITION).cum_sum(false).over([col(column::CONVERSION_ID)]);
    let count = || col(column::POSITION).sum().over([col(column::CONVERSION_ID)]);
    let reached = conversions
        .clone()
        .inner_join(touches.clone(), col(column::PERSON_ID), col(column::PERSON_ID))
        .filter(age().gt_eq(lit(0_i64)).and(age().lt_eq(lit(rules.lookback_us))))
        .sort([column::CONVERSION_ID, column::TOUCHED_AT, column::SESSION_ID], ascending())
        .with_column(number(1).alias(column::POSITION))
        .with_columns([place()?, count()?.alias(column::TOUCH_COUNT)])
        .filter((col(column::TOUCH_COUNT) - col(column::POSITION)).lt(lit(MAX_TOUCHES)))
        // What is left is numbered anew.
        .with_column(number(1).alias(column::POSITION))
        .with_columns([place()?, count()?.alias(column::TOUCH_COUNT)])
        .collect()?;
    let ids = reached.clone().lazy().select([col(column::CONVERSION_ID)]);
    let nothing = |name: &str| lit(NULL).cast(DataType::String).alias(name.to_owned());
    let mut empty = vec![
        nothing(column::SESSION_ID),
        lit(NULL).cast(DataType::Int64).alias(column::TOUCHED_AT),
        nothing(column::CHANNEL),
        nothing(column::REFERRER_HOST),
        nothing(column::LANDING_PAGE),
        number(0).alias(column::POSITION),
        number(0).alias(column::TOUCH_COUNT),
    ];
    empty.extend(column::UTM.map(nothing));
    let untouched = conversions.anti_join(ids, col(column::CONVERSION_ID), col(column::CONVERSION_ID));
    let names = columns(Table::Touchpoints);
    let finished = |rows: LazyFrame| {
        rows.with_column(day_of(col(column::CONVERTED_AT)).alias(column::CONVERSION_DATE))
            .select(names.iter().map(|name| col(name.as_str())).collect::<Vec<_>>())
            .collect()
    };
    stack(vec![finished(reached.lazy())?, finished(untouched.with_columns(empty))?])
}

/// The credits of touchpoints: each journey's, by every model.
pub fn credits(touchpoints: &DataFrame) -> PolarsResult<DataFrame> {
    let journeys = touchpoints.sort(TOUCHPOINT_KEY, ascending())?;
    let ids = journeys.column(column::CONVERSION_ID)?.str()?;
    let positions = journeys.column(column::POSITION)?.i64()?;
    let touched = journeys.column(column::TOUCHED_AT)?.i64()?;
    let channels = journeys.column(column::CHANNEL)?.str()?;
    let values = journeys.column(column::VALUE)?.i64()?;
    let (mut rows, mut models) = (Vec::<IdxSize>::new(), Vec::new());
    let (mut credit, mut value) = (Vec::new(), Vec::new());
    let mut first = 0;
    while first < journeys.height() {
        let next = (first..journeys.height()).find(|row| ids.get(*row) != ids.get(first)).unwrap_or(journeys.height());
        let touches: Vec<(i64, bool)> = (first..next)
            .filter(|row| positions.get(*row) != Some(0))
            .map(|row| {
                let is_direct = channels.get(row).is_some_and(|channel| channel.eq_ignore_ascii_case(DIRECT));
                (touched.get(row).unwrap_or_default(), is_direct)
            })
            .collect();
        for model in MODELS {
            // A conversion without touches is one row, which takes all.
            let weights = if touches.is_empty() { vec![1] } else { weights(model, &touches) };
            let credits = shares(ONE, &weights);
            let amounts = values.get(first).map(|value| shares(value, &weights));
            for place in (0..weights.len()).filter(|place| weights[*place] > 0) {
                rows.push((first + place) as IdxSize);
                models.push(model);
                credit.push(credits[place]);
                value.push(amounts.as_ref().map(|amounts| amounts[place]));
            }
        }
        first = next;
    }
    let mut credited = journeys.take(&IdxCa::from_vec("rows".into(), rows))?;
    credited.with_column(Column::new(attribution::MODEL.into(), models))?;
    credited.with_column(Column::new(attribution::CREDIT.into(), credit))?;
    credited.with_column(Column::new(attribution::VALUE.into(), value))?;
    credited.select(columns(Table::Attribution))
}

/// How many pairs of conversion and model have stored credits that sum to 1 and to the conversion's value, and how many
/// there should be.
pub fn conserved(stored: &DataFrame, journeys: &DataFrame) -> PolarsResult<(usize, usize)> {
    const EXPECTED: &str = "expected";
    const KNOWN: &str = "known";
    let expected = journeys
        .clone()
        .lazy()
        .group_by([col(column::CONVERSION_ID)])
        .agg([col(column::VALUE).first().alias(EXPECTED)])
        .collect()?;
    let sums = stored
        .clone()
        .lazy()
        .group_by([col(attribution::CONVERSION_ID), col(attribution::MODEL)])
        .agg([
            col(attribution::CREDIT).sum(),
            col(attribution::VALUE).sum(),
            col(attribution::VALUE).count().alias(KNOWN),
        ])
        .with_column(
            when(col(KNOWN).gt(lit(0))).then(col(attribution::VALUE)).otherwise(lit(NULL)).alias(attribution::VALUE),
        );
    let holding = sums
        .inner_join(expected.clone().lazy(), col(attribution::CONVERSION_ID), col(column::CONVERSION_ID))
        .filter(col(attribution::CREDIT).eq(lit(ONE)).and(col(attribution::VALUE).eq_missing(col(EXPECTED))));
    Ok((holding.collect()?.height(), expected.height() * MODELS.len()))
}

/// What each touch of a journey weighs; touches are times and whether nothing is known of where they came from.
fn weights(model: &str, touches: &[(i64, bool)]) -> Vec<u64> {
    let last = touches.len() - 1;
    let only = |chosen: usize| (0..touches.len()).map(|place| u64::from(place == chosen)).collect();
    match model {
        "first" => only(0),
        "last" => only(last),
        "last_non_direct" => only((0..=last).rev().find(|place| !touches[*place].1).unwrap_or(last)),
        "linear" => vec![1; touches.len()],
        // 40 %, 20 % for all between, 40 %, in fifths of the part of one between.
        "position" => (0..=last)
            .map(|place| if last < 2 || (1..last).contains(&place) { 1 } else { 2 * (last as u64 - 1) })
            .collect(),
        _ => {
            let ages = touches.iter().map(|touch| (touches[last].0 - touch.0) as f64);
            // However old, a touch that counts weighs something.
            ages.map(|age_us| ((-age_us / HALF_LIFE_US).exp2() * FULL_WEIGHT).round().max(1.0) as u64).collect()
        }
    }
}

/// An amount by weights: each but the last share rounded, halves away from zero, as long as something is left; the last
/// is what is left.
fn shares(amount: i64, weights: &[u64]) -> Vec<i64> {
    let whole: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    let (size, sign) = (i128::from(amount.unsigned_abs()), i128::from(amount.signum()));
    let last = weights.iter().rposition(|weight| *weight > 0).unwrap_or(0);
    let mut left = size;
    let shares = weights.iter().enumerate().map(|(place, weight)| {
        let share = if place == last { left } else { (2 * size * i128::from(*weight) + whole) / (2 * whole) };
        let share = if place > last || *weight == 0 { 0 } else { share.min(left) };
        left -= share;
        (sign * share) as i64
    });
    shares.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_become_shares_that_sum_to_the_whole() {
        let check = |amount: i64, weights: &[u64], expected: &[i64]| {
            assert_eq!(shares(amount, weights), expected, "{amount} {weights:?}");
        };
        check(10_000, &[1, 1, 1], &[3_333, 3_333, 3_334]);
        check(20_000, &[1, 1, 1], &[6_667, 6_667, 6_666]);
        check(-10_000, &[1, 1, 1], &[-3_333, -3_333, -3_334]);
        check(1, &[1, 1], &[1, 0]);
        check(5, &[0, 1, 0], &[0, 5, 0]);
    }

    #[test]
    fn models_weigh_as_they_are_known_to() {
        let days = |ages: &[i64]| ages.iter().map(|age| (-age * DAY_US, false)).collect::<Vec<_>>();
        let check = |model: &str, ages: &[i64], expected: &[i64]| {
            assert_eq!(shares(ONE, &weights(model, &days(ages))), expected, "{model} {ages:?}");
        };
        check("time_decay", &[14, 7, 0], &[1_429, 2_857, 5_714]);
        check("position", &[4, 3, 2, 1], &[4_000, 1_000, 1_000, 4_000]);
        check("position", &[2, 1], &[5_000, 5_000]);
        check("position", &[1], &[10_000]);
        check("first", &[2, 1], &[10_000, 0]);
        assert_eq!(weights("last_non_direct", &[(0, false), (1, true)]), [1, 0]);
        assert_eq!(weights("last_non_direct", &[(0, true), (1, true)]), [0, 1]);
    }

    #[test]
    fn a_number_is_found_by_its_path() {
        let json = r#"{"plan":{"price":"12.50"},"score":0.1,"name":"pro"}"#;
        assert_eq!(number_at(json, "plan.price"), Some(125_000));
        assert_eq!(number_at(json, "score"), Some(1_000));
        assert_eq!(number_at(json, "name"), None);
        assert_eq!(number_at(json, "plan.none"), None);
    }
}
