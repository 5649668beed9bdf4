//! `POST /api/v1/accounts/{account_id}/suspend`: an account's keys are refused.

use axum::Json;
use axum::extract::{Path, State};
use touchline_schemas::control::{AccountStatus, Scope};

use super::{AccountSummary, named, set_status};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, ApiError};

/// Suspends an account
///
/// Needs the scope `admin`. Its keys are refused from then on (401 `suspended_account`), by other processes within
/// `auth.cache_ttl_s`; its data and settings stay. The account of the key which asks cannot be suspended (409
/// `own_account`): there might be nobody left to resume it.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account_id}/suspend",
    tag = "administration",
    security(("key" = ["admin"])),
    params(("account_id" = uuid::Uuid, Path, description = "Id of the account")),
    responses((status = 200, description = "The account, suspended", body = AccountSummary), AdminChangeProblems)
)]
pub async fn post_suspend(
    State(state): State<AppState>,
    caller: Caller,
    Path(account_id): Path<String>,
) -> Result<Json<AccountSummary>, ApiError> {
    caller.require(Scope::Admin)?;
    let account_id = named(&account_id)?;
    if account_id == caller.tenant().account_id {
        const DETAIL: &str = "a key cannot suspend its own account";
        return Err(ApiError::Conflict { code: "own_account", detail: DETAIL });
    }
    set_status(&state, &caller, account_id, AccountStatus::Suspended).await
}
