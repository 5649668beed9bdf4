//! `POST /api/send`: an event of Umami's tracker.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use touchline_ingest::receive::Endpoint;
use utoipa::ToSchema;

use super::Foreign;
use crate::AppState;
use crate::error::{ApiError, IntakeProblems};
use crate::intake;

/// That it was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct UmamiAnswer {
    /// Always true; what is refused is answered with an error.
    pub ok: bool,
}

/// Stores an event of Umami's tracker
///
/// The key, publishable, stands where Umami has the id of a website (`payload.website`); one with the scope `ingest` in a
/// header does as well. Events without a name are page views. Visitors have no id: they are told apart by masked address
/// and user agent.
#[utoipa::path(
    post,
    path = "/api/send",
    tag = "ingest",
    security(("key" = ["ingest"])),
    request_body = Foreign,
    responses((status = 200, description = "It is on disk", body = UmamiAnswer), IntakeProblems)
)]
pub async fn post_umami(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let taken = intake::authenticate(&state, Endpoint::Umami, None, request).await?;
    intake::single("event", intake::keep(&state, Endpoint::Umami, taken).await?)?;
    intake::json(StatusCode::OK, &UmamiAnswer { ok: true })
}
