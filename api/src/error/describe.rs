//! The refusals that routes have in common, for the description of the API.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::response::Response;
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

use super::problem::PROBLEM_JSON;

/// Name of the error body among the description's components.
const PROBLEM_SCHEMA: &str = "ProblemDetails";

const BAD_BODY: (u16, &str) = (400, "The body is not JSON, not of this form, or broken off");
const BAD_PARAMETER: (u16, &str) = (400, "A parameter is unknown, repeated or wrong; `errors` names each");
const UNAUTHENTICATED: (u16, &str) =
    (401, "The key is missing, malformed, unknown or revoked, or its account suspended");
const MISSING_SCOPE: (u16, &str) = (403, "The key lacks the scope");
const NO_VERSION: (u16, &str) = (404, "The lake has, or had at that time, no such version (`as_of`)");
const NO_PERSON: (u16, &str) = (404, "Nobody has this id, or the lake has no such version (`as_of`)");
const VERSION_GONE: (u16, &str) = (410, "The lake does not keep that version any more (`as_of`)");
const NOT_FOUND: (u16, &str) = (404, "There is no such thing, or it is another account's: the answers are the same");
const CONFLICT: (u16, &str) = (409, "It contradicts how things are now; `code` says how");
const NOT_ACCEPTABLE: (u16, &str) = (406, "None of the accepted formats is available");
const BODY_TIMEOUT: (u16, &str) = (408, "The body did not arrive in time");
const TOO_LARGE: (u16, &str) = (413, "The body is too large, before or after decompression, or holds too many events");
const UNSUPPORTED: (u16, &str) = (415, "The media type or the content encoding is not understood");
const REFUSED: (u16, &str) = (422, "A field is missing or wrong; `errors` points at each");
const TOO_MUCH: (u16, &str) = (
    429,
    "The key asks more than it may, or too many keys from this address were wrong; `Retry-After` says when to try again",
);
const BAD_STATEMENT: (u16, &str) = (400, "The body is not of this form, or the statement is no SQL");
const REFUSED_STATEMENT: (u16, &str) = (
    422,
    "The statement is not a query over these tables, or exceeds a limit; the answer names the operator's setting",
);
const UNAVAILABLE: (u16, &str) = (503, "Not possible now; `Retry-After` says when to try again");

/// Refusals of routes that take a batch.
pub struct BatchProblems;

/// Refusals of routes that take one thing.
pub struct IntakeProblems;

/// Refusals of reports.
pub struct ReportProblems;

/// Refusals of rows in numbered pages.
pub struct DataProblems;

/// Refusals of statements.
pub struct SqlProblems;

/// Refusals of routes that show what is administered.
pub struct AdminProblems;

/// Refusals of routes that change what is administered.
pub struct AdminChangeProblems;

/// Refusals of what is asked of one person.
pub struct PersonProblems;

/// Refusals of routes that show what is the same for every account, to a key with their scope.
pub struct ScopeProblems;

/// Refusals of routes that take any key.
pub struct KeyProblems;

/// Refusals of routes that say whether something works.
pub struct HealthProblems;

impl IntoResponses for BatchProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            BAD_BODY,
            UNAUTHENTICATED,
            MISSING_SCOPE,
            BODY_TIMEOUT,
            TOO_LARGE,
            UNSUPPORTED,
            TOO_MUCH,
            UNAVAILABLE,
        ])
    }
}

impl IntoResponses for IntakeProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = BatchProblems::responses();
        responses.extend(problems(&[REFUSED]));
        responses
    }
}

impl IntoResponses for ReportProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            BAD_PARAMETER,
            UNAUTHENTICATED,
            MISSING_SCOPE,
            NO_VERSION,
            NOT_ACCEPTABLE,
            VERSION_GONE,
            TOO_MUCH,
            UNAVAILABLE,
        ])
    }
}

impl IntoResponses for DataProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[BAD_PARAMETER, UNAUTHENTICATED, MISSING_SCOPE, TOO_MUCH, UNAVAILABLE])
    }
}

impl IntoResponses for SqlProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[
            BAD_STATEMENT,
            UNAUTHENTICATED,
            MISSING_SCOPE,
            NOT_ACCEPTABLE,
            BODY_TIMEOUT,
            TOO_LARGE,
            UNSUPPORTED,
            REFUSED_STATEMENT,
            TOO_MUCH,
            UNAVAILABLE,
        ])
    }
}

impl IntoResponses for AdminProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[BAD_PARAMETER, UNAUTHENTICATED, MISSING_SCOPE, NOT_FOUND, TOO_MUCH, UNAVAILABLE])
    }
}

impl IntoResponses for AdminChangeProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = AdminProblems::responses();
        responses.extend(problems(&[BAD_BODY, CONFLICT, BODY_TIMEOUT, TOO_LARGE, UNSUPPORTED, REFUSED]));
        responses
    }
}

impl IntoResponses for PersonProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = ReportProblems::responses();
        responses.extend(problems(&[NO_PERSON]));
        responses
    }
}

impl IntoResponses for ScopeProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[UNAUTHENTICATED, MISSING_SCOPE, TOO_MUCH, UNAVAILABLE])
    }
}

impl IntoResponses for KeyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[UNAUTHENTICATED, TOO_MUCH, UNAVAILABLE])
    }
}

impl IntoResponses for HealthProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[UNAVAILABLE])
    }
}

fn problems(kinds: &[(u16, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let describe = |(status, description): &(u16, &str)| {
        let content = Content::new(Some(Ref::from_schema_name(PROBLEM_SCHEMA)));
        let response = ResponseBuilder::new().description(*description).content(PROBLEM_JSON, content).build();
        (status.to_string(), RefOr::T(response))
    };
    kinds.iter().map(describe).collect()
}
