//! From reason to status, code and words. What is said here is all that leaves the process.

use axum::http::StatusCode;
use touchline_ingest::body::BodyError;
use touchline_ingest::receive::{FieldError, ReceiveError};
use touchline_pipeline::{PipelineError, is_out_of_memory};
use touchline_schemas::control::ControlError;
use touchline_schemas::export::InvalidExport;

use super::{ApiError, MAX_BODY_BYTES_KEY, Problem, ProblemItem, sql};
use crate::administration::pointer;
use crate::auth::Unauthenticated;
use crate::format::FormatError;

/// Seconds after which to try again when the reason gives none.
const RETRY_AFTER_S: u32 = 5;

impl ApiError {
    /// The problem as the caller is told of it. What the caller must not see goes to the log here.
    pub fn into_problem(self) -> Problem {
        let detail = self.to_string();
        match self {
            Self::Unauthenticated(reason) => unauthenticated(reason),
            Self::MissingScope(_) => Problem::new(StatusCode::FORBIDDEN, "missing_scope", detail),
            Self::Limited(exceeded) => Problem::new(StatusCode::TOO_MANY_REQUESTS, exceeded.code(), detail)
                .with_retry_after_s(exceeded.retry_after_s),
            Self::Query(errors) => {
                let detail = errors.first().map_or(detail, |error| error.detail.clone());
                Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail).with_errors(errors)
            }
            Self::NotFound => Problem::new(StatusCode::NOT_FOUND, "not_found", detail),
            Self::MethodNotAllowed => Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail),
            Self::NotAcceptable => Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "reports come as application/json, application/x-ndjson, text/csv, application/vnd.apache.parquet or \
                 application/vnd.apache.arrow.stream; `format=` chooses as well",
            ),
            Self::BodyTooLarge { limit_bytes } => body_too_large(limit_bytes),
            Self::BodyTimeout { .. } => Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail),
            Self::BodyBroken => Problem::new(StatusCode::BAD_REQUEST, "body_broken", detail),
            Self::UnsupportedMediaType(_) => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                format!("{detail}; send JSON as application/json"),
            ),
            Self::Encoding(reason) => encoding(reason),
            Self::Receive(reason) => receive(reason),
            Self::Refused { what, code, errors } => refused(what, code, errors),
            Self::Conflict { code, detail } => Problem::new(StatusCode::CONFLICT, code, detail),
            Self::Report(reason) => report(reason),
            Self::Sql(reason) => sql::problem(reason),
            Self::BadBody(_) => Problem::new(StatusCode::BAD_REQUEST, "invalid_body", detail),
            Self::Format(FormatError::Query(reason)) if is_out_of_memory(&*reason) => report_unavailable(&*reason),
            Self::Format(reason) => internal(&reason),
            Self::Control(reason) if reason.retryable() => {
                tracing::error!(error = &reason as &dyn std::error::Error, "control database did not answer");
                unavailable("control_unavailable", "the control database does not answer", RETRY_AFTER_S)
            }
            Self::Control(reason) => control(reason),
            Self::Unavailable(reason) => unavailable("unavailable", reason, RETRY_AFTER_S),
            Self::Internal(reason) => {
                tracing::error!(reason, "request failed");
                failed()
            }
        }
    }
}

fn unauthenticated(reason: Unauthenticated) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, reason.code(), reason.to_string())
}

fn body_too_large(limit_bytes: usize) -> Problem {
    let detail = format!(
        "the body may have at most {limit_bytes} bytes once decompressed; the operator sets `{MAX_BODY_BYTES_KEY}`, and \
         for a single event `ingest.max_event_bytes`"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn encoding(reason: BodyError) -> Problem {
    let detail = reason.to_string();
    match reason {
        BodyError::UnsupportedEncoding(_) => {
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail)
        }
        BodyError::TooLarge { limit_bytes } => body_too_large(limit_bytes),
        BodyError::Corrupt { .. } => Problem::new(StatusCode::BAD_REQUEST, "corrupt_body", detail),
    }
}

fn receive(reason: ReceiveError) -> Problem {
    // `Debug` has what `Display` keeps from clients.
    let kept = format!("{reason:?}");
    let bad = |code, pointer: String, detail: String| {
        Problem::new(StatusCode::BAD_REQUEST, code, detail.clone())
            .with_errors(vec![ProblemItem::pointer(pointer, code, detail)])
    };
    match reason {
        ReceiveError::InvalidJson { detail } => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_json", format!("the body is not valid JSON: {detail}"))
        }
        ReceiveError::MissingField { pointer, detail } => bad("missing_field", pointer, detail),
        ReceiveError::WrongType { pointer, detail } => bad("wrong_type", pointer, detail),
        ReceiveError::TooManyEvents { limit, sent } => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_many_events",
            format!(
                "a request may hold at most {limit} events, this one holds {sent}; send several requests \
                 (the operator sets `ingest.max_events_per_request`)"
            ),
        ),
        ReceiveError::LogFull { retry_after_s, .. } => {
            tracing::error!(reason = kept, "request turned away");
            unavailable(
                "log_full",
                "too many events wait to be written; nothing of this request was kept",
                retry_after_s,
            )
        }
        ReceiveError::LogUnavailable { retry_after_s, .. } => {
            tracing::error!(reason = kept, "request turned away");
            unavailable("log_unavailable", "events cannot be kept safely now; nothing was acknowledged", retry_after_s)
        }
    }
}

/// What the control database refuses is the caller's mistake; what it cannot do is ours.
fn control(reason: ControlError) -> Problem {
    let said = reason.to_string();
    match reason {
        ControlError::UnknownAccount { .. }
        | ControlError::UnknownKey
        | ControlError::UnknownUser
        | ControlError::UnknownExport => ApiError::NotFound.into_problem(),
        ControlError::SlugTaken { .. } => Problem::new(StatusCode::CONFLICT, "slug_taken", said.clone())
            .with_errors(vec![ProblemItem::pointer("/slug", "taken", said)]),
        ControlError::DomainTaken { .. } => Problem::new(StatusCode::CONFLICT, "domain_taken", said.clone())
            .with_errors(vec![ProblemItem::pointer("/tracked_domains", "taken", said)]),
        ControlError::EmailTaken { .. } => Problem::new(StatusCode::CONFLICT, "email_taken", said.clone())
            .with_errors(vec![ProblemItem::pointer("/email", "taken", said)]),
        ControlError::UserChanged => Problem::new(StatusCode::CONFLICT, "user_changed", said),
        ControlError::ActorGone => ApiError::from(Unauthenticated::RevokedKey).into_problem(),
        ControlError::ExportNameTaken { .. } => Problem::new(StatusCode::CONFLICT, "name_taken", said.clone())
            .with_errors(vec![ProblemItem::pointer("/name", "taken", said)]),
        ControlError::TooManyExports { .. } => Problem::new(StatusCode::CONFLICT, "too_many_exports", said),
        ControlError::ExportBusy { .. } => Problem::new(StatusCode::CONFLICT, "export_busy", said),
        ControlError::InvalidExport(invalid) => refused("export", "invalid", export_fields(invalid)),
        ControlError::LastOwner => Problem::new(StatusCode::CONFLICT, "last_owner", said),
        ControlError::InvalidEmail => refused("user", "invalid", vec![at("/email", said)]),
        ControlError::InvalidPassword { .. } => refused("user", "invalid", vec![at("/password", said)]),
        ControlError::KeyRevoked => Problem::new(StatusCode::CONFLICT, "key_revoked", said),
        ControlError::InvalidSlug { .. } => refused("account", "invalid", vec![at("/slug", said)]),
        ControlError::InvalidName { .. } => refused("account", "invalid", vec![at("/name", said)]),
        ControlError::PublishableScopes { .. } => refused("key", "invalid", vec![at("/scopes", said)]),
        ControlError::GraceTooLong { .. } => refused("key", "invalid", vec![at("/grace_s", said)]),
        ControlError::Settings { errors } => {
            refused("settings", "invalid", errors.iter().map(|error| at(&field_of(error), error.to_string())).collect())
        }
        ControlError::InvalidSetting { field, .. } => refused("settings", "invalid", vec![at(&pointer(field), said)]),
        ControlError::UnknownSetting { field, .. } => refused("settings", "invalid", vec![at(&pointer(&field), said)]),
        ControlError::Directory { .. }
        | ControlError::Open { .. }
        | ControlError::Migrate { .. }
        | ControlError::Database { .. }
        | ControlError::Corrupt { .. }
        | ControlError::Password { .. }
        | ControlError::AmbiguousKey { .. }
        | ControlError::ExportRunLost { .. }
        | ControlError::NotRunning { .. } => internal(&reason),
    }
}

/// The fields of an export's definition that are refused.
fn export_fields(invalid: InvalidExport) -> Vec<FieldError> {
    let errors = invalid.errors.into_iter();
    errors.map(|error| FieldError { pointer: error.pointer, code: error.code, detail: error.detail }).collect()
}

/// Where a setting that is refused stands in the body.
fn field_of(reason: &ControlError) -> String {
    if let ControlError::InvalidSetting { field, .. } = reason {
        pointer(field)
    } else if let ControlError::UnknownSetting { field, .. } = reason {
        pointer(field)
    } else {
        String::new()
    }
}

fn at(pointer: &str, detail: String) -> FieldError {
    FieldError { pointer: pointer.to_owned(), code: "invalid_value", detail }
}

fn refused(what: &str, code: &'static str, errors: Vec<FieldError>) -> Problem {
    let detail = match errors.first() {
        Some(first) => format!("the {what} was refused: {}", first.detail),
        None => format!("the {what} was refused"),
    };
    let errors = errors.into_iter().map(|error| ProblemItem::pointer(error.pointer, error.code, error.detail));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).with_errors(errors.collect())
}

fn report(reason: PipelineError) -> Problem {
    match reason {
        PipelineError::BadParameter { name, detail } => {
            let item = ProblemItem::parameter(name, "invalid_value", format!("`{name}`: {detail}"));
            Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", item.detail.clone()).with_errors(vec![item])
        }
        PipelineError::NoVersion => Problem::new(
            StatusCode::NOT_FOUND,
            "no_such_version",
            "`as_of`: the report's tables have no such version, or had none yet at that time",
        ),
        PipelineError::VersionGone => Problem::new(
            StatusCode::GONE,
            "version_gone",
            "`as_of`: the lake does not keep this state any more; it is sure to keep those of two days",
        ),
        PipelineError::Lake(..) | PipelineError::Engine(..) if reason.is_retryable() => report_unavailable(&reason),
        PipelineError::Lake(..) | PipelineError::Engine(..) => internal(&reason),
    }
}

fn report_unavailable(reason: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error = reason, "report cannot be computed now");
    unavailable("report_unavailable", "the report cannot be computed now", RETRY_AFTER_S)
}

fn internal(reason: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error = reason, "request failed");
    failed()
}

fn failed() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "something went wrong on our side; the log has the details under this request's id",
    )
}

fn unavailable(code: &'static str, detail: &'static str, retry_after_s: u32) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with_retry_after_s(retry_after_s)
}

#[cfg(test)]
mod tests {
    use axum::http::header;
    use axum::response::IntoResponse;

    use touchline_schemas::control::{ExportRunId, Scope};

    use super::*;
    use crate::limits::{Exceeded, Limit};

    #[test]
    fn each_reason_has_its_status_and_word() {
        let field = || FieldError { pointer: "/session/url".into(), code: "required", detail: "url is missing".into() };
        let text = String::from;
        let cases: Vec<(ApiError, u16, &str, usize)> = vec![
            (Unauthenticated::MissingHeader.into(), 401, "missing_authorization", 0),
            (ApiError::MissingScope(Scope::CanViewReports), 403, "missing_scope", 0),
            (Exceeded { limit: Limit::FailuresOfAddress, retry_after_s: 7 }.into(), 429, "too_many_failures", 0),
            (ApiError::Query(vec![ProblemItem::parameter("x", "unknown", "no x")]), 400, "invalid_parameter", 1),
            (ApiError::NotFound, 404, "not_found", 0),
            (ApiError::MethodNotAllowed, 405, "method_not_allowed", 0),
            (ApiError::NotAcceptable, 406, "not_acceptable", 0),
            (ApiError::BodyTooLarge { limit_bytes: 9 }, 413, "body_too_large", 0),
            (ApiError::BodyTimeout { limit_s: 9 }, 408, "body_timeout", 0),
            (ApiError::BodyBroken, 400, "body_broken", 0),
            (ApiError::UnsupportedMediaType(text("image/png")), 415, "unsupported_media_type", 0),
            (BodyError::UnsupportedEncoding(text("lzma")).into(), 415, "unsupported_content_encoding", 0),
            (BodyError::TooLarge { limit_bytes: 9 }.into(), 413, "body_too_large", 0),
            (ReceiveError::InvalidJson { detail: text("at 1") }.into(), 400, "invalid_json", 0),
            (
                ReceiveError::MissingField { pointer: text("/events"), detail: text("x") }.into(),
                400,
                "missing_field",
                1,
            ),
            (ReceiveError::WrongType { pointer: text("/events"), detail: text("x") }.into(), 400, "wrong_type", 1),
            (ReceiveError::TooManyEvents { limit: 2000, sent: 3000 }.into(), 413, "too_many_events", 0),
            (ReceiveError::LogFull { quota_bytes: 1, retry_after_s: 7 }.into(), 503, "log_full", 0),
            (ApiError::Refused { what: "session", code: "invalid", errors: vec![field()] }, 422, "invalid", 1),
            (PipelineError::BadParameter { name: "by", detail: text("no") }.into(), 400, "invalid_parameter", 1),
            (PipelineError::NoVersion.into(), 404, "no_such_version", 0),
            (PipelineError::VersionGone.into(), 410, "version_gone", 0),
            (ApiError::Conflict { code: "own_account", detail: "no" }, 409, "own_account", 0),
            (ControlError::UnknownKey.into(), 404, "not_found", 0),
            (ControlError::KeyRevoked.into(), 409, "key_revoked", 0),
            (ControlError::SlugTaken { slug: text("acme") }.into(), 409, "slug_taken", 1),
            (ControlError::ExportNameTaken { name: text("sales") }.into(), 409, "name_taken", 1),
            (ControlError::TooManyExports { max_exports: 9 }.into(), 409, "too_many_exports", 0),
            (ControlError::ExportBusy { run_id: ExportRunId(7) }.into(), 409, "export_busy", 0),
            (ControlError::InvalidSlug { slug: text("A") }.into(), 422, "invalid", 1),
            (ControlError::GraceTooLong { grace_s: 9, max_s: 1 }.into(), 422, "invalid", 1),
            (ControlError::Corrupt { table: "a", column: "b", value: text("c") }.into(), 500, "internal_error", 0),
            (ApiError::Unavailable("later"), 503, "unavailable", 0),
            (ApiError::Internal("panic"), 500, "internal_error", 0),
        ];
        for (error, status, code, error_count) in cases {
            let said = format!("{error:?}");
            let problem = error.into_problem();
            assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{said}");
            assert_eq!(problem.errors.len(), error_count, "{said}");
            assert_eq!(problem.retry_after_s.is_some(), [429, 503].contains(&status), "{said}");
        }
    }

    #[test]
    fn body_limit_names_the_setting() {
        let problem = ApiError::BodyTooLarge { limit_bytes: 5_000_000 }.into_problem();
        assert!(problem.detail.contains("5000000") && problem.detail.contains("ingest.max_body_bytes"));
    }

    #[test]
    fn what_lies_behind_an_internal_error_stays_inside() {
        let source = std::io::Error::other("/var/lib/touchline: SELECT 1");
        let problem = ApiError::Format(crate::format::FormatError::Query(Box::new(source))).into_problem();
        assert!(!problem.detail.contains("SELECT") && !problem.detail.contains("/var"));
    }

    #[test]
    fn headers_tell_how_to_go_on() {
        let response = ApiError::from(Unauthenticated::MissingHeader).into_response();
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        let response = ApiError::from(ReceiveError::LogFull { quota_bytes: 1, retry_after_s: 7 }).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    }
}
