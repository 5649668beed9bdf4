//! `GET`, `PATCH` and `DELETE /api/v1/exports/{export_id}`: one export.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use touchline_schemas::control::Scope;
use touchline_schemas::export::ExportDefinition;

use super::{ExportAnswer, ExportRequest, answer, asked_account, check_question, may_define, read, visible};
use crate::AppState;
use crate::administration::{self, AccountParam};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};

/// Shows an export
///
/// Needs the scope `can_manage_settings`.
#[utoipa::path(
    get,
    path = "/api/v1/exports/{export_id}",
    tag = "exports",
    security(("key" = ["can_manage_settings"])),
    params(("export_id" = uuid::Uuid, Path, description = "Id of the export"), AccountParam),
    responses((status = 200, description = "The export", body = ExportAnswer), AdminProblems)
)]
pub async fn get_export(
    State(state): State<AppState>,
    caller: Caller,
    Path(export_id): Path<String>,
    uri: Uri,
) -> Result<Json<ExportAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, &uri).await?;
    let export = visible(&state, &caller, account, &export_id).await?;
    Ok(Json(answer(&state.control, export, state.clock.now()).await?))
}

/// Changes an export
///
/// Needs the scopes `can_manage_settings` and `can_view_reports`. A JSON merge patch (RFC 7396): what is not named stays,
/// null takes a field back to its default; `source` is replaced as a whole. If one value is wrong, nothing is changed, and
/// `errors` points at each that is. A run that is under way goes on as it began.
#[utoipa::path(
    patch,
    path = "/api/v1/exports/{export_id}",
    tag = "exports",
    security(("key" = ["can_manage_settings", "can_view_reports"])),
    params(("export_id" = uuid::Uuid, Path, description = "Id of the export"), AccountParam),
    request_body = ExportRequest,
    responses((status = 200, description = "The export, changed", body = ExportAnswer), AdminChangeProblems)
)]
pub async fn patch_export(
    State(state): State<AppState>,
    caller: Caller,
    Path(export_id): Path<String>,
    request: Request,
) -> Result<Json<ExportAnswer>, ApiError> {
    may_define(&caller)?;
    let account = asked_account(&state, &caller, request.uri()).await?;
    let export = visible(&state, &caller, account, &export_id).await?;
    let changes = administration::object(&state, request).await?;
    let wanted = read(export.definition.patched(changes.clone()))?;
    if wanted.source != export.definition.source || wanted.mode != export.definition.mode {
        check_question(&state, export.tenant, &wanted).await?;
    }
    let control = administration::control(&state, &caller);
    let now = state.clock.now();
    let change = |was: &ExportDefinition| read(was.patched(changes));
    let changed = control.change_export(Some(account), export.id, change, now).await?;
    Ok(Json(answer(&state.control, changed, now).await?))
}

/// Deletes an export
///
/// Needs the scope `can_manage_settings`. A run that waits is given up, one that is under way may end. What it wrote
/// stays where it is, and can still be verified.
#[utoipa::path(
    delete,
    path = "/api/v1/exports/{export_id}",
    tag = "exports",
    security(("key" = ["can_manage_settings"])),
    params(("export_id" = uuid::Uuid, Path, description = "Id of the export"), AccountParam),
    responses((status = 200, description = "What it was", body = ExportAnswer), AdminProblems)
)]
pub async fn delete_export(
    State(state): State<AppState>,
    caller: Caller,
    Path(export_id): Path<String>,
    uri: Uri,
) -> Result<Json<ExportAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, &uri).await?;
    let export = visible(&state, &caller, account, &export_id).await?;
    let (control, now) = (administration::control(&state, &caller), state.clock.now());
    let deleted = control.delete_export(Some(account), export.id, now).await?;
    let answer = answer(&state.control, deleted, now).await?;
    Ok(Json(ExportAnswer { next_run_at: None, ..answer }))
}
