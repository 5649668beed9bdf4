//! Delivers alerts to the operator's address, signed as Standard Webhooks describes.
//!
//! The address is not checked for where it leads: the operator sets it, in the same file as everything else, and may
//! well mean a machine of their own network.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use ring::hmac;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::{AlertsConfig, ConfigError, is_this_machine};
use uuid::Uuid;

use super::Alert;
use crate::ledger;

/// How long one attempt may take, from the connection to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses between attempts, in seconds: together some six minutes.
const PAUSES_S: [u64; 5] = [1, 4, 16, 64, 256];

const WEBHOOK_ID: &str = "webhook-id";
const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
const WEBHOOK_SIGNATURE: &str = "webhook-signature";

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

/// Why an alert did not arrive. The address is never part of it: it may hold a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There was no answer.
    #[error("the receiver of alerts did not answer: {reason}")]
    NoAnswer {
        /// Why.
        reason: String,
    },
    /// The answer was not a success.
    #[error("the receiver of alerts answered {status}")]
    Refused {
        /// The answer's status. A redirection is not followed.
        status: u16,
    },
    /// The alert cannot be written as JSON.
    #[error("the alert cannot be written as JSON: {reason}")]
    Body {
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

/// An alert on its way: all attempts have the same id, so that a receiver can tell a repetition.
struct Message {
    id: String,
    body: String,
}

impl Webhook {
    /// The webhook of a configuration; none if it has none.
    pub fn new(config: &AlertsConfig, clock: SharedClock) -> Result<Option<Self>, AlertsError> {
        let Some(url) = config.url()? else { return Ok(None) };
        let key = config.key()?.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        let user_agent = concat!("touchline/", env!("CARGO_PKG_VERSION"));
        let mut client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).user_agent(user_agent);
        // A proxy of the environment is for the way out of this machine.
        if is_this_machine(&url) {
            client = client.no_proxy();
        }
        let http = client.build().map_err(|error| AlertsError::Client { reason: reason(error) })?;
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
        let sent_at = self.clock.now();
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(WEBHOOK_ID, &message.id)
            .header(WEBHOOK_TIMESTAMP, sent_at.timestamp());
        if let Some(key) = &self.key {
            request = request.header(WEBHOOK_SIGNATURE, signature(key, message, sent_at));
        }
        let answer = request.body(message.body.clone()).send().await;
        let status = answer.map_err(|error| SendError::NoAnswer { reason: reason(error) })?.status();
        if status.is_success() { Ok(()) } else { Err(refused(status)) }
    }
}

impl Message {
    fn of(alert: &Alert) -> Result<Self, SendError> {
        let body = serde_json::to_string(alert).map_err(|error| SendError::Body { reason: error.to_string() })?;
        Ok(Self { id: format!("msg_{}", Uuid::now_v7().simple()), body })
    }
}

/// `v1,` and the base64 of the HMAC-SHA256 over id, time in seconds and body, joined by dots.
fn signature(key: &hmac::Key, message: &Message, sent_at: DateTime<Utc>) -> String {
    let signed = format!("{}.{}.{}", message.id, sent_at.timestamp(), message.body);
    format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(key, signed.as_bytes())))
}

fn refused(status: StatusCode) -> SendError {
    SendError::Refused { status: status.as_u16() }
}

fn reason(error: reqwest::Error) -> String {
    ledger::with_causes(&error.without_url())
}

#[cfg(test)]
pub(crate) mod tests;
