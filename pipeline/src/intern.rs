//! Texts as numbers: what is counted by the million is compared and sorted as small integers.

use arrow::array::{Array, StringViewArray};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Distinct texts, numbered from 0 in the order in which they first came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    hasher: DefaultHashBuilder,
    table: HashTable<Slot>,
    /// Each with its kind before it.
    texts: TextList,
    last: Option<u32>,
}

/// The number of a text. Its hash is kept, so that a table that grows need not look at the texts.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    number: u32,
}

impl Texts {
    /// The number of a text of one kind. Texts of different kinds are different.
    #[inline]
    pub fn number(&mut self, kind: u8, text: &[u8]) -> u32 {
        // What stands beside it in a file is often the same.
        if let Some(last) = self.last.filter(|last| is(self.texts.get(*last), kind, text)) {
            return last;
        }
        let Self { hasher, table, texts, last } = self;
        let hash = hasher.hash_one((kind, text)) as u32;
        let is_it = |slot: &Slot| slot.hash == hash && is(texts.get(slot.number), kind, text);
        let number = match table.find(spread(hash), is_it) {
            Some(slot) => slot.number,
            None => {
                let number = texts.push_of(kind, text);
                table.insert_unique(spread(hash), Slot { hash, number }, |slot| spread(slot.hash));
                number
            }
        };
        *last = Some(number);
        number
    }

    /// Kind and text of a number.
    pub fn get(&self, number: u32) -> (u8, &[u8]) {
        match self.texts.get(number) {
            [kind, text @ ..] => (*kind, text),
            [] => (0, &[]),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Bytes of memory that they take.
    pub fn size_bytes(&self) -> usize {
        self.table.allocation_size() + self.texts.size_bytes()
    }
}

/// The table wants all bits to differ.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn is(entry: &[u8], kind: u8, text: &[u8]) -> bool {
    entry.len() == text.len() + 1 && entry[0] == kind && &entry[1..] == text
}

/// Those whom sessions and events belong to: the visitor id, else the user id. Who has neither is number 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Devices(Texts);

impl Devices {
    /// The number of a row without a device.
    pub const NOBODY: u32 = 0;
    const VISITOR: u8 = b'v';
    const USER: u8 = b'u';

    /// The number of a row's device.
    #[inline]
    pub fn number(&mut self, visitors: &StringViewArray, users: &StringViewArray, row: usize) -> u32 {
        if visitors.is_valid(row) {
            self.0.number(Self::VISITOR, visitors.value(row).as_bytes()) + 1
        } else if users.is_valid(row) {
            self.0.number(Self::USER, users.value(row).as_bytes()) + 1
        } else {
            Self::NOBODY
        }
    }

    /// Bytes of memory that they take.
    pub fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }
}

/// The values of a column that may be null. Null is number 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values(Texts);

impl Values {
    /// The number of null.
    pub const NULL: u32 = 0;
    /// Values of a column that are looked at again and again are found among so many.
    const RECENT: usize = 64;

    /// The number of a value.
    #[inline]
    pub fn number(&mut self, text: Option<&str>) -> u32 {
        text.map_or(Self::NULL, |text| self.0.number(0, text.as_bytes()) + 1)
    }

    /// The numbers of the values in some rows of a column.
    pub fn numbers(&mut self, column: &StringViewArray, rows: &[u32]) -> Vec<u32> {
        let views = column.views();
        // Inside one array equal views are equal texts, and columns with few values have few views.
        let mut recent = [(0_u128, None); Self::RECENT];
        let number = |row: &u32| {
            let row = *row as usize;
            if column.is_null(row) {
                return Self::NULL;
            }
            let view = views[row];
            let mixed = ((view as u64) ^ ((view >> 64) as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let place = &mut recent[(mixed >> 58) as usize];
            match *place {
                (known, Some(number)) if known == view => number,
                _ => {
                    let number = self.0.number(0, column.value(row).as_bytes()) + 1;
                    *place = (view, Some(number));
                    number
                }
            }
        };
        rows.iter().map(number).collect()
    }

    /// The value of a number.
    pub fn get(&self, number: u32) -> Option<&str> {
        let text = self.0.get(number.checked_sub(1)?).1;
        // Only texts went in.
        std::str::from_utf8(text).ok()
    }

    /// How many numbers there are, null's included.
    pub fn len(&self) -> usize {
        self.0.len() + 1
    }

    /// Bytes of memory that they take.
    pub fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }
}

/// Texts in a row, of which most are looked at once or never: their bytes, without looking for equals.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextList(Vec<TextPage>);

/// So many texts that one of them never has a page of 4 GiB, which `ends` could not say.
const PAGE_TEXTS: usize = 1 << 10;

/// Pages do not move when others come, so that a list that grows copies nothing.
#[derive(Debug, Clone, Default)]
struct TextPage {
    /// Where each text ends in `bytes`.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl TextList {
    /// Puts a text at the end, and says at which place that is.
    pub fn push(&mut self, text: &[u8]) -> u32 {
        self.append(&[], text)
    }

    /// Likewise, with a kind before the text.
    pub fn push_of(&mut self, kind: u8, text: &[u8]) -> u32 {
        self.append(&[kind], text)
    }

    fn append(&mut self, head: &[u8], tail: &[u8]) -> u32 {
        if self.0.last().is_none_or(|last| last.ends.len() == PAGE_TEXTS) {
            // The texts of a list are mostly of a length.
            let page = self.0.last().map_or_else(TextPage::default, |last| TextPage {
                ends: Vec::with_capacity(PAGE_TEXTS),
                bytes: Vec::with_capacity(last.bytes.len()),
            });
            self.0.push(page);
        }
        let before = (self.0.len() - 1) * PAGE_TEXTS;
        let page = &mut self.0[before / PAGE_TEXTS];
        page.bytes.extend_from_slice(head);
        page.bytes.extend_from_slice(tail);
        page.ends.push(page.bytes.len() as u32);
        (before + page.ends.len() - 1) as u32
    }

    /// The bytes of the text at a place.
    #[inline]
    pub fn get(&self, place: u32) -> &[u8] {
        let (page, place) = (&self.0[place as usize / PAGE_TEXTS], place as usize % PAGE_TEXTS);
        let start = place.checked_sub(1).map_or(0, |before| page.ends[before]);
        &page.bytes[start as usize..page.ends[place] as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PAGE_TEXTS + last.ends.len())
    }

    /// Bytes of memory that they take.
    pub fn size_bytes(&self) -> usize {
        let of = |page: &TextPage| page.ends.capacity() * size_of::<u32>() + page.bytes.capacity();
        self.0.iter().map(of).sum::<usize>() + self.0.capacity() * size_of::<TextPage>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_of_one_kind_have_one_number() {
        let mut texts = Texts::default();
        let words: Vec<String> = (0..1_000).map(|number| format!("text-{}", number % 137)).collect();
        for (place, word) in words.iter().enumerate() {
            assert_eq!(texts.number(1, word.as_bytes()) as usize, place % 137, "{word}");
        }
        assert_eq!(texts.number(2, b"text-0"), 137);
        assert_eq!(texts.number(1, b""), 138);
        assert_eq!(texts.get(3), (1, &b"text-3"[..]));
        assert_eq!(texts.get(138), (1, &b""[..]));
    }

    #[test]
    fn texts_lie_where_they_were_put_across_pages() {
        let (mut texts, mut list) = (Texts::default(), TextList::default());
        let word = |number: u32| "ab".repeat(number as usize % 3) + &number.to_string();
        for number in 0..5_000 {
            assert_eq!(texts.number(1, word(number).as_bytes()), number);
            assert_eq!(list.push(word(number).as_bytes()), number);
        }
        for number in (0..5_000).rev() {
            assert_eq!(texts.number(1, word(number).as_bytes()), number);
            assert_eq!((texts.get(number), list.get(number)), ((1, word(number).as_bytes()), word(number).as_bytes()));
        }
        assert_eq!((texts.len(), list.len()), (5_000, 5_000));
    }

    #[test]
    fn a_visitor_and_a_user_of_the_same_name_are_two() {
        let visitors = StringViewArray::from(vec![Some("a"), None, None, Some("a"), Some("b")]);
        let users = StringViewArray::from(vec![Some("u"), Some("a"), None, None, Some("a")]);
        let mut devices = Devices::default();
        let numbers: Vec<_> = (0..5).map(|row| devices.number(&visitors, &users, row)).collect();
        assert_eq!(numbers, [1, 2, Devices::NOBODY, 1, 3]);
    }

    #[test]
    fn values_are_numbered_and_null_is_one_of_them() {
        let long = "a value that is too long to stand in its view";
        let column = StringViewArray::from(vec![None, Some("x"), Some(long), Some("x"), Some(""), Some(long)]);
        let mut values = Values::default();
        assert_eq!(values.numbers(&column, &[0, 1, 2, 3, 4, 5]), [0, 1, 2, 1, 3, 2]);
        assert_eq!(values.number(Some("x")), 1);
        assert_eq!((values.get(0), values.get(2), values.get(3), values.len()), (None, Some(long), Some(""), 4));
    }
}
