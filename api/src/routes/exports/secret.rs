//! `POST /api/v1/exports/{export_id}/secret`: a new secret that signs what an export writes.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use touchline_schemas::control::Scope;

use super::{ExportWithSecret, asked_account, visible, with_secret};
use crate::AppState;
use crate::administration::{self, AccountParam, Fields};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, ApiError};

/// Gives an export a new signing secret
///
/// Needs the scope `can_manage_settings`. Manifests and webhooks are signed with it from now on, under a new `key_id`; what
/// the old one has signed can still be verified with it. It is shown in this answer and never again.
#[utoipa::path(
    post,
    path = "/api/v1/exports/{export_id}/secret",
    tag = "exports",
    security(("key" = ["can_manage_settings"])),
    params(("export_id" = uuid::Uuid, Path, description = "Id of the export"), AccountParam),
    responses((status = 200, description = "The export and its new secret", body = ExportWithSecret), AdminChangeProblems)
)]
pub async fn post_secret(
    State(state): State<AppState>,
    caller: Caller,
    Path(export_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, request.uri()).await?;
    let export = visible(&state, &caller, account, &export_id).await?;
    Fields::read(&state, "secret", request).await?.finish()?;
    let (control, now) = (administration::control(&state, &caller), state.clock.now());
    let key = control.rotate_export_key(Some(account), export.id, rand::random(), now).await?;
    with_secret(&state, StatusCode::OK, export, &key, now).await
}
