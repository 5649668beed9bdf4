//! `GET` and `POST /api/v1/erasures`: people who are to be erased, and what became of it.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use touchline_schemas::control::{ErasureRequest, ErasureState, NewErasure, Scope};
use touchline_schemas::{AccountId, Environment};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::AppState;
use crate::administration::{
    self, ACCOUNT_ID, AccountParam, CURSOR, Fields, LIMIT, Listed, Numbered, PagingParams, Parameters,
};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};
use crate::report::Page;
use crate::report::params::instant_text;

pub mod erasure;

/// Most ids of one request.
const MAX_IDS: usize = 100;
/// Most characters of who asks.
const MAX_REQUESTED_BY_CHARS: usize = 500;

/// Who is to be erased.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct NewErasureRequest {
    /// Visitor ids, user ids or person ids, 1 to 100. Every id that belongs to the same person is erased with them.
    #[schema(example = json!(["ada@mail.example"]))]
    pub ids: Vec<String>,
    /// Who asks, in words that may stand in the certificate; at most 500 characters.
    #[schema(example = "ticket 17")]
    pub requested_by: Option<String>,
    /// Only says what would be taken out of the tables. Default false.
    pub dry_run: Option<bool>,
}

/// An erasure.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureRow {
    /// Its id.
    pub erasure_id: Uuid,
    /// Whose person it is.
    #[schema(value_type = Uuid)]
    pub account_id: AccountId,
    /// `waiting`, `running`, `failed` (there will be another attempt), `done`, `incomplete` (`problem` says what may be
    /// left) or `refused` (nothing was done).
    #[schema(value_type = String, example = "waiting")]
    pub state: ErasureState,
    /// Whether it only says what would be taken out.
    pub dry_run: bool,
    /// Who asked, in their own words.
    pub requested_by: Option<String>,
    /// Who sent it: `key:` and the key's id, or `cli`.
    #[schema(example = "cli")]
    pub actor: String,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it failed, was refused or is incomplete.
    pub problem: Option<String>,
    /// When it was asked for.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub requested_at: String,
    /// When it was last begun.
    pub started_at: Option<String>,
    /// When it was over.
    pub finished_at: Option<String>,
    #[serde(skip)]
    number: i64,
}

impl From<&ErasureRequest> for ErasureRow {
    fn from(request: &ErasureRequest) -> Self {
        Self {
            erasure_id: request.id,
            account_id: request.account_id,
            state: request.state,
            dry_run: request.is_dry_run,
            requested_by: request.requested_by.clone(),
            actor: request.actor.clone(),
            attempts: request.attempts,
            problem: request.problem.clone(),
            requested_at: instant_text(request.requested_at),
            started_at: request.started_at.map(instant_text),
            finished_at: request.finished_at.map(instant_text),
            number: request.number,
        }
    }
}

impl Numbered for ErasureRow {
    fn number(&self) -> i64 {
        self.number
    }
}

/// Lists erasures
///
/// Needs the scope `can_manage_settings`. Newest first, those at the command line among them. The ids of the people are
/// never shown.
#[utoipa::path(
    get,
    path = "/api/v1/erasures",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam, PagingParams),
    responses((status = 200, description = "A page of erasures", body = Listed<ErasureRow>), AdminProblems)
)]
pub async fn get_erasures(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let parameters = Parameters::read(&uri, &[ACCOUNT_ID, LIMIT, CURSOR])?;
    let account = administration::account(&state, &caller, parameters.account()).await?;
    let query = &state.config.query;
    let limit = parameters.limit(query.default_limit, query.max_limit)?;
    let asked = u64::try_from(Page::query_limit(limit)).unwrap_or(u64::MAX);
    let requests = state.control.erasure_requests(account, parameters.cursor()?, asked).await?;
    Listed::page(requests.iter().map(ErasureRow::from).collect(), limit, &uri).answer()
}

/// Erases a person
///
/// Needs the scope `can_manage_settings`, of a key for `live`; one for `test` needs `admin`, because a person goes out of
/// both environments. The erasure is done in the background, one at a time, and cannot be taken back; what is cut off or
/// fails is tried again. `GET /api/v1/erasures/{erasure_id}` says how far it is, and has the certificate.
#[utoipa::path(
    post,
    path = "/api/v1/erasures",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam),
    request_body = NewErasureRequest,
    responses((status = 202, description = "It will be done", body = ErasureRow), AdminChangeProblems)
)]
pub async fn post_erasures(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    if caller.tenant().environment == Environment::Test {
        caller.require(Scope::Admin)?;
    }
    let parameters = Parameters::read(request.uri(), &[ACCOUNT_ID])?;
    let account_id = administration::account(&state, &caller, parameters.account()).await?;
    let new = read(&state, account_id, request).await?;
    let control = administration::control(&state, &caller);
    let request = control.request_erasure(new, state.clock.now()).await?;
    Ok((StatusCode::ACCEPTED, Json(ErasureRow::from(&request))).into_response())
}

async fn read(state: &AppState, account_id: AccountId, request: Request) -> Result<NewErasure, ApiError> {
    let max_chars = state.config.ingest.max_id_chars;
    let mut fields = Fields::read(state, "erasure", request).await?;
    let form = format!("a list of 1 to {MAX_IDS} ids, each a text of 1 to {max_chars} characters");
    let ids = fields.required("ids", &form, |value| ids(value, max_chars));
    let form = format!("a text of at most {MAX_REQUESTED_BY_CHARS} characters");
    let requested_by = fields.optional("requested_by", &form, |value| {
        value.as_str().filter(|text| text.chars().count() <= MAX_REQUESTED_BY_CHARS).map(str::to_owned)
    });
    let is_dry_run = fields.optional("dry_run", "true or false", Value::as_bool).unwrap_or(false);
    let Some(ids) = ids else { return Err(fields.refused()) };
    fields.finish()?;
    Ok(NewErasure { account_id, ids, requested_by, is_dry_run })
}

fn ids(value: &Value, max_chars: usize) -> Option<Vec<String>> {
    let given = value.as_array().filter(|given| (1..=MAX_IDS).contains(&given.len()))?;
    // A type may stand before the id.
    const MAX_PREFIX_CHARS: usize = 2;
    let is_id = |text: &&str| (1..=max_chars + MAX_PREFIX_CHARS).contains(&text.chars().count());
    given.iter().map(|id| id.as_str().filter(is_id).map(str::to_owned)).collect()
}
