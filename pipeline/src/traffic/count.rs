//! From tallies to distinct visitors.

use std::collections::BTreeSet;

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
    let mut numbers = Renumbered::new(from);
    for ((ours, theirs), moved) in to.groups.iter_mut().zip(&mut from.groups).zip(moved) {
        for (dimension, (ours, theirs)) in ours.iter_mut().zip(theirs).enumerate() {
            let known = &mut to.values[dimension];
            ours.take_days(theirs, moved, |value| {
                let place = &mut numbers.values[dimension][value as usize];
                if *place == NOT_COUNTED {
                    *place = known.number(from.values[dimension].get(value));
                }
                *place
            });
        }
    }
    let mut days = Vec::new();
    for row in 0..from.rows.devices.len() {
        days.clear();
        days.extend(
            from.rows
                .days
                .iter()
                .zip(moved)
                .map(|(of_rows, moved)| Some(of_rows[row]).filter(|day| moved.contains(day))),
        );
        if days.iter().all(Option::is_none) {
            continue;
        }
        let device = from.rows.devices[row];
        let place = &mut numbers.devices[device as usize];
        if *place == NOT_COUNTED {
            *place = to.devices.number_from(&from.devices, device);
        }
        to.rows.devices.push(*place);
        for (dimension, values) in from.rows.values.iter().enumerate() {
            // Every value of a moved row was in a moved group, so its number is known.
            let value = match values[row] {
                NOT_COUNTED => NOT_COUNTED,
                value => numbers.values[dimension][value as usize],
            };
            to.rows.values[dimension].push(value);
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

/// Which numbers of one tally the numbers of another have become; [`NOT_COUNTED`] if nobody asked yet.
struct Renumbered {
    devices: Vec<u32>,
    values: Vec<Vec<u32>>,
}

impl Renumbered {
    fn new(from: &Tally) -> Self {
        Self {
            devices: vec![NOT_COUNTED; from.devices.len()],
            values: from.values.iter().map(|values| vec![NOT_COUNTED; values.len()]).collect(),
        }
    }
}

/// Counts the distinct devices of every group.
pub(super) fn count_visitors(tally: &mut Tally) {
    let Tally { devices, groups, rows, days, .. } = tally;
    for (calendar, groups) in groups.iter_mut().enumerate() {
        let order = Order::new(&rows.devices, devices.len(), &rows.days[calendar], &days[calendar]);
        let devices: Vec<u32> = order.rows.iter().map(|row| rows.devices[*row as usize]).collect();
        for (groups, values) in groups.iter_mut().zip(&rows.values) {
            for (day, range) in &order.days {
                let of_day = range.clone().map(|place| (devices[place], values[order.rows[place] as usize]));
                groups.count_visitors(*day, of_day);
            }
        }
    }
}

/// Rows in the order of day and device.
struct Order {
    rows: Vec<u32>,
    /// Where each day's rows stand.
    days: Vec<(DayNumber, std::ops::Range<usize>)>,
}

impl Order {
    /// Two counting sorts: by device, then, which keeps the order of devices, by day.
    fn new(devices: &[u32], device_count: usize, of_rows: &[DayNumber], days: &BTreeSet<DayNumber>) -> Self {
        let all = 0..devices.len() as u32;
        let counted = all.filter(|row| of_rows[*row as usize] != NO_DAY);
        let by_device = counting_sort(counted, device_count, |row| devices[row as usize] as usize).0;
        let days: Vec<DayNumber> = days.iter().copied().collect();
        if let [day] = days[..] {
            let range = 0..by_device.len();
            return Self { rows: by_device, days: vec![(day, range)] };
        }
        let place_of_day = |day: DayNumber| days.partition_point(|known| *known < day);
        let (rows, ends) =
            counting_sort(by_device.iter().copied(), days.len(), |row| place_of_day(of_rows[row as usize]));
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let ranges = starts.zip(&ends).map(|(start, end)| start..*end);
        let days = days.iter().copied().zip(ranges).collect();
        Self { rows, days }
    }
}

/// Rows in the order of their keys, which lie below `key_count`, and where each key's rows end. Rows of one key stay
/// in their order.
fn counting_sort(
    rows: impl Iterator<Item = u32> + Clone,
    key_count: usize,
    key_of: impl Fn(u32) -> usize,
) -> (Vec<u32>, Vec<usize>) {
    let mut next = vec![0_usize; key_count];
    let mut count = 0;
    for row in rows.clone() {
        next[key_of(row)] += 1;
        count += 1;
    }
    let mut sum = 0;
    for place in &mut next {
        let start = sum;
        sum += *place;
        *place = start;
    }
    let mut sorted = vec![0_u32; count];
    for row in rows {
        let place = &mut next[key_of(row)];
        sorted[*place] = row;
        *place += 1;
    }
    // Each key's next place is now where its rows end.
    (sorted, next)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::StringViewArray;
    use proptest::prelude::*;

    use super::super::tally::Rows;
    use super::*;

    /// Device, day in the first calendar, day in the second, value.
    type Row = (u8, i32, i32, Option<u8>);

    fn row() -> impl Strategy<Value = Row> {
        (0..6_u8, 0..4_i32, 0..4_i32, proptest::option::of(0..3_u8))
    }

    fn tally(rows: &[Row]) -> Tally {
        let mut tally = Tally::new(2, 2);
        for batch in rows.chunks(5) {
            let mut read = Rows { days: vec![Vec::new(); 2], values: vec![Vec::new(); 2], ..Rows::default() };
            for (device, first, second, value) in batch {
                let name = format!("device-{device}");
                let (visitors, users) = (StringViewArray::from(vec![name.as_str()]), StringViewArray::new_null(1));
                read.devices.push(tally.devices.number(&visitors, &users, 0));
                // Day 3 is not wanted in the second calendar.
                read.days[0].push(*first);
                read.days[1].push(if *second == 3 { NO_DAY } else { *second });
                let text = value.map(|value| format!("value-{value}"));
                read.values[0].push(tally.values[0].number(text.as_deref()));
                // The second dimension leaves out what has no value.
                read.values[1].push(match &text {
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
            let all = parts.concat();
            prop_assert_eq!(counted(parts.iter().map(|part| tally(part)).collect()), by_definition(&all));
        }
    }
}
