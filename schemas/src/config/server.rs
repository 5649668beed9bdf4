//! `[server]`: the HTTP listener.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::check::within;

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port. Default `127.0.0.1:8000`; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Seconds that a client may take to send its request. Default 30.
    pub request_read_timeout_s: u64,
    /// Seconds that running requests and jobs get to finish after a stop signal. Default 10.
    pub shutdown_grace_s: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)), request_read_timeout_s: 30, shutdown_grace_s: 10 }
    }
}

impl ServerConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("server.request_read_timeout_s", self.request_read_timeout_s, 1..=3_600)?;
        within("server.shutdown_grace_s", self.shutdown_grace_s, 0..=3_600)
    }
}
