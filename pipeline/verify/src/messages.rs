//! Attempts to bring messages to people: events grouped by their key, once for each question; goals beside exposures of
//! the same person; and every count as a row of its own, summed up in the end.
//!
//! Definition `messages/1`.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;
use touchline_schemas::control::{ConversionValue, Goal, GoalCredit};
use touchline_schemas::event::messaging::*;
use touchline_schemas::event::{TextField, properties};
use touchline_schemas::money::parse_e4;
use touchline_schemas::tables::event_sets::{self, Member};
use touchline_schemas::tables::message_deliveries as column;
use touchline_schemas::tables::message_rollups as rollup;
use touchline_schemas::tables::{Table, events};

use crate::frame::{DAY_US, ascending, day_of, number, stack};

/// The columns of `events` that attempts are made of.
pub const EVENT_COLUMNS: [&str; 15] = [
    events::OCCURRED_AT,
    events::IS_BOT,
    TextField::EventId.column(),
    TextField::EventType.column(),
    TextField::VisitorId.column(),
    TextField::UserId.column(),
    TextField::DeliveryId.column(),
    TextField::MessageId.column(),
    TextField::Variant.column(),
    TextField::Channel.column(),
    TextField::RuleName.column(),
    TextField::SequenceId.column(),
    TextField::StepId.column(),
    TextField::Currency.column(),
    TextField::Properties.column(),
];

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
const RANK: &str = "rank";
const COUNT: &str = "count";
const METRIC: &str = "metric";
const AMOUNT: &str = "amount";
const IS_ALLOWED: &str = "is_allowed";
const EVENT: &str = "event_id";
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

/// The lists of a set, in their order.
pub fn set_columns() -> Vec<&'static str> {
    [ID, TYPE, AT, BOT].into_iter().chain(column::MEMBERS.map(Member::column)).collect()
}

/// The events of attempts, one row each, with the key of their attempt, from rows with [`EVENT_COLUMNS`].
pub fn facts(rows: &DataFrame) -> PolarsResult<DataFrame> {
    let types = rows.column(TextField::EventType.column())?.str()?;
    let is_ours: BooleanChunked =
        types.iter().map(|event_type| Some(event_type.is_some_and(|known| TYPES.contains(&known)))).collect();
    let rows = rows.filter(&is_ours)?;
    let text = |field: TextField| rows.column(field.column()).and_then(|column| column.str());
    let (ids, types, deliveries) =
        (text(TextField::EventId)?, text(TextField::EventType)?, text(TextField::DeliveryId)?);
    let said: Vec<Said> = text(TextField::Properties)?.iter().map(Said::read).collect();
    let keys = (0..rows.height()).map(|row| {
        let is_decision = types.get(row) == Some(DECISION);
        let outcome = said[row].outcome.as_deref();
        if is_decision && !["allow", "suppress", "holdout"].iter().any(|known| outcome == Some(*known)) {
            return None;
        }
        let decision = if is_decision { ids.get(row) } else { said[row].decision_id.as_deref() };
        Some(match (deliveries.get(row), decision) {
            (Some(delivery), _) => format!("d:{delivery}"),
            (None, Some(decision)) => format!("x:{decision}"),
            (None, None) => format!("e:{}", ids.get(row).unwrap_or_default()),
        })
    });
    let keys: StringChunked = keys.collect();
    let texts = |of: fn(&Said) -> Option<&str>| said.iter().map(of).collect::<StringChunked>();
    let costs: Int64Chunked = said.iter().map(|said| said.cost_e4).collect();
    let mut named = vec![
        keys.with_name(KEY.into()).into_column(),
        texts(|said| said.system.as_deref()).with_name(Member::System.column().into()).into_column(),
        texts(|said| said.reason.as_deref()).with_name(Member::Reason.column().into()).into_column(),
        texts(|said| said.element.as_deref()).with_name(Member::Element.column().into()).into_column(),
        texts(|said| said.outcome.as_deref()).with_name(Member::Outcome.column().into()).into_column(),
        costs.with_name(Member::Cost.column().into()).into_column(),
    ];
    for (from, to) in [
        (TextField::EventId, ID),
        (TextField::EventType, TYPE),
        (TextField::VisitorId, Member::VisitorId.column()),
        (TextField::UserId, Member::UserId.column()),
        (TextField::DeliveryId, Member::DeliveryId.column()),
        (TextField::MessageId, Member::MessageId.column()),
        (TextField::Variant, Member::Variant.column()),
        (TextField::Channel, Member::Channel.column()),
        (TextField::RuleName, Member::RuleName.column()),
        (TextField::SequenceId, Member::SequenceId.column()),
        (TextField::StepId, Member::StepId.column()),
        (TextField::Currency, Member::Currency.column()),
    ] {
        named.push(rows.column(from.column())?.clone().with_name(to.into()));
    }
    named.push(rows.column(events::OCCURRED_AT)?.clone().with_name(AT.into()));
    let bots = rows.column(events::IS_BOT)?.bool()?.fill_null_with_values(false)?;
    named.push(bots.with_name(BOT.into()).into_column());
    let mut order = vec![KEY];
    order.extend(set_columns());
    DataFrame::new(rows.height(), named)?.select(order)?.lazy().filter(col(KEY).is_not_null()).collect()
}

/// What properties say.
#[derive(Debug, Default)]
struct Said {
    system: Option<String>,
    reason: Option<String>,
    element: Option<String>,
    outcome: Option<String>,
    decision_id: Option<String>,
    cost_e4: Option<i64>,
}

impl Said {
    fn read(json: Option<&str>) -> Self {
        let Some(Ok(Value::Object(members))) = json.map(serde_json::from_str::<Value>) else { return Self::default() };
        let text = |name: &str| {
            let text = members.get(name)?.as_str()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let cost = members.get(properties::COST).and_then(|cost| match cost {
            Value::String(text) => parse_e4(text.trim()),
            Value::Number(number) => parse_e4(&number.to_string()),
            _ => None,
        });
        Self {
            system: text(properties::SYSTEM).filter(|system| SYSTEMS.contains(&system.as_str())),
            reason: text(properties::REASON),
            element: text(properties::ELEMENT),
            outcome: text(properties::OUTCOME),
            decision_id: text(properties::DECISION_ID),
            cost_e4: cost.filter(|cost| *cost >= 0),
        }
    }
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

/// The text, or the digits of the number or truth value, at a path of members joined by dots.
fn scalar_at(json: &str, path: &str) -> Option<String> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).ok()?;
    let (member, rest) = path.split_once('.').map_or((path, None), |(member, rest)| (member, Some(rest)));
    let found = members.get(member)?.get();
    if let Some(rest) = rest {
        return scalar_at(found, rest);
    }
    match serde_json::from_str::<Value>(found).ok()? {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(found.to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
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
fn all_things(
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
fn in_calendars(things: &DataFrame, attempts: &DataFrame) -> PolarsResult<DataFrame> {
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
