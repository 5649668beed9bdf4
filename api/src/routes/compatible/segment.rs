//! `POST /v1/…`: messages of Segment's and RudderStack's clients.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use touchline_ingest::receive::{Endpoint, Receipt, RejectedItem, SegmentCall};
use utoipa::ToSchema;

use super::Foreign;
use crate::AppState;
use crate::error::{ApiError, BatchProblems};
use crate::intake;
use crate::routes::events::RejectedEvent;

/// What became of the messages. Clients look at the status only, which says that all of it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentAnswer {
    /// Whether none was refused.
    pub success: bool,
    /// How many were stored.
    pub accepted: u32,
    /// How many were known already.
    pub duplicates: u32,
    /// Which were refused, and why. They are kept apart, and can be put right and sent again.
    #[schema(value_type = Vec<RejectedEvent>)]
    pub rejected: Vec<RejectedItem>,
}

impl From<Receipt> for SegmentAnswer {
    fn from(receipt: Receipt) -> Self {
        let Receipt { accepted, duplicates, rejected, .. } = receipt;
        Self { success: rejected.is_empty(), accepted, duplicates, rejected }
    }
}

/// Stores messages of Segment's and RudderStack's clients
///
/// Needs the scope `ingest`; the key is the user of `Authorization: Basic` (what these clients call the write key), a
/// bearer, or the member `writeKey` of the body. `call` is `batch` (`{"batch":[…]}`), `track`, `page`, `screen`,
/// `identify`, `group` or `alias` (one message each), the first letter of one of these, or `import`, which is a batch.
/// The body may be declared as `text/plain`. Refused messages do not change the status: a client would send all of them
/// again.
#[utoipa::path(
    post,
    path = "/v1/{call}",
    tag = "ingest",
    security(("key" = ["ingest"])),
    params(("call" = String, Path, description = "What is sent", example = "batch")),
    request_body = Foreign,
    responses(
        (status = 200, description = "What was sent is kept", body = SegmentAnswer),
        (status = 404, description = "There is no such call", body = crate::error::ProblemDetails, content_type = "application/problem+json"),
        BatchProblems,
    )
)]
pub async fn post_segment(
    State(state): State<AppState>,
    Path(call): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let known = SegmentCall::of(&call);
    // Who it is comes first: what there is here is nothing for strangers.
    let endpoint = Endpoint::Segment(known.unwrap_or(SegmentCall::Batch));
    let taken = intake::authenticate(&state, endpoint, None, request).await?;
    if known.is_none() {
        return Err(ApiError::NotFound);
    }
    let receipt = intake::keep(&state, endpoint, taken).await?;
    intake::json(StatusCode::OK, &SegmentAnswer::from(receipt))
}

/// Stores messages of a page that is being left
///
/// A batch as above, from `navigator.sendBeacon`, which can set no headers: the key may be the parameter `writeKey`.
#[utoipa::path(
    post,
    path = "/beacon/v1/batch",
    tag = "ingest",
    security(("key" = ["ingest"])),
    params(("writeKey" = Option<String>, Query, description = "The key")),
    request_body = Foreign,
    responses((status = 200, description = "What was sent is kept", body = SegmentAnswer), BatchProblems)
)]
pub async fn post_beacon(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let key = write_key(request.uri().query().unwrap_or_default());
    let endpoint = Endpoint::Segment(SegmentCall::Batch);
    let taken = intake::authenticate(&state, endpoint, key, request).await?;
    let receipt = intake::keep(&state, endpoint, taken).await?;
    intake::json(StatusCode::OK, &SegmentAnswer::from(receipt))
}

fn write_key(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(name, _)| name == "writeKey").map(|(_, value)| value.into_owned())
}

/// Tells Segment's browser library where to send
///
/// What the library asks its `cdnURL` for. It is the same for any key, known or not.
#[utoipa::path(
    get,
    path = "/v1/projects/{write_key}/settings",
    tag = "ingest",
    params(("write_key" = String, Path, description = "A publishable key")),
    responses((status = 200, description = "Settings in the form of that library", body = Foreign))
)]
pub async fn get_settings(Path(write_key): Path<String>, headers: HeaderMap) -> Json<Value> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // What is not on this machine is behind something that speaks TLS.
    let is_local = ["127.0.0.1", "localhost", "[::1]"].iter().any(|local| host.starts_with(local));
    Json(json!({
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": format!("{host}/v1"),
                "protocol": if is_local { "http" } else { "https" },
                "unbundledIntegrations": [],
                "addBundledMetadata": false,
            },
        },
        "plan": {"track": {"__default": {"enabled": true, "integrations": {}}}},
        "edgeFunction": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "remotePlugins": [],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_may_have_its_key_in_the_address() {
        for (query, expected) in [("writeKey=pk_1", Some("pk_1")), ("a=b&writeKey=pk%5F1", Some("pk_1")), ("", None)] {
            assert_eq!(write_key(query).as_deref(), expected, "{query}");
        }
    }
}
