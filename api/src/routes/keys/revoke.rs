//! `POST /api/v1/keys/{key_id}/revoke`: the end of a key.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use touchline_schemas::control::Scope;

use super::{KeyAnswer, asked_account, changeable};
use crate::AppState;
use crate::administration::{self, AccountParam};
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};

/// Revokes a key
///
/// Needs the scope `can_manage_settings`, and every scope that the key has. It ends for good, with all its secrets; other
/// processes refuse it within `auth.cache_ttl_s`. Revoking it again changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/keys/{key_id}/revoke",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(("key_id" = uuid::Uuid, Path, description = "Id of the key"), AccountParam),
    responses((status = 200, description = "The key, revoked", body = KeyAnswer), AdminProblems)
)]
pub async fn post_revoke(
    State(state): State<AppState>,
    caller: Caller,
    Path(key_id): Path<String>,
    uri: Uri,
) -> Result<Json<KeyAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, &uri).await?;
    let key = changeable(&state, &caller, account, &key_id).await?;
    let control = administration::control(&state, &caller);
    let revoked = control.revoke_key(Some(account), key.id, state.clock.now()).await?;
    state.keys.forget(|known| known.key_id == key.id);
    Ok(Json(revoked.into()))
}
