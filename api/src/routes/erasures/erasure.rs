//! `GET /api/v1/erasures/{erasure_id}`: what became of an erasure.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;
use serde_json::value::RawValue;
use touchline_schemas::control::Scope;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ErasureRow;
use crate::AppState;
use crate::administration::{self, ACCOUNT_ID, AccountParam, Parameters};
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};

/// An erasure with its certificate.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureAnswer {
    /// How far it has come.
    #[serde(flatten)]
    pub about: ErasureRow,
    /// What was done, without saying to whom; null until it is over. A dry run's says what would be.
    #[schema(value_type = Option<Object>)]
    pub certificate: Option<Box<RawValue>>,
}

/// Shows an erasure
///
/// Needs the scope `can_manage_settings`. With its certificate, when it is over.
#[utoipa::path(
    get,
    path = "/api/v1/erasures/{erasure_id}",
    tag = "administration",
    security(("key" = ["can_manage_settings"])),
    params(("erasure_id" = Uuid, Path, description = "Id of the erasure"), AccountParam),
    responses((status = 200, description = "The erasure", body = ErasureAnswer), AdminProblems)
)]
pub async fn get_erasure(
    State(state): State<AppState>,
    caller: Caller,
    Path(erasure_id): Path<String>,
    uri: Uri,
) -> Result<Json<ErasureAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    let parameters = Parameters::read(&uri, &[ACCOUNT_ID])?;
    let account = administration::account(&state, &caller, parameters.account()).await?;
    let erasure_id = Uuid::parse_str(&erasure_id).map_err(|_| ApiError::NotFound)?;
    let request = state.control.erasure_request(account, erasure_id).await?.ok_or(ApiError::NotFound)?;
    let about = ErasureRow::from(&request);
    let certificate = request.certificate.map(RawValue::from_string).transpose();
    Ok(Json(ErasureAnswer { about, certificate: certificate.map_err(crate::format::FormatError::from)? }))
}
