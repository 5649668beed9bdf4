//! Goals: the events that reach them, and the attempts that they followed.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;
use touchline_schemas::control::{ConversionValue, Goal, GoalCredit};
use touchline_schemas::event::TextField;
use touchline_schemas::money::parse_e4;
use touchline_schemas::tables::{events, message_deliveries as column};

use super::{GOAL, KEY};
use crate::frame::{DAY_US, ascending};
use crate::said::scalar_at;

const EVENT: &str = TextField::EventId.column();

/// The columns of `events` that goals are found by.
pub fn goal_columns(goals: &BTreeMap<String, Goal>) -> Vec<&'static str> {
    let mut names = vec![
        events::OCCURRED_AT,
        events::IS_BOT,
        events::REVENUE,
        TextField::EventId.column(),
        TextField::EventType.column(),
        TextField::VisitorId.column(),
        TextField::UserId.column(),
        TextField::Properties.column(),
    ];
    let fields = goals.values().filter_map(|goal| goal.condition.as_ref());
    let fields = fields.filter_map(|condition| event_column(&condition.field));
    let more: BTreeSet<&str> = fields.filter(|name| !names.contains(name)).collect();
    names.extend(more);
    names
}

fn event_column(name: &str) -> Option<&'static str> {
    TextField::ALL.into_iter().map(TextField::column).find(|known| *known == name)
}

/// The events of goals, one row for each goal that an event reaches, from rows with [`goal_columns`].
pub fn goal_events(rows: &DataFrame, goals: &BTreeMap<String, Goal>) -> PolarsResult<DataFrame> {
    let bots = rows.column(events::IS_BOT)?.bool()?;
    let types = rows.column(TextField::EventType.column())?.str()?;
    let revenues = rows.column(events::REVENUE)?.i64()?;
    let said = rows.column(TextField::Properties.column())?.str()?;
    let (mut places, mut names, mut values) = (Vec::<IdxSize>::new(), Vec::new(), Vec::new());
    for (name, goal) in goals {
        let condition = goal.condition.as_ref();
        let of_column = condition.and_then(|condition| event_column(&condition.field));
        let of_column = of_column.map(|name| rows.column(name).and_then(|column| column.str())).transpose()?;
        for row in 0..rows.height() {
            if bots.get(row) == Some(true) || types.get(row) != Some(goal.event_type.as_str()) {
                continue;
            }
            let holds = match (condition, of_column) {
                (None, _) => true,
                (Some(condition), Some(column)) => column.get(row) == Some(condition.value.as_str()),
                (Some(condition), None) => {
                    let found = said.get(row).and_then(|json| scalar_at(json, &condition.field));
                    found.as_deref() == Some(condition.value.as_str())
                }
            };
            if holds {
                places.push(row as IdxSize);
                names.push(name.clone());
                values.push(match &goal.value {
                    ConversionValue::Revenue => revenues.get(row),
                    ConversionValue::Fixed(amount) => parse_e4(amount),
                    ConversionValue::Property(path) => {
                        said.get(row).and_then(|json| scalar_at(json, path)).and_then(|text| parse_e4(&text))
                    }
                });
            }
        }
    }
    let ids = [TextField::EventId, TextField::VisitorId, TextField::UserId].map(|field| col(field.column()));
    let mut found = rows.take(&IdxCa::from_vec("places".into(), places))?;
    found.with_column(Column::new(GOAL.into(), names))?;
    found.with_column(Column::new(column::CONVERSION_VALUE.into(), values))?;
    // An event may reach several goals: what tells these rows apart is both.
    let row = concat_str([col(GOAL), col(EVENT)], "\n", false).alias("reached");
    let selected = ids.into_iter().chain([
        col(events::OCCURRED_AT).alias(column::CONVERSION_OCCURRED_AT),
        col(GOAL),
        col(column::CONVERSION_VALUE).cast(DataType::Int64),
        row,
    ]);
    found.lazy().select(selected.collect::<Vec<_>>()).collect()
}

/// The conversions of attempts and goal events, both of which have a person.
pub fn conversions(
    attempts: &DataFrame,
    reached: LazyFrame,
    goals: &BTreeMap<String, Goal>,
) -> PolarsResult<DataFrame> {
    const WINDOW: &str = "window_us";
    const LAST: &str = "last_attempt";
    const LAST_ONLY: &str = "last_only";
    let person = column::PERSON_ID;
    let names: Vec<&str> = goals.keys().map(String::as_str).collect();
    let windows: Vec<i64> = goals.values().map(|goal| i64::from(goal.window_days) * DAY_US).collect();
    let last_only: Vec<bool> = goals.values().map(|goal| goal.credit == GoalCredit::LastTouch).collect();
    let rules = df!(GOAL => names, WINDOW => windows, LAST_ONLY => last_only)?;
    let exposed = attempts
        .clone()
        .lazy()
        .filter(col(person).is_not_null().and(col(column::EXPOSED_AT).is_not_null()))
        .select([col(person), col(KEY), col(column::EXPOSED_AT)]);
    let after = || col(column::CONVERSION_OCCURRED_AT) - col(column::EXPOSED_AT);
    let pairs = reached
        .filter(col(person).is_not_null())
        .inner_join(rules.lazy(), col(GOAL), col(GOAL))
        .inner_join(exposed, col(person), col(person))
        .filter(after().gt(lit(0_i64)).and(after().lt_eq(col(WINDOW))))
        .collect()?;
    let last = pairs
        .clone()
        .lazy()
        .sort([column::EXPOSED_AT, KEY], ascending())
        .group_by_stable([col(GOAL), col(EVENT)])
        .agg([col(KEY).last().alias(LAST)]);
    let is_last = || col(KEY).eq(col(LAST));
    pairs
        .lazy()
        .join(last, [col(GOAL), col(EVENT)], [col(GOAL), col(EVENT)], JoinArgs::new(JoinType::Inner))
        .select([
            col(KEY),
            col(GOAL),
            col(EVENT).alias(column::CONVERSION_EVENT_ID),
            col(column::CONVERSION_OCCURRED_AT),
            col(column::CONVERSION_VALUE),
            is_last().alias(column::CONVERSION_IS_LAST_TOUCH),
            is_last().or(col(LAST_ONLY).not()).alias(column::CONVERSION_IS_CREDITED),
        ])
        .collect()
}
