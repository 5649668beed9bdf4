//! `[sessions]`: the definition of a session.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// The definition of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// Minutes without an event after which a session has ended, 1 to 475. Default 30; an account may choose
    /// otherwise for itself.
    pub timeout_minutes: u16,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { timeout_minutes: 30 }
    }
}

impl SessionsConfig {
    /// The timeouts that can be chosen, in minutes, here and in an account's settings.
    pub const TIMEOUT_MINUTES: RangeInclusive<u16> = 1..=475;

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("sessions.timeout_minutes", self.timeout_minutes, Self::TIMEOUT_MINUTES)
    }
}
