//! `GET` and `POST /api/v1/keys`: the keys of an account.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use touchline_schemas::control::{ApiKey, KeyKind, NewKey, PlainKey, Scope, Scopes};
use touchline_schemas::{AccountId, Environment};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::AppState;
use crate::administration::{self, ACCOUNT_ID, AccountParam, Fields, Listed, Parameters, sees};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};
use crate::report::params::instant_text;

pub mod revoke;
pub mod rotate;

/// Most characters of a key's name.
const MAX_NAME_CHARS: usize = 200;

/// A key, without the key.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyAnswer {
    /// Its id, which stays the same when it is rotated.
    pub key_id: Uuid,
    /// The account that it opens.
    #[schema(value_type = Uuid)]
    pub account_id: AccountId,
    /// The first 12 characters of its secret.
    #[schema(example = "sk_live_12ab")]
    pub prefix: String,
    /// `secret` or `publishable`.
    #[schema(value_type = String, example = "secret")]
    pub kind: KeyKind,
    /// `live` or `test`.
    #[schema(value_type = String, example = "live")]
    pub environment: Environment,
    /// What it may do: `ingest`, `can_view_reports`, `can_manage_settings`, `admin`.
    #[schema(value_type = Vec<String>, example = json!(["can_view_reports"]))]
    pub scopes: Scopes,
    /// A note for people.
    pub name: Option<String>,
    /// When it was created.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub created_at: String,
    /// When it was last used, to within a minute.
    pub last_used_at: Option<String>,
    /// When it was revoked.
    pub revoked_at: Option<String>,
    /// Until when the secret before its last rotation works; null if it was never rotated.
    pub previous_until: Option<String>,
}

impl From<ApiKey> for KeyAnswer {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.id,
            account_id: key.account_id,
            prefix: key.prefix,
            kind: key.kind,
            environment: key.environment,
            scopes: key.scopes,
            name: key.name,
            created_at: instant_text(key.created_at),
            last_used_at: key.last_used_at.map(instant_text),
            revoked_at: key.revoked_at.map(instant_text),
            previous_until: key.previous_until.map(instant_text),
        }
    }
}

/// A key with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyWithSecret {
    /// The secret: what stands behind `Bearer`.
    #[schema(example = "sk_live_0123456789abcdef0123456789abcdef")]
    pub key: String,
    /// The rest.
    #[serde(flatten)]
    pub about: KeyAnswer,
}

impl KeyWithSecret {
    fn answer(status: StatusCode, (key, plain): (ApiKey, PlainKey)) -> Response {
        let answer = Self { key: plain.expose().to_owned(), about: key.into() };
        // Nobody on the way shall keep it.
        (status, [(axum::http::header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
    }
}

/// What a new key is to be.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct NewKeyRequest {
    /// What it may do: nothing that the key which asks may not do.
    #[schema(example = json!(["can_view_reports"]))]
    pub scopes: Vec<String>,
    /// `live` or `test`. Default: that of the key which asks; only a key with the scope `admin` may name the other.
    #[schema(example = "live")]
    pub environment: Option<String>,
    /// `secret` (default), or `publishable`, which can only have the scope `ingest`.
    #[schema(example = "secret")]
    pub kind: Option<String>,
    /// A note for people, at most 200 characters.
    pub name: Option<String>,
}

/// Lists keys
///
/// Needs the scope `can_manage_settings`. Oldest first, also those that were revoked; of the environment of the key which
/// asks, or of both with the scope `admin`.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam),
    responses((status = 200, description = "The keys", body = Listed<KeyAnswer>), AdminProblems)
)]
pub async fn get_keys(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account = asked_account(&state, &caller, &uri).await?;
    let keys = state.control.keys(account).await?;
    let seen = keys.into_iter().filter(|key| sees(&caller, key.environment)).map(KeyAnswer::from);
    Listed::all(seen.collect()).answer()
}

/// Creates a key
///
/// Needs the scope `can_manage_settings`, and every scope that the new key is to have. The secret is shown in this answer
/// and never again.
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam),
    request_body = NewKeyRequest,
    responses((status = 201, description = "The key and its secret", body = KeyWithSecret), AdminChangeProblems)
)]
pub async fn post_keys(State(state): State<AppState>, caller: Caller, request: Request) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account_id = asked_account(&state, &caller, request.uri()).await?;
    let mut fields = Fields::read(&state, "key", request).await?;
    let scopes = fields.required("scopes", "a list of scopes, at least one", read_scopes);
    let environment = fields.optional("environment", "`live` or `test`", |value| value.as_str()?.parse().ok());
    let kind = fields.optional("kind", "`secret` or `publishable`", read_kind);
    let name = fields.optional("name", "a text of 1 to 200 characters", read_name);
    let Some(scopes) = scopes else { return Err(fields.refused()) };
    fields.finish()?;

    let environment = environment.unwrap_or(caller.tenant().environment);
    may_grant(&caller, environment, &scopes)?;
    let kind = kind.unwrap_or(KeyKind::Secret);
    let new = NewKey { account_id, environment, kind, scopes, name };
    let control = administration::control(&state, &caller);
    let created = control.create_key(new, rand::random(), state.clock.now()).await?;
    Ok(KeyWithSecret::answer(StatusCode::CREATED, created))
}

async fn asked_account(state: &AppState, caller: &Caller, uri: &Uri) -> Result<AccountId, ApiError> {
    let parameters = Parameters::read(uri, &[ACCOUNT_ID])?;
    administration::account(state, caller, parameters.account()).await
}

/// The key of that id, if the caller may see it and may do everything that it may do: whoever can change a key could
/// else give itself what that one has.
async fn changeable(state: &AppState, caller: &Caller, account: AccountId, key_id: &str) -> Result<ApiKey, ApiError> {
    let key_id = Uuid::parse_str(key_id).map_err(|_| ApiError::NotFound)?;
    let key = state.control.key(Some(account), key_id).await?;
    if !sees(caller, key.environment) {
        return Err(ApiError::NotFound);
    }
    may_grant(caller, key.environment, &key.scopes)?;
    Ok(key)
}

/// Refuses to hand out what the caller has not itself.
fn may_grant(caller: &Caller, environment: Environment, scopes: &Scopes) -> Result<(), ApiError> {
    scopes.iter().try_for_each(|scope| caller.require(scope))?;
    if sees(caller, environment) { Ok(()) } else { Err(ApiError::MissingScope(Scope::Admin)) }
}

fn read_scopes(value: &Value) -> Option<Scopes> {
    serde_json::from_value(value.clone()).ok()
}

fn read_kind(value: &Value) -> Option<KeyKind> {
    serde_json::from_value(value.clone()).ok()
}

fn read_name(value: &Value) -> Option<String> {
    let name = value.as_str()?.trim();
    (1..=MAX_NAME_CHARS).contains(&name.chars().count()).then(|| name.to_owned())
}
