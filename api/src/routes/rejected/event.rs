//! `GET /api/v1/rejected/{rejected_id}`: one refused event, whole.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;
use serde_json::value::RawValue;
use touchline_pipeline::reports::rejected::chosen;
use touchline_schemas::control::Scope;
use touchline_schemas::tables::rejected_events::RefusedEvent;
use utoipa::ToSchema;

use crate::AppState;
use crate::administration::Parameters;
use crate::auth::Caller;
use crate::error::{AdminProblems, ApiError};
use crate::format::FormatError;
use crate::report::params::instant_text;
use crate::routes::events::RejectedField;

/// A refused event.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedEventAnswer {
    /// The id of the refusal.
    #[schema(value_type = uuid::Uuid)]
    pub rejected_id: String,
    /// When it arrived.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub received_at: String,
    /// The id that the client gave it, if it could be read.
    pub event_id: Option<String>,
    /// The type that the client gave it, if it could be read.
    pub event_type: Option<String>,
    /// The first reason.
    #[schema(example = "timestamp_invalid")]
    pub code: String,
    /// Every reason.
    #[schema(value_type = Vec<RejectedField>)]
    pub errors: Box<RawValue>,
    /// Its bytes as they arrived, up to `ingest.max_event_bytes`; null if nothing of it is kept.
    pub body: Option<String>,
    /// The endpoint that received it.
    #[schema(example = "native")]
    pub source: String,
}

impl TryFrom<RefusedEvent> for RejectedEventAnswer {
    type Error = ApiError;

    fn try_from(event: RefusedEvent) -> Result<Self, ApiError> {
        Ok(Self {
            rejected_id: event.rejected_id,
            received_at: instant_text(event.received_at),
            event_id: event.event_id,
            event_type: event.event_type,
            code: event.code,
            errors: RawValue::from_string(event.errors).map_err(FormatError::from)?,
            body: event.body,
            source: event.source,
        })
    }
}

/// Shows a refused event
///
/// Needs the scope `can_view_reports`. Everything that is kept of it.
#[utoipa::path(
    get,
    path = "/api/v1/rejected/{rejected_id}",
    tag = "administration",
    security(("key" = ["can_view_reports"])),
    params(("rejected_id" = uuid::Uuid, Path, description = "Id of the refusal")),
    responses((status = 200, description = "The event", body = RejectedEventAnswer), AdminProblems)
)]
pub async fn get_rejected_event(
    State(state): State<AppState>,
    caller: Caller,
    Path(rejected_id): Path<String>,
    uri: Uri,
) -> Result<Json<RejectedEventAnswer>, ApiError> {
    caller.require(Scope::CanViewReports)?;
    Parameters::read(&uri, &[])?;
    let found = chosen::find(&state.engine, caller.tenant(), &rejected_id).await?;
    Ok(Json(found.ok_or(ApiError::NotFound)?.try_into()?))
}
