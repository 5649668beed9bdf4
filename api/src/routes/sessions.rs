//! `POST /api/v1/sessions`: a client opened a session of its own.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use touchline_ingest::receive::Endpoint;
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, IntakeProblems};
use crate::intake;

/// What is sent.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct SessionRequest {
    /// The session.
    pub session: SessionBody,
}

/// The beginning of a session.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct SessionBody {
    /// Anonymous id, at most 200 characters.
    pub visitor_id: String,
    /// The client's own session id.
    pub session_id: Option<String>,
    /// The address of the first page.
    #[schema(example = "https://shop.example/?utm_source=google&utm_medium=cpc")]
    pub url: String,
    /// Where the visitor came from.
    pub referrer: Option<String>,
    /// Kept among the properties.
    pub device_fingerprint: Option<String>,
    /// The visitor's user agent, when a server speaks for it.
    pub user_agent: Option<String>,
    /// The visitor's address, when a server speaks for it.
    pub ip: Option<String>,
    /// When it began, ISO 8601. Default: when it arrives.
    pub started_at: Option<String>,
    /// Meta's browser id, kept among the properties.
    pub fbp: Option<String>,
}

/// That the session was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionAnswer {
    /// `accepted` or `duplicate`.
    #[schema(example = "accepted")]
    pub status: &'static str,
}

/// Stores the beginning of a session
///
/// Needs the scope `ingest`. It becomes an event of the type `$session_start`. Sessions are computed from all events
/// and need no such call; it gives them the client's own session id and address of entry.
#[utoipa::path(
    post,
    path = "/api/v1/sessions",
    tag = "ingest",
    security(("key" = ["ingest"])),
    request_body = SessionRequest,
    responses(
        (status = 202, description = "It is on disk", body = SessionAnswer),
        IntakeProblems,
    )
)]
pub async fn post_session(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let receipt = intake::receive(&state, &caller, Endpoint::Session, request).await?;
    let taken = intake::single("session", receipt)?;
    intake::json(StatusCode::ACCEPTED, &SessionAnswer { status: taken.status })
}
