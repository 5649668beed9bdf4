//! From runs to the rows of `sequence_metrics`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::error::ArrowError;
use hashbrown::Equivalent;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::sequence_metrics::{CALENDAR_COHORT, CALENDAR_EVENT};

use super::facts::{Counts, DAY_US, Fact, Group};
use super::rows::{StoredRuns, run_columns};
use super::run::Run;
use crate::days::DayNumber;
use crate::gather::{blocking, gather};
use crate::lift::kaplan_meier::{Quartiles, Waited, kaplan_meier};
use crate::scan::LakeScan;
use crate::{PipelineError, QueryEngine};

const SECOND_US: u64 = 1_000_000;
/// What an id of a person takes in a set, about.
const PERSON_BYTES: usize = 96;

/// Which rows are computed.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Runs that go on are looked at as of this instant, in microseconds since 1970.
    pub as_of_us: i64,
    /// The days of the calendar of cohorts; all if nothing is said. All runs of these days must be given.
    pub cohorts: Option<BTreeSet<DayNumber>>,
    /// The first day of the calendar of events; all if nothing is said. All runs that went on then or later must be given.
    pub events_from: Option<DayNumber>,
    /// Whether all runs are counted as one cohort, whose day is 0.
    pub is_one_cohort: bool,
}

impl Scope {
    /// All rows, as of an instant in microseconds since 1970.
    pub fn all(as_of_us: i64) -> Self {
        Self { as_of_us, ..Self::default() }
    }

    fn has_cohort(&self, day: DayNumber) -> bool {
        self.cohorts.as_ref().is_none_or(|days| days.contains(&day))
    }

    fn has_events_of(&self, day: DayNumber) -> bool {
        self.events_from.is_none_or(|from| day >= from)
    }
}

/// A [`Group`] that outlives the runs it was found in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct OwnGroup {
    sequence_id: Option<String>,
    sequence_version: Option<i64>,
    pub(super) step_id: Option<String>,
    arm: Option<String>,
    channel: Option<String>,
}

impl From<&Group<'_>> for OwnGroup {
    fn from(group: &Group<'_>) -> Self {
        Self {
            sequence_id: group.sequence_id.map(str::to_owned),
            sequence_version: group.sequence_version,
            step_id: group.step_id.map(str::to_owned),
            arm: group.arm.map(str::to_owned),
            channel: group.channel.map(str::to_owned),
        }
    }
}

impl Equivalent<OwnGroup> for Group<'_> {
    fn equivalent(&self, own: &OwnGroup) -> bool {
        self.sequence_id == own.sequence_id.as_deref()
            && self.sequence_version == own.sequence_version
            && self.step_id == own.step_id.as_deref()
            && self.arm == own.arm.as_deref()
            && self.channel == own.channel.as_deref()
    }
}

/// A group by its number, and a day.
type Place = (usize, DayNumber);

/// How long it took, in microseconds.
#[derive(Debug, Default)]
struct Times {
    /// Of the runs that reached the step: until they did, and until they ended or were last looked at.
    to_step: Vec<(u64, u64)>,
    /// Until they left it; and whether they did, or were last looked at.
    in_step: Vec<(u64, bool)>,
}

/// Runs are added one by one, in any order; then the rows are taken.
#[derive(Debug)]
pub struct Metrics {
    scope: Scope,
    numbers: hashbrown::HashMap<OwnGroup, usize>,
    cohorts: HashMap<Place, Counts>,
    events: HashMap<Place, Counts>,
    /// Of the runs of a day: who entered them.
    people: HashMap<Place, HashSet<String>>,
    /// Of the runs of a day: until they ended or were last looked at.
    ends: HashMap<Place, Vec<u64>>,
    /// Of the steps of the runs of a day.
    times: HashMap<Place, Times>,
    /// The group of the whole runs that a step belongs to.
    runs_of: HashMap<usize, usize>,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricRow {
    /// The day in its calendar.
    pub day: DayNumber,
    /// `cohort` or `event`.
    pub calendar: &'static str,
    pub(super) group: OwnGroup,
    pub(super) counts: Counts,
    unique_entrants: i64,
    /// Quartiles to the step and in it, in seconds.
    times_s: [[Option<i64>; 3]; 2],
    /// The names of the conservation checks that do not hold.
    pub failed_checks: Option<String>,
}

impl Metrics {
    /// No runs yet.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            numbers: hashbrown::HashMap::new(),
            cohorts: HashMap::new(),
            events: HashMap::new(),
            people: HashMap::new(),
            ends: HashMap::new(),
            times: HashMap::new(),
            runs_of: HashMap::new(),
        }
    }

    /// Adds a run, once. Its events are not looked at, so that they may be missing.
    pub fn add(&mut self, run: &Run<'_>, person_id: Option<&str>) {
        let (day_of_run, as_of_us) = (run.cohort_day(), self.scope.as_of_us);
        let cohort_day = if self.scope.is_one_cohort { 0 } else { day_of_run };
        if self.scope.has_cohort(day_of_run) {
            for Fact { group, counts, .. } in run.cohort_facts(as_of_us) {
                let place = (self.number(&group), cohort_day);
                *self.cohorts.entry(place).or_default() += &counts;
            }
            self.add_times(run, cohort_day);
        }
        for Fact { day, group, counts } in run.event_facts(as_of_us) {
            let place = (self.number(&group), day);
            *self.events.entry(place).or_default() += &counts;
        }
        if let (Some(_), Some(person_id)) = (run.entered_at_us, person_id) {
            let place = (self.number(&run.group()), cohort_day);
            let people = self.people.entry(place).or_default();
            if !people.contains(person_id) {
                people.insert(person_id.to_owned());
            }
        }
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn size_bytes(&self) -> usize {
        let rows = self.cohorts.len() + self.events.len();
        let people: usize = self.people.values().map(HashSet::len).sum();
        let ends: usize = self.ends.values().map(Vec::len).sum();
        let steps: usize = self.times.values().map(|times| times.to_step.len()).sum();
        rows * (size_of::<Counts>() + size_of::<Place>())
            + people * PERSON_BYTES
            + ends * size_of::<u64>()
            + steps * (size_of::<(u64, u64)>() + size_of::<(u64, bool)>())
    }

    fn add_times(&mut self, run: &Run<'_>, day: DayNumber) {
        let Some(entered_at_us) = run.entered_at_us else { return };
        let since = |from_us: i64, to_us: i64| u64::try_from(to_us.saturating_sub(from_us)).unwrap_or(0);
        let last_us = run.exited_at_us.unwrap_or(self.scope.as_of_us);
        let end = since(entered_at_us, last_us);
        let runs = self.number(&run.group());
        self.ends.entry((runs, day)).or_default().push(end);
        for step in &run.steps {
            let number = self.number(&run.step_group(step));
            self.runs_of.insert(number, runs);
            let left_at_us = step.left_at_us(run.exited_at_us);
            let times = self.times.entry((number, day)).or_default();
            times.to_step.push((since(entered_at_us, step.reached_at_us), end));
            times.in_step.push((since(step.reached_at_us, left_at_us.unwrap_or(last_us)), left_at_us.is_some()));
        }
    }

    fn number(&mut self, group: &Group<'_>) -> usize {
        if let Some(known) = self.numbers.get(group) {
            return *known;
        }
        let next = self.numbers.len();
        self.numbers.insert(group.into(), next);
        next
    }

    /// The rows of the scope, by day, calendar and group.
    pub fn finish(self) -> Vec<MetricRow> {
        let groups: HashMap<usize, &OwnGroup> = self.numbers.iter().map(|(group, number)| (*number, group)).collect();
        let row = |(number, day): Place, calendar, counts: Counts, times_s| {
            let group = (*groups.get(&number)?).clone();
            let people = if counts.entries > 0 { self.people.get(&(number, day)) } else { None };
            let unique_entrants = people.map_or(0, |people| people.len() as i64);
            let failed_checks = failed_checks(calendar, group.step_id.is_some(), &counts, unique_entrants);
            Some(MetricRow { day, calendar, group, counts, unique_entrants, times_s, failed_checks })
        };
        let cohorts = self
            .cohorts
            .iter()
            .filter_map(|(place, counts)| row(*place, CALENDAR_COHORT, counts.clone(), self.quartiles(*place)));
        let events = self
            .days_of_events()
            .into_iter()
            .filter_map(|(place, counts)| row(place, CALENDAR_EVENT, counts, [[None; 3]; 2]));
        let mut rows: Vec<MetricRow> = cohorts.chain(events).collect();
        rows.sort_unstable_by(MetricRow::in_order);
        rows
    }

    /// The days on which something happened in a group, with the runs that go on at their ends. Days on which all only
    /// wait have no row: one event that is dated wrong by years would make one for each day since.
    fn days_of_events(&self) -> Vec<(Place, Counts)> {
        let mut by_group: HashMap<usize, BTreeMap<DayNumber, &Counts>> = HashMap::new();
        for ((number, day), counts) in &self.events {
            by_group.entry(*number).or_default().insert(*day, counts);
        }
        let mut rows = Vec::new();
        for (number, days) in by_group {
            let mut active = 0;
            for (day, counts) in days {
                active += counts.active;
                if self.scope.has_events_of(day) {
                    rows.push(((number, day), Counts { active, ..counts.clone() }));
                }
            }
        }
        rows
    }

    fn quartiles(&self, place: Place) -> [[Option<i64>; 3]; 2] {
        let Some(times) = self.times.get(&place) else { return [[None; 3]; 2] };
        // Who has not reached the step in this channel is seen waiting for it until its end.
        let mut waiting: HashMap<u64, u64> = HashMap::new();
        for end in self.runs_of.get(&place.0).and_then(|runs| self.ends.get(&(*runs, place.1))).into_iter().flatten() {
            *waiting.entry(*end).or_default() += 1;
        }
        for (_, end) in &times.to_step {
            if let Some(waiting) = waiting.get_mut(end) {
                *waiting = waiting.saturating_sub(1);
            }
        }
        let censored = waiting.into_iter().map(|(time, censored)| Waited { time, happened: 0, censored });
        let reached = times.to_step.iter().map(|(time, _)| Waited { time: *time, happened: 1, censored: 0 });
        let to_step: Vec<Waited> = reached.chain(censored).collect();
        let in_step = times.in_step.iter().map(|(time, left)| Waited {
            time: *time,
            happened: u64::from(*left),
            censored: u64::from(!left),
        });
        [seconds(&to_step), seconds(&in_step.collect::<Vec<_>>())]
    }
}

fn seconds(waited: &[Waited]) -> [Option<i64>; 3] {
    let Quartiles { first, median, third } = kaplan_meier(waited).quartiles();
    [first, median, third].map(|time_us| i64::try_from(time_us? / SECOND_US).ok())
}

/// The checks that a row does not pass.
fn failed_checks(calendar: &str, is_step: bool, counts: &Counts, unique_entrants: i64) -> Option<String> {
    let by_reason: i64 = counts.exits_by_reason.iter().sum();
    let by_outcome: i64 = counts.by_outcome.iter().sum();
    let is_cohort = calendar == CALENDAR_COHORT;
    let checks = [
        ("entries = active + exits", !is_cohort || is_step || counts.entries == counts.active + by_reason),
        (
            "reached = advanced + active + exits",
            !is_cohort || !is_step || counts.reached == by_outcome + counts.active + by_reason,
        ),
        ("exits = exits by reason", counts.exits == by_reason),
        ("advanced = steps by outcome", counts.advanced == by_outcome),
        ("in_time + overdue <= due", counts.in_time + counts.overdue <= counts.due),
        ("unique_entrants <= entries", unique_entrants <= counts.entries),
        ("active >= 0", counts.active >= 0),
    ];
    let failed: Vec<&str> = checks.into_iter().filter(|(_, holds)| !holds).map(|(name, _)| name).collect();
    (!failed.is_empty()).then(|| failed.join(", "))
}

/// The rows of a scope, from the runs of a scan of `sequence_runs`.
pub async fn metric_rows(engine: &QueryEngine, runs: LakeScan, scope: Scope) -> Result<Vec<MetricRow>, PipelineError> {
    let context = engine.context();
    let frame = runs.frame(&context)?.select_columns(&run_columns())?;
    let read = |metrics: &mut Metrics, batch: &RecordBatch| {
        StoredRuns::read(batch)?.iter().for_each(|(run, person_id)| metrics.add(&run, person_id));
        Ok(())
    };
    let gathered = gather(&context, frame, "sequences", Metrics::new(scope), read, Metrics::size_bytes).await?;
    blocking(move || gathered.found.finish()).await
}

/// Rows in the columns of the table's files.
pub fn metrics_batch(rows: &[MetricRow]) -> Result<RecordBatch, ArrowError> {
    let texts =
        |of: fn(&MetricRow) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let day_at = rows.iter().map(|row| i64::from(row.day) * DAY_US);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(day_at).with_timezone("UTC")),
        texts(|row| Some(row.calendar)),
        texts(|row| row.group.sequence_id.as_deref()),
        Arc::new(rows.iter().map(|row| row.group.sequence_version).collect::<Int64Array>()),
        texts(|row| row.group.step_id.as_deref()),
        texts(|row| row.group.arm.as_deref()),
        texts(|row| row.group.channel.as_deref()),
    ];
    let schema = Table::SequenceMetrics.file_schema();
    let numbers: Vec<Vec<Option<i64>>> = rows.iter().map(MetricRow::numbers).collect();
    // All columns between the texts in front and the text behind.
    for place in 0..schema.fields().len() - columns.len() - 1 {
        let column = numbers.iter().map(|numbers| numbers.get(place).copied().flatten());
        columns.push(Arc::new(column.collect::<Int64Array>()));
    }
    columns.push(texts(|row| row.failed_checks.as_deref()));
    RecordBatch::try_new(schema, columns)
}

impl MetricRow {
    /// By day, calendar and group.
    pub(super) fn in_order(&self, other: &Self) -> Ordering {
        (self.day, self.calendar, &self.group).cmp(&(other.day, other.calendar, &other.group))
    }

    /// All numbers, in the order of the table's columns.
    fn numbers(&self) -> Vec<Option<i64>> {
        let counts = &self.counts;
        let mut numbers = Vec::new();
        let mut add = |values: &[i64]| numbers.extend(values.iter().copied().map(Some));
        add(&[counts.entries, self.unique_entrants, counts.orphans, counts.active, counts.exits]);
        add(&counts.exits_by_reason);
        add(&[counts.reached, counts.advanced]);
        add(&counts.by_outcome);
        add(&counts.suppressed_by_reason);
        add(&[counts.due, counts.in_time, counts.overdue]);
        numbers.extend(self.times_s.iter().flatten().copied());
        numbers
    }
}
