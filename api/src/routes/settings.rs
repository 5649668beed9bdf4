//! `GET` and `PATCH /api/v1/settings`: what an account has chosen for itself.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::Uri;
use serde::Serialize;
use serde_json::{Map, Value};
use touchline_schemas::AccountId;
use touchline_schemas::control::{Account, AccountSettings, SETTINGS, Scope};
use utoipa::ToSchema;

use crate::AppState;
use crate::administration::{self, ACCOUNT_ID, AccountParam, Parameters};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, AdminProblems, ApiError};

/// What an account has chosen.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingsAnswer {
    /// The account.
    #[schema(value_type = uuid::Uuid)]
    pub account_id: AccountId,
    /// Every setting by its name; null where the account follows the configuration.
    #[schema(value_type = SettingsValues)]
    pub settings: Map<String, Value>,
}

/// The settings of an account; in a change, null takes a setting back.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct SettingsValues {
    /// IANA name of the time zone of the account's days.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// Host names: referrals from them are internal.
    pub own_domains: Option<Vec<String>>,
    /// Host names whose events are the account's when they come without a key, as Plausible's tracker sends them. A
    /// domain is one account's.
    pub tracked_domains: Option<Vec<String>>,
    /// Whether addresses are masked before they are stored.
    pub mask_ip: Option<bool>,
    /// Whether Global Privacy Control of visitors' browsers counts: `honour` or `ignore`.
    pub privacy_signals: Option<String>,
    /// What a session is: `touchline`, `client`, `ga4`, `matomo` or `plausible`.
    pub session_profile: Option<String>,
    /// Minutes without an event after which a session has ended, 1 to 475.
    pub session_timeout_minutes: Option<u16>,
    /// Splits of sessions besides the profile's: `campaign`, `referrer`, `midnight`, `max_24h`.
    pub session_splits: Option<Vec<String>>,
    /// The rules that name channels: `touchline` or `ga4`.
    pub channel_rules: Option<String>,
    /// The event types that count as conversions.
    pub conversion_event_types: Option<Vec<String>>,
    /// What conversions are worth, by event type: `"revenue"`, `{"fixed":"12.50"}` or `{"property":"order.margin"}`.
    #[schema(value_type = Option<Object>, example = json!({"signup": {"fixed": "12.50"}}))]
    pub conversion_values: Option<()>,
    /// What messages are sent for, by name: `event_type`, and `condition` (`field`, `value`), `window_days`, `credit`,
    /// `value`.
    #[schema(value_type = Option<Object>, example = json!({"sale": {"event_type": "purchase", "window_days": 7}}))]
    pub goals: Option<()>,
    /// Days before a conversion in which a session counts as a touch, 1 to 365.
    pub attribution_lookback_days: Option<u16>,
    /// Days for which events are kept, 1 to 36500.
    pub retention_days: Option<u32>,
}

impl SettingsAnswer {
    fn of(account_id: AccountId, settings: &AccountSettings) -> Result<Self, ApiError> {
        let stored = serde_json::to_value(settings).map_err(|_| ApiError::Internal("settings cannot be written"))?;
        let value = |name: &str| stored.get(name).cloned().unwrap_or(Value::Null);
        Ok(Self { account_id, settings: SETTINGS.map(|name| (name.to_owned(), value(name))).into_iter().collect() })
    }
}

/// Shows what an account has chosen for itself
///
/// Needs the scope `can_manage_settings`.
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam),
    responses((status = 200, description = "The settings", body = SettingsAnswer), AdminProblems)
)]
pub async fn get_settings(
    State(state): State<AppState>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<SettingsAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account_id = asked_account(&state, &caller, &uri).await?;
    // Not what the caller's key remembers: that may be some seconds old.
    let Account { settings, .. } = state.control.account(account_id).await?.ok_or(ApiError::NotFound)?;
    Ok(Json(SettingsAnswer::of(account_id, &settings)?))
}

/// Changes what an account has chosen for itself
///
/// Needs the scope `can_manage_settings`. A JSON merge patch (RFC 7396): what is not named stays, null takes a setting
/// back, lists and maps are replaced as a whole. If one value is wrong, nothing is changed, and `errors` points at each
/// that is. Ingest follows within `auth.cache_ttl_s`, tables with the next run of their jobs.
#[utoipa::path(
    patch,
    path = "/api/v1/settings",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(AccountParam),
    request_body = SettingsValues,
    responses((status = 200, description = "All settings, changed", body = SettingsAnswer), AdminChangeProblems)
)]
pub async fn patch_settings(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Json<SettingsAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let account_id = asked_account(&state, &caller, request.uri()).await?;
    let changes = administration::object(&state, request).await?;
    let control = administration::control(&state, &caller);
    let account = control.patch_account_settings(account_id, &changes, state.clock.now()).await?;
    state.keys.forget(|known| known.tenant.account_id == account_id);
    Ok(Json(SettingsAnswer::of(account_id, &account.settings)?))
}

async fn asked_account(state: &AppState, caller: &Caller, uri: &Uri) -> Result<AccountId, ApiError> {
    let parameters = Parameters::read(uri, &[ACCOUNT_ID])?;
    administration::account(state, caller, parameters.account()).await
}
