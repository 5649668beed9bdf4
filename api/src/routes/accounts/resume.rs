//! `POST /api/v1/accounts/{account_id}/resume`: an account's keys work again.

use axum::Json;
use axum::extract::{Path, State};
use touchline_schemas::control::{AccountStatus, Scope};

use super::{AccountSummary, named, set_status};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};

/// Lets a suspended account work again
///
/// Needs the scope `admin`. Its keys are taken again within `auth.cache_ttl_s`.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account_id}/resume",
    tag = "administration",
    security(("key" = ["admin"])),
    params(("account_id" = uuid::Uuid, Path, description = "Id of the account")),
    responses((status = 200, description = "The account, active", body = AccountSummary), AdminProblems)
)]
pub async fn post_resume(
    State(state): State<AppState>,
    caller: Caller,
    Path(account_id): Path<String>,
) -> Result<Json<AccountSummary>, ApiError> {
    caller.require(Scope::Admin)?;
    set_status(&state, &caller, named(&account_id)?, AccountStatus::Active).await
}
