//! What a client is told: per item, with reasons.

use serde::Serialize;

use crate::log::LogError;

/// The status of an item that is new as far as the hot window knows.
pub(crate) const ACCEPTED: &str = "accepted";
/// The status of an item that was sent before.
pub(crate) const DUPLICATE: &str = "duplicate";

/// Why a value was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer inside the item.
    pub pointer: String,
    /// A stable word.
    pub code: &'static str,
    /// For people; names the limit where there is one.
    pub detail: String,
}

/// An item that was refused. It is kept in `rejected_events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedItem {
    /// The item's place in the request.
    pub index: u32,
    /// Its type, as far as it could be read.
    pub event_type: Option<String>,
    /// The first error's code.
    pub code: &'static str,
    /// Every error.
    pub errors: Vec<FieldError>,
}

/// An item that is stored, or was stored before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemStatus {
    /// Its event id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// `accepted` or `duplicate`.
    pub status: &'static str,
}

impl ItemStatus {
    /// Whether it was stored before, as far as the hot window knows.
    pub fn is_duplicate(&self) -> bool {
        self.status == DUPLICATE
    }
}

/// The answer to a request whose items are durable. sent = accepted + duplicates + rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Receipt {
    /// Items that are new as far as the hot window knows.
    pub accepted: u32,
    /// Items that were sent before.
    pub duplicates: u32,
    /// Items that were refused.
    pub rejected: Vec<RejectedItem>,
    /// The others, in the order of the request.
    pub events: Vec<ItemStatus>,
}

/// Why a whole request was refused; nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The body is not JSON.
    #[error("the body is not valid JSON: {detail}")]
    InvalidJson {
        /// Where and why.
        detail: String,
    },
    /// A member that the endpoint needs is not there.
    #[error("{detail}")]
    MissingField {
        /// Its JSON pointer.
        pointer: String,
        /// For people.
        detail: String,
    },
    /// A member has the wrong type.
    #[error("{detail}")]
    WrongType {
        /// Its JSON pointer.
        pointer: String,
        /// For people.
        detail: String,
    },
    /// More events than one request may carry.
    #[error("a request may carry {limit} events (`ingest.max_events_per_request`), this one has {sent}")]
    TooManyEvents {
        /// The limit.
        limit: usize,
        /// What was sent.
        sent: usize,
    },
    /// The log is full: try again later.
    #[error("ingest is paused: the write-ahead log has reached its quota of {quota_bytes} bytes (`log.quota_bytes`)")]
    LogFull {
        /// The quota.
        quota_bytes: u64,
        /// When to try again.
        retry_after_s: u32,
    },
    /// The log cannot be written: try again later.
    #[error("ingest is paused: the write-ahead log cannot be written")]
    LogUnavailable {
        /// For the operator's log, not for clients.
        detail: String,
        /// When to try again.
        retry_after_s: u32,
    },
}

/// How long clients are asked to wait when the log cannot take more.
const RETRY_AFTER_S: u32 = 5;

impl From<LogError> for ReceiveError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Full { quota_bytes, .. } => Self::LogFull { quota_bytes, retry_after_s: RETRY_AFTER_S },
            LogError::Failed { detail } => Self::LogUnavailable { detail, retry_after_s: RETRY_AFTER_S },
            LogError::Closed => {
                Self::LogUnavailable { detail: "the server is stopping".into(), retry_after_s: RETRY_AFTER_S }
            }
        }
    }
}

impl From<serde_json::Error> for ReceiveError {
    fn from(error: serde_json::Error) -> Self {
        Self::InvalidJson { detail: error.to_string() }
    }
}
