//! The rows of rollups.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::tables::message_rollups::{self as column, AMOUNTS, COUNTS, DIMENSIONS};
use touchline_schemas::tables::{Table, money_type};

use super::DayRollup;
use super::counts::PEOPLE;
use super::tally::{COHORT, DAY_US, Group, Tally, parts};
use crate::days::{DayNumber, date_of};
use crate::event_sets::list_of;
use crate::messages::checks;
use crate::paged::Paged;

/// What stands in any of some heaps, once each. Each is sorted by a thread of its own: there are several for every
/// attempt.
fn distinct(heaps: Vec<Paged<u64>>) -> Result<impl Iterator<Item = u64>> {
    let sorted = std::thread::scope(|scope| {
        let sorting: Vec<_> = heaps
            .into_iter()
            .map(|heap| {
                scope.spawn(move || {
                    let mut all: Vec<u64> = Vec::with_capacity(heap.len());
                    all.extend(heap.iter());
                    drop(heap);
                    all.sort_unstable();
                    all.dedup();
                    all
                })
            })
            .collect();
        sorting.into_iter().map(|heap| heap.join()).collect::<Result<Vec<_>, _>>()
    });
    let mut heads: Vec<_> = sorted
        .map_err(|_| exec_datafusion_err!("sorting people was interrupted"))?
        .into_iter()
        .map(|heap| heap.into_iter().peekable())
        .collect();
    Ok(std::iter::from_fn(move || {
        let least = heads.iter_mut().filter_map(|heap| heap.peek().copied()).min()?;
        heads.iter_mut().for_each(|heap| {
            heap.next_if_eq(&least);
        });
        Some(least)
    }))
}

impl Tally {
    /// The rows of what was counted in parts.
    pub fn finish(tallies: Vec<Self>) -> Result<Vec<DayRollup>> {
        let mut tallies = tallies.into_iter();
        let Some(mut whole) = tallies.next() else { return Ok(Vec::new()) };
        let mut people = vec![std::mem::take(&mut whole.people)];
        people.extend(tallies.map(|tally| whole.take_in(tally)));
        for of in distinct(people)? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_several_heaps_is_there_once() {
        let heap = |all: &[u64]| {
            let mut heap = Paged::default();
            all.iter().for_each(|of| heap.push(*of));
            heap
        };
        let check = |heaps: &[&[u64]], expected: &[u64]| {
            let found: Vec<u64> = distinct(heaps.iter().map(|all| heap(all)).collect()).unwrap().collect();
            assert_eq!(found, expected, "{heaps:?}");
        };
        check(&[&[3, 1, 3, 2], &[2, 2, 9], &[]], &[1, 2, 3, 9]);
        check(&[&[5]], &[5]);
        check(&[], &[]);
    }
}
