//! The check that every item passes, whatever its endpoint: ids, type, time, sizes; then its normal form.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;
use touchline_enrich::{Enricher, path};
use touchline_schemas::config::IngestConfig;
use touchline_schemas::control::Erasures;
use touchline_schemas::event::{RESERVED_PREFIX, TextField, is_known_reserved_type};
use touchline_schemas::{IdType, Tenant, timestamp};
use uuid::Builder;

use super::answer::FieldError;
use super::surroundings::Surroundings;
use super::vocabulary::{Given, judge};
use crate::event_ids::IdHash;
use crate::normalize::privacy::{Consent, single_visitor, without_advertising};
use crate::normalize::properties::{
    Members, Reading, is_deeper_than, is_longer_than, move_into, push_json_string, text_of,
};
use crate::normalize::{address, campaign, enrich, url};
use crate::record::Event;

/// Limits of items and requests; each is named in the configuration under `ingest`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `max_body_bytes`: a body, after decompression.
    pub max_body_bytes: usize,
    /// `max_events_per_request`
    pub max_events_per_request: usize,
    /// `max_event_bytes`: one event as sent.
    pub max_event_bytes: usize,
    /// `max_properties_bytes`: the properties of an event as sent.
    pub max_properties_bytes: usize,
    /// `max_depth`: objects and arrays nested in an event.
    pub max_depth: usize,
    /// `max_id_chars`: each id.
    pub max_id_chars: usize,
    /// `max_url_chars`: what a column of an address takes; longer ones stay in the properties.
    pub max_url_chars: usize,
    /// `max_future_s`: how far ahead of the server's clock an event may be.
    pub max_future_s: i64,
    /// `min_timestamp`: the earliest time of an event.
    pub min_timestamp: DateTime<Utc>,
}

impl From<&IngestConfig> for Limits {
    fn from(config: &IngestConfig) -> Self {
        Self {
            max_body_bytes: config.max_body_bytes,
            max_events_per_request: config.max_events_per_request,
            max_event_bytes: config.max_event_bytes,
            max_properties_bytes: config.max_properties_bytes,
            max_depth: config.max_depth,
            max_id_chars: config.max_id_chars,
            max_url_chars: config.max_url_chars,
            max_future_s: i64::try_from(config.max_future_s).unwrap_or(i64::MAX),
            min_timestamp: config.min_timestamp,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&IngestConfig::default())
    }
}

const MAX_EVENT_TYPE_CHARS: usize = 255;

/// What is known of a request besides its body.
pub struct RequestContext<'r> {
    /// Whose events.
    pub tenant: Tenant,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// When its items arrived for the first time: the time of those that say none, and what clients' clocks are compared
    /// with.
    pub arrived_at: DateTime<Utc>,
    /// Whether addresses are masked before they are stored.
    pub mask_ip: bool,
    /// The client's address and user agent, where the client is the visitor's own device (a publishable key).
    pub device: Option<(IpAddr, Option<&'r str>)>,
    /// Whether the visitor's browser asks for Global Privacy Control, and the account honours that.
    pub global_privacy_control: bool,
    /// Gives items without an id one that a retry repeats.
    pub idempotency_key: Option<&'r str>,
    /// Limits.
    pub limits: &'r Limits,
    /// Tells browsers, bots and countries.
    pub enricher: &'r Enricher,
    /// Whose events are refused.
    pub erased: &'r Erasures,
    /// Random bits for the ids that we assign.
    pub entropy: &'r mut dyn FnMut() -> [u8; 10],
}

/// What an endpoint calls the fields of an item, as JSON pointers without their first slash.
#[derive(Debug)]
pub struct Names {
    /// `event_id`
    pub event_id: &'static str,
    /// `visitor_id`
    pub visitor_id: &'static str,
    /// `user_id`
    pub user_id: &'static str,
    /// `session_id`
    pub session_id: &'static str,
    /// `ip`
    pub ip: &'static str,
    /// `user_agent`
    pub user_agent: &'static str,
}

impl Names {
    /// The names of the native API.
    pub const NATIVE: &'static Self = &Self {
        event_id: "event_id",
        visitor_id: "visitor_id",
        user_id: "user_id",
        session_id: "session_id",
        ip: "ip",
        user_agent: "user_agent",
    };
}

impl Default for &Names {
    fn default() -> Self {
        Names::NATIVE
    }
}

/// An item before the check: raw JSON values by their meaning.
#[derive(Debug, Default)]
pub struct Incoming<'a> {
    /// The item as it was sent.
    pub raw: &'a str,
    /// What its fields are called there.
    pub names: &'static Names,
    /// Its place in the request.
    pub index: u32,
    /// `source` of the event.
    pub source: &'static str,
    /// An event type that the endpoint implies.
    pub implied_type: Option<&'static str>,
    /// `event_type`, and the name under which the endpoint calls it.
    pub event_type: Option<(&'static str, &'a RawValue)>,
    /// `event_id`
    pub event_id: Option<&'a RawValue>,
    /// `visitor_id`
    pub visitor_id: Option<&'a RawValue>,
    /// `user_id`
    pub user_id: Option<&'a RawValue>,
    /// `session_id`
    pub session_id: Option<&'a RawValue>,
    /// The item's time, and the name under which the endpoint calls it.
    pub timestamp: Option<(&'static str, &'a RawValue)>,
    /// `ip`
    pub ip: Option<&'a RawValue>,
    /// `user_agent`
    pub user_agent: Option<&'a RawValue>,
    /// `properties`
    pub properties: Option<&'a RawValue>,
    /// Everything else, treated as properties.
    pub others: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// What is said of the page and the campaign besides the properties.
    pub surroundings: Surroundings<'a>,
    /// What the item's time must be put forward by, since the client's clock is behind ours by that much.
    pub clock_behind: TimeDelta,
    /// How long before its sending it happened, of an item that says that instead of a time.
    pub age: TimeDelta,
    /// Whether an id may be a number: then its digits are the id.
    pub numeric_ids: bool,
    /// Whether a type that begins with `$` is of the client's kind, not of ours: it is taken without the `$`.
    pub foreign_types: bool,
    /// What an `Idempotency-Key` is continued with for this item, instead of its place in the request.
    pub key_suffix: Option<&'static str>,
    /// Whether an item may come without visitor, user and device (it names another event instead).
    pub may_lack_identity: bool,
    /// What its receiver has found wrong with it.
    pub wrong: Option<FieldError>,
}

/// An item after the check.
#[derive(Debug)]
pub enum Checked<'a> {
    /// It becomes an event.
    Accepted {
        /// Hash of tenant and id.
        hash: IdHash,
        /// The event.
        event: Box<Event<'a>>,
    },
    /// It is refused.
    Refused(Refusal<'a>),
}

/// A refused item.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Its place in the request.
    pub index: u32,
    /// Its id, as far as it could be read.
    pub event_id: Option<Cow<'a, str>>,
    /// Its type, as far as it could be read.
    pub event_type: Option<Cow<'a, str>>,
    /// Why; never empty.
    pub errors: Vec<FieldError>,
    /// The item as it was sent, with what is kept of its surroundings; empty if nothing of it may be kept.
    pub raw: Cow<'a, str>,
    /// `source` of the event it would have been.
    pub source: &'static str,
}

impl Refusal<'_> {
    /// What stood beside an item is kept with each of them: no more than this of one thing.
    pub const MAX_KEPT_BYTES: usize = 4_096;

    /// Puts a member in front of the item's own: what stood beside it, without which it would be read otherwise when it is
    /// sent again. An item that is no object stays as it is.
    pub(super) fn keep(&mut self, name: &str, value: &str) {
        if value.len() > Self::MAX_KEPT_BYTES {
            return;
        }
        let Some(members) = self.raw.trim_start().strip_prefix('{') else { return };
        let separator = if members.trim_start().starts_with('}') { "" } else { "," };
        self.raw = Cow::Owned(format!("{{\"{name}\":{value}{separator}{members}"));
    }

    /// Keeps what the request's headers said of the visitor: whose browser it was, under the names of the native form, and
    /// that it asked for Global Privacy Control.
    pub(super) fn keep_surroundings(&mut self, context: &RequestContext<'_>) {
        if context.global_privacy_control {
            self.keep("consent", r#"{"advertising":false}"#);
        }
        let Some((ip, agent)) = context.device else { return };
        let mut said = String::new();
        if !context.global_privacy_control {
            let ip = if context.mask_ip { address::mask(ip) } else { ip.to_canonical() };
            push_json_string(&mut said, &ip.to_string());
            self.keep("ip", &said);
        }
        if let Some(agent) = agent {
            said.clear();
            push_json_string(&mut said, agent);
            self.keep("user_agent", &said);
        }
    }
}

/// Checks an item and brings it into normal form.
pub fn check<'a>(mut incoming: Incoming<'a>, context: &mut RequestContext<'_>) -> Checked<'a> {
    // First of all: what else is wrong with it would be a reason to keep it.
    if let Some(refusal) = erased(&incoming, context) {
        return Checked::Refused(refusal);
    }
    let limits = context.limits;
    let mut errors = Errors(Vec::new());
    let is_wrong = incoming.wrong.is_some();
    errors.0.extend(incoming.wrong.take());

    if incoming.raw.len() > limits.max_event_bytes {
        let detail = format!(
            "an event may have {} bytes (`ingest.max_event_bytes`), this one has {}",
            limits.max_event_bytes,
            incoming.raw.len()
        );
        errors.push("", TOO_LARGE, detail);
    }
    let event_type = match (incoming.event_type, incoming.implied_type) {
        (_, Some(implied)) => Some(Cow::Borrowed(implied)),
        (Some((name, value)), None) => errors.event_type(name, value, incoming.foreign_types),
        (None, None) if is_wrong => None,
        (None, None) => {
            errors.push("/event_type", "event_type_missing", "`event_type` is required".into());
            None
        }
    };
    let names = incoming.names;
    let mut id = |name: &str, value: Option<&'a RawValue>| {
        value.and_then(|value| errors.id(name, value, incoming.numeric_ids, limits.max_id_chars))
    };
    let event_id = id(names.event_id, incoming.event_id);
    let visitor_id = id(names.visitor_id, incoming.visitor_id);
    let user_id = id(names.user_id, incoming.user_id);
    let session_id = id(names.session_id, incoming.session_id);
    let user_agent = incoming.user_agent.and_then(|value| errors.text(names.user_agent, value));
    let ip =
        incoming.ip.and_then(|value| errors.text(names.ip, value)).and_then(|text| text.trim().parse::<IpAddr>().ok());
    let occurred_at = match incoming.timestamp {
        Some((name, value)) => errors.time(name, value, incoming.clock_behind, context),
        None => errors.age(incoming.age, context),
    }
    .unwrap_or(context.arrived_at);
    let mut members = incoming.properties.and_then(|value| errors.properties(value, limits)).unwrap_or_default();
    let consent = Consent::said_in(members.0.iter().chain(&incoming.others));
    if !consent.analytics {
        return Checked::Refused(refusal_without_consent(incoming.index, incoming.source));
    }
    let is_for_advertising = consent.advertising && !context.global_privacy_control;
    if is_deeper_than(incoming.raw, limits.max_depth) {
        let detail = format!("an event may nest {} levels (`ingest.max_depth`)", limits.max_depth);
        errors.push("", "too_deep", detail);
    }
    // Properties that could not be read are one error, not one for each field that was not found in them.
    if let Some(event_type) = &event_type
        && !errors.0.iter().any(|error| error.pointer == "/properties")
    {
        let given = Given { properties: &members, others: &incoming.others };
        errors.0.extend(judge(event_type, &given, limits));
    }

    let (device_ip, device_agent) = match context.device {
        Some((ip, agent)) => (Some(ip), agent),
        None => (None, None),
    };
    let address = ip.or(device_ip);
    let ip = address.filter(|_| is_for_advertising);
    let ip = ip.map(|ip| if context.mask_ip { address::mask(ip) } else { ip.to_canonical() });
    let user_agent = user_agent.or_else(|| device_agent.map(|agent| Cow::Owned(agent.to_owned())));
    let visitor_id = match (visitor_id, &user_id, address, &user_agent) {
        (Some(visitor), ..) => Some(visitor),
        (None, None, Some(_), Some(_)) if !is_for_advertising => Some(single_visitor((context.entropy)()).into()),
        (None, None, Some(ip), Some(agent)) => Some(Cow::Owned(address::fingerprint(address::mask(ip), agent))),
        (None, None, ..) if !incoming.may_lack_identity => {
            let Names { visitor_id, user_id, ip, user_agent, .. } = names;
            let detail = format!("one of `{visitor_id}`, `{user_id}`, or `{ip}` with `{user_agent}` is required");
            errors.push("", "identity_missing", detail);
            None
        }
        (None, ..) => None,
    };
    let erased_hash =
        visitor_id.as_deref().and_then(|id| context.erased.find(context.tenant.account_id, IdType::Visitor, id));
    if let Some(hash) = erased_hash {
        return Checked::Refused(refusal_of_erased(incoming.index, incoming.source, hash));
    }

    let (Some(event_type), true) = (event_type.clone(), errors.0.is_empty()) else {
        let Incoming { index, source, raw, .. } = incoming;
        let mut refusal = Refusal { index, event_id, event_type, errors: errors.0, raw: raw.into(), source };
        if std::ptr::eq(names, Names::NATIVE) {
            refusal.keep_surroundings(context);
        } else if context.global_privacy_control {
            refusal.keep("consent", r#"{"advertising":false}"#);
        }
        return Checked::Refused(refusal);
    };

    let event_id = event_id.unwrap_or_else(|| Cow::Owned(assigned_id(incoming.index, incoming.key_suffix, context)));
    let hash = IdHash::new(context.tenant, &event_id);
    let mut event = Box::new(Event::at(occurred_at.timestamp_micros()));
    enrich::set_looked_up(&mut event, context.enricher, user_agent.as_deref(), address);
    event.set(TextField::EventId, event_id);
    event.set(TextField::Source, incoming.source);
    for (field, text) in [
        (TextField::VisitorId, visitor_id),
        (TextField::UserId, user_id),
        (TextField::SessionId, session_id),
        (TextField::UserAgent, user_agent),
        (TextField::Ip, ip.map(|ip| Cow::Owned(ip.to_string()))),
    ] {
        if let Some(text) = text {
            event.set(field, text);
        }
    }
    members.add_all(incoming.others);
    incoming.surroundings.add_to(&mut members);
    let reading = Reading::new(&event_type, limits.max_url_chars);
    if is_for_advertising {
        set_members(&mut event, &members, reading);
    } else {
        // The event cannot borrow from what is written anew.
        let kept = without_advertising(&members);
        let kept = Members(kept.iter().map(|(name, value)| (Cow::Borrowed(*name), value.as_ref())).collect());
        let mut limited = Event::at(event.occurred_at_us);
        set_members(&mut limited, &kept, reading);
        event.take_over(&limited);
    }
    event.set(TextField::EventType, event_type);
    Checked::Accepted { hash, event }
}

/// The refusal of an item of a person who was erased, if it is one's. Nothing of the item is kept: neither its body nor
/// its ids, only that it came.
fn erased(incoming: &Incoming<'_>, context: &RequestContext<'_>) -> Option<Refusal<'static>> {
    let account_id = context.tenant.account_id;
    if !context.erased.any_of(account_id) {
        return None;
    }
    let ids = [(IdType::Visitor, incoming.visitor_id), (IdType::User, incoming.user_id)];
    let mut hashes = ids.into_iter().filter_map(|(id_type, id)| {
        let id = id_of(id?, incoming.numeric_ids)?;
        context.erased.find(account_id, id_type, &id)
    });
    hashes.next().map(|hash| refusal_of_erased(incoming.index, incoming.source, hash))
}

fn refusal_of_erased(index: u32, source: &'static str, hash: &str) -> Refusal<'static> {
    let detail = format!("this person was erased and is not taken again (hash of the id: {hash})");
    let errors = vec![FieldError { pointer: String::new(), code: ERASED, detail }];
    Refusal { index, event_id: None, event_type: None, errors, raw: Cow::Borrowed(""), source }
}

/// The refusal of an item whose `consent` does not allow to keep it: as little of it is kept as of an erased person's.
fn refusal_without_consent(index: u32, source: &'static str) -> Refusal<'static> {
    let detail = "`consent.analytics` is not true: nothing of the event is kept".to_owned();
    let errors = vec![FieldError { pointer: String::new(), code: CONSENT_MISSING, detail }];
    Refusal { index, event_id: None, event_type: None, errors, raw: Cow::Borrowed(""), source }
}

/// The code of an item that is larger than an event may be: only its beginning is kept.
pub(crate) const TOO_LARGE: &str = "event_too_large";

/// The code of an item of a person who was erased.
pub(crate) const ERASED: &str = "erased";
/// The code of an item that its person does not want to be kept.
pub(crate) const CONSENT_MISSING: &str = "consent_missing";

/// Sets what the members say.
fn set_members<'a>(event: &mut Event<'a>, members: &Members<'a>, reading: Reading<'_>) {
    set_address(event, members, reading.max_url_chars);
    if let Some(rest) = move_into(event, &members.0, reading) {
        event.set(TextField::Properties, rest);
    }
}

/// Sets what the page's and the referring address tell; both stay among the members, for their own columns.
fn set_address<'a>(event: &mut Event<'a>, members: &Members<'a>, max_chars: usize) {
    let member = |name: &str| members.0.iter().find(|(member, _)| member == name).and_then(|(_, value)| text_of(value));
    if let Some(page) = member("url") {
        each_part(event, page, TextField::Host, Some(TextField::Path), max_chars);
    }
    if let Some(referrer) = member("referrer") {
        each_part(event, referrer, TextField::ReferrerHost, None, max_chars);
    }
}

/// Sets the columns of an address's parts. One that is longer than a column takes stands in the address itself.
fn each_part<'a>(
    event: &mut Event<'a>,
    text: Cow<'a, str>,
    host: TextField,
    page: Option<TextField>,
    max_chars: usize,
) {
    let mut set = |field, value: Cow<'a, str>| {
        if !is_longer_than(&value, max_chars) {
            event.set(field, value);
        }
    };
    match text {
        Cow::Borrowed(text) => {
            let parts = url::split(text);
            if let Some(name) = parts.host {
                set(host, name);
            }
            let Some(page) = page else { return };
            if let Some(text) = parts.path {
                set(page, path::normalized(text));
            }
            parts.query.into_iter().flat_map(campaign::from_query).for_each(|(field, value)| set(field, value));
        }
        // An address with JSON escapes: rare, so its parts are copied.
        Cow::Owned(text) => {
            let parts = url::split(&text);
            if let Some(name) = parts.host {
                set(host, Cow::Owned(name.into_owned()));
            }
            let Some(page) = page else { return };
            if let Some(text) = parts.path {
                set(page, Cow::Owned(path::normalized(text).into_owned()));
            }
            for (field, value) in parts.query.into_iter().flat_map(campaign::from_query) {
                set(field, Cow::Owned(value.into_owned()));
            }
        }
    }
}

fn assigned_id(index: u32, key_suffix: Option<&str>, context: &mut RequestContext<'_>) -> String {
    match context.idempotency_key {
        Some(key) => match key_suffix {
            Some(suffix) => format!("{key}_{suffix}"),
            None => format!("{key}_{index}"),
        },
        None => {
            let millis = context.received_at.timestamp_millis().unsigned_abs();
            Builder::from_unix_timestamp_millis(millis, &(context.entropy)()).into_uuid().to_string()
        }
    }
}

/// An id's text; a number is taken by its digits where that may be.
fn id_of(value: &RawValue, numeric_ids: bool) -> Option<Cow<'_, str>> {
    let json = value.get();
    let is_number = json.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    if is_number && numeric_ids { Some(Cow::Borrowed(json)) } else { text_of(value) }
}

struct Errors(Vec<FieldError>);

impl Errors {
    fn push(&mut self, pointer: &str, code: &'static str, detail: String) {
        self.0.push(FieldError { pointer: pointer.to_owned(), code, detail });
    }

    fn text<'a>(&mut self, name: &str, value: &'a RawValue) -> Option<Cow<'a, str>> {
        if value.get() == "null" {
            return None;
        }
        let text = text_of(value);
        if text.is_none() {
            self.push(&format!("/{name}"), "wrong_type", format!("`{name}` must be text"));
        }
        text
    }

    fn id<'a>(&mut self, name: &str, value: &'a RawValue, numeric_ids: bool, max_chars: usize) -> Option<Cow<'a, str>> {
        let text = match id_of(value, numeric_ids) {
            Some(text) => Some(text),
            None => self.text(name, value),
        };
        let text = text.filter(|text| !text.is_empty())?;
        if is_longer_than(&text, max_chars) {
            let detail = format!("`{name}` may have {max_chars} characters (`ingest.max_id_chars`)");
            self.push(&format!("/{name}"), "too_long", detail);
            return None;
        }
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            self.push(&format!("/{name}"), "control_character", format!("`{name}` holds a control character"));
            return None;
        }
        Some(text)
    }

    fn event_type<'a>(&mut self, name: &str, value: &'a RawValue, foreign_types: bool) -> Option<Cow<'a, str>> {
        let pointer = format!("/{name}");
        if value.get() == "null" {
            self.push(&pointer, "event_type_missing", format!("`{name}` is required"));
            return None;
        }
        let mut text = campaign::trimmed(self.text(name, value)?);
        if foreign_types && text.starts_with(RESERVED_PREFIX) {
            text = Cow::Owned(text.trim_start_matches(RESERVED_PREFIX).to_owned());
        }
        let chars = text.chars().count();
        if chars == 0 {
            self.push(&pointer, "event_type_missing", format!("`{name}` is required"));
        } else if chars > MAX_EVENT_TYPE_CHARS {
            self.push(&pointer, "too_long", format!("`{name}` may have {MAX_EVENT_TYPE_CHARS} characters"));
        } else if text.bytes().any(|byte| byte.is_ascii_control()) {
            self.push(&pointer, "control_character", format!("`{name}` holds a control character"));
        } else if text.starts_with(RESERVED_PREFIX) && !is_known_reserved_type(&text) {
            let detail = format!("names that begin with `{RESERVED_PREFIX}` are reserved, and this is none of them");
            self.push(&pointer, "event_type_reserved", detail);
        } else {
            return Some(text);
        }
        None
    }

    fn time(
        &mut self,
        name: &str,
        value: &RawValue,
        clock_behind: TimeDelta,
        context: &RequestContext<'_>,
    ) -> Option<DateTime<Utc>> {
        if value.get() == "null" {
            return None;
        }
        let said = text_of(value).as_deref().and_then(timestamp::parse);
        let Some(time) = said.and_then(|said| said.checked_add_signed(clock_behind)) else {
            self.push(&format!("/{name}"), "timestamp_invalid", format!("`{name}` must be an ISO 8601 date and time"));
            return None;
        };
        self.within_limits(name, time, context)
    }

    fn age(&mut self, age: TimeDelta, context: &RequestContext<'_>) -> Option<DateTime<Utc>> {
        if age.is_zero() {
            return None;
        }
        self.within_limits("offset", context.arrived_at.checked_sub_signed(age)?, context)
    }

    fn within_limits(
        &mut self,
        name: &str,
        time: DateTime<Utc>,
        context: &RequestContext<'_>,
    ) -> Option<DateTime<Utc>> {
        let limits = context.limits;
        let pointer = format!("/{name}");
        if time > context.received_at + TimeDelta::seconds(limits.max_future_s) {
            let detail = format!(
                "`{name}` is more than {} s ahead of the server's clock (`ingest.max_future_s`)",
                limits.max_future_s
            );
            self.push(&pointer, "timestamp_in_future", detail);
            return None;
        }
        if time < limits.min_timestamp {
            let detail = format!("`{name}` is before {} (`ingest.min_timestamp`)", limits.min_timestamp.to_rfc3339());
            self.push(&pointer, "timestamp_too_old", detail);
            return None;
        }
        Some(time)
    }

    fn properties<'a>(&mut self, value: &'a RawValue, limits: &Limits) -> Option<Members<'a>> {
        let json = value.get();
        // An empty array is how PHP writes an object without members.
        if matches!(json, "null" | "[]") {
            return None;
        }
        let is_too_large = json.len() > limits.max_properties_bytes;
        if is_too_large {
            let detail = format!(
                "`properties` may have {} bytes (`ingest.max_properties_bytes`), these have {}",
                limits.max_properties_bytes,
                json.len()
            );
            self.push("/properties", "properties_too_large", detail);
        }
        match serde_json::from_str(json) {
            // What they say of consent counts, however large they are.
            Ok(members) => Some(members),
            Err(_) if is_too_large => None,
            Err(_) => {
                self.push("/properties", "wrong_type", "`properties` must be an object".into());
                None
            }
        }
    }
}

/// The errors of a refusal as JSON text, for `rejected_events`.
pub fn errors_json(errors: &[FieldError]) -> String {
    let mut json = String::from("[");
    for error in errors {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str("{\"pointer\":");
        push_json_string(&mut json, &error.pointer);
        json.push_str(",\"code\":");
        push_json_string(&mut json, error.code);
        json.push_str(",\"detail\":");
        push_json_string(&mut json, &error.detail);
        json.push('}');
    }
    json.push(']');
    json
}
