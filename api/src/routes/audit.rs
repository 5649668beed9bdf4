//! `GET /api/v1/audit`: who changed what.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use touchline_schemas::AccountId;
use touchline_schemas::control::{AuditEntry, Scope};
use utoipa::ToSchema;

use crate::AppState;
use crate::administration::{
    self, ACCOUNT_ID, AccountParam, CURSOR, LIMIT, Listed, Numbered, PagingParams, Parameters,
};
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};
use crate::report::Page;
use crate::report::params::instant_text;

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditRow {
    /// Its number; later changes have greater ones.
    pub id: i64,
    /// When it was made.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub at: String,
    /// Who made it: `key:` and the key's id, `cli`, or `installation`.
    #[schema(example = "cli")]
    pub actor: String,
    /// What was done.
    #[schema(example = "key.revoke")]
    pub action: String,
    /// Whose it is that was changed.
    #[schema(value_type = uuid::Uuid)]
    pub account_id: AccountId,
    /// The id of what was changed.
    pub target: String,
    /// What was otherwise before, by field; null if it is new.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What it is since then, by field; null if it is gone.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

impl From<AuditEntry> for AuditRow {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: instant_text(entry.at),
            actor: entry.actor,
            action: entry.action,
            account_id: entry.account_id,
            target: entry.target,
            before: entry.before,
            after: entry.after,
        }
    }
}

impl Numbered for AuditRow {
    fn number(&self) -> i64 {
        self.id
    }
}

/// Lists what was changed, and by whom
///
/// Needs the scope `can_manage_settings`. Newest first. Secrets and passwords are never among it.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam, PagingParams),
    responses((status = 200, description = "A page of changes", body = Listed<AuditRow>), AdminProblems)
)]
pub async fn get_audit(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let parameters = Parameters::read(&uri, &[ACCOUNT_ID, LIMIT, CURSOR])?;
    let account = administration::account(&state, &caller, parameters.account()).await?;
    let query = &state.config.query;
    let limit = parameters.limit(query.default_limit, query.max_limit)?;
    let asked = u64::try_from(Page::query_limit(limit)).unwrap_or(u64::MAX);
    let entries = state.control.audit_entries(Some(account), parameters.cursor()?, asked).await?;
    Listed::page(entries.into_iter().map(AuditRow::from).collect(), limit, &uri).answer()
}
