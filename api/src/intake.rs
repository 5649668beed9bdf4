//! The way of everything that is sent in: who, what, kept.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use touchline_ingest::Origin;
use touchline_ingest::receive::{Credential, Endpoint, ItemStatus, Receipt, without_key};
use touchline_schemas::control::Scope;

use crate::AppState;
use crate::auth::{Caller, Presented, Unauthenticated, key_of_dialect};
use crate::body;
use crate::error::ApiError;
use crate::forwarded;
use crate::limits;

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
    let origin = origin(state, caller, endpoint, &parts.headers, forwarded::client_ip(state, &parts));
    let body = body::read(state, &parts.headers, body).await?;
    Ok(state.ingest.receive(&origin, endpoint, body).await?)
}

/// The header in which a browser asks not to be sold: <https://www.w3.org/TR/gpc/>.
const GLOBAL_PRIVACY_CONTROL: HeaderName = HeaderName::from_static("sec-gpc");

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
    let key = key_of_dialect(&parts.headers).map(|key| key.or(key_beside));
    let (caller, body, key) = match key.transpose() {
        Some(key) => {
            let presented = key.as_deref().map(Presented::Key).map_err(|reason| *reason);
            let caller = sender(state, &parts, presented).await?;
            (caller, body::read_packed(state, endpoint, &parts.headers, body).await?, key.ok())
        }
        None => {
            limits::enter_unknown(state, &parts)?;
            let body = body::read_packed(state, endpoint, &parts.headers, body).await?;
            let credential = endpoint.credential(&body);
            let presented = match &credential {
                Some(Credential::Key(key)) => Ok(Presented::Key(key)),
                Some(Credential::Domain(domain)) => Ok(Presented::Domain(domain)),
                None => Err(Unauthenticated::MissingKey),
            };
            let caller = sender(state, &parts, presented).await?;
            let key = match credential {
                Some(Credential::Key(key)) => Some(key),
                Some(Credential::Domain(_)) | None => None,
            };
            (caller, body, key)
        }
    };
    let body = match key {
        Some(key) => without_key(body, &key),
        None => body,
    };
    let origin = origin(state, &caller, endpoint, &parts.headers, forwarded::client_ip(state, &parts));
    Ok(Taken { origin, body })
}

async fn sender(
    state: &AppState,
    parts: &Parts,
    presented: Result<Presented<'_>, Unauthenticated>,
) -> Result<Caller, ApiError> {
    let caller = Caller::with(state, parts, presented).await?;
    caller.require(Scope::Ingest)?;
    Ok(caller)
}

/// Has ingest keep what is in a request.
pub async fn keep(state: &AppState, endpoint: Endpoint, taken: Taken) -> Result<Receipt, ApiError> {
    Ok(state.ingest.receive(&taken.origin, endpoint, taken.body).await?)
}

fn origin(
    state: &AppState,
    caller: &Caller,
    endpoint: Endpoint,
    headers: &HeaderMap,
    peer_ip: Option<IpAddr>,
) -> Origin {
    // A server that speaks these dialects passes the visitor's headers on: it has no other place for them.
    let has_no_ids = matches!(endpoint, Endpoint::Plausible | Endpoint::Umami);
    Origin {
        tenant: caller.tenant(),
        is_device: caller.is_publishable() || has_no_ids,
        mask_ip: caller.key().settings.mask_ip.unwrap_or(state.config.ingest.mask_ip),
        peer_ip,
        user_agent: text(headers, &header::USER_AGENT),
        global_privacy_control: caller.is_publishable()
            && text(headers, &GLOBAL_PRIVACY_CONTROL).as_deref() == Some("1")
            && caller.key().settings.honours_privacy_signals(),
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
    use touchline_schemas::control::KeyKind;

    use super::*;
    use crate::test_support::TestApi;

    #[tokio::test]
    async fn only_the_visitors_own_browser_asks_for_privacy_and_only_if_the_account_listens() {
        let api = TestApi::new().await;
        let caller = async |kind, ignores: bool| {
            let key = api.key_of(kind, "ingest").await;
            let known =
                api.state.keys.authenticate(&api.state.control, api.state.clock.now(), Presented::Key(&key)).await;
            let mut known = known.unwrap().unwrap().as_ref().clone();
            known.settings.privacy_signals = ignores.then(|| "ignore".to_owned());
            Caller::within(known)
        };
        for (kind, ignores, header, expected) in [
            (KeyKind::Publishable, false, "1", true),
            (KeyKind::Publishable, false, "0", false),
            (KeyKind::Publishable, false, "", false),
            (KeyKind::Publishable, true, "1", false),
            (KeyKind::Secret, false, "1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(GLOBAL_PRIVACY_CONTROL, header.parse().unwrap());
            let found = origin(&api.state, &caller(kind, ignores).await, Endpoint::Events, &headers, None)
                .global_privacy_control;
            assert_eq!(found, expected, "{kind:?}, {header:?}");
        }
    }

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
