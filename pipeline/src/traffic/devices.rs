//! Whose row it is, for many rows: enough to put the rows of one device together, without a table of all devices.
//!
//! Looking a device up in a table of hundreds of thousands costs several accesses to far memory for each row. Instead
//! a row keeps a hash of its device and the place of its text, and rows are put in the order of their hashes. Only
//! where hashes are equal the texts are compared, so devices are told apart exactly, and most texts are never looked at
//! again.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use arrow::array::{Array, StringViewArray};
use hashbrown::DefaultHashBuilder;

use crate::intern::TextList;

const VISITOR: u8 = b'v';
const USER: u8 = b'u';
/// The place of a row without a device.
const NOBODY: u32 = u32::MAX;

/// The bits of a hash by which rows are sorted before texts are looked at.
const HALF_OF_HASH: u64 = !0 << u32::BITS;

/// Rows in an order in which those of one device stand together.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub rows: Vec<u32>,
    /// For each of them its device: a number from 1, or 0 for nobody.
    pub numbers: Vec<u32>,
}

/// The devices of rows.
#[derive(Debug, Clone, Default)]
pub(super) struct DeviceColumn {
    hashes: Vec<u64>,
    /// Where each row's text is.
    places: Vec<u32>,
    texts: TextList,
}

impl DeviceColumn {
    /// Adds the device of a row, if it has one; one without is added if `nobody_counts`. Says whether it was added.
    #[inline]
    pub fn push(
        &mut self,
        hasher: &DefaultHashBuilder,
        [visitors, users]: [&StringViewArray; 2],
        row: usize,
        nobody_counts: bool,
    ) -> bool {
        let (kind, text) = if visitors.is_valid(row) {
            (VISITOR, visitors.value(row).as_bytes())
        } else if users.is_valid(row) {
            (USER, users.value(row).as_bytes())
        } else {
            if nobody_counts {
                self.hashes.push(0);
                self.places.push(NOBODY);
            }
            return nobody_counts;
        };
        // Files keep a visitor's events together.
        match (self.places.last(), self.hashes.last()) {
            (Some(&place), Some(&hash)) if place != NOBODY && is(self.texts.get(place), kind, text) => {
                self.hashes.push(hash);
                self.places.push(place);
            }
            _ => {
                self.hashes.push(hasher.hash_one((kind, text)));
                self.places.push(self.texts.push_of(kind, text));
            }
        }
        true
    }

    /// Adds the device of a row of another column, whose hashes are of the same hasher.
    pub fn push_from(&mut self, other: &Self, row: usize) {
        let place = match (other.places[row], self.places.last()) {
            (NOBODY, _) => NOBODY,
            (place, Some(&last)) if last != NOBODY && self.texts.get(last) == other.texts.get(place) => last,
            (place, _) => self.texts.push(other.texts.get(place)),
        };
        self.hashes.push(other.hashes[row]);
        self.places.push(place);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory that it takes.
    pub fn size_bytes(&self) -> usize {
        let row = size_of::<u64>() + size_of::<u32>();
        self.places.capacity() * row + self.texts.size_bytes()
    }

    /// Puts rows in an order in which those of one device stand together.
    pub fn sort(&self, rows: impl Iterator<Item = u32>) -> Sorted {
        // Half of a hash and the row in one number: sorting these touches nothing but themselves.
        let mut keys: Vec<u64> = rows.map(|row| self.hashes[row as usize] & HALF_OF_HASH | u64::from(row)).collect();
        keys.sort_unstable();
        let mut sorted = Sorted { rows: keys.iter().map(|key| *key as u32).collect(), numbers: Vec::new() };
        sorted.numbers.reserve(keys.len());
        let mut number = 0;
        let mut from = 0;
        for run in keys.chunk_by(|a, b| a & HALF_OF_HASH == b & HALF_OF_HASH) {
            let rows = &mut sorted.rows[from..from + run.len()];
            from += run.len();
            if rows.len() > 1 {
                rows.sort_unstable_by(|a, b| self.order(*a, *b));
            }
            for of_device in rows.chunk_by(|a, b| self.order(*a, *b).is_eq()) {
                number += 1;
                let is_nobody = run[0] & HALF_OF_HASH == 0 && self.places[of_device[0] as usize] == NOBODY;
                sorted.numbers.extend(std::iter::repeat_n(if is_nobody { 0 } else { number }, of_device.len()));
            }
        }
        sorted
    }

    fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (a as usize, b as usize);
        self.hashes[a].cmp(&self.hashes[b]).then_with(|| match (self.places[a], self.places[b]) {
            (place, other) if place == other => Ordering::Equal,
            (NOBODY, _) => Ordering::Less,
            (_, NOBODY) => Ordering::Greater,
            (place, other) => self.texts.get(place).cmp(self.texts.get(other)),
        })
    }
}

fn is(known: &[u8], kind: u8, text: &[u8]) -> bool {
    known.len() == text.len() + 1 && known[0] == kind && &known[1..] == text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(devices: &[(Option<&str>, Option<&str>)]) -> DeviceColumn {
        let visitors: StringViewArray = devices.iter().map(|device| device.0).collect();
        let users: StringViewArray = devices.iter().map(|device| device.1).collect();
        let hasher = DefaultHashBuilder::default();
        let mut column = DeviceColumn::default();
        (0..devices.len()).for_each(|row| assert!(column.push(&hasher, [&visitors, &users], row, true)));
        column
    }

    /// Rows of one device have one number, whatever their hashes are.
    fn check(column: &DeviceColumn, same: &[&[u32]]) {
        let sorted = column.sort(0..column.len() as u32);
        for rows in same {
            let known = sorted.rows.iter().zip(&sorted.numbers).filter(|(row, _)| rows.contains(row));
            let of_rows: Vec<u32> = known.map(|(_, number)| *number).collect();
            assert_eq!(of_rows, vec![of_rows[0]; rows.len()], "{rows:?}");
        }
        assert!(sorted.numbers.chunk_by(|a, b| a == b).count() == same.len(), "{:?}", sorted.numbers);
        let distinct: std::collections::BTreeSet<_> = sorted.numbers.iter().collect();
        assert_eq!(distinct.len(), same.len());
    }

    #[test]
    fn rows_of_one_device_stand_together() {
        let devices = [
            (Some("a"), Some("u")),
            (None, Some("a")),
            (None, None),
            (Some("a"), None),
            (Some("b"), Some("a")),
            (None, Some("a")),
            (None, None),
            (Some("b"), None),
        ];
        let same: [&[u32]; 4] = [&[0, 3], &[1, 5], &[2, 6], &[4, 7]];
        check(&column(&devices), &same);
        // Equal hashes say nothing: the texts decide.
        let mut colliding = column(&devices);
        for hash in [0, 7, u64::MAX] {
            colliding.hashes.fill(hash);
            check(&colliding, &same);
        }
        colliding.hashes.fill(0);
        let mut copied = DeviceColumn::default();
        (0..devices.len()).for_each(|row| copied.push_from(&colliding, row));
        check(&copied, &same);
    }

    #[test]
    fn who_has_no_id_counts_only_if_asked() {
        let nobody = StringViewArray::new_null(1);
        let mut column = DeviceColumn::default();
        assert!(!column.push(&DefaultHashBuilder::default(), [&nobody, &nobody], 0, false));
        assert_eq!(column.len(), 0);
    }
}
