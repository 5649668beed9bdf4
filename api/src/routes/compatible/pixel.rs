//! `GET /pixel/v1/…`: one message in the address of a picture, for pages and mails without a script.

use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use touchline_ingest::receive::{Endpoint, SegmentCall};

use crate::AppState;
use crate::intake;

/// A transparent picture of one point.
const GIF: &[u8] = &[
    b'G', b'I', b'F', b'8', b'9', b'a', 1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21, 0xf9, 4, 1, 0, 0, 0,
    0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, 0x3b,
];

/// Stores the message that an address holds, and answers a picture
///
/// `call` is `track` or `page`. The parameter `data` is a message as Base64 of its JSON; without it, each parameter is a
/// member of the message (`writeKey`, `anonymousId`, `userId`, `event`, `messageId`, `properties` as JSON, …), and
/// `properties.…` a property. The answer is a picture whatever comes: nobody would see an error.
#[utoipa::path(
    get,
    path = "/pixel/v1/{call}",
    tag = "ingest",
    params(
        ("call" = String, Path, description = "What is sent", example = "page"),
        ("writeKey" = Option<String>, Query, description = "The key"),
        ("data" = Option<String>, Query, description = "The message"),
    ),
    responses((status = 200, description = "A transparent picture of one point", body = String, content_type = "image/gif"))
)]
pub async fn get_pixel(State(state): State<AppState>, Path(call): Path<String>, request: Request) -> Response {
    if let Some(call @ SegmentCall::One(_)) = SegmentCall::of(&call) {
        let message = message(request.uri().query().unwrap_or_default());
        let key = message.get("writeKey").and_then(Value::as_str).map(str::to_owned);
        let (parts, _) = request.into_parts();
        let body = Value::Object(message).to_string();
        let taken = intake::authenticate(&state, Endpoint::Segment(call), key, Request::from_parts(parts, body.into()));
        let kept = async { intake::keep(&state, Endpoint::Segment(call), taken.await?).await };
        if let Err(reason) = kept.await {
            tracing::debug!(error = &reason as &dyn std::error::Error, "a pixel's message was not kept");
        }
    }
    ([(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store")], GIF).into_response()
}

/// The message in a query.
fn message(query: &str) -> Map<String, Value> {
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let data = pairs.iter().find(|(name, _)| name == "data").and_then(|(_, value)| decoded(value));
    let mut message = data.unwrap_or_default();
    let mut properties = Map::new();
    for (name, value) in &pairs {
        match name.as_ref() {
            "data" => {}
            "properties" | "context" | "traits" => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_string()));
                message.insert(name.to_string(), value);
            }
            _ => {
                let (members, name) = match name.strip_prefix("properties.") {
                    Some(property) => (&mut properties, property),
                    None => (&mut message, name.as_ref()),
                };
                members.insert(name.to_owned(), Value::String(value.to_string()));
            }
        }
    }
    if !properties.is_empty() {
        match message.entry("properties").or_insert_with(|| Value::Object(Map::new())) {
            Value::Object(given) => given.extend(properties),
            other => *other = Value::Object(properties),
        }
    }
    message
}

fn decoded(data: &str) -> Option<Map<String, Value>> {
    let data = data.trim_end_matches('=');
    let bytes = URL_SAFE_NO_PAD.decode(data).or_else(|_| STANDARD_NO_PAD.decode(data.replace(' ', "+"))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_in_one_parameter_or_in_many() {
        let check = |query: &str, expected: Value| assert_eq!(Value::Object(message(query)), expected, "{query}");
        let data = URL_SAFE_NO_PAD.encode(r#"{"writeKey":"pk","event":"Opened","userId":"u1"}"#);
        check(&format!("data={data}"), json!({"writeKey": "pk", "event": "Opened", "userId": "u1"}));
        check(&format!("data={data}%3D"), json!({"writeKey": "pk", "event": "Opened", "userId": "u1"}));
        check(
            "writeKey=pk&event=Opened&userId=7&properties.url=https%3A%2F%2Fa.example%2F&properties.n=1",
            json!({"writeKey": "pk", "event": "Opened", "userId": "7",
                   "properties": {"url": "https://a.example/", "n": "1"}}),
        );
        check(r#"properties={"a":1}&properties.b=2"#, json!({"properties": {"a": 1, "b": "2"}}));
        check("data=%21%21", json!({}));
        check("", json!({}));
    }
}
