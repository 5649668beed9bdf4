//! `POST /batch/` and its kin: events of PostHog's clients.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::Serialize;
use touchline_ingest::receive::{Endpoint, Receipt, RejectedItem};
use utoipa::ToSchema;

use crate::AppState;
use crate::error::{ApiError, BatchProblems};
use crate::intake;
use crate::routes::events::RejectedEvent;

/// Further addresses that answer the same: those of single events, of older clients, and each without its last slash.
const OTHER_PATHS: [&str; 7] = ["/batch", "/capture/", "/capture", "/e/", "/e", "/i/v0/e/", "/i/v0/e"];

/// The routes of those addresses.
pub fn elsewhere() -> Router<AppState> {
    OTHER_PATHS.into_iter().fold(Router::new(), |router, path| router.route(path, post(post_posthog)))
}

/// What became of the events. Clients look at the status only, which says that all of it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostHogAnswer {
    /// Always 1; what is not kept is answered with an error.
    pub status: u8,
    /// How many were stored.
    pub accepted: u32,
    /// How many were known already.
    pub duplicates: u32,
    /// Which were refused, and why. They are kept apart, and can be put right and sent again.
    #[schema(value_type = Vec<RejectedEvent>)]
    pub rejected: Vec<RejectedItem>,
}

/// Stores events of PostHog's clients
///
/// Needs the scope `ingest`; the key is the member `api_key` or `token` of the body, or of the first event's properties.
/// The body is one event, a list of them, or `{"batch":[…]}`; browsers may have packed it with gzip, or as a form. The
/// same is answered at `/capture/`, `/e/` and `/i/v0/e/`. Refused events do not change the status: a client would send
/// all of them again.
#[utoipa::path(
    post,
    path = "/batch/",
    tag = "ingest",
    security(("key" = ["ingest"])),
    request_body = Value,
    responses((status = 200, description = "What was sent is kept", body = PostHogAnswer), BatchProblems)
)]
pub async fn post_posthog(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let taken = intake::authenticate(&state, Endpoint::PostHog, None, request).await?;
    let Receipt { accepted, duplicates, rejected, .. } = intake::keep(&state, Endpoint::PostHog, taken).await?;
    intake::json(StatusCode::OK, &PostHogAnswer { status: 1, accepted, duplicates, rejected })
}
