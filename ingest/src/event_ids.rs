//! Which event ids have been seen: a small window in memory that answers before the log, and an exact index on disk
//! that decides before the lake.
//!
//! The index holds a 128-bit hash of every id in `events`. It follows the table's versions and never leads them, so it
//! can be thrown away: what is missing is read from the lake's `event_id` column again.

mod hot_window;
mod index;
mod run;

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use touchline_schemas::{Environment, Tenant};

pub use hot_window::HotWindow;
pub use index::{EventIdIndex, IndexError};

/// A hash of tenant and event id. SipHash-1-3 with 128 bits: among 10¹² ids, two that differ agree with a probability
/// of 10⁻¹⁵.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdHash(pub u128);

impl IdHash {
    /// The hash of an event's id.
    pub fn new(tenant: Tenant, event_id: &str) -> Self {
        let (high, low) = tenant.account_id.0.as_u64_pair();
        let environment = match tenant.environment {
            Environment::Live => 0,
            Environment::Test => 1,
        };
        let mut hasher = SipHasher13::new_with_keys(high, low ^ environment);
        hasher.write(event_id.as_bytes());
        Self(hasher.finish128().as_u128())
    }
}
