//! The body of a route of administration: a JSON object of which every member is known. Everything that is wrong with it
//! is said at once, each with its JSON pointer.

use axum::extract::Request;
use serde_json::{Map, Value};
use touchline_ingest::receive::{FieldError, ReceiveError};

use crate::error::ApiError;
use crate::{AppState, body};

/// The members of a body that were not read yet, and what was wrong with those that were.
#[derive(Debug)]
pub struct Fields {
    what: &'static str,
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Reads the body of a request that is about a `what`, a word of the API. No body at all is an empty object.
    pub async fn read(state: &AppState, what: &'static str, request: Request) -> Result<Self, ApiError> {
        Ok(Self::of(what, object(state, request).await?))
    }

    fn of(what: &'static str, members: Map<String, Value>) -> Self {
        Self { what, members, errors: Vec::new() }
    }

    /// Whether the member `name` is there, and neither read yet nor null.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// The member `name`, which must be there, in the form that `read` takes; `form` says which that is.
    pub fn required<T>(&mut self, name: &str, form: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.members.remove(name);
            self.refuse(name, "field_missing", format!("`{name}` is missing: it must be {form}"));
            return None;
        }
        self.optional(name, form, read)
    }

    /// The member `name`, if it is there and not null.
    pub fn optional<T>(&mut self, name: &str, form: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value = self.members.remove(name).filter(|value| !value.is_null())?;
        let read = read(&value);
        if read.is_none() {
            self.refuse(name, "invalid_value", format!("`{name}` must be {form}"));
        }
        read
    }

    /// Refuses the member `name` for a reason of its own.
    pub fn refuse(&mut self, name: &str, code: &'static str, detail: String) {
        self.errors.push(FieldError { pointer: pointer(name), code, detail });
    }

    /// Ends the reading: whatever was not asked for is not known.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.errors.is_empty() && self.members.is_empty() { Ok(()) } else { Err(self.refused()) }
    }

    /// The refusal with everything that is wrong.
    pub fn refused(mut self) -> ApiError {
        let what = self.what;
        for name in std::mem::take(&mut self.members).keys() {
            let name: String = name.chars().take(80).collect();
            self.refuse(&name, "unknown_field", format!("a {what} has no field `{name}`"));
        }
        ApiError::Refused { what, code: "invalid", errors: self.errors }
    }
}

/// The body of a request as an object.
pub async fn object(state: &AppState, request: Request) -> Result<Map<String, Value>, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(state, &parts.headers, body).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => {
            let detail = "the body must be a JSON object".to_owned();
            Err(ReceiveError::WrongType { pointer: String::new(), detail }.into())
        }
        Err(error) => Err(ReceiveError::InvalidJson { detail: error.to_string() }.into()),
    }
}

/// JSON pointer (RFC 6901) to a member of the body.
pub fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusals(fields: Fields) -> Vec<(String, &'static str)> {
        match fields.refused() {
            ApiError::Refused { errors, .. } => errors.into_iter().map(|error| (error.pointer, error.code)).collect(),
            other => panic!("{other}"),
        }
    }

    fn fields(body: Value) -> Fields {
        Fields::of("key", body.as_object().unwrap().clone())
    }

    #[test]
    fn members_are_read_once_and_the_rest_is_refused() {
        let mut body = fields(json!({"name": "a", "size": 3, "note": null}));
        assert_eq!(body.required("name", "a text", |value| value.as_str().map(str::to_owned)).as_deref(), Some("a"));
        assert_eq!(body.optional("note", "a text", |value| value.as_bool()), None);
        assert_eq!(body.required("size", "a number", Value::as_u64), Some(3));
        body.finish().unwrap();
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let mut body = fields(json!({"name": 7, "gone": null, "a/b~c": 1}));
        body.required("name", "a text", |value| value.as_str().map(str::to_owned));
        body.required("gone", "a text", Value::as_bool);
        let expected = [("/name", "invalid_value"), ("/gone", "field_missing"), ("/a~1b~0c", "unknown_field")];
        assert_eq!(refusals(body), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }
}
