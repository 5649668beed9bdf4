//! Requests that are being answered, counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// How many requests may be answered at the same time, of each `K` and of all, and how many are.
#[derive(Debug)]
pub struct Running<K: Copy + Eq + Hash> {
    most: Option<u32>,
    most_of_key: Option<u32>,
    counts: Mutex<Counts<K>>,
}

/// Keys without requests are not in it.
#[derive(Debug)]
struct Counts<K> {
    all: u32,
    of_key: HashMap<K, u32>,
}

impl<K: Copy + Eq + Hash> Running<K> {
    /// At most `most` at the same time, and `most_of_key` of one key; 0 is no limit.
    pub fn new(most: u32, most_of_key: u32) -> Self {
        let limit = |most| (most > 0).then_some(most);
        Self {
            most: limit(most),
            most_of_key: limit(most_of_key),
            counts: Mutex::new(Counts { all: 0, of_key: HashMap::new() }),
        }
    }

    /// The most at the same time.
    pub fn most(&self) -> Option<u32> {
        self.most
    }

    /// The most of one key at the same time.
    pub fn most_of_key(&self) -> Option<u32> {
        self.most_of_key
    }

    /// A place among all; none if there are too many.
    pub fn enter(self: &Arc<Self>) -> Option<Place<K>> {
        let mut counts = self.counts.lock();
        if self.most.is_some_and(|most| counts.all >= most) {
            return None;
        }
        counts.all += 1;
        Some(Place { running: self.clone(), key: None })
    }

    /// A place among those of a key; none if there are too many.
    pub fn enter_as(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut counts = self.counts.lock();
        let running = counts.of_key.get(&key).copied().unwrap_or(0);
        if self.most_of_key.is_some_and(|most| running >= most) {
            return None;
        }
        counts.of_key.insert(key, running + 1);
        Some(Place { running: self.clone(), key: Some(key) })
    }

    fn leave(&self, key: Option<K>) {
        let mut counts = self.counts.lock();
        let Some(key) = key else {
            counts.all -= 1;
            return;
        };
        if let Some(running) = counts.of_key.get_mut(&key) {
            *running -= 1;
            if *running == 0 {
                counts.of_key.remove(&key);
            }
        }
    }
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub struct Place<K: Copy + Eq + Hash> {
    running: Arc<Running<K>>,
    key: Option<K>,
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        self.running.leave(self.key);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_request_is_answered() {
        let running = Arc::new(Running::new(3, 2));
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = running.enter_as(one).unwrap();
        let second = running.enter_as(one).unwrap();
        assert!(running.enter_as(one).is_none());
        let third = running.enter_as(other).unwrap();
        drop(first);
        assert!(running.enter_as(one).is_some());
        let all = [running.enter(), running.enter(), running.enter()];
        assert!(all.iter().all(Option::is_some) && running.enter().is_none());
        drop((second, third, all));
        assert!(running.enter().is_some());
        assert!(running.counts.lock().of_key.is_empty());
    }

    #[test]
    fn nothing_is_no_limit() {
        let running = Arc::new(Running::new(0, 0));
        let places: Vec<_> = (0..1_000).map(|_| (running.enter(), running.enter_as(Uuid::nil()))).collect();
        assert!(places.iter().all(|(all, of_key)| all.is_some() && of_key.is_some()));
    }
}
