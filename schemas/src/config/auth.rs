//! `[auth]`: keys.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// Keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Seconds for which a checked key is believed without asking the control database; a revocation takes at most
    /// this long to be felt. Default 3.
    pub cache_ttl_s: u64,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { cache_ttl_s: 3 }
    }
}

impl AuthConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        // More than 5 s would break the promise about revoked keys.
        within("auth.cache_ttl_s", self.cache_ttl_s, 0..=5)
    }
}
