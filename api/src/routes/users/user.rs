//! `PATCH` and `DELETE /api/v1/users/{user_id}`: one user.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use touchline_schemas::AccountId;
use touchline_schemas::control::{Scope, User};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ROLES, UserAnswer, asked_account, hashed, may_hold, password_form, read_password, read_role};
use crate::AppState;
use crate::administration::{self, AccountParam, Fields};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};

/// What is to be different about a user.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct UserChangeRequest {
    /// `owner`, `admin`, `editor` or `analyst`. Default: as it is.
    #[schema(example = "editor")]
    pub role: Option<String>,
    /// At least 12 characters, at most 1,024 bytes. Default: as it is.
    #[schema(format = Password, min_length = 12)]
    pub password: Option<String>,
}

/// Changes a user's role or password
///
/// Needs the scope `can_manage_settings`, and every scope that the role stands for, the present one and the new. 409
/// `last_owner` if other users would be left without an owner, `user_changed` if the role has become another meanwhile.
#[utoipa::path(
    patch,
    path = "/api/v1/users/{user_id}",
    tag = "administration",
    security(("key" = ["can_manage_settings", "can_view_reports"])),
    params(("user_id" = Uuid, Path, description = "Id of the user"), AccountParam),
    request_body = UserChangeRequest,
    responses((status = 200, description = "The user, changed", body = UserAnswer), AdminChangeProblems)
)]
pub async fn patch_user(
    State(state): State<AppState>,
    caller: Caller,
    Path(user_id): Path<String>,
    request: Request,
) -> Result<Json<UserAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, request.uri()).await?;
    let user = changeable(&state, &caller, account, &user_id).await?;
    let mut fields = Fields::read(&state, "user", request).await?;
    let role = fields.optional("role", ROLES, read_role);
    let password = fields.optional("password", &password_form(), read_password);
    fields.finish()?;

    role.map_or(Ok(()), |role| may_hold(&caller, role))?;
    let hash = match password {
        Some(password) => Some(hashed(password).await?),
        None => None,
    };
    let control = administration::control(&state, &caller);
    let changed = control.change_user(account, &user, role, hash, state.clock.now()).await?;
    Ok(Json(changed.into()))
}

/// Removes a user
///
/// Needs the scope `can_manage_settings`, and every scope that the user's role stands for. 409 `last_owner` if other users
/// would be left without an owner.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{user_id}",
    tag = "administration",
    security(("key" = ["can_manage_settings", "can_view_reports"])),
    params(("user_id" = Uuid, Path, description = "Id of the user"), AccountParam),
    responses((status = 200, description = "Who it was", body = UserAnswer), AdminProblems)
)]
pub async fn delete_user(
    State(state): State<AppState>,
    caller: Caller,
    Path(user_id): Path<String>,
    uri: Uri,
) -> Result<Json<UserAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, &uri).await?;
    let user = changeable(&state, &caller, account, &user_id).await?;
    let control = administration::control(&state, &caller);
    Ok(Json(control.remove_user(account, &user, state.clock.now()).await?.into()))
}

/// The user of that id, if the caller may do everything that it may do.
async fn changeable(state: &AppState, caller: &Caller, account: AccountId, user_id: &str) -> Result<User, ApiError> {
    let user_id = Uuid::parse_str(user_id).map_err(|_| ApiError::NotFound)?;
    let users = state.control.users(account).await?;
    let user = users.into_iter().find(|user| user.id == user_id).ok_or(ApiError::NotFound)?;
    may_hold(caller, user.role)?;
    Ok(user)
}
