//! `GET` and `POST /api/v1/users`: the staff of an account.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use touchline_schemas::AccountId;
use touchline_schemas::control::{NewUser, Password, PasswordHash, Role, Scope, User};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::AppState;
use crate::administration::{self, ACCOUNT_ID, AccountParam, Fields, Listed, Parameters};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};
use crate::report::params::instant_text;

pub mod user;

const ROLES: &str = "`owner`, `admin`, `editor` or `analyst`";

/// A user, without the password.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserAnswer {
    /// Its id.
    pub user_id: Uuid,
    /// The account.
    #[schema(value_type = Uuid)]
    pub account_id: AccountId,
    /// The address, in lower case.
    #[schema(example = "ada@mail.example")]
    pub email: String,
    /// `owner`, `admin`, `editor` or `analyst`.
    #[schema(value_type = String, example = "analyst")]
    pub role: Role,
    /// When the password was last set.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub password_set_at: String,
    /// When it was created.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub created_at: String,
}

impl From<User> for UserAnswer {
    fn from(user: User) -> Self {
        Self {
            user_id: user.id,
            account_id: user.account_id,
            email: user.email,
            role: user.role,
            password_set_at: instant_text(user.password_set_at),
            created_at: instant_text(user.created_at),
        }
    }
}

/// Who is to be a user.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct NewUserRequest {
    /// The address, which no other user of the account has.
    #[schema(example = "ada@mail.example")]
    pub email: String,
    /// `owner` and `admin` (all), `editor` (settings and reports) or `analyst` (reports).
    #[schema(example = "analyst")]
    pub role: String,
    /// At least 12 characters, at most 1,024 bytes.
    #[schema(format = Password, min_length = 12)]
    pub password: String,
}

/// Lists the users of an account
///
/// Needs the scope `can_manage_settings`. By address.
#[utoipa::path(
    get,
    path = "/api/v1/users",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam),
    responses((status = 200, description = "The users", body = Listed<UserAnswer>), AdminProblems)
)]
pub async fn get_users(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, &uri).await?;
    let users = state.control.users(account).await?;
    Listed::all(users.into_iter().map(UserAnswer::from).collect()).answer()
}

/// Creates a user
///
/// Needs the scope `can_manage_settings`, and every scope that the role stands for: `admin` for owners and admins,
/// `can_view_reports` for the others.
#[utoipa::path(
    post,
    path = "/api/v1/users",
    tag = "administration",
    security(("key" = ["can_manage_settings", "can_view_reports"])),
    params(AccountParam),
    request_body = NewUserRequest,
    responses((status = 201, description = "The user", body = UserAnswer), AdminChangeProblems)
)]
pub async fn post_users(State(state): State<AppState>, caller: Caller, request: Request) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account_id = asked_account(&state, &caller, request.uri()).await?;
    let mut fields = Fields::read(&state, "user", request).await?;
    let email = fields.required("email", "an address", |value| value.as_str().map(str::to_owned));
    let role = fields.required("role", ROLES, read_role);
    let password = fields.required("password", &password_form(), read_password);
    let (Some(email), Some(role), Some(password)) = (email, role, password) else { return Err(fields.refused()) };
    fields.finish()?;

    may_hold(&caller, role)?;
    let hash = hashed(password).await?;
    let control = administration::control(&state, &caller);
    let user = control.create_user(NewUser { account_id, email, role }, hash, state.clock.now()).await?;
    Ok((StatusCode::CREATED, Json(UserAnswer::from(user))).into_response())
}

async fn asked_account(state: &AppState, caller: &Caller, uri: &Uri) -> Result<AccountId, ApiError> {
    let parameters = Parameters::read(uri, &[ACCOUNT_ID])?;
    administration::account(state, caller, parameters.account()).await
}

/// Refuses to make or change somebody who may do what the caller may not.
fn may_hold(caller: &Caller, role: Role) -> Result<(), ApiError> {
    role.scopes().iter().try_for_each(|scope| caller.require(scope))
}

fn read_role(value: &Value) -> Option<Role> {
    value.as_str()?.parse().ok()
}

fn read_password(value: &Value) -> Option<Password> {
    Password::new(value.as_str()?.to_owned()).ok()
}

/// What a password may be, without the one that was sent.
fn password_form() -> String {
    format!("a text of at least {} characters and at most {} bytes", Password::MIN_CHARS, Password::MAX_BYTES)
}

/// Passwords that are hashed at once.
static HASHING: Semaphore = Semaphore::const_new(2);

/// Hashing takes tens of milliseconds of pure computing, which would hold up the other requests of this thread.
async fn hashed(password: Password) -> Result<PasswordHash, ApiError> {
    let salt = rand::random();
    // It also takes tens of megabytes, and the threads that inflate what is sent in.
    let _turn = HASHING.acquire().await;
    match tokio::task::spawn_blocking(move || password.hash(salt)).await {
        Ok(hash) => Ok(hash?),
        Err(_) => Err(ApiError::Internal("hashing stopped")),
    }
}
