//! `GET` and `POST /api/v1/accounts`: all accounts of the installation.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use touchline_schemas::AccountId;
use touchline_schemas::control::{Account, AccountStatus, Scope};
use utoipa::ToSchema;

use crate::AppState;
use crate::administration::{self, Fields, Listed, Parameters};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};
use crate::report::params::instant_text;

pub mod resume;
pub mod suspend;

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountSummary {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub account_id: AccountId,
    /// Its name in commands.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// `active`, or `suspended`: then its keys are refused, and its data stays.
    #[schema(value_type = String, example = "active")]
    pub status: AccountStatus,
    /// When it was created.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub created_at: String,
}

impl From<Account> for AccountSummary {
    fn from(account: Account) -> Self {
        Self {
            account_id: account.id,
            slug: account.slug,
            name: account.name,
            status: account.status,
            created_at: instant_text(account.created_at),
        }
    }
}

/// What a new account is called.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct NewAccountRequest {
    /// Its name in commands: 1 to 63 lower-case letters, digits and hyphens, not taken yet.
    #[schema(example = "shop")]
    pub slug: String,
    /// Its name for people, 1 to 200 characters. Default: the slug.
    pub name: Option<String>,
}

/// Lists all accounts
///
/// Needs the scope `admin`. By slug.
#[utoipa::path(
    get,
    path = "/api/v1/accounts",
    tag = "administration",
    security(("key" = ["admin"])),
    responses((status = 200, description = "The accounts", body = Listed<AccountSummary>), AdminProblems)
)]
pub async fn get_accounts(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::Admin)?;
    Parameters::read(&uri, &[])?;
    let accounts = state.control.accounts().await?;
    Listed::all(accounts.into_iter().map(AccountSummary::from).collect()).answer()
}

/// Creates an account
///
/// Needs the scope `admin`. It has no key yet: `POST /api/v1/keys?account_id=…` makes one.
#[utoipa::path(
    post,
    path = "/api/v1/accounts",
    tag = "administration",
    security(("key" = ["admin"])),
    request_body = NewAccountRequest,
    responses((status = 201, description = "The account", body = AccountSummary), AdminChangeProblems)
)]
pub async fn post_accounts(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(Scope::Admin)?;
    Parameters::read(request.uri(), &[])?;
    let mut fields = Fields::read(&state, "account", request).await?;
    let slug = fields.required("slug", "a text", |value| value.as_str().map(str::to_owned));
    let name = fields.optional("name", "a text", |value| value.as_str().map(str::to_owned));
    let Some(slug) = slug else { return Err(fields.refused()) };
    fields.finish()?;

    let name = name.unwrap_or_else(|| slug.clone());
    let control = administration::control(&state, &caller);
    let account = control.create_account(&slug, &name, state.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(AccountSummary::from(account))).into_response())
}

/// Lets an account's keys work or not, and makes this process feel it at once.
async fn set_status(
    state: &AppState,
    caller: &Caller,
    account_id: AccountId,
    status: AccountStatus,
) -> Result<Json<AccountSummary>, ApiError> {
    let control = administration::control(state, caller);
    let account = control.set_account_status(account_id, status, state.clock.now()).await?;
    state.keys.forget(|known| known.tenant.account_id == account_id);
    Ok(Json(account.into()))
}

/// The account that the path names.
fn named(account_id: &str) -> Result<AccountId, ApiError> {
    account_id.parse().map_err(|_| ApiError::NotFound)
}
