//! Delivers alerts to the operator's address, signed as Standard Webhooks describes.
//!
//! The address is not checked for where it leads: the operator sets it, in the same file as everything else, and may
//! well mean a machine of their own network.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, Url};
use ring::hmac;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::{AlertsConfig, ConfigError, is_this_machine};

use super::Alert;
use crate::standard_webhooks::{self, Message, PAUSES_S, SendError};

/// Why alerts cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// The address or the secret cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no HTTP client to be had.
    #[error("the client that would send alerts cannot be made: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
}

/// Where alerts go.
#[derive(Clone)]
pub struct Webhook {
    http: Client,
    url: Url,
    key: Option<hmac::Key>,
    clock: SharedClock,
    pauses: Vec<Duration>,
}

/// Without the address, which may hold a secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("signed", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The webhook of a configuration; none if it has none.
    pub fn new(config: &AlertsConfig, clock: SharedClock) -> Result<Option<Self>, AlertsError> {
        let Some(url) = config.url()? else { return Ok(None) };
        let key = config.key()?.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        let mut client = standard_webhooks::client();
        // A proxy of the environment is for the way out of this machine.
        if is_this_machine(&url) {
            client = client.no_proxy();
        }
        let http = client.build().map_err(|error| AlertsError::Client { reason: standard_webhooks::reason(error) })?;
        Ok(Some(Self { http, url, key, clock, pauses: PAUSES_S.map(Duration::from_secs).to_vec() }))
    }

    /// Sends an alert, trying again after 1, 4, 16, 64 and 256 seconds.
    ///
    /// # Errors
    ///
    /// The last attempt's.
    pub async fn deliver(&self, alert: &Alert) -> Result<(), SendError> {
        let message = Message::of(alert)?;
        for pause in &self.pauses {
            match self.post(&message).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(alert = alert.kind.as_str(), %error, "alert will be sent again"),
            }
            tokio::time::sleep(*pause).await;
        }
        self.post(&message).await
    }

    /// Sends an alert once.
    ///
    /// # Errors
    ///
    /// It did not arrive, or was refused.
    pub async fn send(&self, alert: &Alert) -> Result<(), SendError> {
        self.post(&Message::of(alert)?).await
    }

    async fn post(&self, message: &Message) -> Result<(), SendError> {
        message.post(&self.http, &self.url, self.key.as_ref(), self.clock.now()).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
