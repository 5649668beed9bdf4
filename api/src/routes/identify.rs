//! `POST /api/v1/identify`: a visitor became known.

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
pub struct IdentifyRequest {
    /// Known id, at most 200 characters.
    pub user_id: String,
    /// The anonymous id that belongs to it.
    pub visitor_id: Option<String>,
    /// What is known of the person.
    #[schema(value_type = Option<Object>)]
    pub traits: Option<()>,
}

/// That it was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdentifyAnswer {
    /// Always true; what is refused is answered with an error.
    pub success: bool,
}

/// Stores that a visitor is a known user
///
/// Needs the scope `ingest`. It becomes an event of the type `$identify`.
#[utoipa::path(
    post,
    path = "/api/v1/identify",
    tag = "ingest",
    security(("key" = ["ingest"])),
    request_body = IdentifyRequest,
    responses(
        (status = 200, description = "It is on disk", body = IdentifyAnswer),
        IntakeProblems,
    )
)]
pub async fn post_identify(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let receipt = intake::receive(&state, &caller, Endpoint::Identify, request).await?;
    intake::single("identification", receipt)?;
    intake::json(StatusCode::OK, &IdentifyAnswer { success: true })
}
