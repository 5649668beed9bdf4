//! `[alerts]`: who is told when a job is in trouble.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::check::within;
use super::{ConfigError, Secret};

const SECRET_PREFIX: &str = "whsec_";
/// What Standard Webhooks asks of a key.
const MIN_KEY_BYTES: usize = 24;
const MAX_KEY_BYTES: usize = 64;

/// Alerts about jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// Where alerts are posted as JSON: https, or http to this machine. Default: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Secret>,
    /// Signs alerts as Standard Webhooks does: `whsec_` and 24 to 64 bytes in base64. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Failures in a row that make an alert; a scheduled run has failed when all its retries have. Default 1.
    pub after_failures: u16,
    /// Seconds after a time of a job's schedule at which it is late. Default 3,600.
    pub late_after_s: u32,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { webhook_url: None, secret: None, after_failures: 1, late_after_s: 3_600 }
    }
}

impl AlertsConfig {
    /// Where alerts are posted, if anywhere.
    ///
    /// # Errors
    ///
    /// It is not an address with https, and not one of this machine with http.
    pub fn url(&self) -> Result<Option<Url>, ConfigError> {
        let Some(text) = &self.webhook_url else { return Ok(None) };
        let usable = |url: &Url| match url.scheme() {
            "https" => url.has_host(),
            "http" => is_this_machine(url),
            _ => false,
        };
        match Url::parse(text.expose()).ok().filter(usable) {
            Some(url) => Ok(Some(url)),
            None => Err(unusable("webhook_url", "an https address, or an http address of this machine")),
        }
    }

    /// The key that signs alerts, if there is one.
    ///
    /// # Errors
    ///
    /// The secret is not of the form that receivers expect.
    pub fn key(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let Some(secret) = &self.secret else { return Ok(None) };
        let key = secret.expose().strip_prefix(SECRET_PREFIX).and_then(|key| BASE64_STANDARD.decode(key).ok());
        match key.filter(|key| (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len())) {
            Some(key) => Ok(Some(key)),
            None => Err(unusable("secret", "`whsec_` and 24 to 64 bytes in base64")),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("alerts.after_failures", self.after_failures, 1..=100)?;
        within("alerts.late_after_s", self.late_after_s, 60..=2_592_000)?;
        self.url()?;
        self.key()?;
        Ok(())
    }
}

/// Whether an address can only lead back to this machine.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Says what is wanted, and not what was given: that may be half a secret.
fn unusable(setting: &str, limit: &str) -> ConfigError {
    ConfigError::Limit {
        field: format!("alerts.{setting}"),
        limit: limit.to_owned(),
        given: "what was given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn to(url: &str) -> AlertsConfig {
        AlertsConfig { webhook_url: Some(url.into()), ..AlertsConfig::default() }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        let check = |url: &str, expected: bool| assert_eq!(to(url).url().is_ok(), expected, "{url}");
        check("https://alerts.example/touchline", true);
        check("https://10.0.0.7/", true);
        check("http://localhost:9000/alerts", true);
        check("http://127.0.0.9/", true);
        check("http://[::1]:9000/", true);
        check("http://alerts.example/", false);
        check("http://localhost.example/", false);
        check("http://10.0.0.7/", false);
        check("ftp://localhost/", false);
        check("alerts.example", false);
        check("", false);
    }

    #[test]
    fn secret_is_a_key_in_base64_behind_its_prefix() {
        let check = |secret: &str, expected: Option<usize>| {
            let config = AlertsConfig { secret: Some(secret.into()), ..AlertsConfig::default() };
            assert_eq!(config.key().ok().flatten().map(|key| key.len()), expected, "{secret}");
        };
        check("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", Some(24));
        check("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", None);
        check("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", None);
        check("whsec_012345678901234567890123456789!", None);
        check("", None);
        assert_eq!(AlertsConfig::default().key().unwrap(), None);
    }

    #[test]
    fn secrets_are_neither_printed_nor_told_in_errors() {
        const URL: &str = "https://hooks.example/services/0a1b2c";
        const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
        let text = format!("[alerts]\nwebhook_url = '{URL}'\nsecret = '{SECRET}'");
        let config = Config::from_toml(&text).unwrap();
        assert_eq!(config.alerts.url().unwrap().unwrap().as_str(), URL);
        let printed = config.to_redacted_toml().unwrap();
        assert!(printed.contains("secret = \"***\"\nwebhook_url = \"https://hooks.example/***\""), "{printed}");
        let shown = format!("{config:?}");
        assert!(!shown.contains("0a1b2c") && !shown.contains("MDEy"), "{shown}");

        let refused = Config::from_toml("[alerts]\nsecret = 'hunter2'").unwrap_err().to_string();
        assert_eq!(refused, "alerts.secret must be `whsec_` and 24 to 64 bytes in base64, not what was given");
        let refused = Config::from_toml("[alerts]\nwebhook_url = 'http://x/hunter2'").unwrap_err().to_string();
        assert!(refused.starts_with("alerts.webhook_url must be an https address") && !refused.contains("hunter2"));
    }

    #[test]
    fn environment_overrides_the_secret() {
        let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";
        let variables = [("TOUCHLINE_ALERTS__SECRET".to_owned(), secret.to_owned())];
        let config = Config::default().apply_env(variables.into_iter()).unwrap();
        assert_eq!(config.alerts.secret.unwrap().expose(), secret);
    }
}
