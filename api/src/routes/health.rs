//! `GET /api/v1/health`: can events be sent now?

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ApiError, HealthProblems};
use crate::{AppState, VERSION};

/// That all is well.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthAnswer {
    /// Always `ok`; otherwise the answer is 503.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// The version that answers.
    pub version: &'static str,
}

/// Says whether events can be kept
///
/// Needs no key.
#[utoipa::path(
    get,
    path = "/api/v1/health",
    tag = "operations",
    responses(
        (status = 200, description = "Events can be kept", body = HealthAnswer),
        HealthProblems,
    )
)]
pub async fn get_health(State(state): State<AppState>) -> Result<Json<HealthAnswer>, ApiError> {
    state.ingest.health()?;
    Ok(Json(HealthAnswer { status: "ok", version: VERSION }))
}
