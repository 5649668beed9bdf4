//! `POST /api/v1/rejected/replay`: refused events once more, with changes.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::spawn_blocking;
use touchline_ingest::receive::FieldError;
use touchline_ingest::replay::{Changes, Path, ReplayStatus, ReplayedEvent};
use touchline_pipeline::reports::TimeRange;
use touchline_pipeline::reports::rejected::FILTERS;
use touchline_pipeline::reports::rejected::chosen::{self, Choice, Chosen};
use touchline_schemas::control::{Replayed, Scope};
use touchline_schemas::tables::rejected_events::RefusedEvent;
use touchline_schemas::timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::AppState;
use crate::administration::{self, Fields, Parameters};
use crate::auth::Caller;
use crate::error::{AdminChangeProblems, ApiError};
use crate::routes::events::RejectedField;

/// A word of the API.
const REPLAY: &str = "replay";
/// Paths that one replay may set and unset: each is a walk through each event.
const MAX_CHANGES: usize = 100;

/// Which refused events are sent again, and what is changed in them. Either `rejected_ids`, or at least one of `filter`,
/// `from` and `to`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct ReplayRequest {
    /// These; as many as a request may carry (`ingest.max_events_per_request`).
    pub rejected_ids: Option<Vec<Uuid>>,
    /// Those of which all of this holds: `event_id`, `event_type`, `code` and `source`.
    #[schema(value_type = Option<Object>, example = json!({"code": "timestamp_invalid"}))]
    pub filter: Option<()>,
    /// Those that arrived then or later, ISO 8601.
    #[schema(example = "2026-01-01T00:00:00Z")]
    pub from: Option<String>,
    /// Those that arrived before, ISO 8601.
    pub to: Option<String>,
    /// Values by path: a JSON pointer, or names with dots between them. Objects on the way are made.
    #[schema(value_type = Option<Object>, example = json!({"timestamp": "2026-01-01T00:00:00Z"}))]
    pub set: Option<()>,
    /// Paths of what is taken out, before anything is set.
    #[schema(example = json!(["/properties/url"]))]
    pub unset: Option<Vec<String>>,
    /// Only says what would become of them, and shows them with the changes. Default false.
    pub dry_run: Option<bool>,
}

/// What became of the events. With `dry_run`, `accepted` counts those that would be sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayAnswer {
    /// The replay as the audit names it; null if nothing was sent.
    pub replay_id: Option<Uuid>,
    /// Whether nothing was sent.
    pub dry_run: bool,
    /// How many were stored.
    pub accepted: usize,
    /// How many were known already.
    pub duplicates: usize,
    /// How many were refused again; they stay as they were, and are not counted a second time.
    pub rejected: usize,
    /// Each of them, in the order in which they first arrived.
    #[schema(value_type = Vec<ReplayedEventRow>)]
    pub events: Vec<ReplayedEvent>,
}

/// What became of one event.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct ReplayedEventRow {
    /// The refusal.
    pub rejected_id: Uuid,
    /// `accepted`, `duplicate` or `rejected`; of a dry run `valid` or `rejected`.
    #[schema(example = "accepted")]
    pub status: String,
    /// The event's id, as far as it could be read.
    pub event_id: Option<String>,
    /// The event's type, as far as it could be read.
    pub event_type: Option<String>,
    /// Why it is refused again.
    pub errors: Vec<RejectedField>,
    /// The event with all changes: only of a dry run, and of the first events of a large one.
    pub body: Option<String>,
}

/// A request that was understood.
struct Asked {
    choice: Choice,
    changes: Changes,
    is_trial: bool,
}

/// Sends refused events again
///
/// Needs the scopes `can_manage_settings` and `can_view_reports`. Each event goes through the endpoint that refused it,
/// with `set` and `unset` done to it, and through the same dedup: without a timestamp it happened when it first arrived,
/// and without an id it has one that follows from `rejected_id`, so that a second replay stores nothing. A request takes
/// as many events and bytes as one that sends events (`ingest.max_events_per_request`, `ingest.max_body_bytes`).
#[utoipa::path(
    post,
    path = "/api/v1/rejected/replay",
    tag = "administration",
    security(("key" = ["can_manage_settings", "can_view_reports"])),
    request_body = ReplayRequest,
    responses((status = 200, description = "What became of each event", body = ReplayAnswer), AdminChangeProblems)
)]
pub async fn post_replay(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Json<ReplayAnswer>, ApiError> {
    caller.require(Scope::CanManageSettings)?;
    caller.require(Scope::CanViewReports)?;
    Parameters::read(request.uri(), &[])?;
    let Asked { choice, changes, is_trial } = read(&state, request).await?;
    let tenant = caller.tenant();
    // One more says that there are too many.
    let limit = state.config.ingest.max_events_per_request + 1;
    let events = gather(&state, chosen::query(&state.engine, tenant, &choice, Some(limit)).await?).await?;
    all_found(&choice, &events)?;
    let mask_ip = caller.key().settings.mask_ip.unwrap_or(state.config.ingest.mask_ip);
    let (set, unset) = (changes.set_paths(), changes.unset_paths());
    let ingest = state.ingest.clone();
    // It takes as long as the events are many, and other requests shall not wait for it.
    let check = move || ingest.check_again(tenant, mask_ip, &events, &changes, is_trial);
    let replay = spawn_blocking(check).await.map_err(|_| ApiError::Internal("checking refused events stopped"))?;
    if is_trial {
        return Ok(Json(ReplayAnswer::of(None, is_trial, replay.tried())));
    }
    let replay_id = match replay.passed() {
        0 => None,
        events => {
            let noted = Replayed { events, set, unset };
            let control = administration::control(&state, &caller);
            Some(control.note_replay(tenant, &noted, state.clock.now()).await?)
        }
    };
    Ok(Json(ReplayAnswer::of(replay_id, is_trial, state.ingest.replay(replay).await?)))
}

impl ReplayAnswer {
    fn of(replay_id: Option<Uuid>, dry_run: bool, events: Vec<ReplayedEvent>) -> Self {
        let (mut accepted, mut duplicates, mut rejected) = (0, 0, 0);
        for event in &events {
            match event.status {
                ReplayStatus::Valid | ReplayStatus::Accepted | ReplayStatus::Stored => accepted += 1,
                ReplayStatus::Duplicate => duplicates += 1,
                ReplayStatus::Rejected => rejected += 1,
            }
        }
        Self { replay_id, dry_run, accepted, duplicates, rejected, events }
    }
}

async fn read(state: &AppState, request: Request) -> Result<Asked, ApiError> {
    const INSTANT: &str = "an ISO 8601 date and time";
    const PATH: &str = "a JSON pointer, or names with dots between them";
    let limit = state.config.ingest.max_events_per_request;
    let mut fields = Fields::read(state, REPLAY, request).await?;
    let (has_ids, has_which) =
        (fields.has("rejected_ids"), ["filter", "from", "to"].iter().any(|name| fields.has(name)));
    let form = format!("a list of 1 to {limit} ids (`ingest.max_events_per_request`)");
    let ids = fields.optional("rejected_ids", &form, |value| ids(value, limit));
    let form = format!("an object with texts, of {}", FILTERS.join(", "));
    let filters = fields.optional("filter", &form, filters).unwrap_or_default();
    let from = fields.optional("from", INSTANT, instant);
    let to = fields.optional("to", INSTANT, instant);
    let set = fields.optional("set", &format!("an object whose names are paths: {PATH}"), set).unwrap_or_default();
    let unset = fields.optional("unset", &format!("a list of paths: {PATH}"), unset).unwrap_or_default();
    let is_trial = fields.optional("dry_run", "true or false", Value::as_bool).unwrap_or(false);
    let changes = Changes { unset, set };
    if changes.unset.len() + changes.set.len() > MAX_CHANGES {
        let detail = format!("a replay may set and unset {MAX_CHANGES} paths");
        fields.refuse("set", "too_many_changes", detail);
    }
    let (set_bytes, max_bytes) = (changes.set_bytes(), state.config.ingest.max_event_bytes);
    if set_bytes > max_bytes {
        let detail = format!("what is set may have {max_bytes} bytes (`ingest.max_event_bytes`), this has {set_bytes}");
        fields.refuse("set", "event_too_large", detail);
    }
    if has_ids == has_which {
        let detail = "say which events: either `rejected_ids`, or at least one of `filter`, `from` and `to`";
        fields.refuse("rejected_ids", "field_missing", detail.to_owned());
    }
    fields.finish()?;
    let choice = match ids {
        Some(ids) => Choice::Ids(ids),
        None => Choice::Which { range: TimeRange { from, to }, filters },
    };
    Ok(Asked { choice, changes, is_trial })
}

fn ids(value: &Value, limit: usize) -> Option<Vec<String>> {
    let given = value.as_array().filter(|given| (1..=limit).contains(&given.len()))?;
    given.iter().map(|id| id.as_str().map(str::to_owned)).collect()
}

fn filters(value: &Value) -> Option<Vec<(String, String)>> {
    let given = value.as_object()?.iter();
    let filter = |(name, value): (&String, &Value)| {
        FILTERS.contains(&name.as_str()).then_some((name.clone(), value.as_str()?.to_owned()))
    };
    given.map(filter).collect()
}

fn instant(value: &Value) -> Option<DateTime<Utc>> {
    timestamp::parse(value.as_str()?)
}

fn set(value: &Value) -> Option<Vec<(Path, Box<RawValue>)>> {
    let given = value.as_object()?.iter();
    given.map(|(path, value)| Some((path.parse().ok()?, to_raw_value(value).ok()?))).collect()
}

fn unset(value: &Value) -> Option<Vec<Path>> {
    value.as_array()?.iter().map(|path| path.as_str()?.parse().ok()).collect()
}

/// The events, if they are no more than one request may send.
async fn gather(state: &AppState, mut chosen: Chosen) -> Result<Vec<RefusedEvent>, ApiError> {
    let (max_events, max_bytes) = (state.config.ingest.max_events_per_request, state.config.ingest.max_body_bytes);
    let mut events: Vec<RefusedEvent> = Vec::new();
    let mut bytes = 0;
    while let Some(more) = chosen.try_next().await? {
        bytes += more.iter().map(|event| event.body.as_ref().map_or(0, String::len)).sum::<usize>();
        events.extend(more);
        if events.len() > max_events || bytes > max_bytes {
            let detail = format!(
                "a replay may send {max_events} events (`ingest.max_events_per_request`) with {max_bytes} bytes \
                 (`ingest.max_body_bytes`), and these are more: choose fewer, as by `from` and `to`"
            );
            return Err(refused(vec![FieldError { pointer: String::new(), code: "too_many_events", detail }]));
        }
    }
    Ok(events)
}

/// Refuses ids that there are not.
fn all_found(choice: &Choice, events: &[RefusedEvent]) -> Result<(), ApiError> {
    let Choice::Ids(ids) = choice else { return Ok(()) };
    let found: HashSet<&str> = events.iter().map(|event| event.rejected_id.as_str()).collect();
    let unknown = ids.iter().enumerate().filter(|(_, id)| !found.contains(id.as_str()));
    let errors: Vec<FieldError> = unknown
        .map(|(place, _)| FieldError {
            pointer: format!("/rejected_ids/{place}"),
            code: "not_found",
            detail: "there is no refused event with this id".to_owned(),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(refused(errors)) }
}

fn refused(errors: Vec<FieldError>) -> ApiError {
    let code = errors.first().map_or("invalid", |error| error.code);
    ApiError::Refused { what: REPLAY, code, errors }
}
