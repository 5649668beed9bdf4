//! Posting a message as Standard Webhooks describes: its id, its time, its signature, and what an answer means. Who may
//! be posted to is for those to decide who post.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, StatusCode, Url};
use ring::hmac;
use serde::Serialize;
use uuid::Uuid;

use crate::ledger;

/// The message's id: the same in all attempts, so that a receiver can tell a repetition.
pub const WEBHOOK_ID: &str = "webhook-id";
/// When the attempt was made, in seconds.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// The signature over id, time and body.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// How long one attempt may take, from the connection to the head of the answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses between attempts, in seconds: together some six minutes.
pub const PAUSES_S: [u64; 5] = [1, 4, 16, 64, 256];

/// Why a message did not arrive. The address is never part of it: it may hold a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There was no answer.
    #[error("the webhook's receiver did not answer: {reason}")]
    NoAnswer {
        /// Why.
        reason: String,
    },
    /// The answer was not a success.
    #[error("the webhook's receiver answered {status}")]
    Refused {
        /// The answer's status. A redirection is not followed.
        status: u16,
    },
    /// The message cannot be written as JSON.
    #[error("the webhook's message cannot be written as JSON: {reason}")]
    Body {
        /// Why.
        reason: String,
    },
}

/// A message on its way.
#[derive(Debug)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// Its JSON.
    pub body: String,
}

impl Message {
    /// A message with a new id.
    ///
    /// # Errors
    ///
    /// [`SendError::Body`].
    pub fn of(content: &impl Serialize) -> Result<Self, SendError> {
        let body = serde_json::to_string(content).map_err(|error| SendError::Body { reason: error.to_string() })?;
        Ok(Self { id: format!("msg_{}", Uuid::now_v7().simple()), body })
    }

    /// Posts the message once.
    ///
    /// # Errors
    ///
    /// It did not arrive, or was refused.
    pub async fn post(
        &self,
        http: &Client,
        url: &Url,
        key: Option<&hmac::Key>,
        sent_at: DateTime<Utc>,
    ) -> Result<(), SendError> {
        let mut request = http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(WEBHOOK_ID, &self.id)
            .header(WEBHOOK_TIMESTAMP, sent_at.timestamp());
        if let Some(key) = key {
            request = request.header(WEBHOOK_SIGNATURE, self.signature(key, sent_at));
        }
        let answer = request.body(self.body.clone()).send().await;
        let status = answer.map_err(|error| SendError::NoAnswer { reason: reason(error) })?.status();
        if status.is_success() { Ok(()) } else { Err(refused(status)) }
    }

    /// `v1,` and the base64 of the HMAC-SHA256 over id, time in seconds and body, joined by dots.
    pub fn signature(&self, key: &hmac::Key, sent_at: DateTime<Utc>) -> String {
        let signed = format!("{}.{}.{}", self.id, sent_at.timestamp(), self.body);
        format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(key, signed.as_bytes())))
    }
}

/// What every client that posts begins with: it follows no redirection, and does not wait for ever.
pub fn client() -> ClientBuilder {
    let user_agent = concat!("touchline/", env!("CARGO_PKG_VERSION"));
    Client::builder().timeout(TIMEOUT).redirect(Policy::none()).user_agent(user_agent)
}

/// Why a request got no answer, without the address.
pub fn reason(error: reqwest::Error) -> String {
    ledger::with_causes(&error.without_url())
}

fn refused(status: StatusCode) -> SendError {
    SendError::Refused { status: status.as_u16() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_standard_webhooks() {
        // The known answer that the libraries of Standard Webhooks test themselves with.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode("plJ3nmyCDGBKInavdOK15jsl").unwrap());
        let message = Message {
            id: "msg_loFOjxBNrRLzqYUf".to_owned(),
            body: r#"{"event_type":"ping","data":{"success":true}}"#.to_owned(),
        };
        let sent_at = DateTime::from_timestamp(1_731_705_121, 0).unwrap();
        assert_eq!(message.signature(&key, sent_at), "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
    }
}
