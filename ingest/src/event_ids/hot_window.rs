//! The ids of the last events, in memory: what a client repeats soon is answered `duplicate` at once.
//!
//! It may forget; the index behind it does not. It must not remember what was lost, which is why it belongs to a
//! generation of the log and starts empty with each.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashSet;

use super::IdHash;

/// The last events' ids, in two halves: when the younger is full, the older is forgotten.
#[derive(Debug)]
pub struct HotWindow {
    half: usize,
    generation: u64,
    younger: IdSet,
    older: IdSet,
}

type IdSet = HashSet<IdHash, BuildHasherDefault<AlreadyHashed>>;

impl HotWindow {
    /// A window that knows at least `events / 2` and at most `events` ids.
    pub fn new(events: usize) -> Self {
        Self { half: (events / 2).max(1), generation: 0, younger: IdSet::default(), older: IdSet::default() }
    }

    /// Remembers an id in the log's `generation`; false when it is known already.
    pub fn insert(&mut self, generation: u64, id: IdHash) -> bool {
        if generation != self.generation {
            self.generation = generation;
            self.younger.clear();
            self.older.clear();
        }
        if self.older.contains(&id) || !self.younger.insert(id) {
            return false;
        }
        if self.younger.len() >= self.half {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        true
    }
}

/// The ids are hashes already.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_old_ids_are_forgotten_in_halves() {
        let mut window = HotWindow::new(4);
        for id in 0..4 {
            assert!(window.insert(0, IdHash(id)));
        }
        assert!(!window.insert(0, IdHash(3)));
        assert!(window.insert(0, IdHash(4)), "5th id");
        assert!(window.insert(0, IdHash(0)), "the first half is forgotten");
    }

    #[test]
    fn a_new_generation_of_the_log_starts_empty() {
        let mut window = HotWindow::new(4);
        assert!(window.insert(0, IdHash(1)));
        assert!(window.insert(1, IdHash(1)));
        assert!(!window.insert(1, IdHash(1)));
    }
}
