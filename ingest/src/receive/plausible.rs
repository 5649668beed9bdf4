//! Events in the form of Plausible: `POST /api/event`, one each, from visitors without an id.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use touchline_schemas::event::{PAGE_LEAVE, PAGE_VIEW};

use super::answer::ReceiveError;
use super::transcript::{self, lift, put};

/// Of a property whose name is taken.
const PREFIX: &str = "props_";

/// What is sent, by its short names and by its long ones.
#[derive(Deserialize)]
struct Body {
    #[serde(alias = "n")]
    name: Option<Value>,
    #[serde(alias = "u")]
    url: Option<Value>,
    #[serde(alias = "d")]
    domain: Option<Value>,
    #[serde(alias = "r")]
    referrer: Option<Value>,
    #[serde(alias = "p", alias = "m")]
    props: Option<Value>,
    #[serde(alias = "$")]
    revenue: Option<Value>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The same event in the native form.
pub(super) fn transcribe(body: &[u8]) -> Result<String, ReceiveError> {
    let Body { name, url, domain, referrer, props, revenue, mut others } = transcript::read(body)?;
    let event_type = match name {
        Some(Value::String(name)) if name == "pageview" => json!(PAGE_VIEW),
        // Sent by the tracker itself when a page is left.
        Some(Value::String(name)) if name == "engagement" => json!(PAGE_LEAVE),
        name => name.unwrap_or_default(),
    };
    let mut event = Map::from_iter([("event_type".to_owned(), event_type)]);
    lift(&mut others, &mut event);
    let props = match object(props) {
        Ok(props) => props,
        // Not what was agreed: the check says so.
        Err(props) => {
            event.insert("properties".to_owned(), props);
            return Ok(Value::Object(event).to_string());
        }
    };
    // What the event is about comes first: the address of a link that was clicked is not the page's.
    let mut properties = Map::new();
    for (name, value) in [("url", url), ("referrer", referrer), ("domain", domain)] {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value);
        }
    }
    match object(revenue) {
        Ok(mut revenue) => {
            for (name, property) in [("amount", "revenue"), ("currency", "currency")] {
                if let Some(value) = revenue.remove(name) {
                    properties.insert(property.to_owned(), value);
                }
            }
        }
        // As `revenue` it may still be a number.
        Err(revenue) => put(&mut properties, PREFIX, "revenue".to_owned(), revenue),
    }
    for (name, value) in others {
        put(&mut properties, PREFIX, name, value);
    }
    for (name, value) in props {
        put(&mut properties, PREFIX, name, value);
    }
    event.insert("properties".to_owned(), Value::Object(properties));
    Ok(Value::Object(event).to_string())
}

/// An object, or text that holds one, as the tracker sends it.
fn object(value: Option<Value>) -> Result<Map<String, Value>, Value> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(|_| Value::String(text)),
        Some(value) => Err(value),
    }
}

/// The first of the domains for which an event is sent.
pub(super) fn domain(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "d")]
        domain: String,
    }

    let Body { domain: domains } = serde_json::from_slice(body).ok()?;
    domains.split(',').map(str::trim).find(|domain| !domain.is_empty()).map(str::to_ascii_lowercase)
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
            r#"{"n":"pageview","u":"https://a.example/x?utm_source=y","d":"a.example","r":"https://t.co/","w":800}"#,
            json!({"event_type": "page_view", "properties": {
                "url": "https://a.example/x?utm_source=y", "referrer": "https://t.co/", "domain": "a.example", "w": 800
            }}),
        );
        check(
            r#"{"name":"Purchase","url":"https://a.example/","domain":"a.example","props":"{\"plan\":\"pro\"}","$":{"amount":12.5,"currency":"EUR"}}"#,
            json!({"event_type": "Purchase", "properties": {
                "plan": "pro", "url": "https://a.example/", "domain": "a.example", "revenue": 12.5, "currency": "EUR"
            }}),
        );
        check(r#"{"n":"x","p":"no object"}"#, json!({"event_type": "x", "properties": "no object"}));
        check(r#"{"n":"engagement","sd":50}"#, json!({"event_type": "$page_leave", "properties": {"sd": 50}}));
        check("{}", json!({"event_type": null, "properties": {}}));
    }

    #[test]
    fn the_first_domain_counts() {
        for (body, expected) in [
            (r#"{"d":"Shop.example"}"#, Some("shop.example")),
            (r#"{"domain":" a.example, b.example"}"#, Some("a.example")),
            (r#"{"d":","}"#, None),
            (r#"{"d":7}"#, None),
            ("{}", None),
            ("[]", None),
        ] {
            assert_eq!(domain(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }
}
