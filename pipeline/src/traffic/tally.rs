//! What one reader has counted: groups with their sums, and what of the rows is needed to tell visitors apart.

use std::collections::{BTreeSet, HashMap};

use crate::days::DayNumber;
use crate::intern::{Devices, Values};

/// The value of a row that does not count in a dimension.
pub(super) const NOT_COUNTED: u32 = u32::MAX;
/// The day of a row that does not count in a calendar.
pub(super) const NO_DAY: DayNumber = DayNumber::MIN;

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
    pub last_device: u32,
}

/// The groups of one calendar and dimension.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    pub list: Vec<GroupSums>,
    /// For each day the place of a value's group in `list`.
    places: HashMap<DayNumber, Vec<u32>>,
}

impl Groups {
    const NO_GROUP: u32 = u32::MAX;

    /// The places of a day's groups by value.
    fn places(&mut self, day: DayNumber) -> (&mut Vec<u32>, &mut Vec<GroupSums>) {
        (self.places.entry(day).or_default(), &mut self.list)
    }

    /// A value's group, which is made if there is none.
    #[inline]
    fn group<'a>(places: &mut Vec<u32>, list: &'a mut Vec<GroupSums>, day: DayNumber, value: u32) -> &'a mut GroupSums {
        let index = value as usize;
        if index >= places.len() {
            places.resize(index + 1, Self::NO_GROUP);
        }
        let place = &mut places[index];
        if *place == Self::NO_GROUP {
            *place = list.len() as u32;
            let amounts = Amounts::default();
            list.push(GroupSums { day, value, rows: 0, amounts, visitors: 0, last_device: Devices::NOBODY });
        }
        &mut list[*place as usize]
    }

    fn add(&mut self, rows: &Rows, calendar: usize, dimension: usize) {
        let (days, values) = (&rows.days[calendar], &rows.values[dimension]);
        let mut from = 0;
        while from < days.len() {
            let day = days[from];
            let to = from + days[from..].iter().take_while(|other| **other == day).count();
            if day != NO_DAY {
                let (places, list) = self.places(day);
                for row in from..to {
                    if values[row] == NOT_COUNTED {
                        continue;
                    }
                    let group = Self::group(places, list, day, values[row]);
                    group.rows += 1;
                    if let Some(amounts) = rows.amounts.get(row) {
                        group.amounts.add(amounts);
                    }
                }
            }
            from = to;
        }
    }

    /// Takes over what another has of some days; `value_of` says which value of ours one of its values is.
    pub fn take_days(&mut self, from: &mut Self, moved: &BTreeSet<DayNumber>, mut value_of: impl FnMut(u32) -> u32) {
        for theirs in from.list.iter_mut().filter(|group| moved.contains(&group.day)) {
            let value = value_of(theirs.value);
            let (places, list) = self.places(theirs.day);
            let ours = Self::group(places, list, theirs.day, value);
            ours.rows += theirs.rows;
            ours.amounts.add(&theirs.amounts);
            theirs.day = NO_DAY;
        }
    }

    /// Counts the devices of rows of one day, which stand in the order of devices.
    pub fn count_visitors(&mut self, day: DayNumber, rows: impl Iterator<Item = (u32, u32)>) {
        let (places, list) = self.places(day);
        for (device, value) in rows.filter(|(_, value)| *value != NOT_COUNTED) {
            let group = Self::group(places, list, day, value);
            if group.last_device != device {
                group.last_device = device;
                group.visitors += 1;
            }
        }
    }
}

/// Rows that count, column by column.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub devices: Vec<u32>,
    /// The day in each calendar.
    pub days: Vec<Vec<DayNumber>>,
    /// The value in each dimension.
    pub values: Vec<Vec<u32>>,
    /// What is summed; empty if nothing is. A tally does not keep it.
    pub amounts: Vec<Amounts>,
}

/// All that one reader has counted.
#[derive(Debug)]
pub(super) struct Tally {
    pub devices: Devices,
    /// The values of each dimension.
    pub values: Vec<Values>,
    /// By calendar, then by dimension.
    pub groups: Vec<Vec<Groups>>,
    pub rows: Rows,
    /// The days of each calendar on which there are rows.
    pub days: Vec<BTreeSet<DayNumber>>,
}

impl Tally {
    pub fn new(calendars: usize, dimensions: usize) -> Self {
        Self {
            devices: Devices::default(),
            values: vec![Values::default(); dimensions],
            groups: vec![vec![Groups::default(); dimensions]; calendars],
            rows: Rows { days: vec![Vec::new(); calendars], values: vec![Vec::new(); dimensions], ..Rows::default() },
            days: vec![BTreeSet::new(); calendars],
        }
    }

    /// Counts rows, whose devices and values are numbered by this tally.
    pub fn add(&mut self, rows: &Rows) {
        for (calendar, groups) in self.groups.iter_mut().enumerate() {
            for (dimension, groups) in groups.iter_mut().enumerate() {
                groups.add(rows, calendar, dimension);
            }
        }
        self.rows.devices.extend_from_slice(&rows.devices);
        for (kept, values) in self.rows.values.iter_mut().zip(&rows.values) {
            kept.extend_from_slice(values);
        }
        for ((kept, days), seen) in self.rows.days.iter_mut().zip(&rows.days).zip(&mut self.days) {
            kept.extend_from_slice(days);
            for run in days.chunk_by(|a, b| a == b) {
                if run[0] != NO_DAY {
                    seen.insert(run[0]);
                }
            }
        }
    }

    /// About how many bytes of memory it takes, and will take to be counted.
    pub fn size_bytes(&self) -> usize {
        let columns = 1 + self.rows.days.len() + self.rows.values.len();
        // Counting puts rows in order, which takes about three columns more.
        let rows = self.rows.devices.capacity() * size_of::<u32>() * (columns + 3);
        let values: usize = self.values.iter().map(Values::size_bytes).sum();
        let groups = self.groups.iter().flatten().map(|groups| groups.list.capacity() * size_of::<GroupSums>());
        self.devices.size_bytes() + values + rows + groups.sum::<usize>()
    }
}
