//! Every way in which a request can be refused, and the one place where that becomes HTTP.
//!
//! Routes return [`ApiError`]. Its answer is rendered by [`crate::observe`], because only there the request's id is
//! known; what travels in between is a [`Problem`].

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use touchline_ingest::body::BodyError;
use touchline_ingest::receive::{FieldError, ReceiveError};
use touchline_pipeline::PipelineError;
use touchline_schemas::control::{ControlError, Scope};

use crate::auth::Unauthenticated;
use crate::format::FormatError;
use crate::limits::Exceeded;
use crate::sql::SqlFailure;

mod describe;
mod map;
mod problem;
mod sql;

pub use describe::{
    AdminChangeProblems, AdminProblems, BatchProblems, DataProblems, HealthProblems, IntakeProblems, KeyProblems,
    PersonProblems, ReportProblems, ScopeProblems, SqlProblems,
};
pub use problem::{Problem, ProblemDetails, ProblemItem};

/// The configuration key that limits a body, named in the answer so that an operator finds it.
pub const MAX_BODY_BYTES_KEY: &str = "ingest.max_body_bytes";

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The caller is not known.
    #[error(transparent)]
    Unauthenticated(#[from] Unauthenticated),
    /// The caller is known, and may not do this.
    #[error("the key lacks the scope `{0}`")]
    MissingScope(Scope),
    /// The caller asks more than it may at a time.
    #[error(transparent)]
    Limited(#[from] Exceeded),
    /// The query string cannot be understood.
    #[error("the query string is not understood")]
    Query(Vec<ProblemItem>),
    /// No such page.
    #[error("there is nothing at this address")]
    NotFound,
    /// The page exists, and not for this method.
    #[error("this address does not answer this method")]
    MethodNotAllowed,
    /// None of the media types that the caller takes can be given.
    #[error("none of the accepted media types is available here")]
    NotAcceptable,
    /// The body is larger than the operator allows.
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit, in bytes, before and after decompression.
        limit_bytes: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {limit_s} s")]
    BodyTimeout {
        /// The limit in seconds.
        limit_s: u64,
    },
    /// The connection broke while the body arrived.
    #[error("the body could not be read to its end")]
    BodyBroken,
    /// The body's media type is not JSON.
    #[error("the media type `{0}` is not understood here")]
    UnsupportedMediaType(String),
    /// The body's content encoding cannot be undone.
    #[error(transparent)]
    Encoding(#[from] BodyError),
    /// The request as a whole was refused by ingest.
    #[error("ingest refused the request")]
    Receive(#[from] ReceiveError),
    /// The one thing that the request held was refused.
    #[error("the {what} was refused")]
    Refused {
        /// What the request held, as a word of the API.
        what: &'static str,
        /// The first reason.
        code: &'static str,
        /// Every reason.
        errors: Vec<FieldError>,
    },
    /// It contradicts how things are now.
    #[error("{detail}")]
    Conflict {
        /// A stable word for programs.
        code: &'static str,
        /// One sentence for people.
        detail: &'static str,
    },
    /// A report could not be computed.
    #[error(transparent)]
    Report(#[from] PipelineError),
    /// A statement has no answer.
    #[error(transparent)]
    Sql(#[from] SqlFailure),
    /// The body is JSON of another form.
    #[error("the body is not understood: {0}")]
    BadBody(String),
    /// A report could not be written.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The control database did not answer.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The service is up and cannot do this now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Something that should not happen did.
    #[error("{0}")]
    Internal(&'static str),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.into_problem();
        let mut response = problem.status.into_response();
        if problem.status == StatusCode::UNAUTHORIZED {
            set(&mut response, header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"touchline\""));
        }
        if let Some(retry_after_s) = problem.retry_after_s {
            set(&mut response, header::RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

fn set(response: &mut Response, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}
