//! Events in the form of Umami: `POST /api/send`, one each.

use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use touchline_schemas::event::{IDENTIFY, PAGE_VIEW};

use super::answer::ReceiveError;
use super::transcript::{self, lift, put, text};

/// Of a property whose name is taken.
const PREFIX: &str = "data_";

#[derive(Deserialize)]
struct Body {
    r#type: Option<Value>,
    payload: Option<Payload>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct Payload {
    hostname: Option<Value>,
    url: Option<Value>,
    name: Option<Value>,
    id: Option<Value>,
    data: Option<Value>,
    timestamp: Option<Value>,
    ip: Option<Value>,
    #[serde(rename = "userAgent")]
    user_agent: Option<Value>,
    /// `title`, `referrer`, `screen`, `language`, `tag` and what may come.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The same event in the native form.
pub(super) fn transcribe(body: &[u8]) -> Result<String, ReceiveError> {
    let Body { r#type, payload, others: mut beside } = transcript::read(body)?;
    let Payload { hostname, url, name, id, data, timestamp, ip, user_agent, others } = payload.unwrap_or_default();
    let event_type = match (text(&r#type), name) {
        (Some("identify"), _) => json!(IDENTIFY),
        // An empty name is a page's as well.
        (Some("event") | None, None | Some(Value::Null)) => json!(PAGE_VIEW),
        (Some("event") | None, Some(Value::String(name))) if name.is_empty() => json!(PAGE_VIEW),
        (Some("event") | None, Some(name)) => name,
        (Some(unknown), _) => json!(unknown),
    };
    let mut properties = Map::new();
    if let Some(url) = address(text(&hostname), text(&url)) {
        properties.insert("url".to_owned(), Value::String(url));
    }
    properties.extend(others.into_iter().filter(|(name, value)| name != "website" && *value != ""));
    // The address of a link that was clicked is not the page's.
    match data {
        Some(Value::Object(data)) => {
            for (name, value) in data {
                put(&mut properties, PREFIX, name, value);
            }
        }
        Some(data) => put(&mut properties, PREFIX, "data".to_owned(), data),
        None => {}
    }
    let mut event =
        Map::from_iter([("event_type".to_owned(), event_type), ("properties".to_owned(), Value::Object(properties))]);
    let id = id.map(|id| if id.is_number() { Value::String(id.to_string()) } else { id });
    for (field, value) in [("user_id", id), ("timestamp", timestamp.map(time)), ("ip", ip), ("user_agent", user_agent)]
    {
        if let Some(value) = value {
            event.insert(field.to_owned(), value);
        }
    }
    lift(&mut beside, &mut event);
    Ok(Value::Object(event).to_string())
}

/// The page's address: its path is sent apart from its host.
fn address(host: Option<&str>, url: Option<&str>) -> Option<String> {
    Some(match (host.filter(|host| !host.is_empty()), url?) {
        (Some(host), path) if path.starts_with('/') => format!("https://{host}{path}"),
        (Some(host), "") => format!("https://{host}/"),
        (_, url) => url.to_owned(),
    })
}

/// A time in seconds since 1970 as the native form has it; another value as it is, for the check.
fn time(value: Value) -> Value {
    let time = value.as_i64().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or(value, |time| Value::String(time.to_rfc3339_opts(SecondsFormat::Secs, true)))
}

/// The key, which stands where Umami has the id of a website.
pub(super) fn key(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        payload: Payload,
    }
    #[derive(Deserialize)]
    struct Payload {
        website: String,
    }

    serde_json::from_slice::<Body>(body).ok().map(|body| body.payload.website)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_in_the_native_form() {
        let check = |body: &str, expected: Value| {
            let native: Value = serde_json::from_str(&transcribe(body.as_bytes()).unwrap()).unwrap();
            assert_eq!(native, expected, "{body}");
        };
        check(
            r#"{"type":"event","payload":{"website":"pk","hostname":"a.example","url":"/x?utm_source=y","title":"X","referrer":""}}"#,
            json!({"event_type": "page_view", "properties": {"url": "https://a.example/x?utm_source=y", "title": "X"}}),
        );
        check(
            r#"{"type":"event","payload":{"hostname":"a.example","url":"/","name":"buy","data":{"revenue":5,"title":"T"},"title":"X","timestamp":1700000000,"id":7}}"#,
            json!({"event_type": "buy", "user_id": "7", "timestamp": "2023-11-14T22:13:20Z",
                   "properties": {"url": "https://a.example/", "revenue": 5, "title": "X", "data_title": "T"}}),
        );
        check(
            r#"{"type":"identify","payload":{"id":"u1","data":{"plan":"pro"}}}"#,
            json!({"event_type": "$identify", "user_id": "u1", "properties": {"plan": "pro"}}),
        );
        check(
            r#"{"payload":{"url":"https://b.example/"}}"#,
            json!({"event_type": "page_view", "properties": {"url": "https://b.example/"}}),
        );
    }
}
