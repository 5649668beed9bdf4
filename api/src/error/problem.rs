//! The error body: RFC 9457, with the three strings that older clients look for.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of every error body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal that is ready to be told, except for the id of the request.
///
/// Cloneable because it travels as an extension of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Status of the answer.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: &'static str,
    /// One sentence for people about this occurrence.
    pub detail: String,
    /// What exactly was wrong, one by one.
    pub errors: Vec<ProblemItem>,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u32>,
}

/// One thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemItem {
    /// JSON pointer to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Name of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// A stable word for programs.
    pub code: &'static str,
    /// One sentence for people.
    pub detail: String,
}

impl ProblemItem {
    /// Something wrong with a query parameter.
    pub fn parameter(name: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), code, detail: detail.into() }
    }

    /// Something wrong at a place in the body.
    pub fn pointer(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, code, detail: detail.into() }
    }
}

/// The body of every answer from 400 up.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDetails<'a> {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:touchline:problem:invalid_key")]
    kind: String,
    /// The status in words.
    title: &'a str,
    /// The status as a number.
    status: u16,
    /// One sentence about this occurrence.
    detail: &'a str,
    /// The id of the request, as in `X-Request-Id`.
    instance: &'a str,
    /// What exactly was wrong, one by one; empty when there is nothing to point at.
    errors: &'a [ProblemItem],
    /// Same as `title`, for clients that look here.
    error: &'a str,
    /// A stable word for programs.
    code: &'a str,
    /// Same as `detail`, for clients that look here.
    message: &'a str,
}

impl Problem {
    /// A problem without particulars.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after_s: None }
    }

    /// Adds the particulars.
    pub fn with_errors(self, errors: Vec<ProblemItem>) -> Self {
        Self { errors, ..self }
    }

    /// Adds when to try again, in seconds.
    pub fn with_retry_after_s(self, retry_after_s: u32) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..self }
    }

    /// The body for the request with the id `instance`.
    pub fn render(&self, instance: &str) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let details = ProblemDetails {
            kind: format!("urn:touchline:problem:{}", self.code),
            title,
            status: self.status.as_u16(),
            detail: &self.detail,
            instance,
            errors: &self.errors,
            error: title,
            code: self.code,
            message: &self.detail,
        };
        match serde_json::to_vec(&details) {
            Ok(body) => (self.status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response(),
            Err(_) => self.status.into_response(),
        }
    }
}
