//! How an operation is tried from a shell.

use serde_json::Value;
use url::form_urlencoded;

use super::operation::Operation;
use super::schema::Schemas;
use super::{list, members, text};

/// What the commands on the page need before.
pub(super) const USAGE: &str = "<p>The examples need the address of this server and a key:</p>\n\
     <pre tabindex=\"0\"><code>TOUCHLINE_URL=http://127.0.0.1:8000\nTOUCHLINE_KEY=sk_live_…</code></pre>\n";

/// The command that asks for an operation, with the examples of the description.
pub(super) fn command(operation: &Operation<'_>, schemas: &Schemas<'_>) -> String {
    let mut words = vec!["curl".to_owned()];
    if operation.method != "GET" {
        words.push(format!("-X {}", operation.method));
    }
    if operation.needs_key() {
        words.push("-H \"Authorization: Bearer $TOUCHLINE_KEY\"".to_owned());
    }
    let content = members(&operation.described["requestBody"], "content").next();
    if let Some((media_type, content)) = content {
        words.push(format!("-H {}", quoted(&format!("Content-Type: {media_type}"))));
        words.push(format!("-d {}", quoted(&schemas.example(&content["schema"]).to_string())));
    }
    words.push(format!("\"$TOUCHLINE_URL{}\"", address(operation)));
    words.join(" \\\n  ")
}

/// Path and query: what is needed, with its example, or else a variable of the shell of the same name.
fn address(operation: &Operation<'_>) -> String {
    let mut path = operation.path.to_owned();
    let mut query = form_urlencoded::Serializer::new(String::new());
    for parameter in list(operation.described, "parameters").filter(|parameter| parameter["required"] == true) {
        let name = text(parameter, "name");
        let example =
            match [&parameter["example"], &parameter["schema"]["example"]].into_iter().find(|it| !it.is_null()) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(other) => Some(other.to_string()),
                None => None,
            };
        if text(parameter, "in") == "path" {
            let value = example.unwrap_or_else(|| format!("${}", name.to_uppercase()));
            path = path.replace(&format!("{{{name}}}"), &value);
        } else {
            query.append_pair(name, &example.unwrap_or_default());
        }
    }
    let query = query.finish();
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// A word that no shell takes for anything else.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_has_what_the_operation_needs() {
        let body = json!({"properties": {"name": {"type": "string", "example": "Ada's"}}});
        let schema = json!({"requestBody": {"content": {"application/json": {"schema": body}}}});
        let path = json!({"name": "key_id", "in": "path", "required": true});
        let query = json!({"name": "steps", "in": "query", "required": true, "example": "a:/x,b"});
        let optional = json!({"name": "limit", "in": "query", "example": 5});
        let secured = json!({"security": [{"key": []}], "parameters": [path, query, optional]});
        for (method, described, expected) in [
            ("GET", &json!({}), "curl \\\n  \"$TOUCHLINE_URL/keys/{key_id}\""),
            (
                "GET",
                &secured,
                "curl \\\n  -H \"Authorization: Bearer $TOUCHLINE_KEY\" \\\n  \
                 \"$TOUCHLINE_URL/keys/$KEY_ID?steps=a%3A%2Fx%2Cb\"",
            ),
            (
                "POST",
                &schema,
                "curl \\\n  -X POST \\\n  -H 'Content-Type: application/json' \\\n  -d '{\"name\":\"Ada'\\''s\"}' \\\n  \
                 \"$TOUCHLINE_URL/keys/{key_id}\"",
            ),
        ] {
            let operation = Operation { method: method.to_owned(), path: "/keys/{key_id}", described };
            assert_eq!(command(&operation, &Schemas::of(&json!({}))), expected);
        }
    }
}
