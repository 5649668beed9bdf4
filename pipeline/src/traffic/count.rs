//! From tallies to distinct visitors.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::tally::{NO_DAY, NOT_COUNTED, Tally};
use crate::days::DayNumber;

/// Moves rows between tallies until each day of each calendar has all its rows in one of them: the first that saw it.
pub(super) fn bring_together(tallies: &mut [Tally]) {
    for later in 1..tallies.len() {
        let (earlier, rest) = tallies.split_at_mut(later);
        let Some(from) = rest.first_mut() else { return };
        for to in earlier {
            let moved: Vec<BTreeSet<DayNumber>> =
                to.days.iter().zip(&from.days).map(|(ours, theirs)| ours & theirs).collect();
            if moved.iter().any(|days| !days.is_empty()) {
                move_days(from, to, &moved);
            }
        }
    }
}

/// Moves what `from` has of some days of each calendar.
fn move_days(from: &mut Tally, to: &mut Tally, moved: &[BTreeSet<DayNumber>]) {
    // Which of our values their values are; not known until it is asked for.
    let mut renumbered: Vec<Vec<u32>> = from.values.iter().map(|values| vec![NOT_COUNTED; values.len()]).collect();
    for ((ours, theirs), moved) in to.groups.iter_mut().zip(&mut from.groups).zip(moved) {
        for (dimension, (ours, theirs)) in ours.iter_mut().zip(theirs).enumerate() {
            let known = &mut to.values[dimension];
            ours.take_days(theirs, moved, |value| {
                let place = &mut renumbered[dimension][value as usize];
                if *place == NOT_COUNTED {
                    *place = known.number(from.values[dimension].get(value));
                }
                *place
            });
        }
    }
    let mut days = Vec::new();
    for row in 0..from.devices.len() {
        days.clear();
        let of_row = from.rows.days.iter().zip(moved);
        days.extend(of_row.map(|(days, moved)| Some(days[row]).filter(|day| moved.contains(day))));
        if days.iter().all(Option::is_none) {
            continue;
        }
        to.devices.push_from(&from.devices, row);
        for ((ours, theirs), renumbered) in to.rows.values.iter_mut().zip(&from.rows.values).zip(&renumbered) {
            // Every value of a moved row was in a moved group, so it is known.
            ours.push(match theirs[row] {
                NOT_COUNTED => NOT_COUNTED,
                value => renumbered[value as usize],
            });
        }
        for (calendar, day) in days.iter().enumerate() {
            to.rows.days[calendar].push(day.unwrap_or(NO_DAY));
            if day.is_some() {
                from.rows.days[calendar][row] = NO_DAY;
            }
        }
    }
    for (theirs, moved) in from.days.iter_mut().zip(moved) {
        theirs.retain(|day| !moved.contains(day));
    }
}

/// Counts the distinct devices of every group.
pub(super) fn count_visitors(tally: &mut Tally) {
    let Tally { devices, groups, rows, .. } = tally;
    for (groups, days) in groups.iter_mut().zip(&rows.days) {
        for (day, of_day) in rows_by_day(days) {
            let sorted = devices.sort(of_day.into_iter().flatten());
            for (groups, values) in groups.iter_mut().zip(&rows.values) {
                let of_rows = sorted.rows.iter().zip(&sorted.numbers);
                groups.count_visitors(day, of_rows.map(|(row, device)| (*device, values[*row as usize])));
            }
        }
    }
}

/// Where the rows of each day stand.
fn rows_by_day(days: &[DayNumber]) -> BTreeMap<DayNumber, Vec<Range<u32>>> {
    let mut by_day: BTreeMap<DayNumber, Vec<Range<u32>>> = BTreeMap::new();
    let mut from = 0;
    for run in days.chunk_by(|a, b| a == b) {
        let to = from + run.len() as u32;
        if run[0] != NO_DAY {
            by_day.entry(run[0]).or_default().push(from..to);
        }
        from = to;
    }
    by_day
}

#[cfg(test)]
mod tests {
    use arrow::array::StringViewArray;
    use hashbrown::DefaultHashBuilder;
    use proptest::prelude::*;

    use super::super::tally::{Batch, Rows};
    use super::*;

    /// Device, day in the first calendar, day in the second, value.
    type Row = (u8, i32, i32, Option<u8>);

    fn row() -> impl Strategy<Value = Row> {
        (0..6_u8, 0..4_i32, 0..4_i32, proptest::option::of(0..3_u8))
    }

    fn tally(rows: &[Row], hasher: &DefaultHashBuilder) -> Tally {
        // Small enough that some rows are compacted.
        let mut tally = Tally::compacting(2, 2, 7);
        for batch in rows.chunks(5) {
            let mut read = Batch { rows: Rows::new(2, 2), amounts: Vec::new() };
            for (device, first, second, value) in batch {
                let name = format!("device-{device}");
                let (visitors, users) = (StringViewArray::from(vec![name.as_str()]), StringViewArray::new_null(1));
                assert!(tally.devices.push(hasher, [&visitors, &users], 0, false));
                // Day 3 is not wanted in the second calendar.
                read.rows.days[0].push(*first);
                read.rows.days[1].push(if *second == 3 { NO_DAY } else { *second });
                let text = value.map(|value| format!("value-{value}"));
                read.rows.values[0].push(tally.values[0].number(text.as_deref()));
                // The second dimension leaves out what has no value.
                read.rows.values[1].push(match &text {
                    Some(text) => tally.values[1].number(Some(text)),
                    None => NOT_COUNTED,
                });
            }
            tally.add(&read);
        }
        tally
    }

    type Counted = BTreeMap<(usize, usize, i32, Option<String>), (i64, i64)>;

    fn counted(mut tallies: Vec<Tally>) -> Counted {
        bring_together(&mut tallies);
        let mut counted = Counted::new();
        for tally in &mut tallies {
            count_visitors(tally);
            for (calendar, groups) in tally.groups.iter().enumerate() {
                for (dimension, groups) in groups.iter().enumerate() {
                    for group in groups.list.iter().filter(|group| group.day != NO_DAY) {
                        let value = tally.values[dimension].get(group.value).map(str::to_owned);
                        let known =
                            counted.insert((calendar, dimension, group.day, value), (group.visitors, group.rows));
                        assert_eq!(known, None, "a day is in one tally");
                    }
                }
            }
        }
        counted
    }

    fn by_definition(rows: &[Row]) -> Counted {
        let mut devices: BTreeMap<_, Vec<u8>> = BTreeMap::new();
        for (device, first, second, value) in rows {
            let value = value.map(|value| format!("value-{value}"));
            for (calendar, day) in [(0, *first), (1, *second)] {
                if (calendar, day) == (1, 3) {
                    continue;
                }
                devices.entry((calendar, 0, day, value.clone())).or_default().push(*device);
                if value.is_some() {
                    devices.entry((calendar, 1, day, value.clone())).or_default().push(*device);
                }
            }
        }
        let count = |devices: Vec<u8>| {
            let rows = devices.len() as i64;
            (devices.into_iter().collect::<BTreeSet<_>>().len() as i64, rows)
        };
        devices.into_iter().map(|(key, devices)| (key, count(devices))).collect()
    }

    proptest! {
        #[test]
        fn visitors_are_distinct_however_rows_are_shared_out(
            parts in proptest::collection::vec(proptest::collection::vec(row(), 0..30), 1..4),
        ) {
            let (all, hasher) = (parts.concat(), DefaultHashBuilder::default());
            prop_assert_eq!(counted(parts.iter().map(|part| tally(part, &hasher)).collect()), by_definition(&all));
        }
    }
}
