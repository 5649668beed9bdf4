//! Reading a request's body: bounded in size and time, decompressed away from the threads that serve.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use touchline_ingest::receive::Endpoint;

use crate::AppState;
use crate::error::ApiError;

/// The body of `request` as it was before compression.
///
/// Called after the caller is known: a stranger cannot make us read or inflate anything.
pub async fn read(state: &AppState, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    check_media_type(headers)?;
    arrived(state, headers, body, state.config.ingest.max_body_bytes).await
}

/// The body of a request of another product's client. Its headers are not believed: some clients call JSON a form, or
/// pack it in a way that no header tells. Where it is one event it may be no larger than one.
pub async fn read_packed(
    state: &AppState,
    endpoint: Endpoint,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, ApiError> {
    let ingest = &state.config.ingest;
    let limit_bytes = match endpoint {
        Endpoint::Plausible | Endpoint::Umami => ingest.max_event_bytes.min(ingest.max_body_bytes),
        _ => ingest.max_body_bytes,
    };
    let bytes = arrived(state, headers, body, limit_bytes).await?;
    if bytes.len() > limit_bytes {
        return Err(ApiError::BodyTooLarge { limit_bytes });
    }
    if endpoint != Endpoint::PostHog {
        return Ok(bytes);
    }
    let ingest = state.ingest.clone();
    match tokio::task::spawn_blocking(move || ingest.unpack_body(endpoint, bytes)).await {
        Ok(unpacked) => Ok(unpacked?),
        Err(_) => Err(ApiError::Internal("decompression stopped")),
    }
}

async fn arrived(state: &AppState, headers: &HeaderMap, body: Body, limit_bytes: usize) -> Result<Bytes, ApiError> {
    let limit_s = state.config.server.request_read_timeout_s;
    let arriving = collect(body, limit_bytes);
    let bytes = match tokio::time::timeout(Duration::from_secs(limit_s), arriving).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(Incomplete::TooLarge)) => return Err(ApiError::BodyTooLarge { limit_bytes }),
        Ok(Err(Incomplete::Broken)) => return Err(ApiError::BodyBroken),
        Err(_) => return Err(ApiError::BodyTimeout { limit_s }),
    };
    match content_encoding(headers) {
        None => Ok(bytes),
        Some(encoding) => decode(state, encoding, bytes).await,
    }
}

enum Incomplete {
    TooLarge,
    Broken,
}

/// Most bodies are one chunk, which is passed on without a copy.
async fn collect(body: Body, limit_bytes: usize) -> Result<Bytes, Incomplete> {
    let size_hint = body.size_hint();
    if size_hint.lower() > limit_bytes as u64 {
        return Err(Incomplete::TooLarge);
    }
    let expected_bytes = size_hint.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(0);
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Incomplete::Broken)?;
        if first.len().max(all.len()) + chunk.len() > limit_bytes {
            return Err(Incomplete::TooLarge);
        }
        if first.is_empty() {
            first = chunk;
        } else {
            if all.is_empty() {
                all.reserve(expected_bytes);
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&chunk);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Inflating takes milliseconds of pure computing, which would hold up the other requests of this thread.
async fn decode(state: &AppState, encoding: String, bytes: Bytes) -> Result<Bytes, ApiError> {
    let ingest = state.ingest.clone();
    match tokio::task::spawn_blocking(move || ingest.decode_body(Some(&encoding), bytes)).await {
        Ok(decoded) => Ok(decoded?),
        Err(_) => Err(ApiError::Internal("decompression stopped")),
    }
}

fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    let encoding = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
    (!encoding.is_empty() && encoding != "identity").then_some(encoding)
}

/// JSON by any of its names, text, or nothing said.
fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    if value.as_bytes() == b"application/json" {
        return Ok(());
    }
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence.ends_with("/json") || essence.ends_with("+json");
    if essence.is_empty() || is_json || essence.starts_with("text/") {
        return Ok(());
    }
    Err(ApiError::UnsupportedMediaType(essence))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use futures::stream;

    use super::*;

    #[test]
    fn json_and_text_are_taken() {
        for (content_type, taken) in [
            (None, true),
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/vnd.x+json"), true),
            (Some("text/plain;charset=UTF-8"), true),
            (Some("application/x-www-form-urlencoded"), false),
            (Some("multipart/form-data; boundary=x"), false),
            (Some("application/octet-stream"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(content_type) = content_type {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            assert_eq!(check_media_type(&headers).is_ok(), taken, "{content_type:?}");
        }
    }

    #[tokio::test]
    async fn chunks_are_joined_up_to_the_limit() {
        for (chunks, limit_bytes, expected) in [
            (vec![], 4, Some("")),
            (vec!["abcd"], 4, Some("abcd")),
            (vec!["abcde"], 4, None),
            (vec!["ab", "", "cd"], 4, Some("abcd")),
            (vec!["ab", "c", "de"], 4, None),
        ] {
            let said = format!("{chunks:?}");
            let body = Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)));
            let collected = collect(body, limit_bytes).await.ok();
            assert_eq!(collected.as_deref(), expected.map(str::as_bytes), "{said}");
        }
    }

    #[tokio::test]
    async fn a_declared_size_is_refused_before_reading() {
        assert!(matches!(collect(Body::from("abcde"), 4).await, Err(Incomplete::TooLarge)));
    }
}
