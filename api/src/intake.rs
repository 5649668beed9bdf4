//! The way of everything that is sent in: who, what, kept.

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use touchline_ingest::Origin;
use touchline_ingest::receive::{Credential, Endpoint, ItemStatus, Receipt};
use touchline_schemas::control::Scope;

use crate::AppState;
use crate::auth::{Caller, Presented, Unauthenticated, key_of_dialect};
use crate::body;
use crate::error::ApiError;
use crate::peer::Peer;

/// Headers in which a batch may carry an id for all its events, the first that is there.
const IDEMPOTENCY_KEYS: [HeaderName; 2] =
    [HeaderName::from_static("idempotency-key"), HeaderName::from_static("x-idempotency-key")];

/// Reads the body and has ingest keep what is in it.
pub async fn receive(
    state: &AppState,
    caller: &Caller,
    endpoint: Endpoint,
    request: Request,
) -> Result<Receipt, ApiError> {
    caller.require(Scope::Ingest)?;
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer);
    let origin = origin(state, caller, endpoint, &parts.headers, peer);
    let body = body::read(state, &parts.headers, body).await?;
    Ok(state.ingest.receive(&origin, endpoint, body).await?)
}

/// A request whose caller is known, and whose body is read.
pub struct Taken {
    origin: Origin,
    body: Bytes,
}

/// Finds out who sends a request of another product's client: by its headers, by `key_beside` if it is none of them, or
/// else by what its body presents. The body is read before the caller is known only in the last case.
pub async fn authenticate(
    state: &AppState,
    endpoint: Endpoint,
    key_beside: Option<String>,
    request: Request,
) -> Result<Taken, ApiError> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer);
    let (caller, body) = match key_of_dialect(&parts.headers)?.or(key_beside) {
        Some(key) => {
            let caller = sender(state, Presented::Key(&key)).await?;
            (caller, body::read_packed(state, endpoint, &parts.headers, body).await?)
        }
        None => {
            let body = body::read_packed(state, endpoint, &parts.headers, body).await?;
            let caller = match endpoint.credential(&body) {
                Some(Credential::Key(key)) => sender(state, Presented::Key(&key)).await?,
                Some(Credential::Domain(domain)) => sender(state, Presented::Domain(&domain)).await?,
                None => return Err(Unauthenticated::MissingKey.into()),
            };
            (caller, body)
        }
    };
    Ok(Taken { origin: origin(state, &caller, endpoint, &parts.headers, peer), body })
}

async fn sender(state: &AppState, presented: Presented<'_>) -> Result<Caller, ApiError> {
    let caller = Caller::with(state, presented).await?;
    caller.require(Scope::Ingest)?;
    Ok(caller)
}

/// Has ingest keep what is in a request.
pub async fn keep(state: &AppState, endpoint: Endpoint, taken: Taken) -> Result<Receipt, ApiError> {
    Ok(state.ingest.receive(&taken.origin, endpoint, taken.body).await?)
}

fn origin(state: &AppState, caller: &Caller, endpoint: Endpoint, headers: &HeaderMap, peer: Option<&Peer>) -> Origin {
    // A server that speaks these dialects passes the visitor's headers on: it has no other place for them.
    let has_no_ids = matches!(endpoint, Endpoint::Plausible | Endpoint::Umami);
    Origin {
        tenant: caller.tenant(),
        is_device: caller.is_publishable() || has_no_ids,
        mask_ip: caller.key().settings.mask_ip.unwrap_or(state.config.ingest.mask_ip),
        peer_ip: peer.map(Peer::ip),
        user_agent: text(headers, &header::USER_AGENT),
        idempotency_key: IDEMPOTENCY_KEYS.iter().find_map(|name| text(headers, name)),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The one thing of a request that holds one; an error when it was refused.
pub fn single(what: &'static str, receipt: Receipt) -> Result<ItemStatus, ApiError> {
    if let Some(rejected) = receipt.rejected.into_iter().next() {
        return Err(ApiError::Refused { what, code: rejected.code, errors: rejected.errors });
    }
    receipt.events.into_iter().next().ok_or(ApiError::Internal("ingest said nothing about what it received"))
}

/// Writes `answer` as JSON.
pub fn json(status: StatusCode, answer: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(answer).map_err(|_| ApiError::Internal("an answer could not be written"))?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

#[cfg(test)]
mod tests {
    use touchline_ingest::receive::{FieldError, RejectedItem};

    use super::*;

    #[test]
    fn a_refused_thing_is_an_error_with_its_reasons() {
        let errors =
            vec![FieldError { pointer: "/user_id".into(), code: "required", detail: "user_id is missing".into() }];
        let rejected = vec![RejectedItem { index: 0, event_type: None, code: "required", errors }];
        let receipt = Receipt { accepted: 0, duplicates: 0, rejected, events: Vec::new() };
        let problem = single("identification", receipt).unwrap_err().into_problem();
        assert_eq!(problem.status, 422);
        assert_eq!(problem.errors[0].pointer.as_deref(), Some("/user_id"));
    }

    #[test]
    fn header_texts_are_trimmed_and_empty_is_absent() {
        for (value, expected) in [("batch-7", Some("batch-7")), (" batch-7 ", Some("batch-7")), ("  ", None)] {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEYS[1].clone(), value.parse().unwrap());
            let key = IDEMPOTENCY_KEYS.iter().find_map(|name| text(&headers, name));
            assert_eq!(key.as_deref(), expected);
        }
    }
}
