//! `POST /api/v1/events`: a batch of events.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use touchline_ingest::receive::{Endpoint, ItemStatus, Receipt, RejectedItem};
use utoipa::ToSchema;

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, BatchProblems};
use crate::intake;

/// What is sent.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct EventsRequest {
    /// The events; by default at most 2,000.
    pub events: Vec<EventRequest>,
}

/// One event. An explicit null is the same as nothing.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct EventRequest {
    /// 1 to 255 characters; `$…` is reserved.
    #[schema(example = "page_view", min_length = 1, max_length = 255)]
    pub event_type: String,
    /// Unique per account and environment. Without it the event cannot be told from its own repetition.
    pub event_id: Option<String>,
    /// Anonymous id, at most 200 characters.
    pub visitor_id: Option<String>,
    /// Known id, at most 200 characters.
    pub user_id: Option<String>,
    /// The client's own session id.
    pub session_id: Option<String>,
    /// When it happened, ISO 8601. Default: when it arrives.
    #[schema(example = "2026-01-31T12:00:00.000Z")]
    pub timestamp: Option<String>,
    /// What the person has agreed to: `analytics` and `advertising`, each true or false. Without `analytics` nothing of the
    /// event is kept.
    #[schema(value_type = Option<Object>, example = json!({"analytics": true, "advertising": false}))]
    pub consent: Option<()>,
    /// Anything; `url`, `referrer`, `title`, `revenue`, `currency` and `utm_*` become columns. At most 50 KB.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<()>,
    /// The visitor's address, when a server speaks for it.
    pub ip: Option<String>,
    /// The visitor's user agent, when a server speaks for it.
    pub user_agent: Option<String>,
}

/// What became of each event; in the order in which they were sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventsAnswer<'a> {
    /// How many were stored.
    pub accepted: u32,
    /// How many were known already.
    pub duplicates: u32,
    /// Which were refused, and why. They are kept apart, and can be put right and sent again.
    #[schema(value_type = Vec<RejectedEvent>)]
    pub rejected: &'a [RejectedItem],
    /// Which were taken.
    #[schema(value_type = Vec<TakenEvent>)]
    pub events: &'a [ItemStatus],
}

/// An event that was refused.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct RejectedEvent {
    /// Its place in the request, from 0.
    pub index: u32,
    /// Its type, if it could be read.
    pub event_type: Option<String>,
    /// The first reason.
    #[schema(example = "timestamp_in_future")]
    pub code: String,
    /// Every reason.
    pub errors: Vec<RejectedField>,
}

/// One reason for a refusal.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct RejectedField {
    /// JSON pointer inside the event.
    #[schema(example = "/timestamp")]
    pub pointer: String,
    /// A stable word for programs.
    pub code: String,
    /// One sentence for people.
    pub detail: String,
}

/// An event that was taken.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct TakenEvent {
    /// Its `event_id`.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// `accepted` or `duplicate`.
    #[schema(example = "accepted")]
    pub status: String,
}

/// Stores a batch of events
///
/// Needs the scope `ingest`. When the answer arrives, what it accepts is on disk. A batch of which some events are
/// refused answers 422, and the others are stored; sending it again changes nothing for those that have an
/// `event_id`, or when the header `Idempotency-Key` is the same.
#[utoipa::path(
    post,
    path = "/api/v1/events",
    tag = "ingest",
    security(("key" = ["ingest"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Gives events without an id the ids `<key>_<index>`")),
    request_body = EventsRequest,
    responses(
        (status = 202, description = "All were accepted, or known already", body = EventsAnswer),
        (status = 422, description = "Some were refused; the others are stored", body = EventsAnswer),
        BatchProblems,
    )
)]
pub async fn post_events(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let receipt = intake::receive(&state, &caller, Endpoint::Events, request).await?;
    answer(&receipt)
}

fn answer(receipt: &Receipt) -> Result<Response, ApiError> {
    let status = if receipt.rejected.is_empty() { StatusCode::ACCEPTED } else { StatusCode::UNPROCESSABLE_ENTITY };
    let answer = EventsAnswer {
        accepted: receipt.accepted,
        duplicates: receipt.duplicates,
        rejected: &receipt.rejected,
        events: &receipt.events,
    };
    intake::json(status, &answer)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use touchline_ingest::receive::FieldError;

    use super::*;

    #[tokio::test]
    async fn one_refused_event_makes_it_422_and_the_body_stays_the_same() {
        let taken = ItemStatus { id: "e1".to_owned(), event_type: "page_view".to_owned(), status: "accepted" };
        let errors = vec![FieldError {
            pointer: "/timestamp".to_owned(),
            code: "timestamp_invalid",
            detail: "timestamp is not ISO 8601".to_owned(),
        }];
        let refused = RejectedItem { index: 1, event_type: None, code: "timestamp_invalid", errors };
        for (rejected, status, expected) in [
            (vec![], 202, "[]"),
            (
                vec![refused],
                422,
                concat!(
                    r#"[{"index":1,"event_type":null,"code":"timestamp_invalid","errors":[{"pointer":"#,
                    r#""/timestamp","code":"timestamp_invalid","detail":"timestamp is not ISO 8601"}]}]"#
                ),
            ),
        ] {
            let receipt = Receipt { accepted: 1, duplicates: 0, rejected, events: vec![taken.clone()] };
            let response = answer(&receipt).unwrap();
            assert_eq!(response.status(), status);
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(
                String::from_utf8_lossy(&body),
                format!(
                    r#"{{"accepted":1,"duplicates":0,"rejected":{expected},"events":[{{"id":"e1","event_type":"page_view","status":"accepted"}}]}}"#
                )
            );
        }
    }
}
