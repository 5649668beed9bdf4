//! `POST /api/v1/exports/{export_id}/run`: a run of an export, now.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use touchline_schemas::control::{ExportTrigger, Scope};

use super::{ExportRunAnswer, asked_account, visible};
use crate::AppState;
use crate::administration::{AccountParam, Fields};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, ApiError};

/// Runs an export now
///
/// Needs the scope `can_manage_settings`. The run waits for its turn, and goes on by itself: its history says what becomes
/// of it. An export that is paused runs too. 409 `export_busy` while a run of it has not ended.
#[utoipa::path(
    post,
    path = "/api/v1/exports/{export_id}/run",
    tag = "exports",
    security(("key" = ["can_manage_settings"])),
    params(("export_id" = uuid::Uuid, Path, description = "Id of the export"), AccountParam),
    responses((status = 202, description = "The run waits", body = ExportRunAnswer), AdminChangeProblems)
)]
pub async fn post_export_run(
    State(state): State<AppState>,
    caller: Caller,
    Path(export_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, request.uri()).await?;
    let export = visible(&state, &caller, account, &export_id).await?;
    Fields::read(&state, "run", request).await?.finish()?;
    let now = state.clock.now();
    let run = state.control.queue_export_run(export.id, ExportTrigger::Manual, now, now).await?;
    state.export_wake.notify_one();
    Ok((StatusCode::ACCEPTED, Json(ExportRunAnswer::from(run))).into_response())
}
