//! `POST /api/v1/keys/{key_id}/rotate`: a new secret for a key.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use touchline_schemas::control::{MAX_ROTATION_GRACE_S, Scope};
use utoipa::ToSchema;

use super::{KeyWithSecret, asked_account, changeable};
use crate::AppState;
use crate::administration::{self, AccountParam, Fields};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, ApiError};

/// How a key is rotated.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct RotateRequest {
    /// Seconds for which the old secret goes on working, at most 2,592,000 (30 days). Default 0: it ends at once.
    #[schema(minimum = 0, maximum = 2_592_000, example = 3600)]
    pub grace_s: Option<u32>,
}

/// Gives a key a new secret
///
/// Needs the scope `can_manage_settings`, and every scope that the key has. Its id, scopes and name stay. The old secret
/// ends at once, or after `grace_s`; at most two secrets work at a time. The new one is shown in this answer and never
/// again.
#[utoipa::path(
    post,
    path = "/api/v1/keys/{key_id}/rotate",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(("key_id" = uuid::Uuid, Path, description = "Id of the key"), AccountParam),
    request_body = Option<RotateRequest>,
    responses((status = 200, description = "The key and its new secret", body = KeyWithSecret), AdminChangeProblems)
)]
pub async fn post_rotate(
    State(state): State<AppState>,
    caller: Caller,
    Path(key_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, request.uri()).await?;
    let key = changeable(&state, &caller, account, &key_id).await?;
    let mut fields = Fields::read(&state, "key", request).await?;
    let form = format!("a whole number of seconds from 0 to {MAX_ROTATION_GRACE_S}");
    let grace_s = fields.optional("grace_s", &form, |value| u32::try_from(value.as_u64()?).ok());
    fields.finish()?;

    let control = administration::control(&state, &caller);
    let (grace_s, now) = (grace_s.unwrap_or(0), state.clock.now());
    let rotated = control.rotate_key(Some(account), key.id, grace_s, rand::random(), now).await?;
    state.keys.forget(|known| known.key_id == key.id);
    Ok(KeyWithSecret::answer(StatusCode::OK, rotated))
}
