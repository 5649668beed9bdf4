//! `POST /api/event`: an event of Plausible's tracker.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use touchline_ingest::receive::Endpoint;

use super::Foreign;
use crate::AppState;
use crate::error::{ApiError, IntakeProblems};
use crate::intake;

/// Stores an event of Plausible's tracker
///
/// Its domain (`d`, `domain`) stands for a key: an account says in its setting `tracked_domains` which are its own. A key
/// with the scope `ingest` in a header does as well. Visitors have no id: they are told apart by masked address and user
/// agent. The body may be declared as `text/plain`.
#[utoipa::path(
    post,
    path = "/api/event",
    tag = "ingest",
    security(("key" = ["ingest"])),
    request_body = Foreign,
    responses(
        (status = 202, description = "It is on disk", body = String, content_type = "text/plain"),
        IntakeProblems,
    )
)]
pub async fn post_plausible(
    State(state): State<AppState>,
    request: Request,
) -> Result<(StatusCode, &'static str), ApiError> {
    let taken = intake::authenticate(&state, Endpoint::Plausible, None, request).await?;
    intake::single("event", intake::keep(&state, Endpoint::Plausible, taken).await?)?;
    Ok((StatusCode::ACCEPTED, "ok"))
}
