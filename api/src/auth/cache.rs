//! Keys that were checked a moment ago, so that the control database is not asked for each request.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest as _, Sha256};
use touchline_schemas::control::{AuthenticatedKey, ControlDb, ControlError, PlainKey};

use super::Unauthenticated;

/// Answers kept at most, of each kind. Strangers who try keys fill the second kind, and cannot push out the first.
const MAX_ENTRIES: usize = 10_000;
/// How often a key's `last_used_at` is written, in microseconds.
const MARK_INTERVAL_US: i64 = 60_000_000;

/// A key as the cache knows it: not the key itself, which nobody should find in a memory dump.
type Fingerprint = [u8; 32];
type Answers<T> = RwLock<HashMap<Fingerprint, Answer<T>>>;

#[derive(Debug, Clone)]
struct Answer<T> {
    value: T,
    checked_at_us: i64,
}

/// What a caller shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presented<'p> {
    /// A key.
    Key(&'p str),
    /// A domain that an account tracks.
    Domain(&'p str),
}

impl Presented<'_> {
    fn fingerprint(self) -> Fingerprint {
        match self {
            Self::Key(key) => Sha256::digest(key.as_bytes()),
            // No key begins like that.
            Self::Domain(domain) => Sha256::new().chain_update("domain:").chain_update(domain).finalize(),
        }
        .into()
    }
}

/// Answers of the control database, each believed for a few seconds.
#[derive(Debug)]
pub struct KeyCache {
    ttl_us: i64,
    known: Answers<Arc<AuthenticatedKey>>,
    refused: Answers<Unauthenticated>,
    /// When each key's use was last written, in microseconds.
    marked_at_us: Mutex<HashMap<Fingerprint, i64>>,
}

impl KeyCache {
    /// A cache that believes an answer for `ttl_s` seconds.
    pub fn new(ttl_s: u64) -> Self {
        Self {
            ttl_us: i64::try_from(ttl_s).unwrap_or(i64::MAX).saturating_mul(1_000_000),
            known: RwLock::default(),
            refused: RwLock::default(),
            marked_at_us: Mutex::default(),
        }
    }

    /// What `presented` opens, or why it opens nothing.
    pub async fn authenticate(
        &self,
        control: &ControlDb,
        now: DateTime<Utc>,
        presented: Presented<'_>,
    ) -> Result<Result<Arc<AuthenticatedKey>, Unauthenticated>, ControlError> {
        if matches!(presented, Presented::Key(key) if PlainKey::parse(key).is_none()) {
            return Ok(Err(Unauthenticated::InvalidKey));
        }
        let fingerprint = presented.fingerprint();
        let now_us = now.timestamp_micros();
        if let Some(key) = self.fresh(&self.known, &fingerprint, now_us) {
            return Ok(Ok(key));
        }
        if let Some(reason) = self.fresh(&self.refused, &fingerprint, now_us) {
            return Ok(Err(reason));
        }
        let found = match presented {
            Presented::Key(key) => control.authenticate(key, now).await?,
            Presented::Domain(domain) => control.authenticate_domain(domain).await?,
        };
        match found {
            Ok(key) => {
                let key = Arc::new(key);
                self.keep(&self.known, fingerprint, key.clone(), now_us);
                if matches!(presented, Presented::Key(_)) {
                    self.mark_used(control, &key, fingerprint, now);
                }
                Ok(Ok(key))
            }
            Err(failure) => {
                let reason = Unauthenticated::from(failure);
                self.known.write().remove(&fingerprint);
                self.keep(&self.refused, fingerprint, reason, now_us);
                Ok(Err(reason))
            }
        }
    }

    /// Forgets what is known of keys that were changed a moment ago. Other processes learn of it in their time.
    pub fn forget(&self, is_changed: impl Fn(&AuthenticatedKey) -> bool) {
        self.known.write().retain(|_, answer| !is_changed(&answer.value));
    }

    /// An answer also expires when the clock was set back behind it: it must not live longer than it should.
    fn fresh<T: Clone>(&self, answers: &Answers<T>, fingerprint: &Fingerprint, now_us: i64) -> Option<T> {
        let answers = answers.read();
        let answer = answers.get(fingerprint)?;
        (0..self.ttl_us).contains(&(now_us - answer.checked_at_us)).then(|| answer.value.clone())
    }

    fn keep<T>(&self, answers: &Answers<T>, fingerprint: Fingerprint, value: T, now_us: i64) {
        let mut answers = answers.write();
        if answers.len() >= MAX_ENTRIES && !answers.contains_key(&fingerprint) {
            answers.retain(|_, answer| (0..self.ttl_us).contains(&(now_us - answer.checked_at_us)));
            if answers.len() >= MAX_ENTRIES {
                answers.clear();
            }
        }
        answers.insert(fingerprint, Answer { value, checked_at_us: now_us });
    }

    /// Writes the use of a key at most once a minute, and lets no request wait for it.
    fn mark_used(&self, control: &ControlDb, key: &AuthenticatedKey, fingerprint: Fingerprint, now: DateTime<Utc>) {
        if !self.is_mark_due(fingerprint, now.timestamp_micros()) {
            return;
        }
        let (control, key_id) = (control.clone(), key.key_id);
        tokio::spawn(async move {
            if let Err(error) = control.mark_key_used(key_id, now).await {
                tracing::warn!(error = &error as &dyn std::error::Error, %key_id, "use of a key was not noted");
            }
        });
    }

    fn is_mark_due(&self, fingerprint: Fingerprint, now_us: i64) -> bool {
        let mut marked_at_us = self.marked_at_us.lock();
        let is_due = |at_us: i64| !(0..MARK_INTERVAL_US).contains(&(now_us - at_us));
        if marked_at_us.get(&fingerprint).is_some_and(|at_us| !is_due(*at_us)) {
            return false;
        }
        if marked_at_us.len() >= MAX_ENTRIES {
            marked_at_us.retain(|_, at_us| !is_due(*at_us));
        }
        marked_at_us.insert(fingerprint, now_us);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_believed_for_their_time_and_not_longer() {
        let cache = KeyCache::new(3);
        let checked_at_us = 10_000_000;
        cache.keep(&cache.refused, [1; 32], Unauthenticated::InvalidKey, checked_at_us);
        for (now_us, believed) in
            [(checked_at_us, true), (12_999_999, true), (13_000_000, false), (checked_at_us - 1, false)]
        {
            assert_eq!(cache.fresh(&cache.refused, &[1; 32], now_us).is_some(), believed, "{now_us}");
        }
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let cache = KeyCache::new(3);
        for number in 0..25_000_u32 {
            let mut fingerprint = [0; 32];
            fingerprint[..4].copy_from_slice(&number.to_be_bytes());
            cache.keep(&cache.refused, fingerprint, Unauthenticated::InvalidKey, 0);
        }
        assert!(cache.refused.read().len() <= MAX_ENTRIES);
    }

    #[test]
    fn use_is_noted_once_a_minute() {
        let cache = KeyCache::new(0);
        let due: Vec<bool> =
            [0, 1, 59_999_999, 60_000_000, 60_000_001].into_iter().map(|us| cache.is_mark_due([1; 32], us)).collect();
        assert_eq!(due, [true, false, false, true, false]);
    }
}
