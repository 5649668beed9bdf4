//! How much may be asked at a time: by one key, by one address whose keys are not known, and by all together.
//!
//! Every route lies behind [`limited`], which says what it is for. [`admit`] is the door: it makes a caller of a key, before a
//! body is read, or refuses. Ingest and the rest are counted apart, so that readers cannot get in the way of events.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Extensions, HeaderName, HeaderValue, request};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, describe_counter};
use parking_lot::Mutex;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::LimitsConfig;
use touchline_schemas::control::AuthenticatedKey;
use uuid::Uuid;

use crate::AppState;
use crate::auth::{Presented, Unauthenticated};
use crate::error::ApiError;
use crate::forwarded;
use crate::observe::hold_while_streaming;

mod rate;
mod running;

use rate::{Rate, SteadyClock};
use running::{Place, Running};

/// The limits that hold for a caller. This and the next are those of draft-ietf-httpapi-ratelimit-headers-11.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of them.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Requests that were refused, by limit.
const REFUSED_TOTAL: &str = "touchline_http_limited_total";
/// Seconds after which to try again when too many requests are being answered: nobody knows when one ends.
const RUNNING_RETRY_AFTER_S: u32 = 1;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Keys whose rate is remembered at a time, and addresses: who asks seldom is forgotten first.
const MAX_REMEMBERED: usize = 65_536;

/// What a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Taking events in.
    Ingest,
    /// Everything else.
    Reading,
}

/// A limit, as answers and metrics call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// How fast a key may ask.
    RateOfKey(Kind),
    /// How many requests of a key may be answered at the same time.
    RunningOfKey(Kind),
    /// How many requests may be answered at the same time.
    Running(Kind),
    /// How many requests whose keys are not known yet may be read at the same time from one address.
    UnknownOfAddress,
    /// How many such requests may be read at the same time.
    Unknown,
    /// How fast an address may show keys that are not good.
    FailuresOfAddress,
}

impl Limit {
    /// Its name in headers and metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::RateOfKey(Kind::Ingest) => "ingest_per_key",
            Self::RateOfKey(Kind::Reading) => "reading_per_key",
            Self::RunningOfKey(Kind::Ingest) => "ingest_running_per_key",
            Self::RunningOfKey(Kind::Reading) => "reading_running_per_key",
            Self::Running(Kind::Ingest) => "ingest_running",
            Self::Running(Kind::Reading) => "reading_running",
            Self::UnknownOfAddress => "unknown_running_per_address",
            Self::Unknown => "unknown_running",
            Self::FailuresOfAddress => "failures_per_address",
        }
    }

    /// The setting that says how much it is.
    const fn setting(self) -> &'static str {
        match self {
            Self::RateOfKey(Kind::Ingest) => "limits.ingest_per_key_per_s",
            Self::RateOfKey(Kind::Reading) => "limits.reading_per_key_per_s",
            Self::RunningOfKey(Kind::Ingest) => "limits.ingest_running_per_key",
            Self::RunningOfKey(Kind::Reading) => "limits.reading_running_per_key",
            Self::Running(Kind::Ingest) => "limits.ingest_running",
            Self::Running(Kind::Reading) => "limits.reading_running",
            Self::UnknownOfAddress => "limits.unknown_running_per_address",
            Self::Unknown => "limits.unknown_running",
            Self::FailuresOfAddress => "limits.failures_per_address_per_min",
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::RateOfKey(_) => "the key sends more requests than it may",
            Self::RunningOfKey(_) => "too many requests of the key are being answered",
            Self::Running(_) => "too many requests are being answered",
            Self::UnknownOfAddress => "too many requests without a key in a header are being read from this address",
            Self::Unknown => "too many requests without a key in a header are being read",
            Self::FailuresOfAddress => "too many requests without a good key came from this address",
        }
    }
}

/// A request that exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: the operator sets `{}`; try again in {retry_after_s} s",
    .limit.reason(),
    .limit.setting()
)]
pub struct Exceeded {
    /// The limit.
    pub limit: Limit,
    /// Seconds after which there is room again, rounded up.
    pub retry_after_s: u32,
}

impl Exceeded {
    /// The word for programs.
    pub const fn code(&self) -> &'static str {
        match self.limit {
            Limit::RateOfKey(_) => "rate_limited",
            Limit::RunningOfKey(_) | Limit::Running(_) | Limit::UnknownOfAddress | Limit::Unknown => "too_many_running",
            Limit::FailuresOfAddress => "too_many_failures",
        }
    }
}

/// The limits of this process, and what is used of them.
#[derive(Debug)]
pub struct Limits {
    ingest: Share,
    reading: Share,
    unknown: Arc<Running<IpAddr>>,
    failures: Option<Rate<IpAddr>>,
    failures_policy: Option<HeaderValue>,
}

/// What one kind of routes may be asked.
#[derive(Debug)]
struct Share {
    rate: Option<Rate<Uuid>>,
    running: Arc<Running<Uuid>>,
    policy: Option<HeaderValue>,
}

impl Limits {
    /// Nothing used yet.
    pub fn new(config: &LimitsConfig, clock: SharedClock) -> Self {
        describe_counter!(REFUSED_TOTAL, "Requests that were refused because of a limit");
        let clock = SteadyClock::new(clock);
        let rate = |per_s, burst| Rate::new(per_s, SECOND, burst, MAX_REMEMBERED, clock.clone());
        let running = |all, of_key| Arc::new(Running::new(all, of_key));
        let failures = Rate::new(
            config.failures_per_address_per_min,
            MINUTE,
            config.failure_burst_per_address,
            MAX_REMEMBERED,
            clock.clone(),
        );
        Self {
            ingest: Share::new(
                Kind::Ingest,
                rate(config.ingest_per_key_per_s, config.ingest_burst_per_key),
                running(config.ingest_running, config.ingest_running_per_key),
            ),
            reading: Share::new(
                Kind::Reading,
                rate(config.reading_per_key_per_s, config.reading_burst_per_key),
                running(config.reading_running, config.reading_running_per_key),
            ),
            unknown: Arc::new(Running::new(config.unknown_running, config.unknown_running_per_address)),
            failures_policy: failures.as_ref().and_then(|rate| list(&[rate.policy(Limit::FailuresOfAddress.name())])),
            failures,
        }
    }

    fn share(&self, kind: Kind) -> &Share {
        match kind {
            Kind::Ingest => &self.ingest,
            Kind::Reading => &self.reading,
        }
    }

    /// Counts a request as a failure until it is known that it is none.
    fn suspect<'l>(&'l self, pass: &'l Pass, address: Option<IpAddr>) -> Result<Suspicion<'l>, Exceeded> {
        let (Some(failures), Some(address)) = (&self.failures, address) else { return Ok(Suspicion(None)) };
        let (limit, block) = (Limit::FailuresOfAddress, block(address));
        match failures.take(&block) {
            Ok(left) => {
                pass.tell(&self.failures_policy, Some(&failures.left(limit.name(), left)));
                Ok(Suspicion(Some((failures, block, pass))))
            }
            Err(retry_after_s) => Err(self.exceeded(pass, Exceeded { limit, retry_after_s })),
        }
    }

    /// Gives a request whose key is not known a place among those of its address, and among all such.
    fn enter_unknown(&self, pass: &Pass, address: Option<IpAddr>) -> Result<(), Exceeded> {
        // Without a connection there is nobody to be kept apart.
        let Some(address) = address else { return Ok(()) };
        let of_address =
            self.unknown.enter_as(block(address)).ok_or_else(|| self.full(pass, Limit::UnknownOfAddress))?;
        let among_all = self.unknown.enter().ok_or_else(|| self.full(pass, Limit::Unknown))?;
        pass.granted.lock().unknown = Some((of_address, among_all));
        Ok(())
    }

    /// Counts a request of a known key, and gives it its places.
    fn take(&self, pass: &Pass, key_id: Uuid) -> Result<(), Exceeded> {
        let (kind, share) = (pass.kind, self.share(pass.kind));
        match &share.rate {
            None => pass.tell(&share.policy, None),
            Some(rate) => {
                let limit = Limit::RateOfKey(kind);
                match rate.take(&key_id) {
                    Ok(left) => pass.tell(&share.policy, Some(&rate.left(limit.name(), left))),
                    Err(retry_after_s) => return Err(self.exceeded(pass, Exceeded { limit, retry_after_s })),
                }
            }
        }
        let among_all = share.running.enter().ok_or_else(|| self.full(pass, Limit::Running(kind)))?;
        let of_key = share.running.enter_as(key_id).ok_or_else(|| self.full(pass, Limit::RunningOfKey(kind)))?;
        let mut granted = pass.granted.lock();
        granted.places = Some((among_all, of_key));
        granted.unknown = None;
        Ok(())
    }

    fn full(&self, pass: &Pass, limit: Limit) -> Exceeded {
        self.exceeded(pass, Exceeded { limit, retry_after_s: RUNNING_RETRY_AFTER_S })
    }

    fn exceeded(&self, pass: &Pass, exceeded: Exceeded) -> Exceeded {
        let policy = match exceeded.limit {
            Limit::RateOfKey(kind) | Limit::RunningOfKey(kind) | Limit::Running(kind) => &self.share(kind).policy,
            Limit::FailuresOfAddress | Limit::UnknownOfAddress | Limit::Unknown => &self.failures_policy,
        };
        let name = exceeded.limit.name();
        pass.tell(policy, Some(&format!("\"{name}\";r=0;t={}", exceeded.retry_after_s)));
        counter!(REFUSED_TOTAL, "limit" => name).increment(1);
        exceeded
    }
}

/// A request that counts as a failure of its address. It is taken back when this is dropped, as when nobody could find out
/// whether the key is good, unless it is confirmed.
struct Suspicion<'l>(Option<(&'l Rate<IpAddr>, IpAddr, &'l Pass)>);

impl Suspicion<'_> {
    fn confirm(mut self) {
        self.0 = None;
    }
}

impl Drop for Suspicion<'_> {
    fn drop(&mut self) {
        if let Some((failures, block, pass)) = self.0.take() {
            failures.give_back(&block);
            pass.granted.lock().fields = None;
        }
    }
}

impl Share {
    fn new(kind: Kind, rate: Option<Rate<Uuid>>, running: Arc<Running<Uuid>>) -> Self {
        let concurrent = |limit: Limit, most: u32| format!("\"{}\";q={most};qu=\"concurrent-requests\"", limit.name());
        let policies: Vec<String> = [
            rate.as_ref().map(|rate| rate.policy(Limit::RateOfKey(kind).name())),
            running.most_of_key().map(|most| concurrent(Limit::RunningOfKey(kind), most)),
            running.most().map(|most| concurrent(Limit::Running(kind), most)),
        ]
        .into_iter()
        .flatten()
        .collect();
        Self { rate, running, policy: list(&policies) }
    }
}

/// The value of a field that is a list; none without any item.
fn list(items: &[String]) -> Option<HeaderValue> {
    if items.is_empty() {
        return None;
    }
    HeaderValue::try_from(items.join(", ")).ok()
}

/// What counts as one address: of IPv6 a /64, which is what one customer has at least.
fn block(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

/// What a request carries on its way through the limits.
#[derive(Debug, Clone)]
struct Pass {
    kind: Kind,
    granted: Arc<Mutex<Granted>>,
}

/// What a request was given, and what its answer says of it.
#[derive(Debug, Default)]
struct Granted {
    /// The policy, and what is left of its rate.
    fields: Option<(HeaderValue, Option<HeaderValue>)>,
    /// Among all of its kind, and among those of its key.
    places: Option<(Place<Uuid>, Place<Uuid>)>,
    /// Among those of its address, and among all whose keys are not known.
    unknown: Option<(Place<IpAddr>, Place<IpAddr>)>,
}

impl Pass {
    fn new(kind: Kind) -> Self {
        Self { kind, granted: Arc::default() }
    }

    fn of(extensions: &Extensions) -> Result<&Self, ApiError> {
        extensions.get().ok_or(ApiError::Internal("a route with keys lies outside the limits"))
    }

    fn tell(&self, policy: &Option<HeaderValue>, left: Option<&str>) {
        let left = left.and_then(|left| HeaderValue::try_from(left).ok());
        self.granted.lock().fields = policy.clone().map(|policy| (policy, left));
    }
}

/// Around every route: lets [`admit`] count the request as one of `kind`, says in the answer what is left, and keeps the
/// request's places until the answer is sent.
pub async fn limited(kind: Kind, mut request: Request, next: Next) -> Response {
    let pass = Pass::new(kind);
    request.extensions_mut().insert(pass.clone());
    let mut response = next.run(request).await;
    let Granted { fields, places, unknown: _ } = std::mem::take(&mut *pass.granted.lock());
    if let Some((policy, left)) = fields {
        response.headers_mut().insert(RATELIMIT_POLICY, policy);
        if let Some(left) = left {
            response.headers_mut().insert(RATELIMIT, left);
        }
    }
    hold_while_streaming(response, places)
}

/// Whose key `presented` is, if that may ask now.
///
/// To be called once for each request, before its body is read; for a key that is inside the body, once that is read, and
/// [`enter_unknown`] before. `presented` is why there is none if the request shows no key: that counts as a failure, too.
///
/// # Errors
///
/// The key is not good (401), it may not ask now (429), or the control database does not answer (503).
pub async fn admit(
    state: &AppState,
    parts: &request::Parts,
    presented: Result<Presented<'_>, Unauthenticated>,
) -> Result<Arc<AuthenticatedKey>, ApiError> {
    let pass = Pass::of(&parts.extensions)?;
    let key = authenticate(state, pass, parts, presented).await?;
    state.limits.take(pass, key.key_id)?;
    Ok(key)
}

/// Takes a place for a request whose key is not known until its body is read. These places are apart from those of known keys:
/// strangers who send slowly get into nobody's way but each other's.
///
/// # Errors
///
/// Too many such requests are being read (429).
pub fn enter_unknown(state: &AppState, parts: &request::Parts) -> Result<(), ApiError> {
    Ok(state.limits.enter_unknown(Pass::of(&parts.extensions)?, forwarded::client_ip(state, parts))?)
}

/// A key that was good when it was last looked up is not held up by the failures of others at the same address.
async fn authenticate(
    state: &AppState,
    pass: &Pass,
    parts: &request::Parts,
    presented: Result<Presented<'_>, Unauthenticated>,
) -> Result<Arc<AuthenticatedKey>, ApiError> {
    let now = state.clock.now();
    if let Ok(presented) = presented
        && let Some(key) = state.keys.believed(now, presented)
    {
        return Ok(key);
    }
    let address = forwarded::client_ip(state, parts);
    let was_good = presented.is_ok_and(|presented| state.keys.was_good(presented));
    let suspicion = if was_good { None } else { Some(state.limits.suspect(pass, address)?) };
    let key = match presented {
        Ok(presented) => state.keys.authenticate(&state.control, now, presented).await?,
        Err(reason) => Err(reason),
    };
    if key.is_err() {
        match suspicion {
            Some(suspicion) => suspicion.confirm(),
            // It was good and is no longer: the first failure of many.
            None => state.limits.suspect(pass, address)?.confirm(),
        }
    }
    Ok(key?)
}

#[cfg(test)]
mod tests;
