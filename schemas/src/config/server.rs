//! `[server]`: the HTTP listener.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::check::within;
use super::{ConfigError, Network};

/// The most connections that can be asked for.
const MAX_CONNECTIONS: usize = 1_000_000;

/// The HTTP listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port. Default `127.0.0.1:8000`; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Connections at the same time; further ones wait. Default 16,384. Where the system allows fewer open files, there are
    /// fewer.
    pub max_connections: usize,
    /// Seconds that a client may take to send its request, and that it may take nothing of an answer. Default 30.
    pub request_read_timeout_s: u64,
    /// Seconds that running requests and jobs get to finish after a stop signal. Default 10.
    pub shutdown_grace_s: u64,
    /// Networks of the proxies in front of it: what they say of a client's address is believed. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Where they say it. Default `x-forwarded-for`.
    pub forwarded_header: ForwardedHeader,
}

/// The header in which a proxy says for whom it asks. Only one is read: a proxy passes on the other as the client wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses, separated by commas.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            max_connections: 16_384,
            request_read_timeout_s: 30,
            shutdown_grace_s: 10,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwardedFor,
        }
    }
}

impl ServerConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("server.max_connections", self.max_connections, 1..=MAX_CONNECTIONS)?;
        within("server.request_read_timeout_s", self.request_read_timeout_s, 1..=3_600)?;
        within("server.shutdown_grace_s", self.shutdown_grace_s, 0..=3_600)?;
        let Some(everybody) = self.trusted_proxies.iter().find(|network| network.is_everybody()) else { return Ok(()) };
        Err(ConfigError::Limit {
            field: "server.trusted_proxies".to_owned(),
            limit: "networks of your own proxies: with everybody's, clients say who they are".to_owned(),
            given: format!("`{everybody}`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn proxies_are_networks_and_say_it_in_one_header() {
        let text = "[server]\ntrusted_proxies = ['10.0.0.0/8', '::1/128']\nforwarded_header = 'forwarded'";
        let config = Config::from_toml(text).unwrap();
        assert_eq!(config.server.trusted_proxies, ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert_eq!(config.server.forwarded_header, ForwardedHeader::Forwarded);
        assert_eq!(Config::from_toml(&config.to_redacted_toml().unwrap()).unwrap(), config);
        for (text, expected) in [
            ("trusted_proxies = ['10.0.0.1/8']", "a network is an address"),
            ("trusted_proxies = ['proxy']", "a network is an address"),
            ("trusted_proxies = ['::/0']", "server.trusted_proxies must be networks of your own proxies"),
            ("forwarded_header = 'x-real-ip'", "unknown variant"),
        ] {
            let said = Config::from_toml(&format!("[server]\n{text}")).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
}
