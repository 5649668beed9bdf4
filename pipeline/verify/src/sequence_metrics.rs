//! What runs come to by day, from runs and their steps.
//!
//! Definition `sequences/1`. Every number is a sum over *facts*: rows that say 1 of one thing on one day. Quartiles come
//! from moving the share of those who were last seen waiting to those who waited longer (Efron's way to Kaplan and Meier's
//! estimate), and who is under way on a day is counted day by day.

use std::collections::{BTreeMap, HashMap};

use polars::prelude::*;
use touchline_schemas::event::messaging::{
    EXIT_REASONS, OUTCOME_EXECUTED, OUTCOME_SUPPRESSED, STEP_OUTCOMES, SUPPRESSION_REASONS,
};
use touchline_schemas::tables::sequence_metrics::{self as column, KEY};
use touchline_schemas::tables::sequence_runs as run;

use crate::frame::{DAY_US, ascending, day_of, number};

const SECOND_US: i64 = 1_000_000;
/// The shares of the quartiles.
const QUARTERS: [f64; 3] = [0.25, 0.5, 0.75];
/// A share is reached up to this rounding.
const ROUNDING: f64 = 1e-9;

/// The columns that are compared, by which rows are told apart first. The instant at which a day begins follows from it.
pub fn columns() -> Vec<String> {
    let mut names: Vec<String> = KEY.map(str::to_owned).to_vec();
    names.extend(counts());
    names.extend(times().map(str::to_owned));
    names.push(column::FAILED_CHECKS.to_owned());
    names
}

/// The columns that are sums over facts.
fn counts() -> Vec<String> {
    let mut names = [column::ENTRIES, column::UNIQUE_ENTRANTS, column::ORPHANS, column::ACTIVE, column::EXITS]
        .map(str::to_owned)
        .to_vec();
    names.extend(column::exits_by_reason());
    names.extend([column::REACHED, column::ADVANCED].map(str::to_owned));
    names.extend(column::steps_by_outcome().chain(column::suppressed_by_reason()));
    names.extend([column::DUE, column::IN_TIME, column::OVERDUE].map(str::to_owned));
    names
}

fn times() -> impl Iterator<Item = &'static str> {
    column::TIME_TO_STEP.into_iter().chain(column::TIME_IN_STEP)
}

/// What a fact counts: columns, and when they count.
type Counted = Vec<(String, Expr)>;

fn one(name: &str) -> Counted {
    vec![(name.to_owned(), lit(true))]
}

/// A column for each word that `said` may be.
fn by_word(said: &str, names: impl Iterator<Item = String>, words: &[&str]) -> Counted {
    names.zip(words).map(|(name, word)| (name, col(said).eq_missing(lit((*word).to_owned())))).collect()
}

fn exit() -> Counted {
    [one(column::EXITS), by_word(run::EXIT_REASON, column::exits_by_reason(), &EXIT_REASONS)].concat()
}

fn done() -> Counted {
    let outcome = || col(run::STEPS_OUTCOME);
    let suppressed = outcome().eq_missing(lit(OUTCOME_SUPPRESSED));
    let reason = col(run::STEPS_REASON);
    let known =
        SUPPRESSION_REASONS.into_iter().fold(lit(false), |any, word| any.or(reason.clone().eq_missing(lit(word))));
    let named = column::suppressed_by_reason()
        .zip(SUPPRESSION_REASONS)
        .map(|(name, word)| (name, suppressed.clone().and(reason.clone().eq_missing(lit(word)))));
    let mut counted = one(column::ADVANCED);
    counted.extend(by_word(run::STEPS_OUTCOME, column::steps_by_outcome(), &STEP_OUTCOMES));
    counted.extend(named);
    counted.extend(column::suppressed_by_reason().last().map(|other| (other, suppressed.clone().and(known.not()))));
    counted
}

const LEFT_AT: &str = "left_at";
const ENDED_AT: &str = "ended_at";
const SETTLED_AT: &str = "settled_at";

/// Runs and steps with what facts look at; each row is a run, or a step of one.
struct Seen {
    runs: LazyFrame,
    orphans: LazyFrame,
    steps: LazyFrame,
    as_of_us: i64,
}

impl Seen {
    fn new(runs: &DataFrame, steps: &DataFrame, as_of_us: i64) -> PolarsResult<Self> {
        let of_run = [
            run::RUN_ID,
            run::SEQUENCE_ID,
            run::SEQUENCE_VERSION,
            run::ARM,
            run::BEGAN_AT,
            run::ENTERED_AT,
            run::EXITED_AT,
            run::EXIT_REASON,
            run::PERSON_ID,
        ];
        let runs = runs.clone().lazy().select(of_run.map(col)).with_columns([
            lit(NULL).cast(DataType::String).alias(column::STEP_ID),
            lit(NULL).cast(DataType::String).alias(column::CHANNEL),
        ]);
        let is_orphan = || col(run::ENTERED_AT).is_null();
        let entered = runs.clone().filter(is_orphan().not()).collect()?.lazy();
        let named = [col(run::STEPS_ID).alias(column::STEP_ID), col(run::STEPS_CHANNEL).alias(column::CHANNEL)];
        let (exited, reached, done) =
            (|| col(run::EXITED_AT), || col(run::STEPS_REACHED_AT), || col(run::STEPS_DONE_AT));
        let without_step = entered.clone().select(of_run.map(col));
        let steps =
            steps.clone().lazy().with_columns(named).inner_join(without_step, col(run::RUN_ID), col(run::RUN_ID));
        let later = |a: Expr, b: Expr| when(a.clone().gt(b.clone())).then(a).otherwise(b);
        let left = coalesce(&[when(exited().lt(done())).then(exited()).otherwise(done()), exited()]);
        let due = || col(run::STEPS_DUE_AT);
        let deadline = || due() + col(run::STEPS_SLA_S) * number(SECOND_US);
        let missed = done().is_null().and(deadline().lt(coalesce(&[exited(), number(as_of_us)])));
        let settled = when(done().is_not_null().and(due().is_not_null()))
            .then(done())
            .otherwise(when(missed).then(deadline()).otherwise(lit(NULL)));
        let steps = steps
            .with_columns([
                when(left.clone().is_not_null()).then(later(left, reached())).otherwise(lit(NULL)).alias(LEFT_AT),
                when(exited().is_not_null()).then(later(exited(), reached())).otherwise(lit(NULL)).alias(ENDED_AT),
                settled.alias(SETTLED_AT),
            ])
            .collect()?
            .lazy();
        let entered = entered.with_column(
            when(exited().is_not_null())
                .then(later(exited(), col(run::ENTERED_AT)))
                .otherwise(lit(NULL))
                .alias(ENDED_AT),
        );
        Ok(Self { runs: entered, orphans: runs.filter(is_orphan()), steps, as_of_us })
    }
}

/// Facts in a calendar, on the day of an instant.
fn facts(rows: LazyFrame, calendar: &str, at: &str, counted: Counted) -> LazyFrame {
    let mut selected = key(calendar, day_of(col(at)));
    for name in counts() {
        let holds = counted.iter().find(|(counted, _)| *counted == name).map(|(_, holds)| holds.clone());
        let holds = holds.unwrap_or(lit(false)).fill_null(lit(false));
        selected.push(when(holds).then(number(1)).otherwise(number(0)).alias(name));
    }
    selected.extend(times().map(|name| number(0).alias(name)));
    let mut rows = rows.filter(col(at).is_not_null()).select(selected);
    // Times are no sums: of facts they are nothing.
    for name in times() {
        rows = rows.with_column(lit(NULL).cast(DataType::Int64).alias(name));
    }
    rows
}

fn key(calendar: &str, day: Expr) -> Vec<Expr> {
    vec![
        day.alias(column::METRIC_DATE),
        lit(calendar.to_owned()).alias(column::CALENDAR),
        col(column::SEQUENCE_ID),
        col(column::SEQUENCE_VERSION),
        col(column::STEP_ID),
        col(column::ARM),
        col(column::CHANNEL),
    ]
}

/// The metrics of runs and their steps, as of an instant.
pub fn metrics(runs: &DataFrame, steps: &DataFrame, as_of_us: i64) -> PolarsResult<DataFrame> {
    let seen = Seen::new(runs, steps, as_of_us)?;
    let (cohort, event) = (column::CALENDAR_COHORT, column::CALENDAR_EVENT);
    let (is_done, has_exited) = (|| col(run::STEPS_DONE_AT).is_not_null(), || col(run::EXITED_AT).is_not_null());
    let (of_runs, of_steps) = (|| seen.runs.clone(), || seen.steps.clone());
    let settled = || {
        let executed = col(run::STEPS_OUTCOME).eq_missing(lit(OUTCOME_EXECUTED));
        let in_time = is_done().and(executed).and(col(run::STEPS_IN_TIME).fill_null(lit(false)));
        [one(column::DUE), vec![(column::IN_TIME.to_owned(), in_time), (column::OVERDUE.to_owned(), is_done().not())]]
            .concat()
    };
    let people = of_runs()
        .filter(col(run::PERSON_ID).is_not_null())
        .with_column(day_of(col(run::ENTERED_AT)).alias("entered_day"))
        .group_by([
            col(column::SEQUENCE_ID),
            col(column::SEQUENCE_VERSION),
            col(column::STEP_ID),
            col(column::ARM),
            col(column::CHANNEL),
            col("entered_day"),
            col(run::PERSON_ID),
        ])
        .agg([col(run::ENTERED_AT).min()]);
    let mut all = Vec::new();
    for calendar in [cohort, event] {
        all.push(facts(seen.orphans.clone(), calendar, run::BEGAN_AT, one(column::ORPHANS)));
        all.push(facts(of_runs(), calendar, run::ENTERED_AT, one(column::ENTRIES)));
        all.push(facts(people.clone(), calendar, run::ENTERED_AT, one(column::UNIQUE_ENTRANTS)));
    }
    let (stays, ends) = (|| is_done().not().and(has_exited().not()), || is_done().not().and(has_exited()));
    all.extend([
        facts(of_runs().filter(has_exited()), cohort, run::ENTERED_AT, exit()),
        facts(of_runs().filter(has_exited().not()), cohort, run::ENTERED_AT, one(column::ACTIVE)),
        facts(of_steps(), cohort, run::ENTERED_AT, one(column::REACHED)),
        facts(of_steps().filter(is_done()), cohort, run::ENTERED_AT, done()),
        facts(of_steps().filter(ends()), cohort, run::ENTERED_AT, exit()),
        facts(of_steps().filter(stays()), cohort, run::ENTERED_AT, one(column::ACTIVE)),
        facts(of_steps().filter(col(SETTLED_AT).is_not_null()), cohort, run::ENTERED_AT, settled()),
        facts(of_runs().filter(has_exited()), event, ENDED_AT, exit()),
        facts(of_steps(), event, run::STEPS_REACHED_AT, one(column::REACHED)),
        facts(of_steps(), event, run::STEPS_DONE_AT, done()),
        facts(of_steps().filter(ends()), event, ENDED_AT, exit()),
        facts(of_steps(), event, SETTLED_AT, settled()),
        // Whoever leaves a step makes a row, even where nothing else counts there.
        facts(of_steps(), event, LEFT_AT, Counted::new()),
    ]);
    let all = concat(all, UnionArgs::default())?.collect()?;
    let (active, times_s) = (seen.under_way(&all)?, seen.quartiles()?);
    let rows = [all, active, times_s].map(IntoLazy::lazy);
    let sums = counts().into_iter().map(|name| col(name).sum());
    let sums: Vec<Expr> = sums.chain(times().map(|name| col(name).max())).collect();
    let rows = concat(rows, UnionArgs::default())?.group_by(KEY.map(col)).agg(sums);
    rows.with_column(failed_checks()).select(columns().iter().map(col).collect::<Vec<_>>()).collect()
}

/// How many more runs were entered than ended, and how many are under way by the last row of each group.
pub fn conserved(stored: &DataFrame) -> PolarsResult<(i64, i64)> {
    let of_runs = col(column::CALENDAR).eq(lit(column::CALENDAR_EVENT)).and(col(column::STEP_ID).is_null());
    let rows = stored.clone().lazy().filter(of_runs).sort([column::METRIC_DATE], ascending());
    let difference = rows.clone().select([col(column::ENTRIES).sum() - col(column::EXITS).sum()]).collect()?;
    let group = [column::SEQUENCE_ID, column::SEQUENCE_VERSION, column::ARM].map(col);
    let last = rows.group_by(group).agg([col(column::ACTIVE).last()]);
    let active = last.select([col(column::ACTIVE).sum()]).collect()?;
    let first = |frame: &DataFrame| frame.columns()[0].i64().map(|numbers| numbers.get(0).unwrap_or(0));
    Ok((first(&difference)?, first(&active)?))
}

fn failed_checks() -> Expr {
    let sum = |names: Vec<String>| names.into_iter().fold(number(0), |sum, name| sum + col(name));
    let (by_reason, by_outcome) = (sum(column::exits_by_reason().collect()), sum(column::steps_by_outcome().collect()));
    let of_runs = || col(column::CALENDAR).eq(lit(column::CALENDAR_COHORT)).and(col(column::STEP_ID).is_null());
    let of_steps = || col(column::CALENDAR).eq(lit(column::CALENDAR_COHORT)).and(col(column::STEP_ID).is_not_null());
    let active = || col(column::ACTIVE);
    let checks = [
        ("entries = active + exits", of_runs().and(col(column::ENTRIES).neq(active() + by_reason.clone()))),
        (
            "reached = advanced + active + exits",
            of_steps().and(col(column::REACHED).neq(by_outcome.clone() + active() + by_reason.clone())),
        ),
        ("exits = exits by reason", col(column::EXITS).neq(by_reason)),
        ("advanced = steps by outcome", col(column::ADVANCED).neq(by_outcome)),
        ("in_time + overdue <= due", (col(column::IN_TIME) + col(column::OVERDUE)).gt(col(column::DUE))),
        ("unique_entrants <= entries", col(column::UNIQUE_ENTRANTS).gt(col(column::ENTRIES))),
        ("active >= 0", active().lt(number(0))),
    ];
    let words = checks.map(|(name, fails)| when(fails).then(lit(name)).otherwise(lit(NULL).cast(DataType::String)));
    let said = concat_str(words, ", ", true);
    when(said.clone().eq(lit(""))).then(lit(NULL).cast(DataType::String)).otherwise(said).alias(column::FAILED_CHECKS)
}

/// The texts and the version that tell groups apart.
type Group = (Option<String>, Option<i64>, Option<String>, Option<String>, Option<String>);

/// One run or step, as far as time goes.
struct Span {
    run_id: String,
    group: Group,
    entered_us: i64,
    from_us: i64,
    to_us: Option<i64>,
    exited_us: Option<i64>,
}

fn groups(rows: &DataFrame) -> PolarsResult<Vec<Group>> {
    let text = |name: &str| rows.column(name).and_then(|column| column.str().cloned());
    let versions = rows.column(column::SEQUENCE_VERSION)?.i64()?;
    let (sequences, steps, arms, channels) =
        (text(column::SEQUENCE_ID)?, text(column::STEP_ID)?, text(column::ARM)?, text(column::CHANNEL)?);
    let own = |texts: &StringChunked, row| texts.get(row).map(str::to_owned);
    let group = |row| (own(&sequences, row), versions.get(row), own(&steps, row), own(&arms, row), own(&channels, row));
    Ok((0..rows.height()).map(group).collect())
}

fn spans(rows: &DataFrame, from: &str, to: &str) -> PolarsResult<Vec<Span>> {
    let whole = |name: &str| rows.column(name).and_then(|column| column.i64().cloned());
    let run_ids = rows.column(run::RUN_ID)?.str()?;
    let (entered, exited, from, to) = (whole(run::ENTERED_AT)?, whole(run::EXITED_AT)?, whole(from)?, whole(to)?);
    let spans = groups(rows)?.into_iter().enumerate().map(|(row, group)| Span {
        run_id: run_ids.get(row).unwrap_or_default().to_owned(),
        group,
        entered_us: entered.get(row).unwrap_or_default(),
        from_us: from.get(row).unwrap_or_default(),
        to_us: to.get(row),
        exited_us: exited.get(row),
    });
    Ok(spans.collect())
}

/// Rows of a calendar that say one number, or several times, of a group and a day.
fn said(
    calendar: &str,
    rows: Vec<(Group, i64)>,
    active: Vec<i64>,
    times_s: Vec<[Option<i64>; 6]>,
) -> PolarsResult<DataFrame> {
    let texts = |of: fn(&Group) -> &Option<String>| {
        rows.iter().map(|(group, _)| of(group).as_deref()).collect::<StringChunked>()
    };
    let mut columns = vec![
        rows.iter()
            .map(|(_, day)| Some(*day))
            .collect::<Int64Chunked>()
            .with_name(column::METRIC_DATE.into())
            .into_column(),
        StringChunked::full(column::CALENDAR.into(), calendar, rows.len()).into_column(),
        texts(|group| &group.0).with_name(column::SEQUENCE_ID.into()).into_column(),
        rows.iter()
            .map(|(group, _)| group.1)
            .collect::<Int64Chunked>()
            .with_name(column::SEQUENCE_VERSION.into())
            .into_column(),
        texts(|group| &group.2).with_name(column::STEP_ID.into()).into_column(),
        texts(|group| &group.3).with_name(column::ARM.into()).into_column(),
        texts(|group| &group.4).with_name(column::CHANNEL.into()).into_column(),
    ];
    for name in counts() {
        let is_active = name == column::ACTIVE;
        let values = (0..rows.len()).map(|row| Some(active.get(row).copied().filter(|_| is_active).unwrap_or(0)));
        columns.push(values.collect::<Int64Chunked>().with_name(name.into()).into_column());
    }
    for (place, name) in times().enumerate() {
        let values = (0..rows.len()).map(|row| times_s.get(row).and_then(|times| times[place]));
        columns.push(values.collect::<Int64Chunked>().with_name(name.into()).into_column());
    }
    DataFrame::new(rows.len(), columns)
}

impl Seen {
    /// Who is under way at the end of each day on which something happened.
    fn under_way(&self, facts: &DataFrame) -> PolarsResult<DataFrame> {
        let runs = spans(&self.runs.clone().collect()?, run::ENTERED_AT, ENDED_AT)?;
        let steps = spans(&self.steps.clone().collect()?, run::STEPS_REACHED_AT, LEFT_AT)?;
        let mut of_group: HashMap<Group, Vec<(i64, Option<i64>)>> = HashMap::new();
        for span in runs.into_iter().chain(steps) {
            let days = (span.from_us.div_euclid(DAY_US), span.to_us.map(|to_us| to_us.div_euclid(DAY_US)));
            of_group.entry(span.group).or_default().push(days);
        }
        let happened = facts.clone().lazy().filter(col(column::CALENDAR).eq(lit(column::CALENDAR_EVENT)));
        let happened = happened.group_by(KEY.map(col)).agg([col(column::ENTRIES).sum()]).collect()?;
        let days = happened.column(column::METRIC_DATE)?.i64()?.clone();
        let rows: Vec<(Group, i64)> = groups(&happened)?.into_iter().zip(days.iter().flatten()).collect();
        let active = rows.iter().map(|(group, day)| {
            let goes_on = |(from, to): &&(i64, Option<i64>)| from <= day && to.is_none_or(|to| to > *day);
            of_group.get(group).map_or(0, |spans| spans.iter().filter(goes_on).count() as i64)
        });
        let active = active.collect();
        said(column::CALENDAR_EVENT, rows, active, Vec::new())
    }

    /// How long it took to the steps and in them.
    fn quartiles(&self) -> PolarsResult<DataFrame> {
        let runs = spans(&self.runs.clone().collect()?, run::ENTERED_AT, ENDED_AT)?;
        let steps = spans(&self.steps.clone().collect()?, run::STEPS_REACHED_AT, LEFT_AT)?;
        let mut of_day: HashMap<(Group, i64), Vec<&Span>> = HashMap::new();
        for run in &runs {
            of_day.entry((run.group.clone(), run.entered_us.div_euclid(DAY_US))).or_default().push(run);
        }
        let mut in_step: BTreeMap<(Group, i64), Vec<&Span>> = BTreeMap::new();
        for step in &steps {
            in_step.entry((step.group.clone(), step.entered_us.div_euclid(DAY_US))).or_default().push(step);
        }
        let until = |from_us: i64, to_us: Option<i64>| (to_us.unwrap_or(self.as_of_us) - from_us).max(0);
        let (mut rows, mut times_s) = (Vec::new(), Vec::new());
        for ((group, day), steps) in in_step {
            let whole = (group.0.clone(), group.1, None, group.3.clone(), None);
            let reached: HashMap<&str, &Span> = steps.iter().map(|step| (step.run_id.as_str(), *step)).collect();
            let runs = of_day.get(&(whole, day)).map(Vec::as_slice).unwrap_or_default();
            let to_step = runs.iter().map(|run| match reached.get(run.run_id.as_str()) {
                Some(step) => (until(run.entered_us, Some(step.from_us)), true),
                None => (until(run.entered_us, run.exited_us), false),
            });
            let in_step = steps.iter().map(|step| (until(step.from_us, step.to_us), step.to_us.is_some()));
            let (to_step, in_step) = (quartiles(to_step.collect()), quartiles(in_step.collect()));
            let mut all = [None; 6];
            for (place, time_us) in to_step.into_iter().chain(in_step).enumerate() {
                all[place] = time_us.map(|time_us| time_us / SECOND_US);
            }
            times_s.push(all);
            rows.push((group, day));
        }
        said(column::CALENDAR_COHORT, rows, Vec::new(), times_s)
    }
}

/// The times by which a quarter, half and three quarters have come; of the others, who have waited so long when they were
/// last seen, the share goes in equal parts to those who were seen longer.
fn quartiles(mut waited: Vec<(i64, bool)>) -> [Option<i64>; 3] {
    // Who comes at a time comes before those who were last seen at it.
    waited.sort_unstable_by_key(|(time_us, has_come)| (*time_us, !has_come));
    let mut share = 1.0 / waited.len() as f64;
    let mut come = 0.0;
    let mut found = [None; 3];
    for (place, (time_us, has_come)) in waited.iter().enumerate() {
        if *has_come {
            come += share;
            for (quartile, part) in found.iter_mut().zip(QUARTERS) {
                if come >= part - ROUNDING {
                    quartile.get_or_insert(*time_us);
                }
            }
        } else {
            let longer = waited.len() - place - 1;
            share += if longer > 0 { share / longer as f64 } else { 0.0 };
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_those_last_seen_waiting_go_to_the_others() {
        let check = |waited: &[(i64, bool)], expected: [Option<i64>; 3]| {
            assert_eq!(quartiles(waited.to_vec()), expected, "{waited:?}");
        };
        check(&[(1, true), (2, true), (3, true), (4, true)], [Some(1), Some(2), Some(3)]);
        check(&[(4, true), (1, false), (2, true), (3, false)], [Some(2), Some(4), Some(4)]);
        check(&[(1, false), (2, false)], [None; 3]);
        check(&[(5, true), (5, false), (9, false)], [Some(5), None, None]);
        check(&[], [None; 3]);
    }
}
