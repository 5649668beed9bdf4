//! The check that every item passes, whatever its endpoint: ids, type, time, sizes; then its normal form.

use std::borrow::Cow;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use touchline_enrich::{Enricher, path};
use touchline_schemas::control::Erasures;
use touchline_schemas::event::TextField;
use touchline_schemas::{IdType, Tenant};
use uuid::Builder;

use super::vocabulary::{Given, judge};
use crate::event_ids::IdHash;
use crate::normalize::privacy::{Consent, single_visitor, without_advertising};
use crate::normalize::properties::{Members, Reading, is_deeper_than, is_longer_than, move_into, text_of};
use crate::normalize::{address, campaign, enrich, url};
use crate::record::Event;

mod fields;
mod incoming;
mod limits;
mod refusal;

use fields::{Errors, id_of};
pub use incoming::{Incoming, Names};
pub use limits::Limits;
pub(crate) use refusal::{CONSENT_MISSING, ERASED, TOO_LARGE};
pub use refusal::{Refusal, errors_json};

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
        return Checked::Refused(refusal::without_consent(incoming.index, incoming.source));
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
        return Checked::Refused(refusal::of_erased(incoming.index, incoming.source, hash));
    }

    let (Some(event_type), true) = (event_type.clone(), errors.0.is_empty()) else {
        let Incoming { index, source, raw, .. } = incoming;
        let mut refusal = Refusal { index, event_id, event_type, errors: errors.0, raw: raw.into(), source };
        refusal.keep_privacy_control(context);
        if names == Names::NATIVE {
            refusal.keep_device(context);
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
    hashes.next().map(|hash| refusal::of_erased(incoming.index, incoming.source, hash))
}

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
