//! Counts by group, and people by group and count.

use std::collections::HashSet;
use std::sync::Arc;

use hashbrown::HashMap;
use touchline_schemas::tables::message_rollups::{AMOUNTS, COUNTS, DIMENSIONS};

use crate::days::DayNumber;
use crate::intern::Values;
use crate::paged::Paged;

pub(super) const DAY_US: i64 = 86_400_000_000;

/// The calendars of groups.
pub(super) const COHORT: u8 = 0;
pub(super) const EVENT: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Group {
    pub calendar: u8,
    pub day: DayNumber,
    pub dimensions: [u32; DIMENSIONS.len()],
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub counts: [i64; COUNTS.len()],
    pub amounts_e4: [i128; AMOUNTS.len()],
}

const NO_SUMS: Sums = Sums { counts: [0; COUNTS.len()], amounts_e4: [0; AMOUNTS.len()] };
/// Group of days that are not wanted.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Counts of some attempts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub days: Option<Arc<HashSet<DayNumber>>>,
    pub groups: HashMap<Group, u32>,
    pub sums: Vec<Sums>,
    pub reasons: HashMap<(u32, usize, u32), i64>,
    pub values: Values,
    /// Group, count and person in one number.
    pub people: Paged<u64>,
}

/// Where things of one attempt count.
pub(super) struct Row {
    pub dimensions: [u32; DIMENSIONS.len()],
    pub person: u32,
    pub cohort: u32,
    /// The last day of the other calendar that was asked for, and its group.
    pub last: (DayNumber, u32),
}

impl Tally {
    /// Counts on some days, or on all of them.
    pub fn on(days: Option<Arc<HashSet<DayNumber>>>) -> Self {
        Self { days, ..Self::default() }
    }

    /// Counts one in both calendars.
    pub fn add(&mut self, at: &mut Row, at_us: i64, place: usize) {
        for group in self.groups_at(at, at_us) {
            if let Some(sums) = self.sums.get_mut(group as usize) {
                sums.counts[place] += 1;
            }
        }
    }

    pub fn add_amount(&mut self, at: &mut Row, at_us: i64, place: usize, amount_e4: i128) {
        for group in self.groups_at(at, at_us) {
            if let Some(sums) = self.sums.get_mut(group as usize) {
                sums.amounts_e4[place] += amount_e4;
            }
        }
    }

    pub fn add_reason(&mut self, at: &mut Row, at_us: i64, place: usize, reason: Option<&str>) {
        let Some(reason) = reason else { return };
        let reason = self.values.number(Some(reason));
        for group in self.groups_at(at, at_us).into_iter().filter(|group| *group != NOWHERE) {
            *self.reasons.entry((group, place, reason)).or_default() += 1;
        }
    }

    pub fn add_person(&mut self, at: &mut Row, at_us: i64, number: usize) {
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

    pub fn group(&mut self, group: Group) -> u32 {
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

    pub fn size_bytes(&self) -> usize {
        let group = size_of::<Group>() + size_of::<u32>() + size_of::<Sums>();
        self.sums.capacity() * group + self.people.size_bytes() + self.values.size_bytes()
    }

    /// Adds what another has counted, whose texts have other numbers; but for its people, which are given back with the
    /// numbers of this one.
    pub fn take_in(&mut self, other: Self) -> Paged<u64> {
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
        let mut people = Paged::default();
        for of in other.people.iter() {
            let (group, number, person) = parts(of);
            people.push(pair(groups[group as usize], number, numbers[person as usize]));
        }
        people
    }
}

/// Bits of the number of a person; those of the count of people lie above.
const PERSON_BITS: u32 = 32;
const COUNT_BITS: u32 = 3;

pub(super) fn pair(group: u32, number: usize, person: u32) -> u64 {
    (u64::from(group) << COUNT_BITS | number as u64) << PERSON_BITS | u64::from(person)
}

pub(super) fn parts(of: u64) -> (u32, usize, u32) {
    let above = of >> PERSON_BITS;
    ((above >> COUNT_BITS) as u32, (above & ((1 << COUNT_BITS) - 1)) as usize, of as u32)
}

/// The day of an instant.
pub(super) fn day_of(at_us: i64) -> DayNumber {
    at_us.div_euclid(DAY_US) as DayNumber
}
