//! `[exports]`: what is written for others, where, and who may be told of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::check::within;
use super::{ConfigError, Network, Secret};
use crate::paths::DataDir;

/// Scheduled exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportsConfig {
    /// Directory below which exports to `file:…` are written. Default: `exports` in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Attempts that a run has before it has failed. Default 5.
    pub max_attempts: u16,
    /// Seconds before the second attempt; before each further one four times as long. Also of webhooks. Default 30.
    pub retry_pause_s: u32,
    /// Seconds after which an attempt is given up. Default 3,600.
    pub timeout_s: u64,
    /// Exports that an account may have, in both environments together. Default 100.
    pub max_exports: u32,
    /// Networks that webhooks may lead to although they are not public. Default: none.
    pub webhook_networks: Vec<Network>,
    /// File with certificates in PEM that receivers of webhooks may be certified by, besides the usual ones.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_ca_file: Option<String>,
    /// The object store of exports to `s3://…`.
    pub s3: S3Config,
}

impl Default for ExportsConfig {
    fn default() -> Self {
        Self {
            root: None,
            max_attempts: 5,
            retry_pause_s: 30,
            timeout_s: 3_600,
            max_exports: 100,
            webhook_networks: Vec::new(),
            webhook_ca_file: None,
            s3: S3Config::default(),
        }
    }
}

/// An object store that speaks S3. What is not set here comes from the environment, by the names that AWS gave it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// Its address. Default: that of the environment, else Amazon's for the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Its region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Who writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The secret that belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// The token that belongs to credentials which do not last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
    /// Whether the endpoint may be one without TLS. Default false.
    pub allow_http: bool,
}

impl ExportsConfig {
    /// The directory below which exports to `file:…` are written.
    pub fn root(&self, data_dir: &DataDir) -> PathBuf {
        self.root.as_ref().map_or_else(|| data_dir.exports(), PathBuf::from)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("exports.max_attempts", self.max_attempts, 1..=20)?;
        within("exports.retry_pause_s", self.retry_pause_s, 1..=3_600)?;
        within("exports.timeout_s", self.timeout_s, 1..=604_800)?;
        within("exports.max_exports", self.max_exports, 1..=10_000)?;
        self.s3.validate()
    }
}

impl S3Config {
    fn validate(&self) -> Result<(), ConfigError> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let is_usable = |url: &Url| match url.scheme() {
            "https" => url.has_host(),
            "http" => url.has_host() && self.allow_http,
            _ => false,
        };
        if Url::parse(endpoint).ok().filter(is_usable).is_some() {
            return Ok(());
        }
        Err(ConfigError::Limit {
            field: "exports.s3.endpoint".to_owned(),
            limit: "an https address, or an http address if `exports.s3.allow_http` is set".to_owned(),
            given: format!("`{}`", super::redact::text(endpoint)),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let said = Config::from_toml(text).err().map(|error| error.to_string());
        match (said, expected) {
            (None, None) => {}
            (Some(said), Some(expected)) => assert!(said.contains(expected), "{said}"),
            (said, expected) => panic!("{text}: {said:?}, {expected:?}"),
        }
    }

    #[test]
    fn an_endpoint_without_tls_is_for_those_who_say_so() {
        check("[exports.s3]\nendpoint = 'https://s3.example'", None);
        check("[exports.s3]\nendpoint = 'http://localhost:9000'", Some("exports.s3.endpoint must be an https address"));
        check("[exports.s3]\nendpoint = 'http://localhost:9000'\nallow_http = true", None);
        check("[exports.s3]\nendpoint = 's3.example'", Some("exports.s3.endpoint"));
    }

    #[test]
    fn networks_are_checked_when_the_file_is_read() {
        check("[exports]\nwebhook_networks = ['10.0.0.0/8', 'fd12::/16']", None);
        check("[exports]\nwebhook_networks = ['10.0.0.1/8']", Some("`webhook_networks`: a network is an address"));
        check("[exports]\nmax_attempts = 0", Some("exports.max_attempts must be between 1 and 20, not 0"));
    }

    #[test]
    fn the_stores_secret_is_neither_printed_nor_told() {
        let text = "[exports.s3]\naccess_key_id = 'AKIA1'\nsecret_access_key = 'wJalrX'";
        let config = Config::from_toml(text).unwrap();
        let printed = config.to_redacted_toml().unwrap();
        assert!(printed.contains("secret_access_key = \"***\"") && !printed.contains("wJalrX"), "{printed}");
        assert!(!format!("{config:?}").contains("wJalrX"));
    }
}
