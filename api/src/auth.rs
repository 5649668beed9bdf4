//! Who calls: `Authorization: Bearer …`, checked before a body is read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use touchline_schemas::Tenant;
use touchline_schemas::control::{AuthFailure, AuthenticatedKey, KeyKind, Scope};

use crate::AppState;
use crate::error::ApiError;

mod cache;

pub use cache::{KeyCache, Presented};

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// There is no `Authorization`.
    #[error("the header `Authorization` is missing; send `Authorization: Bearer <key>`")]
    MissingHeader,
    /// Neither the headers nor the body hold a key.
    #[error(
        "there is no key; send it as `Authorization: Bearer <key>`, as the user of `Authorization: Basic`, or in the \
         body where this endpoint looks for it"
    )]
    MissingKey,
    /// There is one that is not of the form we take.
    #[error("the header `Authorization` must have the form `Bearer <key>`")]
    MalformedHeader,
    /// No such key.
    #[error("the key is invalid or has expired")]
    InvalidKey,
    /// A domain stands for a key, and no account tracks it.
    #[error("no account tracks this domain; an account says which are its own in its setting `tracked_domains`")]
    UnknownDomain,
    /// The key was revoked.
    #[error("the key was revoked")]
    RevokedKey,
    /// The key is good, its account is suspended.
    #[error("the account is suspended")]
    SuspendedAccount,
}

impl Unauthenticated {
    /// The word for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingHeader | Self::MissingKey => "missing_authorization",
            Self::MalformedHeader => "malformed_authorization",
            Self::InvalidKey => "invalid_key",
            Self::UnknownDomain => "unknown_domain",
            Self::RevokedKey => "revoked_key",
            Self::SuspendedAccount => "suspended_account",
        }
    }
}

impl From<AuthFailure> for Unauthenticated {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::MalformedKey | AuthFailure::UnknownKey => Self::InvalidKey,
            AuthFailure::UnknownDomain => Self::UnknownDomain,
            AuthFailure::RevokedKey => Self::RevokedKey,
            AuthFailure::SuspendedAccount => Self::SuspendedAccount,
        }
    }
}

/// A caller whose key was checked. As an argument of a handler it is the check.
#[derive(Debug, Clone)]
pub struct Caller(Arc<AuthenticatedKey>);

impl Caller {
    /// A caller inside this process, who is known without a key.
    pub(crate) fn within(key: AuthenticatedKey) -> Self {
        Self(Arc::new(key))
    }

    /// Whoever presents this.
    pub(crate) async fn with(state: &AppState, presented: Presented<'_>) -> Result<Self, ApiError> {
        let key = state.keys.authenticate(&state.control, state.clock.now(), presented).await?;
        Ok(Self(key?))
    }

    /// Whose rows the caller may see and write.
    pub fn tenant(&self) -> Tenant {
        self.0.tenant
    }

    /// The key and its account.
    pub fn key(&self) -> &AuthenticatedKey {
        &self.0
    }

    /// Whether the key may be known to anybody, and therefore may only send.
    pub fn is_publishable(&self) -> bool {
        match self.0.kind {
            KeyKind::Publishable => true,
            KeyKind::Secret => false,
        }
    }

    /// Whether the key has `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.scopes.allows(scope)
    }

    /// Refuses a caller whose key lacks `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.has(scope) { Ok(()) } else { Err(ApiError::MissingScope(scope)) }
    }
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut request::Parts, state: &AppState) -> Result<Self, ApiError> {
        // Only this process can have put it there.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let presented = bearer(&parts.headers)?;
        Self::with(state, Presented::Key(presented)).await
    }
}

/// The key in the headers of a request whose dialect may have it elsewhere: `Bearer <key>`, or `Basic` with the key as
/// the user. None without the header.
pub fn key_of_dialect(headers: &HeaderMap) -> Result<Option<String>, Unauthenticated> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let basic = value.to_str().ok().and_then(|text| text.split_once(' '));
    match basic.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic")) {
        None => bearer(headers).map(|key| Some(key.to_owned())),
        Some((_, credentials)) => {
            let decoded = BASE64.decode(credentials.trim()).map_err(|_| Unauthenticated::MalformedHeader)?;
            let text = String::from_utf8(decoded).map_err(|_| Unauthenticated::MalformedHeader)?;
            // The password is empty, or whatever the client thinks it is.
            Ok(text.split(':').next().map(str::to_owned))
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Unauthenticated> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Unauthenticated::MissingHeader)?;
    let text = value.to_str().map_err(|_| Unauthenticated::MalformedHeader)?;
    let (scheme, key) = text.split_once(' ').ok_or(Unauthenticated::MalformedHeader)?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() || key.contains(char::is_whitespace) {
        return Err(Unauthenticated::MalformedHeader);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn dialects_have_the_key_as_the_user() {
        let check = |value: Option<&'static str>, expected: Result<Option<&str>, Unauthenticated>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(key_of_dialect(&headers), expected.map(|key| key.map(str::to_owned)), "{value:?}");
        };
        check(None, Ok(None));
        check(Some("Basic c2tfbGl2ZV8xOg=="), Ok(Some("sk_live_1")));
        check(Some("basic c2tfbGl2ZV8x"), Ok(Some("sk_live_1")));
        check(Some("Basic c2tfbGl2ZV8xOnNlY3JldA=="), Ok(Some("sk_live_1")));
        check(Some("Bearer sk_live_1"), Ok(Some("sk_live_1")));
        check(Some("Basic ???"), Err(Unauthenticated::MalformedHeader));
        check(Some("Digest x"), Err(Unauthenticated::MalformedHeader));
    }

    #[test]
    fn one_form_of_the_header_is_taken() {
        for (value, expected) in [
            (None, Err(Unauthenticated::MissingHeader)),
            (Some("Bearer sk_live_1"), Ok("sk_live_1")),
            (Some("bearer sk_live_1"), Ok("sk_live_1")),
            (Some("BEARER   sk_live_1 "), Ok("sk_live_1")),
            (Some("Bearer"), Err(Unauthenticated::MalformedHeader)),
            (Some("Bearer "), Err(Unauthenticated::MalformedHeader)),
            (Some("Bearer a b"), Err(Unauthenticated::MalformedHeader)),
            (Some("sk_live_1"), Err(Unauthenticated::MalformedHeader)),
            (Some("Basic c2s6"), Err(Unauthenticated::MalformedHeader)),
            (Some(""), Err(Unauthenticated::MalformedHeader)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer(&headers), expected, "{value:?}");
        }
    }
}
