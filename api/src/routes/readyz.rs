//! `GET /readyz`: should this process be sent requests?

use axum::extract::State;

use crate::AppState;
use crate::error::{ApiError, HealthProblems};

/// Says whether requests can be answered
///
/// The log can be written and the control database answers.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "They can", body = String, content_type = "text/plain"),
        HealthProblems,
    )
)]
pub async fn get_readyz(State(state): State<AppState>) -> Result<&'static str, ApiError> {
    state.ingest.health()?;
    match state.control.runs(None, 1).await {
        Ok(_) => Ok("ready\n"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            Err(ApiError::Unavailable("the control database does not answer"))
        }
    }
}
