//! Runs through sequences, their steps, and what they come to, from the events alone.
//!
//! Definition `sequences/1`. Where the first engine walks through the events of each run, here every question is asked of
//! all events at once: the first of a type, the first that says a thing, the first of a step.

use polars::prelude::*;
use touchline_schemas::event::messaging::{
    OUTCOME_EXECUTED, SEQUENCE_BRANCH, SEQUENCE_ENTERED, SEQUENCE_EXITED, SEQUENCE_STEP_DONE, SEQUENCE_STEP_DUE,
};
use touchline_schemas::event::properties;
use touchline_schemas::tables::event_sets::{self, Member};
use touchline_schemas::tables::sequence_runs::{self as column, MEMBERS};

use crate::events;
use crate::frame::{ascending, day_of};

const EVENT_TYPES: [&str; 5] =
    [SEQUENCE_ENTERED, SEQUENCE_STEP_DUE, SEQUENCE_STEP_DONE, SEQUENCE_BRANCH, SEQUENCE_EXITED];
const AT: &str = event_sets::OCCURRED_AT;
const ID: &str = event_sets::EVENT_ID;
const TYPE: &str = event_sets::EVENT_TYPE;
const STEP: &str = Member::StepId.column();
const RUN: &str = column::RUN_ID;
const SECOND_US: i64 = 1_000_000;

/// The columns of `events` that runs are made of.
pub fn event_columns() -> Vec<&'static str> {
    events::event_columns(&MEMBERS)
}

/// The events of runs among events, which have [`event_columns`] of one tenant.
pub fn of_runs(rows: &DataFrame) -> PolarsResult<DataFrame> {
    let found = events::of_types(rows, &EVENT_TYPES, &MEMBERS, properties::RUN_ID)?;
    found.lazy().filter(col(properties::RUN_ID).is_not_null()).rename([properties::RUN_ID], [RUN], true).collect()
}

fn is(event_type: &str) -> Expr {
    col(TYPE).eq(lit(event_type.to_owned()))
}

/// Of each group of `rows`, the values of the first event.
fn first(rows: LazyFrame, by: &[&str], values: &[(&str, &str)]) -> LazyFrame {
    let order: Vec<&str> = by.iter().copied().chain([AT, ID]).collect();
    let values: Vec<Expr> = values.iter().map(|(from, to)| col(*from).first().alias(*to)).collect();
    let by: Vec<Expr> = by.iter().map(|name| col(*name)).collect();
    rows.sort(order, ascending()).group_by(by).agg(values)
}

/// Adds to `rows` what `more` says of the same keys.
fn beside(rows: LazyFrame, more: LazyFrame, by: &[&str]) -> LazyFrame {
    let by: Vec<Expr> = by.iter().map(|name| col(*name)).collect();
    rows.join(more, by.clone(), by, JoinArgs::new(JoinType::Left))
}

/// The runs of [`of_runs`] without their steps, lists and person, in the columns of the table.
pub fn runs(said: &DataFrame) -> PolarsResult<DataFrame> {
    let all = || said.clone().lazy();
    let bounds = all().group_by([col(RUN)]).agg([col(AT).min().alias("first"), col(AT).max().alias("last")]);
    let (arm, propensity) = (Member::Arm.column(), Member::Propensity.column());
    let entry = [(AT, column::ENTERED_AT), (arm, column::ARM), (propensity, column::PROPENSITY)];
    let reason = Member::Reason.column();
    let exit = [(AT, column::EXITED_AT), (reason, column::EXIT_REASON), (STEP, column::EXIT_STEP_ID)];
    let mut rows = beside(bounds, first(all().filter(is(SEQUENCE_ENTERED)), &[RUN], &entry), &[RUN]);
    rows = beside(rows, first(all().filter(is(SEQUENCE_EXITED)), &[RUN], &exit), &[RUN]);
    for (member, name) in [
        (Member::SequenceId, column::SEQUENCE_ID),
        (Member::VisitorId, column::IDS[0]),
        (Member::UserId, column::IDS[1]),
        (Member::SequenceVersion, column::SEQUENCE_VERSION),
    ] {
        // Whoever says that the run was entered says it with more weight.
        let member = member.column();
        let saying = all().filter(col(member).is_not_null());
        let at_entry = first(saying.clone().filter(is(SEQUENCE_ENTERED)), &[RUN], &[(member, "at_entry")]);
        let at_all = first(saying, &[RUN], &[(member, "at_all")]);
        rows = beside(beside(rows, at_entry, &[RUN]), at_all, &[RUN])
            .with_column(coalesce(&[col("at_entry"), col("at_all")]).alias(name))
            .drop(cols(["at_entry", "at_all"]));
    }
    let goes_on = col(column::ENTERED_AT).is_not_null().and(col(column::EXITED_AT).is_null());
    rows.with_columns([
        coalesce(&[col(column::ENTERED_AT), col("first")]).alias(column::BEGAN_AT),
        when(goes_on).then(lit(column::NEVER_US)).otherwise(col("last")).alias(column::UNDER_WAY_UNTIL),
    ])
    .with_column(day_of(col(column::BEGAN_AT)).alias(column::BEGAN_DATE))
    .collect()
}

/// The columns of a run itself that are compared, by which runs are told apart first.
pub const RUN_COLUMNS: [&str; 15] = [
    column::RUN_ID,
    column::BEGAN_DATE,
    column::BEGAN_AT,
    column::UNDER_WAY_UNTIL,
    column::SEQUENCE_ID,
    column::SEQUENCE_VERSION,
    column::ARM,
    column::PROPENSITY,
    column::PERSON_ID,
    column::IDS[0],
    column::IDS[1],
    column::ENTERED_AT,
    column::EXITED_AT,
    column::EXIT_REASON,
    column::EXIT_STEP_ID,
];

/// The columns of [`events_of_runs`], by which events are told apart first.
pub const SET_COLUMNS: [&str; 20] = [
    column::RUN_ID,
    event_sets::EVENT_ID,
    column::BEGAN_DATE,
    event_sets::EVENT_TYPE,
    event_sets::OCCURRED_AT,
    event_sets::IS_BOT,
    Member::VisitorId.column(),
    Member::UserId.column(),
    Member::DeliveryId.column(),
    Member::MessageId.column(),
    Member::Channel.column(),
    Member::SequenceId.column(),
    Member::StepId.column(),
    Member::Reason.column(),
    Member::Outcome.column(),
    Member::Arm.column(),
    Member::Propensity.column(),
    Member::SequenceVersion.column(),
    Member::DueAt.column(),
    Member::SlaS.column(),
];

/// What of [`of_runs`] the lists of the runs hold, one row each.
pub fn events_of_runs(said: &DataFrame, runs: &DataFrame) -> PolarsResult<DataFrame> {
    dated(said.clone().lazy(), runs).select(SET_COLUMNS.map(col)).collect()
}

/// Rows of runs with the day of their run.
fn dated(rows: LazyFrame, runs: &DataFrame) -> LazyFrame {
    beside(rows, runs.clone().lazy().select([col(RUN), col(column::BEGAN_DATE)]), &[RUN])
}

/// The columns of [`steps`], by which they are told apart first.
pub const STEP_COLUMNS: [&str; 15] = [
    column::RUN_ID,
    column::STEPS_ID,
    column::BEGAN_DATE,
    column::STEPS_REACHED_AT,
    column::STEPS_DUE_AT,
    column::STEPS_SLA_S,
    column::STEPS_DONE_AT,
    column::STEPS_OUTCOME,
    column::STEPS_REASON,
    column::STEPS_IN_TIME,
    column::STEPS_BRANCH_ARM,
    column::STEPS_BRANCH_PROPENSITY,
    column::STEPS_CHANNEL,
    column::STEPS_MESSAGE_ID,
    column::STEPS_DELIVERY_ID,
];

/// The steps of the runs of [`of_runs`], one row each.
pub fn steps(said: &DataFrame, runs: &DataFrame) -> PolarsResult<DataFrame> {
    let keys = [RUN, STEP];
    let of = |event_type: &str| said.clone().lazy().filter(is(event_type).and(col(STEP).is_not_null()));
    let last_exit = first(said.clone().lazy().filter(is(SEQUENCE_EXITED)), &[RUN], &[(ID, ID)]);
    let where_it_ended = of(SEQUENCE_EXITED).semi_join(last_exit, col(ID), col(ID));
    let reaching = [of(SEQUENCE_STEP_DUE), of(SEQUENCE_STEP_DONE), of(SEQUENCE_BRANCH), where_it_ended];
    let reaching = concat(reaching, UnionArgs::default())?;
    let due = [
        (Member::DueAt.column(), column::STEPS_DUE_AT),
        (Member::SlaS.column(), column::STEPS_SLA_S),
        (Member::Channel.column(), "due_channel"),
    ];
    let done = [
        (AT, "done"),
        (Member::Outcome.column(), "done_outcome"),
        (Member::Reason.column(), column::STEPS_REASON),
        (Member::Channel.column(), "done_channel"),
        (Member::MessageId.column(), column::STEPS_MESSAGE_ID),
        (Member::DeliveryId.column(), column::STEPS_DELIVERY_ID),
    ];
    let branch = [
        (AT, "branched"),
        (Member::Arm.column(), column::STEPS_BRANCH_ARM),
        (Member::Propensity.column(), column::STEPS_BRANCH_PROPENSITY),
    ];
    let mut rows = reaching.group_by(keys.map(col)).agg([col(AT).min().alias(column::STEPS_REACHED_AT)]);
    rows = beside(rows, first(of(SEQUENCE_STEP_DUE), &keys, &due), &keys);
    rows = beside(rows, first(of(SEQUENCE_STEP_DONE), &keys, &done), &keys);
    rows = beside(rows, first(of(SEQUENCE_BRANCH), &keys, &branch), &keys);
    let branched_only = col("done").is_null().and(col("branched").is_not_null());
    let deadline = col(column::STEPS_DUE_AT) + col(column::STEPS_SLA_S) * lit(SECOND_US);
    let done_at = || coalesce(&[col("done"), col("branched")]);
    let in_time = when(done_at().is_not_null().and(col(column::STEPS_DUE_AT).is_not_null()))
        .then(done_at().lt_eq(deadline).fill_null(lit(true)))
        .otherwise(lit(NULL).cast(DataType::Boolean));
    let rows = rows.with_columns([
        done_at().alias(column::STEPS_DONE_AT),
        when(branched_only).then(lit(OUTCOME_EXECUTED)).otherwise(col("done_outcome")).alias(column::STEPS_OUTCOME),
        in_time.alias(column::STEPS_IN_TIME),
        coalesce(&[col("done_channel"), col("due_channel")]).alias(column::STEPS_CHANNEL),
        col(STEP).alias(column::STEPS_ID),
    ]);
    dated(rows, runs).select(STEP_COLUMNS.map(col)).collect()
}
