//! The id by which a request is found again in the logs.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use uuid::{NoContext, Timestamp, Uuid};

/// The header that carries it in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a caller, in characters.
const MAX_CHARS: usize = 128;

/// The id of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's id if it is fit for logs, else a new one that sorts by `now`.
    pub fn of(headers: &HeaderMap, now: DateTime<Utc>) -> Self {
        match headers.get(X_REQUEST_ID) {
            Some(value) if is_sane(value.as_bytes()) => Self(value.clone()),
            Some(_) | None => Self::new(now),
        }
    }

    fn new(now: DateTime<Utc>) -> Self {
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let uuid = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()));
        let mut text = Uuid::encode_buffer();
        let text = uuid.hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as the value of a header.
    pub fn into_header(self) -> HeaderValue {
        self.0
    }
}

fn is_sane(bytes: &[u8]) -> bool {
    let fits = (1..=MAX_CHARS).contains(&bytes.len());
    fits && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_kept_and_others_replaced() {
        let long = "x".repeat(129);
        for (given, kept) in [
            ("req-1.a_b:c", true),
            ("0190b5f0-0000-7000-8000-000000000000", true),
            ("", false),
            ("two words", false),
            ("<script>", false),
            (long.as_str(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(given).unwrap());
            let id = RequestId::of(&headers, DateTime::UNIX_EPOCH);
            assert_eq!(id.as_str() == given, kept, "{given}");
        }
    }

    #[test]
    fn new_ids_carry_the_time() {
        let now = DateTime::from_timestamp_micros(1_767_225_600_123_000).unwrap();
        let id = RequestId::of(&HeaderMap::new(), now);
        assert_eq!(id.as_str()[..13], *"019b76da-a87b");
    }
}
