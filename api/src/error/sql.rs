//! What the sender of a statement is told.

use axum::http::StatusCode;
use touchline_pipeline::sql::{Limit, SqlError};

use super::{Problem, ProblemItem};
use crate::sql::SqlFailure;

/// Where the statement stands in the request.
const POINTER: &str = "/sql";
/// Seconds after which a busy or broken service is worth another try.
const RETRY_AFTER_S: u32 = 2;

/// The problem as the caller is told of it. What the caller must not see goes to the log here.
pub(super) fn problem(reason: SqlFailure) -> Problem {
    match reason {
        SqlFailure::Statement(error) => of_statement(error),
        SqlFailure::Busy => unavailable("sql_busy", reason.to_string()),
        // Nobody is there to be told.
        SqlFailure::Abandoned | SqlFailure::Files(_) | SqlFailure::NotStarted(_) => {
            tracing::error!(error = &reason as &dyn std::error::Error, "statements cannot be carried out");
            unavailable("sql_unavailable", "statements cannot be carried out now")
        }
        SqlFailure::Died { .. } => {
            tracing::warn!(error = &reason as &dyn std::error::Error, "a worker for statements has died");
            unavailable("sql_worker_died", "the process that carried out the statement has died; another is there now")
        }
    }
}

fn of_statement(error: SqlError) -> Problem {
    let detail = error.to_string();
    let said = |status, code| {
        let item = ProblemItem::pointer(POINTER, code, detail.clone());
        Problem::new(status, code, detail.clone()).with_errors(vec![item])
    };
    match error {
        SqlError::Syntax { .. } => said(StatusCode::BAD_REQUEST, "sql_syntax"),
        SqlError::Refused { .. } => said(StatusCode::UNPROCESSABLE_ENTITY, "sql_refused"),
        SqlError::Invalid { .. } => said(StatusCode::UNPROCESSABLE_ENTITY, "sql_invalid"),
        SqlError::Limit { limit, .. } => said(status(limit), "sql_limit"),
        SqlError::Unavailable { .. } => {
            tracing::error!(error = &error as &dyn std::error::Error, "a statement cannot be carried out now");
            unavailable("sql_unavailable", "statements cannot be carried out now")
        }
        SqlError::Internal { .. } => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the engine has failed over a statement");
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "sql_unsupported",
                "the engine cannot carry out this statement; the log has the details under this request's id",
            )
        }
    }
}

const fn status(limit: Limit) -> StatusCode {
    match limit {
        Limit::StatementBytes => StatusCode::PAYLOAD_TOO_LARGE,
        Limit::Tokens
        | Limit::Depth
        | Limit::Time
        | Limit::Memory
        | Limit::ProcessMemory
        | Limit::Rows
        | Limit::RowBytes
        | Limit::AnswerBytes => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with_retry_after_s(RETRY_AFTER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_status_and_word_and_keeps_secrets() {
        let secret = || "/var/lib/touchline/lake".to_owned();
        let cases: Vec<(SqlFailure, u16, &str)> = vec![
            (SqlError::Syntax { detail: "x".into() }.into(), 400, "sql_syntax"),
            (SqlError::Refused { detail: "x".into() }.into(), 422, "sql_refused"),
            (SqlError::Invalid { detail: "x".into() }.into(), 422, "sql_invalid"),
            (SqlError::over(Limit::StatementBytes, 1).into(), 413, "sql_limit"),
            (SqlError::over(Limit::Time, 1).into(), 422, "sql_limit"),
            (SqlError::over(Limit::RowBytes, 1).into(), 422, "sql_limit"),
            (SqlError::Unavailable { detail: secret() }.into(), 503, "sql_unavailable"),
            (SqlError::Internal { detail: secret() }.into(), 422, "sql_unsupported"),
            (SqlFailure::Busy, 503, "sql_busy"),
            (SqlFailure::Died { status: secret(), said: secret() }, 503, "sql_worker_died"),
            (SqlFailure::NotStarted(std::io::Error::other(secret())), 503, "sql_unavailable"),
        ];
        for (failure, status, code) in cases {
            let said = format!("{failure:?}");
            let problem = problem(failure);
            assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{said}");
            assert_eq!(problem.retry_after_s.is_some(), status == 503, "{said}");
            assert!(!problem.detail.contains("/var"), "{said}");
        }
    }
}
