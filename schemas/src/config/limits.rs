//! `[limits]`: how much may be asked at a time.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// The most that a rate may be; ten million a second is one each 100 ns.
const MAX_RATE: u32 = 10_000_000;
/// The most that may be counted at a time.
const MAX_COUNT: u32 = 10_000_000;

/// How much one key, one address and all together may ask for at a time. 0 is no limit.
///
/// The defaults are there against loops that run away and against those who try keys: they are far above what a node can
/// take, so that no honest client ever meets them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests a second that one key may send to ingest. Default 200,000.
    pub ingest_per_key_per_s: u32,
    /// Requests that it may send at once, after a pause. Default 400,000.
    pub ingest_burst_per_key: u32,
    /// Requests a second that one key may send to everything else. Default 1,000.
    pub reading_per_key_per_s: u32,
    /// Requests that it may send there at once, after a pause. Default 5,000.
    pub reading_burst_per_key: u32,
    /// Requests a minute, from one address, whose key is missing, wrong or revoked. Default 60.
    pub failures_per_address_per_min: u32,
    /// Such requests that it may send at once, after a pause. Default 300.
    pub failure_burst_per_address: u32,
    /// Requests of one key to ingest that are answered at the same time. Default 10,000.
    pub ingest_running_per_key: u32,
    /// Requests to ingest that are answered at the same time. Default 20,000.
    pub ingest_running: u32,
    /// Requests to ingest from one address (of IPv6 a /64) whose key stands in the body, while that is read. Default 1,000.
    pub unknown_running_per_address: u32,
    /// Requests to ingest whose key stands in the body, while that is read. Default 5,000.
    pub unknown_running: u32,
    /// Requests of one key to everything else that are answered at the same time. Default 128.
    pub reading_running_per_key: u32,
    /// Requests to everything else, with a key, that are answered at the same time. Default 512.
    pub reading_running: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            ingest_per_key_per_s: 200_000,
            ingest_burst_per_key: 400_000,
            reading_per_key_per_s: 1_000,
            reading_burst_per_key: 5_000,
            failures_per_address_per_min: 60,
            failure_burst_per_address: 300,
            ingest_running_per_key: 10_000,
            ingest_running: 20_000,
            unknown_running_per_address: 1_000,
            unknown_running: 5_000,
            reading_running_per_key: 128,
            reading_running: 512,
        }
    }
}

impl LimitsConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        const RATES: RangeInclusive<u32> = 0..=MAX_RATE;
        const BURSTS: RangeInclusive<u32> = 1..=MAX_COUNT;
        const COUNTS: RangeInclusive<u32> = 0..=MAX_COUNT;
        within("limits.ingest_per_key_per_s", self.ingest_per_key_per_s, RATES)?;
        within("limits.ingest_burst_per_key", self.ingest_burst_per_key, BURSTS)?;
        within("limits.reading_per_key_per_s", self.reading_per_key_per_s, RATES)?;
        within("limits.reading_burst_per_key", self.reading_burst_per_key, BURSTS)?;
        within("limits.failures_per_address_per_min", self.failures_per_address_per_min, RATES)?;
        within("limits.failure_burst_per_address", self.failure_burst_per_address, BURSTS)?;
        within("limits.ingest_running_per_key", self.ingest_running_per_key, COUNTS)?;
        within("limits.ingest_running", self.ingest_running, COUNTS)?;
        within("limits.unknown_running_per_address", self.unknown_running_per_address, COUNTS)?;
        within("limits.unknown_running", self.unknown_running, COUNTS)?;
        within("limits.reading_running_per_key", self.reading_running_per_key, COUNTS)?;
        within("limits.reading_running", self.reading_running, COUNTS)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn no_rate_is_no_limit_and_no_burst_is_refused() {
        Config::from_toml("[limits]\ningest_per_key_per_s = 0\nreading_running = 0").unwrap();
        let said = Config::from_toml("[limits]\ningest_burst_per_key = 0").unwrap_err().to_string();
        assert!(said.contains("limits.ingest_burst_per_key must be between 1 and 10000000, not 0"), "{said}");
    }
}
