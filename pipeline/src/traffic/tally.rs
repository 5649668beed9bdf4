//! What one reader has counted: groups with their sums, and what of the rows is needed to tell visitors apart.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::devices::DeviceColumn;
use crate::days::DayNumber;
use crate::intern::Values;

/// The value of a row that does not count in a dimension.
pub(super) const NOT_COUNTED: u32 = u32::MAX;
/// The day of a row that does not count in a calendar.
pub(super) const NO_DAY: DayNumber = DayNumber::MIN;
/// The number of who has no device.
const NOBODY: u32 = 0;

/// Sums over the rows of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Events.
    pub events: i64,
    /// Page views.
    pub page_views: i64,
    /// Sessions of one page view and nothing else.
    pub bounces: i64,
    /// Engaged sessions.
    pub engaged_sessions: i64,
    /// Seconds from the first to the last event of the sessions.
    pub duration_s: i64,
    /// Conversions.
    pub conversions: i64,
    /// Revenue in ten thousandths.
    pub revenue_e4: i128,
    /// Rows that have a revenue.
    pub with_revenue: i64,
}

impl Amounts {
    /// Adds another's sums.
    #[inline]
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.page_views += other.page_views;
        self.bounces += other.bounces;
        self.engaged_sessions += other.engaged_sessions;
        self.duration_s += other.duration_s;
        self.conversions += other.conversions;
        self.revenue_e4 += other.revenue_e4;
        self.with_revenue += other.with_revenue;
    }
}

/// A day and a value, and what they came to.
#[derive(Debug, Clone)]
pub(super) struct GroupSums {
    pub day: DayNumber,
    pub value: u32,
    pub rows: i64,
    pub amounts: Amounts,
    pub visitors: i64,
    /// The device that was counted last.
    last_device: u32,
}

/// The groups of one calendar and dimension.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    pub list: Vec<GroupSums>,
    /// The place of the group of a day and value in `list`.
    places: HashMap<(DayNumber, u32), u32>,
}

impl Groups {
    /// The group of a day and value, which is made if there is none.
    #[inline]
    fn group(&mut self, day: DayNumber, value: u32) -> &mut GroupSums {
        let Self { list, places } = self;
        let place = *places.entry((day, value)).or_insert_with(|| {
            let amounts = Amounts::default();
            list.push(GroupSums { day, value, rows: 0, amounts, visitors: 0, last_device: NOBODY });
            list.len() as u32 - 1
        });
        &mut list[place as usize]
    }

    /// Bytes of memory that they take.
    fn size_bytes(&self) -> usize {
        self.list.capacity() * size_of::<GroupSums>() + self.places.allocation_size()
    }

    fn add(&mut self, batch: &Batch, calendar: usize, dimension: usize) {
        let values = &batch.rows.values[dimension];
        let mut from = 0;
        for run in batch.rows.days[calendar].chunk_by(|a, b| a == b) {
            let (day, rows) = (run[0], from..from + run.len());
            from = rows.end;
            if day == NO_DAY {
                continue;
            }
            for row in rows.filter(|row| values[*row] != NOT_COUNTED) {
                let group = self.group(day, values[row]);
                group.rows += 1;
                if let Some(amounts) = batch.amounts.get(row) {
                    group.amounts.add(amounts);
                }
            }
        }
    }

    /// Takes over what another has of some days; `value_of` says which value of ours one of its values is.
    pub fn take_days(&mut self, from: &mut Self, moved: &BTreeSet<DayNumber>, mut value_of: impl FnMut(u32) -> u32) {
        for theirs in from.list.iter_mut().filter(|group| moved.contains(&group.day)) {
            let value = value_of(theirs.value);
            let ours = self.group(theirs.day, value);
            ours.rows += theirs.rows;
            ours.amounts.add(&theirs.amounts);
            theirs.day = NO_DAY;
        }
    }

    /// Counts the devices of rows of one day, given as device and value. Rows of one device stand together.
    pub fn count_visitors(&mut self, day: DayNumber, rows: impl Iterator<Item = (u32, u32)>) {
        for (device, value) in rows.filter(|(_, value)| *value != NOT_COUNTED) {
            let group = self.group(day, value);
            // Nobody is who every group saw last at first, and so is never counted.
            if group.last_device != device {
                group.last_device = device;
                group.visitors += 1;
            }
        }
    }
}

/// Days and values of rows, column by column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// The day in each calendar.
    pub days: Vec<Vec<DayNumber>>,
    /// The value in each dimension.
    pub values: Vec<Vec<u32>>,
}

impl Rows {
    pub fn new(calendars: usize, dimensions: usize) -> Self {
        Self { days: vec![Vec::new(); calendars], values: vec![Vec::new(); dimensions] }
    }
}

/// Rows of a batch that count.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub rows: Rows,
    /// What is summed; empty if nothing is.
    pub amounts: Vec<Amounts>,
}

/// All that one reader has counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// Whose each row is. Readers put a row's device here before they [`Self::add`] the batch.
    pub devices: DeviceColumn,
    pub rows: Rows,
    /// The values of each dimension.
    pub values: Vec<Values>,
    /// By calendar, then by dimension.
    pub groups: Vec<Vec<Groups>>,
    /// The days of each calendar on which there are rows.
    pub days: Vec<BTreeSet<DayNumber>>,
    /// Rows at which those that say nothing new are looked for.
    compact_at_rows: usize,
}

impl Tally {
    /// Fewer rows are not worth looking for such that say nothing new.
    const COMPACT_AT_ROWS: usize = 4_000_000;

    pub fn new(calendars: usize, dimensions: usize) -> Self {
        Self::compacting(calendars, dimensions, Self::COMPACT_AT_ROWS)
    }

    pub fn compacting(calendars: usize, dimensions: usize, compact_at_rows: usize) -> Self {
        Self {
            devices: DeviceColumn::default(),
            rows: Rows::new(calendars, dimensions),
            values: vec![Values::default(); dimensions],
            groups: vec![vec![Groups::default(); dimensions]; calendars],
            days: vec![BTreeSet::new(); calendars],
            compact_at_rows,
        }
    }

    /// Counts rows, whose values are numbered by this tally, and whose devices are in it.
    pub fn add(&mut self, batch: &Batch) {
        for (calendar, groups) in self.groups.iter_mut().enumerate() {
            for (dimension, groups) in groups.iter_mut().enumerate() {
                groups.add(batch, calendar, dimension);
            }
        }
        for (kept, values) in self.rows.values.iter_mut().zip(&batch.rows.values) {
            kept.extend_from_slice(values);
        }
        for ((kept, days), seen) in self.rows.days.iter_mut().zip(&batch.rows.days).zip(&mut self.days) {
            kept.extend_from_slice(days);
            seen.extend(days.chunk_by(|a, b| a == b).map(|run| run[0]).filter(|day| *day != NO_DAY));
        }
        if self.devices.len() >= self.compact_at_rows {
            self.compact();
            self.compact_at_rows = self.compact_at_rows.max(2 * self.devices.len());
        }
    }

    /// Keeps one of the rows that agree in device, days and values: it says who was where as well as all of them.
    fn compact(&mut self) {
        let Self { devices, rows, .. } = self;
        let key = |row: u32| {
            let row = row as usize;
            (rows.days.iter().map(move |days| days[row]), rows.values.iter().map(move |values| values[row]))
        };
        let order = |a: u32, b: u32| {
            let ((days, values), (other_days, other_values)) = (key(a), key(b));
            days.cmp(other_days).then_with(|| values.cmp(other_values))
        };
        let mut sorted = devices.sort(0..devices.len() as u32);
        let (mut kept_devices, mut kept) = (DeviceColumn::default(), Rows::new(rows.days.len(), rows.values.len()));
        let mut from = 0;
        for run in sorted.numbers.chunk_by(|a, b| a == b) {
            let of_device = &mut sorted.rows[from..from + run.len()];
            from += run.len();
            of_device.sort_unstable_by(|a, b| order(*a, *b));
            for same in of_device.chunk_by(|a, b| order(*a, *b).is_eq()) {
                let row = same[0] as usize;
                kept_devices.push_from(devices, row);
                kept.days.iter_mut().zip(&rows.days).for_each(|(kept, days)| kept.push(days[row]));
                kept.values.iter_mut().zip(&rows.values).for_each(|(kept, values)| kept.push(values[row]));
            }
        }
        (self.devices, self.rows) = (kept_devices, kept);
    }

    /// About how many bytes of memory it takes, and will take to be counted.
    pub fn size_bytes(&self) -> usize {
        // Counting puts rows in order, which takes about three columns more.
        let columns = self.rows.days.len() + self.rows.values.len() + 3;
        let rows = self.devices.len() * size_of::<u32>() * columns;
        let values: usize = self.values.iter().map(Values::size_bytes).sum();
        let groups: usize = self.groups.iter().flatten().map(Groups::size_bytes).sum();
        self.devices.size_bytes() + values + rows + groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A year in which every day has values that no other day has: a value's number says nothing of how many there are.
    #[test]
    fn groups_take_memory_for_what_occurs() {
        const DAYS: i32 = 365;
        const VALUES_PER_DAY: u32 = 100;
        let mut tally = Tally::new(1, 1);
        for day in 0..DAYS {
            let values = (0..VALUES_PER_DAY).map(|value| day as u32 * VALUES_PER_DAY + value);
            let rows = Rows { days: vec![vec![day; VALUES_PER_DAY as usize]], values: vec![values.collect()] };
            tally.add(&Batch { rows, amounts: Vec::new() });
        }
        let groups = DAYS as usize * VALUES_PER_DAY as usize;
        assert_eq!(tally.groups[0][0].list.len(), groups);
        let per_group = tally.groups[0][0].size_bytes() / groups;
        let known = size_of::<GroupSums>() + size_of::<((DayNumber, u32), u32)>();
        assert!((known..4 * known).contains(&per_group), "{per_group} of {known}");
        assert!(tally.size_bytes() >= groups * known);
    }
}
