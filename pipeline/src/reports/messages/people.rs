//! Distinct people of attempts, over any range and by anything.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, AsArray, BooleanArray, ListArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::Tenant;
use touchline_schemas::tables::message_deliveries as attempt;
use touchline_schemas::tables::{Table, message_rollups as column};

use super::Question;
use super::group::{Group, Grouping, filtered};
use super::received::during;
use crate::columns::{texts, times};
use crate::days::{DAY_US, DayNumber};
use crate::gather::{blocking, gather};
use crate::intern::Values;
use crate::reports::{TimeRange, range_filters};
use crate::{PipelineError, QueryEngine};

/// The counts of people, by their columns: of the four times of [`SEEN`], and of goals.
pub(super) const PEOPLE: [&str; 5] = [
    column::UNIQUE_VIEWERS,
    column::UNIQUE_HUMAN_VIEWERS,
    column::UNIQUE_CLICKERS,
    column::UNIQUE_HUMAN_CLICKERS,
    column::CONVERTERS,
];

const SEEN: [&str; 4] = [
    attempt::FIRST_VIEWED_AT,
    attempt::FIRST_HUMAN_VIEWED_AT,
    attempt::FIRST_CLICKED_AT,
    attempt::FIRST_HUMAN_CLICKED_AT,
];
const CONVERTERS: usize = SEEN.len();

/// How many people of each kind, in the order of [`PEOPLE`].
pub(super) type Counted = [i64; PEOPLE.len()];

/// Counts the people of the attempts that are asked about.
pub(super) async fn count(
    engine: &QueryEngine,
    tenant: Tenant,
    question: &Question,
    grouping: &Grouping,
) -> Result<HashMap<Group, Counted>, PipelineError> {
    let by_cohort = question.calendar == column::CALENDAR_COHORT;
    // What was seen in the range may have been sent before it, or after it, if clocks disagree.
    let cohorts = if by_cohort { question.range } else { TimeRange::default() };
    let rollups = engine.snapshot(Table::MessageRollups, tenant).await?;
    let counted_from = rollups.info.as_ref().and_then(|info| info.sources.get(Table::MessageDeliveries.name()));
    let scan = match counted_from {
        Some(version) => engine.scan_source(Table::MessageDeliveries, tenant, *version).await?,
        None => engine.scan(Table::MessageDeliveries, tenant).await?.0,
    };
    let context = engine.context();
    let mut frame = scan.frame(&context)?;
    for filter in range_filters(Table::MessageDeliveries, cohorts) {
        frame = frame.filter(filter)?;
    }
    if !by_cohort {
        frame = during(frame, question.range)?;
    }
    let mut names = vec![attempt::COHORT_AT, attempt::SENT_AT, attempt::PERSON_ID];
    names.extend(column::DIMENSIONS.into_iter().chain(SEEN));
    names.extend([attempt::CONVERSION_OCCURRED_AT, attempt::CONVERSION_IS_CREDITED]);
    let frame = filtered(frame, &question.filters)?.select_columns(&names)?;
    let tally = Tally {
        grouping: grouping.clone(),
        range_us: if by_cohort { i64::MIN..i64::MAX } else { micros(question.range) },
        by_cohort,
        groups: HashMap::new(),
        values: Values::default(),
        seen: Vec::new(),
    };
    let gathered = gather(&context, frame, "people of messages", tally, Tally::read, Tally::size_bytes).await?;
    blocking(move || gathered.found.finish()).await
}

fn micros(range: TimeRange) -> Range<i64> {
    let us = |at: DateTime<Utc>| at.timestamp_micros();
    range.from.map_or(i64::MIN, us)..range.to.map_or(i64::MAX, us)
}

/// A [`Group`] by the numbers of its values.
type Key = (Option<DayNumber>, [u32; column::DIMENSIONS.len()]);

/// Who was seen in which group: a set of small numbers, which are sorted in the end, and equal ones counted once.
struct Tally {
    grouping: Grouping,
    range_us: Range<i64>,
    /// Whether the day is that of the attempt.
    by_cohort: bool,
    groups: HashMap<Key, u32>,
    values: Values,
    /// Group, number of the count, person.
    seen: Vec<(u32, u8, u32)>,
}

impl Tally {
    fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut dimensions = [const { Vec::new() }; column::DIMENSIONS.len()];
        let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
        for (numbers, values) in dimensions.iter_mut().zip(self.grouping.values(batch)?) {
            *numbers = values.map_or_else(Vec::new, |values| self.values.numbers(values, &rows));
        }
        let people = texts(batch, attempt::PERSON_ID)?;
        let (cohorts, sent) = (times(batch, attempt::COHORT_AT)?, times(batch, attempt::SENT_AT)?);
        let mut seen = Vec::with_capacity(SEEN.len());
        for name in SEEN {
            seen.push(times(batch, name)?);
        }
        let goals = Goals::of(batch)?;
        for row in (0..batch.num_rows()).filter(|row| people.is_valid(*row)) {
            let mut things: Vec<(i64, usize)> = Vec::new();
            if sent.is_valid(row) {
                let times = seen.iter().enumerate().filter(|(_, times)| times.is_valid(row));
                things.extend(times.map(|(number, times)| (times.value(row), number)));
            }
            things.extend(goals.credited_us(row).map(|at_us| (at_us, CONVERTERS)));
            things.retain(|(at_us, _)| self.range_us.contains(at_us));
            if things.is_empty() {
                continue;
            }
            let person = self.values.number(Some(people.value(row)));
            let values = dimensions.each_ref().map(|numbers| numbers.get(row).copied().unwrap_or(Values::NULL));
            for (at_us, number) in things {
                let at_us = if self.by_cohort { cohorts.value(row) } else { at_us };
                let day = self.grouping.by_day().then(|| at_us.div_euclid(DAY_US) as DayNumber);
                let next = self.groups.len() as u32;
                let group = *self.groups.entry((day, values)).or_insert(next);
                self.seen.push((group, number as u8, person));
            }
        }
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        self.values.size_bytes() + self.seen.capacity() * size_of::<(u32, u8, u32)>()
    }

    fn finish(mut self) -> HashMap<Group, Counted> {
        self.seen.sort_unstable();
        self.seen.dedup();
        let mut counted = vec![Counted::default(); self.groups.len()];
        for (group, number, _) in self.seen {
            counted[group as usize][usize::from(number)] += 1;
        }
        let group = |(day, values): Key| Group { day, values: values.map(|of| self.values.get(of).map(str::to_owned)) };
        self.groups.into_iter().map(|(key, number)| (group(key), counted[number as usize])).collect()
    }
}

/// The goals that attempts have credit for.
struct Goals<'a> {
    lists: &'a ListArray,
    reached_at: &'a TimestampMicrosecondArray,
    is_credited: &'a BooleanArray,
}

impl<'a> Goals<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let lists = |name: &str| batch.column_by_name(name).and_then(|lists| lists.as_list_opt::<i32>());
        let goals = || {
            let (reached, credited) =
                (lists(attempt::CONVERSION_OCCURRED_AT)?, lists(attempt::CONVERSION_IS_CREDITED)?);
            Some(Self {
                lists: reached,
                reached_at: reached.values().as_primitive_opt::<TimestampMicrosecondType>()?,
                is_credited: credited.values().as_boolean_opt()?,
            })
        };
        goals().ok_or_else(|| exec_datafusion_err!("there are no lists of conversions"))
    }

    fn credited_us(&self, row: usize) -> impl Iterator<Item = i64> {
        let offsets = self.lists.value_offsets();
        let places = offsets[row] as usize..offsets[row + 1] as usize;
        places.filter(|place| self.is_credited.value(*place)).map(|place| self.reached_at.value(place))
    }
}
