//! Attempts counted by day, system, message, variant and channel, with distinct people.
//!
//! Every count but those of people is a sum over attempts, so that parts of the rows are counted anywhere and added.
//! People are kept as pairs of group and person, which are sorted in the end, and equal ones counted once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use chrono::NaiveDate;
use datafusion::catalog::TableProvider;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::execute_stream_partitioned;
use futures::TryStreamExt;
use futures::future::try_join_all;
use touchline_schemas::event::messaging::*;
use touchline_schemas::tables::event_sets::{EVENT_TYPE, IS_BOT, Member, OCCURRED_AT};
use touchline_schemas::tables::message_deliveries as attempt;
use touchline_schemas::tables::message_rollups::{self as column, AMOUNTS, COUNTS, DIMENSIONS};
use touchline_schemas::tables::{Table, money_type};

use super::checks;
use crate::columns::{flags, texts, times};
use crate::days::{DayNumber, date_of, number_of};
use crate::event_sets::list_of;
use crate::gather::blocking;
use crate::intern::Values;
use crate::scan::{LakeScan, scan_schema};
use crate::{PipelineError, QueryEngine};

/// Names this definition in answers.
pub const DEFINITION: &str = "message_rollups/1";

const DAY_US: i64 = 86_400_000_000;

/// The rows of a day, in the columns of the table's files.
#[derive(Debug, Clone)]
pub struct DayRollup {
    /// The day, of both calendars.
    pub day: NaiveDate,
    /// Its rows.
    pub rows: RecordBatch,
    /// Rows that fail a check.
    pub failed: u64,
}

/// The rollups of attempts (some files of `message_deliveries`, one tenant) on some days, or on all of them.
///
/// The scan must hold every attempt of which anything happened on these days.
pub async fn rollups(
    engine: &QueryEngine,
    scan: LakeScan,
    days: Option<Arc<BTreeSet<NaiveDate>>>,
) -> Result<Vec<DayRollup>, PipelineError> {
    let context = engine.context();
    let plan = scan.scan(&context.state(), Some(&projection()?), &[], None).await?;
    let memory = MemoryConsumer::new("message rollups").register(&context.runtime_env().memory_pool);
    let wanted: Option<Arc<HashSet<DayNumber>>> =
        days.map(|days| Arc::new(days.iter().map(|day| number_of(*day)).collect()));
    let tallies = execute_stream_partitioned(plan, context.task_ctx())?.into_iter().map(|mut rows| {
        let (wanted, memory) = (wanted.clone(), memory.new_empty());
        SpawnedTask::spawn(async move {
            let mut tally = Tally { days: wanted, ..Tally::default() };
            while let Some(batch) = rows.try_next().await? {
                tally.read(&batch)?;
                memory.try_resize(tally.size_bytes())?;
            }
            Ok::<_, PipelineError>((tally, memory))
        })
        .join()
    });
    let mut parts = Vec::new();
    let mut reserved = Vec::new();
    for part in try_join_all(tallies).await.map_err(|error| exec_datafusion_err!("counting attempts: {error}"))? {
        let (tally, memory) = part?;
        parts.push(tally);
        reserved.push(memory);
    }
    let rows = blocking(move || Tally::finish(parts)).await??;
    drop(reserved);
    Ok(rows)
}

/// The rollups of attempts that are in memory, in parts that may be counted at the same time.
pub async fn rollups_of(parts: Vec<Vec<RecordBatch>>) -> Result<Vec<DayRollup>, PipelineError> {
    let tallies = parts.into_iter().map(|batches| {
        blocking(move || {
            let mut tally = Tally::default();
            batches.iter().try_for_each(|batch| tally.read(batch))?;
            Ok::<_, PipelineError>(tally)
        })
    });
    let tallies = try_join_all(tallies).await?.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(blocking(move || Tally::finish(tallies)).await??)
}

/// The columns of attempts that are counted.
pub fn columns() -> Vec<&'static str> {
    let mut names = vec![attempt::COHORT_AT, attempt::PERSON_ID, attempt::IS_PENDING, attempt::IS_ORPHAN];
    names.extend(DIMENSIONS);
    names.extend(attempt::TIMES.into_iter().filter(|name| *name != attempt::EXPOSED_AT));
    names.extend([EVENT_TYPE, OCCURRED_AT, IS_BOT, Member::Reason.column(), Member::Element.column()]);
    names.extend([Member::Outcome.column(), Member::Cost.column()]);
    names.extend([attempt::CONVERSION_GOAL, attempt::CONVERSION_OCCURRED_AT, attempt::CONVERSION_VALUE]);
    names.extend([attempt::CONVERSION_IS_LAST_TOUCH, attempt::CONVERSION_IS_CREDITED]);
    names
}

fn projection() -> Result<Vec<usize>> {
    let schema = scan_schema(Table::MessageDeliveries);
    let mut places = Vec::new();
    for name in columns() {
        places.push(schema.index_of(name)?);
    }
    places.sort_unstable();
    Ok(places)
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut place = 0;
    while place < one.len() && place < other.len() && one[place] == other[place] {
        place += 1;
    }
    place == one.len() && place == other.len()
}

/// The place of a count; one that there is not is an error when this is compiled.
const fn count(name: &str) -> usize {
    let mut place = 0;
    while !is_same(COUNTS[place], name) {
        place += 1;
    }
    place
}

const DECIDED: usize = count(column::DECIDED);
const SENT: usize = count(column::SENT);
const SUPPRESSED: usize = count(column::SUPPRESSED);
const HOLDOUT: usize = count(column::HOLDOUT);
const FAILED: usize = count(column::FAILED);
const PENDING: usize = count(column::PENDING);
const ORPHANS: usize = count(column::ORPHANS);
const DELIVERED: usize = count(column::DELIVERED);
const VIEWS: usize = count(column::VIEWS);
const HUMAN_VIEWS: usize = count(column::HUMAN_VIEWS);
const IMPLIED_VIEWS: [usize; 2] = [count(column::IMPLIED_VIEWS), count(column::IMPLIED_HUMAN_VIEWS)];
const CLICKS: usize = count(column::CLICKS);
const HUMAN_CLICKS: usize = count(column::HUMAN_CLICKS);
const UNIQUE_ELEMENT_CLICKS: usize = count(column::UNIQUE_ELEMENT_CLICKS);
const FAILURES: usize = count(column::FAILURES);
const DISMISSALS: usize = count(column::DISMISSALS);
const SUBMISSIONS: usize = count(column::SUBMISSIONS);
const BOUNCES: usize = count(column::BOUNCES);
const UNSUBSCRIBES: usize = count(column::UNSUBSCRIBES);
const COMPLAINTS: usize = count(column::COMPLAINTS);
const CONVERSIONS: usize = count(column::CONVERSIONS);
const CONVERSIONS_ANY_TOUCH: usize = count(column::CONVERSIONS_ANY_TOUCH);
const CONVERSIONS_LAST_TOUCH: usize = count(column::CONVERSIONS_LAST_TOUCH);
const CONVERSIONS_TOTAL: usize = count(column::CONVERSIONS_TOTAL);

/// Of attempts: which time counts, as what, and as whose count of people.
const UNIQUES: [(&str, usize, usize); 4] = [
    (attempt::FIRST_VIEWED_AT, count(column::UNIQUE_VIEWS), count(column::UNIQUE_VIEWERS)),
    (attempt::FIRST_HUMAN_VIEWED_AT, count(column::UNIQUE_HUMAN_VIEWS), count(column::UNIQUE_HUMAN_VIEWERS)),
    (attempt::FIRST_CLICKED_AT, count(column::UNIQUE_CLICKS), count(column::UNIQUE_CLICKERS)),
    (attempt::FIRST_HUMAN_CLICKED_AT, count(column::UNIQUE_HUMAN_CLICKS), count(column::UNIQUE_HUMAN_CLICKERS)),
];
/// The counts of people, by the number that they have in a pair of group and person.
const PEOPLE: [usize; 5] = [UNIQUES[0].2, UNIQUES[1].2, UNIQUES[2].2, UNIQUES[3].2, count(column::CONVERTERS)];
const CONVERTERS: usize = 4;

const REVENUE: usize = 0;
const REVENUE_ANY_TOUCH: usize = 1;
const REVENUE_LAST_TOUCH: usize = 2;
const COST: usize = 3;

const COHORT: u8 = 0;
const EVENT: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Group {
    calendar: u8,
    day: DayNumber,
    dimensions: [u32; DIMENSIONS.len()],
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    counts: [i64; COUNTS.len()],
    amounts_e4: [i128; AMOUNTS.len()],
}

const NO_SUMS: Sums = Sums { counts: [0; COUNTS.len()], amounts_e4: [0; AMOUNTS.len()] };
/// Group of days that are not wanted.
const NOWHERE: u32 = u32::MAX;

/// Counts of some attempts.
#[derive(Debug, Default)]
struct Tally {
    days: Option<Arc<HashSet<DayNumber>>>,
    groups: HashMap<Group, u32>,
    sums: Vec<Sums>,
    reasons: HashMap<(u32, usize, u32), i64>,
    values: Values,
    /// Group, count and person in one number.
    people: Vec<u64>,
}

/// The columns of a batch of attempts.
struct Columns<'a> {
    cohort_at: &'a TimestampMicrosecondArray,
    outcomes: [(&'a TimestampMicrosecondArray, usize); 6],
    uniques: [&'a TimestampMicrosecondArray; UNIQUES.len()],
    is_pending: &'a arrow::array::BooleanArray,
    is_orphan: &'a arrow::array::BooleanArray,
    offsets: &'a [i32],
    types: &'a StringArray,
    times: &'a TimestampMicrosecondArray,
    bots: &'a arrow::array::BooleanArray,
    reasons: &'a StringArray,
    elements: &'a StringArray,
    event_outcomes: &'a StringArray,
    event_costs: &'a Decimal128Array,
    reached: &'a [i32],
    goals: &'a StringArray,
    reached_at: &'a TimestampMicrosecondArray,
    worth: &'a Decimal128Array,
    is_last_touch: &'a arrow::array::BooleanArray,
    is_credited: &'a arrow::array::BooleanArray,
}

fn lists<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ListArray> {
    let lists = batch.column_by_name(name).and_then(|lists| lists.as_list_opt::<i32>());
    lists.ok_or_else(|| exec_datafusion_err!("there are no lists `{name}`"))
}

fn list_texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let texts = lists(batch, name)?.values().as_string_opt::<i32>();
    texts.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of texts"))
}

fn list_times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray> {
    let times = lists(batch, name)?.values().as_primitive_opt::<TimestampMicrosecondType>();
    times.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of times"))
}

fn list_amounts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Decimal128Array> {
    let amounts = lists(batch, name)?.values().as_primitive_opt::<Decimal128Type>();
    amounts.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of amounts"))
}

fn list_flags<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::BooleanArray> {
    let flags = lists(batch, name)?.values().as_boolean_opt();
    flags.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of flags"))
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let [viewed, human_viewed, clicked, human_clicked] = UNIQUES.map(|(name, ..)| times(batch, name));
        Ok(Self {
            cohort_at: times(batch, attempt::COHORT_AT)?,
            outcomes: [
                (times(batch, attempt::DECIDED_AT)?, DECIDED),
                (times(batch, attempt::SENT_AT)?, SENT),
                (times(batch, attempt::SUPPRESSED_AT)?, SUPPRESSED),
                (times(batch, attempt::HOLDOUT_AT)?, HOLDOUT),
                (times(batch, attempt::FAILED_AT)?, FAILED),
                (times(batch, attempt::DELIVERED_AT)?, DELIVERED),
            ],
            uniques: [viewed?, human_viewed?, clicked?, human_clicked?],
            is_pending: flags(batch, attempt::IS_PENDING)?,
            is_orphan: flags(batch, attempt::IS_ORPHAN)?,
            offsets: lists(batch, EVENT_TYPE)?.value_offsets(),
            types: list_texts(batch, EVENT_TYPE)?,
            times: list_times(batch, OCCURRED_AT)?,
            bots: list_flags(batch, IS_BOT)?,
            reasons: list_texts(batch, Member::Reason.column())?,
            elements: list_texts(batch, Member::Element.column())?,
            event_outcomes: list_texts(batch, Member::Outcome.column())?,
            event_costs: list_amounts(batch, Member::Cost.column())?,
            reached: lists(batch, attempt::CONVERSION_GOAL)?.value_offsets(),
            goals: list_texts(batch, attempt::CONVERSION_GOAL)?,
            reached_at: list_times(batch, attempt::CONVERSION_OCCURRED_AT)?,
            worth: list_amounts(batch, attempt::CONVERSION_VALUE)?,
            is_last_touch: list_flags(batch, attempt::CONVERSION_IS_LAST_TOUCH)?,
            is_credited: list_flags(batch, attempt::CONVERSION_IS_CREDITED)?,
        })
    }
}

/// Where things of one attempt count.
struct Row {
    dimensions: [u32; DIMENSIONS.len()],
    person: u32,
    cohort: u32,
    /// The last day of the other calendar that was asked for, and its group.
    last: (DayNumber, u32),
}

impl Tally {
    fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::of(batch)?;
        let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let mut dimensions = Vec::with_capacity(DIMENSIONS.len());
        for name in DIMENSIONS {
            dimensions.push(self.values.numbers(texts(batch, name)?, &rows));
        }
        let people: &StringViewArray = texts(batch, attempt::PERSON_ID)?;
        for row in 0..batch.num_rows() {
            let mut of_row = [0; DIMENSIONS.len()];
            of_row.iter_mut().zip(&dimensions).for_each(|(number, numbers)| *number = numbers[row]);
            let cohort_day = day_of(columns.cohort_at.value(row));
            let cohort = self.group(Group { calendar: COHORT, day: cohort_day, dimensions: of_row });
            let last = self.group(Group { calendar: EVENT, day: cohort_day, dimensions: of_row });
            let person = self.values.number(people.is_valid(row).then(|| people.value(row)));
            let at = Row { dimensions: of_row, person, cohort, last: (cohort_day, last) };
            self.count_row(&columns, row, at);
        }
        Ok(())
    }

    fn count_row(&mut self, columns: &Columns<'_>, row: usize, mut at: Row) {
        let time = |times: &TimestampMicrosecondArray| times.is_valid(row).then(|| times.value(row));
        let is_sent = time(columns.outcomes[1].0).is_some();
        for (times, place) in columns.outcomes {
            if let Some(at_us) = time(times).filter(|_| is_sent || place != DELIVERED) {
                self.add(&mut at, at_us, place);
            }
        }
        let decided_at_us = time(columns.outcomes[0].0);
        if let Some(at_us) = decided_at_us.filter(|_| columns.is_pending.value(row)) {
            self.add(&mut at, at_us, PENDING);
        }
        if columns.is_orphan.value(row) {
            self.add(&mut at, columns.cohort_at.value(row), ORPHANS);
        }
        if is_sent {
            for ((times, (_, place, _)), number) in columns.uniques.iter().zip(UNIQUES).zip(0..) {
                if let Some(at_us) = time(times) {
                    self.add(&mut at, at_us, place);
                    self.add_person(&mut at, at_us, number);
                }
            }
        }
        self.count_events(columns, row, is_sent, &mut at);
        self.count_conversions(columns, row, &mut at);
    }

    fn count_events(&mut self, columns: &Columns<'_>, row: usize, is_sent: bool, at: &mut Row) {
        let events = columns.offsets[row] as usize..columns.offsets[row + 1] as usize;
        let mut first_views_us = [None; 2];
        let mut clicked: Vec<Option<&str>> = Vec::new();
        let mut is_suppressed = false;
        for place in events {
            let at_us = columns.times.value(place);
            let is_human = !columns.bots.value(place);
            if columns.event_costs.is_valid(place) {
                self.add_amount(at, at_us, COST, columns.event_costs.value(place));
            }
            let counted = match columns.types.value(place) {
                MESSAGE_FAILED => Some(FAILURES),
                MESSAGE_SUPPRESSED => None,
                DECISION => None,
                _ if !is_sent => continue,
                MESSAGE_VIEWED => {
                    first_views_us[0].get_or_insert(at_us);
                    if is_human {
                        first_views_us[1].get_or_insert(at_us);
                        self.add(at, at_us, HUMAN_VIEWS);
                    }
                    self.add(at, at_us, VIEWS);
                    continue;
                }
                MESSAGE_CLICKED => {
                    self.add(at, at_us, CLICKS);
                    if is_human {
                        self.add(at, at_us, HUMAN_CLICKS);
                    }
                    let element = text(columns.elements, place);
                    if !clicked.contains(&element) {
                        clicked.push(element);
                        self.add(at, at_us, UNIQUE_ELEMENT_CLICKS);
                    }
                    continue;
                }
                MESSAGE_DISMISSED => Some(DISMISSALS),
                MESSAGE_SUBMITTED => Some(SUBMISSIONS),
                MESSAGE_BOUNCED => Some(BOUNCES),
                MESSAGE_UNSUBSCRIBED => Some(UNSUBSCRIBES),
                MESSAGE_COMPLAINED => Some(COMPLAINTS),
                _ => continue,
            };
            let reason = text(columns.reasons, place);
            match counted {
                Some(counted) => {
                    self.add(at, at_us, counted);
                    self.add_reason(at, at_us, counted, reason);
                }
                // An attempt that is held back is that once, for the first reason that is given.
                None => {
                    let holds_back = columns.types.value(place) == MESSAGE_SUPPRESSED
                        || text(columns.event_outcomes, place) == Some(OUTCOME_SUPPRESS);
                    if holds_back && reason.is_some() && !is_suppressed {
                        is_suppressed = true;
                        self.add_reason(at, at_us, SUPPRESSED, reason);
                    }
                }
            }
        }
        if is_sent {
            // All views, and those of humans.
            for ((times, first_us), place) in columns.uniques.iter().zip(first_views_us).zip(IMPLIED_VIEWS) {
                let viewed_us = times.is_valid(row).then(|| times.value(row));
                if let Some(at_us) = viewed_us.filter(|at_us| first_us.is_none_or(|first_us| *at_us < first_us)) {
                    self.add(at, at_us, place);
                }
            }
        }
    }

    fn count_conversions(&mut self, columns: &Columns<'_>, row: usize, at: &mut Row) {
        let (mut any, mut last, mut credited): (Vec<&str>, Vec<&str>, Vec<&str>) = Default::default();
        for place in columns.reached[row] as usize..columns.reached[row + 1] as usize {
            let (goal, at_us) = (columns.goals.value(place), columns.reached_at.value(place));
            let worth = if columns.worth.is_valid(place) { columns.worth.value(place) } else { 0 };
            self.add(at, at_us, CONVERSIONS_TOTAL);
            for (counts, once, place, amount) in [
                (true, &mut any, CONVERSIONS_ANY_TOUCH, REVENUE_ANY_TOUCH),
                (columns.is_last_touch.value(place), &mut last, CONVERSIONS_LAST_TOUCH, REVENUE_LAST_TOUCH),
                (columns.is_credited.value(place), &mut credited, CONVERSIONS, REVENUE),
            ] {
                if !counts {
                    continue;
                }
                self.add_amount(at, at_us, amount, worth);
                if !once.contains(&goal) {
                    once.push(goal);
                    self.add(at, at_us, place);
                }
            }
            if columns.is_credited.value(place) {
                self.add_person(at, at_us, CONVERTERS);
            }
        }
    }

    /// Counts one in both calendars.
    fn add(&mut self, at: &mut Row, at_us: i64, place: usize) {
        for group in self.groups_at(at, at_us) {
            if let Some(sums) = self.sums.get_mut(group as usize) {
                sums.counts[place] += 1;
            }
        }
    }

    fn add_amount(&mut self, at: &mut Row, at_us: i64, place: usize, amount_e4: i128) {
        for group in self.groups_at(at, at_us) {
            if let Some(sums) = self.sums.get_mut(group as usize) {
                sums.amounts_e4[place] += amount_e4;
            }
        }
    }

    fn add_reason(&mut self, at: &mut Row, at_us: i64, place: usize, reason: Option<&str>) {
        let Some(reason) = reason else { return };
        let reason = self.values.number(Some(reason));
        for group in self.groups_at(at, at_us).into_iter().filter(|group| *group != NOWHERE) {
            *self.reasons.entry((group, place, reason)).or_default() += 1;
        }
    }

    fn add_person(&mut self, at: &mut Row, at_us: i64, number: usize) {
        if at.person == Values::NULL {
            return;
        }
        for group in self.groups_at(at, at_us).into_iter().filter(|group| *group != NOWHERE) {
            self.people.push(pair(group, number, at.person));
        }
    }

    fn groups_at(&mut self, at: &mut Row, at_us: i64) -> [u32; 2] {
        let day = day_of(at_us);
        if at.last.0 != day {
            at.last = (day, self.group(Group { calendar: EVENT, day, dimensions: at.dimensions }));
        }
        [at.cohort, at.last.1]
    }

    fn group(&mut self, group: Group) -> u32 {
        if self.days.as_ref().is_some_and(|days| !days.contains(&group.day)) {
            return NOWHERE;
        }
        let next = self.sums.len() as u32;
        let number = *self.groups.entry(group).or_insert(next);
        if number == next {
            self.sums.push(NO_SUMS);
        }
        number
    }

    fn size_bytes(&self) -> usize {
        let group = size_of::<Group>() + size_of::<u32>() + size_of::<Sums>();
        self.sums.capacity() * group + self.people.capacity() * size_of::<u64>() + self.values.size_bytes()
    }

    /// Adds what another has counted, whose texts have other numbers.
    fn take_in(&mut self, other: Self) {
        let numbers: Vec<u32> =
            (0..other.values.len() as u32).map(|number| self.values.number(other.values.get(number))).collect();
        let mut groups = vec![NOWHERE; other.sums.len()];
        for (group, number) in &other.groups {
            let dimensions = group.dimensions.map(|value| numbers[value as usize]);
            let ours = self.group(Group { dimensions, ..*group });
            groups[*number as usize] = ours;
            let (ours, theirs) = (&mut self.sums[ours as usize], &other.sums[*number as usize]);
            ours.counts.iter_mut().zip(theirs.counts).for_each(|(ours, theirs)| *ours += theirs);
            ours.amounts_e4.iter_mut().zip(theirs.amounts_e4).for_each(|(ours, theirs)| *ours += theirs);
        }
        for ((group, place, reason), count) in other.reasons {
            let key = (groups[group as usize], place, numbers[reason as usize]);
            *self.reasons.entry(key).or_default() += count;
        }
        self.people.extend(other.people.into_iter().map(|of| {
            let (group, number, person) = parts(of);
            pair(groups[group as usize], number, numbers[person as usize])
        }));
    }

    fn finish(tallies: Vec<Self>) -> Result<Vec<DayRollup>> {
        let mut tallies = tallies.into_iter();
        let Some(mut whole) = tallies.next() else { return Ok(Vec::new()) };
        tallies.for_each(|tally| whole.take_in(tally));
        whole.people.sort_unstable();
        whole.people.dedup();
        for of in std::mem::take(&mut whole.people) {
            let (group, number, _) = parts(of);
            whole.sums[group as usize].counts[PEOPLE[number]] += 1;
        }
        let mut reasons: HashMap<u32, Vec<(&str, &str, i64)>> = HashMap::new();
        for ((group, place, reason), count) in &whole.reasons {
            let reason = whole.values.get(*reason).unwrap_or_default();
            reasons.entry(*group).or_default().push((COUNTS[*place], reason, *count));
        }
        reasons.values_mut().for_each(|reasons| reasons.sort_unstable());
        // Days and groups of which nothing counts come from attempts of other days.
        let counts = |group: &u32| {
            let sums = &whole.sums[*group as usize];
            sums.counts.iter().any(|count| *count != 0) || sums.amounts_e4.iter().any(|amount| *amount != 0)
        };
        let mut days: BTreeMap<DayNumber, Vec<(Group, u32)>> = BTreeMap::new();
        for (group, number) in whole.groups.iter().filter(|(_, number)| counts(number)) {
            days.entry(group.day).or_default().push((*group, *number));
        }
        let rollups = days.into_iter().map(|(day, mut groups)| {
            groups.sort_by_key(|(group, _)| (group.calendar, group.dimensions.map(|value| whole.values.get(value))));
            let rows = whole.rows(&groups, &reasons)?;
            let failed =
                rows.column_by_name(column::FAILED_CHECKS).map_or(0, |failed| failed.len() - failed.null_count());
            Ok(DayRollup { day: date_of(day), rows, failed: failed as u64 })
        });
        rollups.collect()
    }

    fn rows(&self, groups: &[(Group, u32)], reasons: &HashMap<u32, Vec<(&str, &str, i64)>>) -> Result<RecordBatch> {
        let calendar = |group: &Group| {
            if group.calendar == COHORT { column::CALENDAR_COHORT } else { column::CALENDAR_EVENT }
        };
        let begins = groups.iter().map(|(group, _)| i64::from(group.day) * DAY_US);
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampMicrosecondArray::from_iter_values(begins).with_timezone("UTC")),
            Arc::new(groups.iter().map(|(group, _)| Some(calendar(group))).collect::<StringArray>()),
        ];
        for place in 0..DIMENSIONS.len() {
            let values = groups.iter().map(|(group, _)| self.values.get(group.dimensions[place]));
            columns.push(Arc::new(values.collect::<StringArray>()));
        }
        let sums = || groups.iter().map(|(_, number)| &self.sums[*number as usize]);
        for place in 0..COUNTS.len() {
            columns.push(Arc::new(Int64Array::from_iter_values(sums().map(|sums| sums.counts[place]))));
        }
        for place in 0..AMOUNTS.len() {
            let amounts = sums().map(|sums| Some(sums.amounts_e4[place])).collect::<Decimal128Array>();
            columns.push(Arc::new(amounts.with_data_type(money_type())));
        }
        let said: Vec<&[(&str, &str, i64)]> =
            groups.iter().map(|(_, number)| reasons.get(number).map_or(&[][..], Vec::as_slice)).collect();
        let lengths: Vec<usize> = said.iter().map(|said| said.len()).collect();
        let all = || said.iter().copied().flatten();
        let lists: [ArrayRef; 3] = [
            Arc::new(all().map(|said| Some(said.0)).collect::<StringArray>()),
            Arc::new(all().map(|said| Some(said.1)).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(all().map(|said| said.2))),
        ];
        for values in lists {
            columns.push(list_of(values, &lengths)?);
        }
        let failed = groups.iter().zip(sums()).map(|((group, _), sums)| {
            let of = |name: &str| COUNTS.iter().position(|known| *known == name).map_or(0, |place| sums.counts[place]);
            checks::failed(calendar(group), &of)
        });
        columns.push(Arc::new(failed.collect::<StringArray>()));
        Ok(RecordBatch::try_new(Table::MessageRollups.file_schema(), columns)?)
    }
}

/// Bits of the number of a person; those of the count of people lie above.
const PERSON_BITS: u32 = 32;
const COUNT_BITS: u32 = 3;

fn pair(group: u32, number: usize, person: u32) -> u64 {
    (u64::from(group) << COUNT_BITS | number as u64) << PERSON_BITS | u64::from(person)
}

fn parts(of: u64) -> (u32, usize, u32) {
    let above = of >> PERSON_BITS;
    ((above >> COUNT_BITS) as u32, (above & ((1 << COUNT_BITS) - 1)) as usize, of as u32)
}

fn day_of(at_us: i64) -> DayNumber {
    at_us.div_euclid(DAY_US) as DayNumber
}

fn text(texts: &StringArray, place: usize) -> Option<&str> {
    texts.is_valid(place).then(|| texts.value(place))
}
