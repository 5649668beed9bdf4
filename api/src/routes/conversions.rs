//! `POST /api/v1/conversions`: a visitor did what was hoped for.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use touchline_ingest::receive::Endpoint;
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, IntakeProblems};
use crate::intake;

/// What is sent: these fields, or an object `conversion` that holds them.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct ConversionRequest {
    /// What was reached; becomes the event's type.
    #[schema(example = "purchase")]
    pub conversion_type: String,
    /// Anonymous id. One of `visitor_id`, `user_id` and `event_id` is needed.
    pub visitor_id: Option<String>,
    /// Known id.
    pub user_id: Option<String>,
    /// The event that led to it.
    pub event_id: Option<String>,
    /// Amount of money, in `currency`.
    #[schema(example = 49.9)]
    pub revenue: Option<f64>,
    /// ISO 4217.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// Whether this made the visitor a customer.
    pub is_acquisition: Option<bool>,
    /// Anything, at most 50 KB.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<()>,
    /// When it happened, ISO 8601. Default: when it arrives.
    pub timestamp: Option<String>,
}

/// That the conversion was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionAnswer<'a> {
    /// The conversion.
    pub conversion: ConversionId<'a>,
    /// What is known of its attribution.
    pub attribution: Attribution,
}

/// A conversion by its id.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionId<'a> {
    /// The `event_id` under which it is stored.
    pub id: &'a str,
}

/// How far the attribution is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attribution {
    /// Always `pending`: credit is computed from the stored events later.
    #[schema(example = "pending")]
    pub status: &'static str,
}

/// Stores a conversion
///
/// Needs the scope `ingest`.
#[utoipa::path(
    post,
    path = "/api/v1/conversions",
    tag = "ingest",
    security(("key" = ["ingest"])),
    request_body = ConversionRequest,
    responses(
        (status = 201, description = "It is on disk", body = ConversionAnswer),
        IntakeProblems,
    )
)]
pub async fn post_conversion(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let receipt = intake::receive(&state, &caller, Endpoint::Conversion, request).await?;
    let taken = intake::single("conversion", receipt)?;
    let answer =
        ConversionAnswer { conversion: ConversionId { id: &taken.id }, attribution: Attribution { status: "pending" } };
    intake::json(StatusCode::CREATED, &answer)
}
