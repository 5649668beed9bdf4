//! The native event of a line.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::SecondsFormat;
use serde_json::{Map, Value};
use touchline_schemas::event::PAGE_VIEW;

use super::CombinedLine;
use crate::import::ndjson::{Form, ImportedEvent, content_id};

/// Prefix of the ids that log lines are given.
const ID_PREFIX: &str = "log_";
/// The longest name that is taken for a person's.
const MAX_USER_CHARS: usize = 200;
const STATUS_UNAUTHORIZED: u16 = 401;

/// The native event of a line.
///
/// `raw_line` is the line as it stands in the file, without its end; `occurrence` says how often the very same line
/// came before it in that file.
pub fn to_event(line: &CombinedLine<'_>, raw_line: &[u8], occurrence: u32) -> ImportedEvent {
    let event_id = content_id(ID_PREFIX, raw_line, occurrence);
    let mut event = Map::new();
    put(&mut event, "event_id", event_id.as_str());
    put(&mut event, "event_type", PAGE_VIEW);
    put(&mut event, "timestamp", line.time.to_rfc3339_opts(SecondsFormat::Secs, true));
    put_identity(&mut event, line);
    event.insert("properties".to_owned(), Value::Object(properties(line)));
    ImportedEvent { event_id, json: Value::Object(event).to_string(), form: Form::Native }
}

fn put(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

fn put_text(object: &mut Map<String, Value>, key: &str, value: Option<&Cow<'_, str>>) {
    if let Some(value) = value {
        put(object, key, value.as_ref());
    }
}

/// Whoever made the request: address and user agent, from which ingest derives the visitor.
fn put_identity(event: &mut Map<String, Value>, line: &CombinedLine<'_>) {
    // A client without a user agent is still somebody: the log's own `-` stands for it.
    let user_agent = line.user_agent.as_deref().unwrap_or("-");
    put(event, "user_agent", user_agent);
    if line.remote_host.parse::<IpAddr>().is_ok() {
        put(event, "ip", line.remote_host.as_ref());
    } else {
        // A name cannot be masked like an address, so only its digest is kept.
        let host_and_agent = [line.remote_host.as_bytes(), user_agent.as_bytes()].join(&b' ');
        put(event, "visitor_id", content_id("host_", &host_and_agent, 0));
    }
    // A name that the server refused proves nothing about who sent it.
    if line.status != Some(STATUS_UNAUTHORIZED) {
        put_text(event, "user_id", line.user.as_ref().filter(|name| name.chars().count() <= MAX_USER_CHARS));
    }
}

fn properties(line: &CombinedLine<'_>) -> Map<String, Value> {
    let mut properties = Map::new();
    let url = line.target.as_ref().filter(|target| target.starts_with('/') || target.contains("://"));
    match url {
        Some(url) => put(&mut properties, "url", url.as_ref()),
        None => put(&mut properties, "request", line.request.as_ref()),
    }
    put_text(&mut properties, "referrer", line.referrer.as_ref());
    put_text(&mut properties, "method", line.method.as_ref());
    if let Some(status) = line.status {
        put(&mut properties, "status", status);
    }
    if let Some(bytes) = line.bytes {
        put(&mut properties, "bytes", bytes);
    }
    properties
}
