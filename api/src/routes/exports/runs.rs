//! `GET /api/v1/exports/{export_id}/runs`: past runs of an export, and the one that has not ended.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use touchline_schemas::control::{ExportRunId, Scope};

use super::{ExportRunAnswer, visible};
use crate::AppState;
use crate::administration::{
    self, ACCOUNT_ID, AccountParam, CURSOR, LIMIT, Listed, Numbered, PagingParams, Parameters,
};
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};
use crate::report::Page;

impl Numbered for ExportRunAnswer {
    fn number(&self) -> i64 {
        self.run_id
    }
}

/// Lists runs of an export
///
/// Needs the scope `can_manage_settings`. Newest first, in pages.
#[utoipa::path(
    get,
    path = "/api/v1/exports/{export_id}/runs",
    tag = "exports",
    security(("key" = ["can_manage_settings"])),
    params(("export_id" = uuid::Uuid, Path, description = "Id of the export"), AccountParam, PagingParams),
    responses((status = 200, description = "A page of runs", body = Listed<ExportRunAnswer>), AdminProblems)
)]
pub async fn get_runs(
    State(state): State<AppState>,
    caller: Caller,
    Path(export_id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let parameters = Parameters::read(&uri, &[ACCOUNT_ID, LIMIT, CURSOR])?;
    let account = administration::account(&state, &caller, parameters.account()).await?;
    let export = visible(&state, &caller, account, &export_id).await?;
    let query = &state.config.query;
    let limit = parameters.limit(query.default_limit, query.max_limit)?;
    let asked = u64::try_from(Page::query_limit(limit)).unwrap_or(u64::MAX);
    let before = parameters.cursor()?.map(ExportRunId);
    let runs = state.control.export_runs(export.id, before, asked).await?;
    Listed::page(runs.into_iter().map(ExportRunAnswer::from).collect(), limit, &uri).answer()
}
