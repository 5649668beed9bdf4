//! Runs and metrics as they follow from events, told in lines: id, minute, type, and what else it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;
use touchline_schemas::event::messaging::{EXIT_REASONS, STEP_OUTCOMES};
use touchline_schemas::tables::event_sets::{self, Member, MemberKind};
use touchline_schemas::tables::sequence_metrics as metric;
use touchline_schemas::tables::sequence_runs as column;

use super::*;
use crate::days::DayNumber;
use crate::event_sets::{EventSets, SortedSets, list_of};
use crate::identities::People;

const MINUTE_US: i64 = 60_000_000;
const DAY_MIN: i64 = 24 * 60;

/// What a line says of a member.
fn said<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// A stored row whose set is one event. Runs are `r1` of `welcome`, version 1, unless a line says otherwise.
fn row(line: &str) -> RecordBatch {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap();
    let (id, minute, event_type) = (next(), next().parse::<i64>().unwrap(), next());
    let event_type = match event_type {
        "due" | "done" => format!("$sequence_step_{event_type}"),
        other => format!("$sequence_{other}"),
    };
    let minutes = |name: &str| said(line, name).map(|minute| minute.parse::<i64>().unwrap() * MINUTE_US);
    let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let instant =
        |at_us: Option<i64>| Arc::new(TimestampMicrosecondArray::from(vec![at_us]).with_timezone("UTC")) as ArrayRef;
    let mut columns = vec![
        (column::RUN_ID, text(Some(said(line, "r").unwrap_or("r1"))), false),
        (event_sets::EVENT_ID, text(Some(id)), true),
        (event_sets::EVENT_TYPE, text(Some(&event_type)), true),
        (event_sets::OCCURRED_AT, instant(Some(minute * MINUTE_US)), true),
        (event_sets::IS_BOT, Arc::new(BooleanArray::from(vec![false])) as ArrayRef, true),
    ];
    for member in column::MEMBERS {
        let name = member.column().trim_start_matches("events_").trim_end_matches("_id");
        let values = match (member, member.kind()) {
            (Member::SequenceId, _) => text(Some(said(line, "sequence").unwrap_or("welcome"))),
            (Member::SequenceVersion, _) => {
                let version = said(line, "v").unwrap_or("1");
                Arc::new(Int64Array::from(vec![version.parse::<i64>().ok()]))
            }
            (_, MemberKind::Text) => text(said(line, name)),
            (_, MemberKind::Instant) => instant(minutes("due")),
            (_, MemberKind::Fraction) => {
                Arc::new(Float64Array::from(vec![said(line, "p").map(|p| p.parse::<f64>().unwrap())]))
            }
            (_, MemberKind::Whole | MemberKind::Money) => {
                Arc::new(Int64Array::from(vec![said(line, name).map(|number| number.parse::<i64>().unwrap())]))
            }
        };
        columns.push((member.column(), values, true));
    }
    let columns: Vec<(&str, ArrayRef)> = columns
        .into_iter()
        .map(|(name, values, is_list)| (name, if is_list { list_of(values, &[1]).unwrap() } else { values }))
        .collect();
    let fields: Vec<Field> =
        columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect();
    let values = columns.into_iter().map(|(_, values)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).unwrap()
}

fn sets<'a>(lines: impl IntoIterator<Item = &'a str>) -> SortedSets {
    let mut sets = EventSets::default();
    lines.into_iter().for_each(|line| sets.push_rows(&row(line), column::RUN_ID, false).unwrap());
    sets.finish()
}

fn minute(at_us: i64) -> String {
    if at_us % MINUTE_US == 0 { (at_us / MINUTE_US).to_string() } else { format!("{at_us}us") }
}

/// A run in one line, and each of its steps in another.
fn story(run: &Run<'_>) -> Vec<String> {
    let opt = |at_us: Option<i64>| at_us.map_or("-".to_owned(), minute);
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let mut lines = vec![format!(
        "{} {}/{} arm={} began={} entered={} exited={} {} in {}",
        run.run_id,
        text(run.sequence_id),
        run.sequence_version.map_or("-".to_owned(), |version| version.to_string()),
        text(run.arm),
        minute(run.began_at_us),
        opt(run.entered_at_us),
        opt(run.exited_at_us),
        text(run.exit_reason),
        text(run.exit_step_id),
    )];
    lines.extend(run.steps.iter().map(|step| {
        let in_time = step.in_time().map_or("", |in_time| if in_time { " in time" } else { " late" });
        format!(
            "  {} reached={} due={} done={} {}{in_time}",
            step.step_id,
            minute(step.reached_at_us),
            opt(step.due_at_us),
            opt(step.done_at_us),
            text(step.outcome),
        )
    }));
    lines
}

#[track_caller]
fn check(lines: &[&str], expected: &[&str]) {
    let sets = sets(lines.iter().copied());
    let found: Vec<String> = sets.iter().filter_map(Run::of).flat_map(|run| story(&run)).collect();
    assert_eq!(found, expected);
}

/// The rows of metrics, with what is in them and not 0. Groups stand in front: sequence/version/step/arm/channel.
fn rows_of(rows: &[MetricRow]) -> Vec<String> {
    let batch = metrics_batch(rows).unwrap();
    let options = FormatOptions::default().with_null("-");
    let cells: Vec<_> =
        batch.columns().iter().map(|values| ArrayFormatter::try_new(values.as_ref(), &options).unwrap()).collect();
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            let group: Vec<String> = (2..7).map(|place| cells[place].value(row).to_string()).collect();
            let numbers = (7..cells.len()).filter_map(|place| {
                let value = cells[place].value(row).to_string();
                (value != "0" && value != "-").then(|| format!(" {}={value}", schema.field(place).name()))
            });
            let numbers: String = numbers.collect();
            format!("{} {} {}:{numbers}", rows[row].calendar, rows[row].day, group.join("/"))
        })
        .collect()
}

fn metrics_of(sets: &SortedSets, scope: Scope) -> Vec<MetricRow> {
    let batch = runs_batch(sets, &People::default()).unwrap();
    let stored = StoredRuns::read(&batch).unwrap();
    let mut metrics = Metrics::new(scope);
    stored.iter().for_each(|(run, person)| metrics.add(&run, person));
    metrics.finish()
}

#[track_caller]
fn check_metrics(as_of_min: i64, lines: &[&str], expected: &[&str]) {
    let rows = metrics_of(&sets(lines.iter().copied()), Scope::all(as_of_min * MINUTE_US));
    assert_eq!(rows_of(&rows), expected);
}

#[test]
fn a_run_is_told_by_its_events() {
    check(
        &[
            "e1 0 entered arm=t p=0.9 user=ada",
            "e2 1 due step=wait due=61 sla_s=300",
            "e3 62 done step=wait outcome=executed",
            "e4 62 due step=mail due=62 sla_s=60",
            "e5 70 done step=mail outcome=executed",
            "e6 70 exited reason=completed",
        ],
        &[
            "r1 welcome/1 arm=t began=0 entered=0 exited=70 completed in -",
            "  wait reached=1 due=61 done=62 executed in time",
            "  mail reached=62 due=62 done=70 executed late",
        ],
    );
}

#[test]
fn the_order_of_arrival_and_copies_change_nothing() {
    let lines = ["e3 9 exited reason=goal_met", "e2 5 due step=a due=5", "e1 0 entered arm=t", "e2 5 due step=a due=5"];
    let expected = ["r1 welcome/1 arm=t began=0 entered=0 exited=9 goal_met in -", "  a reached=5 due=5 done=- -"];
    check(&lines, &expected);
    check(&[lines[2], lines[0], lines[1]], &expected);
}

#[test]
fn of_what_is_said_twice_the_earliest_holds() {
    check(
        &[
            "e1 0 entered arm=t",
            "e0 1 entered arm=c v=2",
            "e5 3 done step=a outcome=executed",
            "e4 3 done step=a outcome=failed reason=provider_timeout",
            "e6 2 due step=a due=9",
            "e7 1 due step=a due=3",
            "e9 8 exited reason=timeout step=b",
            "e8 7 exited reason=completed",
        ],
        &["r1 welcome/1 arm=t began=0 entered=0 exited=7 completed in -", "  a reached=1 due=3 done=3 failed in time"],
    );
}

#[test]
fn what_is_done_was_reached_and_a_branch_is_the_doing_of_its_step() {
    check(
        &[
            "e1 0 entered arm=t",
            "e2 4 done step=a outcome=skipped reason=late",
            "e3 5 due step=split due=5",
            "e4 6 branch step=split arm=b p=0.3",
            "e5 9 exited reason=exit_rule step=c",
        ],
        &[
            "r1 welcome/1 arm=t began=0 entered=0 exited=9 exit_rule in c",
            "  a reached=4 due=- done=4 skipped",
            "  split reached=5 due=5 done=6 executed in time",
            "  c reached=9 due=- done=- -",
        ],
    );
}

#[test]
fn a_step_whose_time_has_no_limit_is_never_late() {
    check(
        &["e1 0 entered arm=t", "e2 0 due step=a due=1", "e3 9000 done step=a outcome=executed"],
        &["r1 welcome/1 arm=t began=0 entered=0 exited=- - in -", "  a reached=0 due=1 done=9000 executed in time"],
    );
}

#[test]
fn a_run_that_nobody_entered_counts_apart() {
    let lines = ["e1 5 due step=a due=9", "e2 9 exited reason=completed"];
    check(&lines, &["r1 welcome/1 arm=- began=5 entered=- exited=9 completed in -", "  a reached=5 due=9 done=- -"]);
    check_metrics(100, &lines, &["cohort 0 welcome/1/-/-/-: orphans=1", "event 0 welcome/1/-/-/-: orphans=1"]);
}

#[test]
fn runs_of_two_versions_and_re_entries_are_apart() {
    check_metrics(
        100,
        &[
            "e1 0 entered arm=t user=ada",
            "e2 2 exited reason=completed",
            "f1 5 entered arm=t user=ada r=r2",
            "g1 6 entered arm=t user=ben r=r3 v=2",
        ],
        &[
            "cohort 0 welcome/1/-/t/-: entries=2 unique_entrants=1 active=1 exits=1 exits_completed=1",
            "cohort 0 welcome/2/-/t/-: entries=1 unique_entrants=1 active=1",
            "event 0 welcome/1/-/t/-: entries=2 unique_entrants=1 active=1 exits=1 exits_completed=1",
            "event 0 welcome/2/-/t/-: entries=1 unique_entrants=1 active=1",
        ],
    );
}

#[test]
fn a_run_over_midnight_counts_where_it_began_and_where_things_happened() {
    check_metrics(
        2 * DAY_MIN + 1,
        &[
            "e1 1430 entered arm=t user=ada",
            "e2 1435 due step=mail due=1450 sla_s=60 channel=email",
            "e3 1451 done step=mail outcome=suppressed reason=quiet_hours channel=email",
            "e4 2900 exited reason=goal_met",
        ],
        &[
            "cohort 0 welcome/1/-/t/-: entries=1 unique_entrants=1 exits=1 exits_goal_met=1",
            "cohort 0 welcome/1/mail/t/email: reached=1 advanced=1 suppressed=1 suppressed_quiet_hours=1 due=1 \
             time_to_step_p25_s=300 time_to_step_p50_s=300 time_to_step_p75_s=300 time_in_step_p25_s=960 \
             time_in_step_p50_s=960 time_in_step_p75_s=960",
            "event 0 welcome/1/-/t/-: entries=1 unique_entrants=1 active=1",
            "event 0 welcome/1/mail/t/email: active=1 reached=1",
            "event 1 welcome/1/mail/t/email: advanced=1 suppressed=1 suppressed_quiet_hours=1 due=1",
            "event 2 welcome/1/-/t/-: exits=1 exits_goal_met=1",
        ],
    );
}

#[test]
fn who_waits_is_under_way_until_last_seen_and_a_step_that_is_late_is_overdue() {
    let lines = ["e1 0 entered arm=t user=ada", "e2 10 due step=mail due=20 sla_s=60"];
    check_metrics(
        21,
        &lines,
        &[
            "cohort 0 welcome/1/-/t/-: entries=1 unique_entrants=1 active=1",
            "cohort 0 welcome/1/mail/t/-: active=1 reached=1 time_to_step_p25_s=600 time_to_step_p50_s=600 \
             time_to_step_p75_s=600",
            "event 0 welcome/1/-/t/-: entries=1 unique_entrants=1 active=1",
            "event 0 welcome/1/mail/t/-: active=1 reached=1",
        ],
    );
    check_metrics(
        DAY_MIN,
        &lines,
        &[
            "cohort 0 welcome/1/-/t/-: entries=1 unique_entrants=1 active=1",
            "cohort 0 welcome/1/mail/t/-: active=1 reached=1 due=1 overdue=1 time_to_step_p25_s=600 \
             time_to_step_p50_s=600 time_to_step_p75_s=600",
            "event 0 welcome/1/-/t/-: entries=1 unique_entrants=1 active=1",
            "event 0 welcome/1/mail/t/-: active=1 reached=1 due=1 overdue=1",
        ],
    );
}

#[test]
fn who_ends_in_a_step_drops_off_there_and_before_its_time_nothing_was_due() {
    check_metrics(
        DAY_MIN - 1,
        &[
            "e1 0 entered arm=t",
            "e2 1 due step=wait due=900 sla_s=0",
            "e3 8 exited reason=unsubscribed",
            "f1 0 entered arm=t r=r2",
            "f2 2 due step=wait due=900 r=r2",
            "f3 901 done step=wait outcome=executed r=r2",
        ],
        &[
            "cohort 0 welcome/1/-/t/-: entries=2 active=1 exits=1 exits_unsubscribed=1",
            "cohort 0 welcome/1/wait/t/-: exits=1 exits_unsubscribed=1 reached=2 advanced=1 executed=1 due=1 \
             in_time=1 time_to_step_p25_s=60 time_to_step_p50_s=60 time_to_step_p75_s=120 time_in_step_p25_s=420 \
             time_in_step_p50_s=420 time_in_step_p75_s=53940",
            "event 0 welcome/1/-/t/-: entries=2 active=1 exits=1 exits_unsubscribed=1",
            "event 0 welcome/1/wait/t/-: exits=1 exits_unsubscribed=1 reached=2 advanced=1 executed=1 due=1 in_time=1",
        ],
    );
}

#[test]
fn runs_that_do_not_reach_a_step_are_seen_waiting_for_it() {
    // Of four that were entered, one reaches the step after 10 minutes, one after 30, one ends after 20, one waits.
    let rows = metrics_of(
        &sets([
            "a1 0 entered arm=t r=a",
            "a2 10 due step=s due=10 r=a",
            "b1 0 entered arm=t r=b",
            "b2 30 due step=s due=30 r=b",
            "c1 0 entered arm=t r=c",
            "c2 20 exited reason=timeout r=c",
            "d1 0 entered arm=t r=d",
        ]),
        Scope { events_from: Some(DayNumber::MAX), ..Scope::all(50 * MINUTE_US) },
    );
    let step = &rows_of(&rows)[1];
    // 3/4 after 10 minutes; one of the two that are left at 30 makes 3/8; nobody comes after.
    assert!(step.ends_with("reached=2 time_to_step_p25_s=600 time_to_step_p50_s=1800"), "{step}");
}

#[test]
fn a_row_whose_counts_do_not_add_up_says_so() {
    let check = |lines: &[&str], expected: &[&str]| {
        let rows = metrics_of(&sets(lines.iter().copied()), Scope::all(100 * MINUTE_US));
        let failed: Vec<_> = rows.iter().filter_map(|row| row.failed_checks.as_deref()).collect();
        assert_eq!(failed, expected, "{lines:?}");
    };
    check(&["e1 0 entered arm=t", "e2 1 exited reason=completed"], &[]);
    check(
        &["e1 0 entered arm=t", "e2 1 exited reason=bored"],
        &["entries = active + exits, exits = exits by reason", "exits = exits by reason"],
    );
    check(
        &["e1 0 entered arm=t", "e2 1 done step=a outcome=dunno"],
        &["reached = advanced + active + exits, advanced = steps by outcome", "advanced = steps by outcome"],
    );
}

/// Lines of a small world, in which everything meets everything.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let line = (0..7_u8, 0..5_u8, 0..(5 * DAY_MIN), 0..4_usize, 0..6_usize, any::<u32>()).prop_map(
        |(run, kind, minute, step, word, more)| {
            let (step, arm) = (["a", "b", "c", ""][step], ["t", "c"][word % 2]);
            let step = if step.is_empty() { String::new() } else { format!(" step={step}") };
            let reason = EXIT_REASONS.get(more as usize % 12).copied().unwrap_or("bored");
            let outcome = STEP_OUTCOMES.get(word).copied().unwrap_or("dunno");
            let channel = ["", " channel=email", " channel=push"][more as usize % 3];
            let sla = if more.is_multiple_of(2) { format!(" sla_s={}", more % 100_000) } else { String::new() };
            let user = more % 4;
            let said = match kind {
                0 => format!("entered arm={arm} p=0.5 user=u{user} v={}", 1 + more % 2),
                1 => format!("due{step} due={}{sla}{channel}", minute + i64::from(more % 2000)),
                2 => format!("done{step} outcome={outcome} reason=quiet_hours{channel}"),
                3 => format!("branch{step} arm={arm} p=0.5"),
                _ => format!("exited reason={reason}{step}"),
            };
            format!("{minute} {said} r=r{run}")
        },
    );
    proptest::collection::vec(line, 1..40)
        .prop_map(|lines| lines.iter().enumerate().map(|(id, line)| format!("e{id:03} {line}")).collect())
}

/// Batches of lines as they arrive: shuffled, some twice; and until when each was received.
fn arrivals() -> impl Strategy<Value = (Vec<String>, Vec<(Vec<String>, i64)>)> {
    lines().prop_flat_map(|lines| {
        let doubled: Vec<String> = lines.iter().chain(lines.iter().step_by(4)).cloned().collect();
        let steps = proptest::collection::vec(0..2000_i64, 1..6);
        (Just(lines), Just(doubled).prop_shuffle(), steps).prop_map(|(lines, shuffled, steps)| {
            let length = shuffled.len().div_ceil(steps.len());
            let mut as_of_min = 0;
            let batches = shuffled.chunks(length).zip(steps).map(|(batch, step)| {
                as_of_min += step;
                (batch.to_vec(), as_of_min)
            });
            (lines, batches.collect())
        })
    })
}

/// The rows of the table after a batch, by the rules that its job follows.
fn refreshed(stored: Vec<MetricRow>, old: (&SortedSets, i64), new: (&SortedSets, i64)) -> Vec<MetricRow> {
    let batches = [old.0, new.0].map(|sets| runs_batch(sets, &People::default()).unwrap());
    let [before, after] = batches.map(|batch| StoredRuns::read(&batch).unwrap());
    let old_runs: BTreeMap<String, _> = before.iter().map(|seen| (seen.0.run_id.to_string(), seen)).collect();
    let new_runs: BTreeMap<String, _> = after.iter().map(|seen| (seen.0.run_id.to_string(), seen)).collect();
    let mut others = Changed { events_from: Some(day(old.1)), ..Changed::default() };
    for id in old_runs.keys().chain(new_runs.keys()).collect::<BTreeSet<_>>() {
        let [was, is] = [(&old_runs, old.1), (&new_runs, new.1)]
            .map(|(runs, as_of_us)| runs.get(id).map(|(run, person)| (run, *person, as_of_us)));
        let same = was.map(|(run, person, _)| (run, person)) == is.map(|(run, person, _)| (run, person));
        if !same {
            others.extend(changed(was, is));
        }
    }
    let from_us = i64::from(others.events_from.unwrap()) * DAY_MIN * MINUTE_US;
    let open = after.iter().filter(|(run, _)| run.under_way_until_us == column::NEVER_US);
    others.cohorts.extend(open.map(|(run, _)| day(run.began_at_us)));
    let cohorts = Some(others.cohorts.clone());
    let scope = Scope { cohorts, events_from: others.events_from, ..Scope::all(new.1) };
    let mut metrics = Metrics::new(scope);
    for (run, person) in after.iter() {
        if run.under_way_until_us >= from_us || others.cohorts.contains(&day(run.began_at_us)) {
            metrics.add(&run, person);
        }
    }
    let is_stale = |row: &MetricRow| match row.calendar {
        metric::CALENDAR_COHORT => others.cohorts.contains(&row.day),
        _ => others.events_from.is_some_and(|from| row.day >= from),
    };
    let mut rows: Vec<MetricRow> = stored.into_iter().filter(|row| !is_stale(row)).chain(metrics.finish()).collect();
    rows.sort_unstable_by(MetricRow::in_order);
    rows
}

fn day(at_us: i64) -> DayNumber {
    (at_us.div_euclid(DAY_MIN * MINUTE_US)) as DayNumber
}

proptest! {
    #[test]
    fn arrival_changes_no_run_and_only_the_rows_that_are_named((all, batches) in arrivals()) {
        let mut stored_runs = EventSets::default().finish();
        let (mut rows, mut as_of_us) = (Vec::new(), 0);
        for (batch, as_of_min) in &batches {
            // Stored rows take up the batch, as a job's do.
            let stored = runs_batch(&stored_runs, &People::default()).unwrap();
            let mut sets = EventSets::default();
            batch.iter().for_each(|line| sets.push_rows(&row(line), column::RUN_ID, false).unwrap());
            sets.push_rows(&stored, column::RUN_ID, false).unwrap();
            let sets = sets.finish();
            rows = refreshed(rows, (&stored_runs, as_of_us), (&sets, as_of_min * MINUTE_US));
            (stored_runs, as_of_us) = (sets, as_of_min * MINUTE_US);
        }
        let at_once = sets(all.iter().map(String::as_str));
        let stories = |sets: &SortedSets| {
            let mut stories: Vec<_> = sets.iter().filter_map(Run::of).map(|run| story(&run)).collect();
            stories.sort();
            stories
        };
        prop_assert_eq!(stories(&stored_runs), stories(&at_once));
        prop_assert_eq!(rows_of(&rows), rows_of(&metrics_of(&at_once, Scope::all(as_of_us))));
    }

    #[test]
    fn on_each_day_those_under_way_are_those_of_the_row_before_with_who_came_and_without_who_left(lines in lines()) {
        let last = 6 * DAY_MIN * MINUTE_US;
        let rows = metrics_of(&sets(lines.iter().map(String::as_str)), Scope::all(last));
        let mut active: BTreeMap<String, i64> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.calendar == metric::CALENDAR_EVENT && row.group.step_id.is_none()) {
            let before = active.entry(format!("{:?}", row.group)).or_default();
            *before += row.counts.entries - row.counts.exits;
            prop_assert_eq!(*before, row.counts.active, "{:?}", row);
        }
    }
}
