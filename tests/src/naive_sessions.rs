//! Sessions by their definition, word for word and with no thought of speed: what the pipeline is held against.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate};
use touchline_pipeline::sessions::rules::{Identity, SessionRules};
use touchline_schemas::event::{RESERVED_PREFIX, SESSION_START, TextField};
use touchline_schemas::tables::sessions::UTM_FIELDS;

use crate::event_table::MemoryEvent;

/// Whose events: bots apart, visitors and users apart, and the keys that the rules ask for.
type Group<'a> = (bool, bool, &'a str, Option<&'a str>, Option<NaiveDate>);

/// The sessions of `events`, each as the places of its events in order.
pub fn naive_sessions(events: &[MemoryEvent], rules: &SessionRules, own_domains: &[String]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<Group<'_>, Vec<usize>> = BTreeMap::new();
    for (place, event) in events.iter().enumerate() {
        let event_type = event.text(TextField::EventType).unwrap_or_default();
        if event_type.starts_with(RESERVED_PREFIX) && event_type != SESSION_START {
            continue;
        }
        if let Some(group) = group(event, rules) {
            groups.entry(group).or_default().push(place);
        }
    }
    let mut sessions: Vec<Vec<usize>> = Vec::new();
    for ((.., client, _), mut places) in groups {
        places.sort_by_key(|place| (events[*place].occurred_at_us, events[*place].text(TextField::EventId)));
        let mut open: Vec<usize> = Vec::new();
        for place in places {
            let so_far: Vec<&MemoryEvent> = open.iter().map(|place| &events[*place]).collect();
            if !so_far.is_empty() && ends(&so_far, &events[place], client.is_some(), rules, own_domains) {
                sessions.push(std::mem::take(&mut open));
            }
            open.push(place);
        }
        sessions.push(open);
    }
    sessions
}

fn group<'a>(event: &'a MemoryEvent, rules: &SessionRules) -> Option<Group<'a>> {
    let (visitor, user) = (event.text(TextField::VisitorId), event.text(TextField::UserId));
    let client = match rules.identity {
        Identity::Device => None,
        Identity::ClientSession { .. } => event.text(TextField::SessionId),
    };
    let day = rules.splits.midnight.map(|zone| {
        DateTime::from_timestamp_micros(event.occurred_at_us).unwrap_or_default().with_timezone(&zone).date_naive()
    });
    Some((event.is_bot, visitor.is_some(), visitor.or(user)?, client, day))
}

/// Whether `next` is no more part of a session that so far holds `session`.
fn ends(
    session: &[&MemoryEvent],
    next: &MemoryEvent,
    client_decides: bool,
    rules: &SessionRules,
    own_domains: &[String],
) -> bool {
    let (first, last) = (session[0], session[session.len() - 1]);
    let timeout = match rules.identity {
        Identity::ClientSession { timeout } if client_decides => timeout,
        Identity::Device | Identity::ClientSession { .. } => rules.timeout,
    };
    let longer = |from: &MemoryEvent, than: chrono::Duration| {
        chrono::Duration::microseconds(next.occurred_at_us - from.occurred_at_us) > than
    };
    if longer(last, timeout) || rules.splits.max_length.is_some_and(|length| longer(first, length)) {
        return true;
    }
    let campaign = session.iter().find(|event| UTM_FIELDS.iter().any(|field| event.text(*field).is_some()));
    let came_from = session.iter().find_map(|event| site(event, own_domains));
    let is_direct = campaign.is_none() && came_from.is_none();
    let other_campaign = rules.splits.campaign.as_ref().is_some_and(|split| {
        let given = |event: &MemoryEvent, part: &[TextField]| {
            part.iter().find_map(|field| event.text(*field)).map(str::to_lowercase)
        };
        let differs = |part: &Vec<TextField>| {
            given(next, part).is_some_and(|value| campaign.and_then(|event| given(event, part)) != Some(value))
        };
        (split.from_direct || !is_direct) && split.parts.iter().any(differs)
    });
    let other_site = rules.splits.referrer.as_ref().is_some_and(|split| {
        let comes_from = site(next, own_domains);
        (split.from_direct || !is_direct) && comes_from.is_some() && comes_from != came_from
    });
    other_campaign || other_site
}

/// The site that an event came from, without `www.`.
fn site<'a>(event: &'a MemoryEvent, own_domains: &[String]) -> Option<&'a str> {
    external_referrer(event, own_domains).map(|site| site.strip_prefix("www.").unwrap_or(site))
}

/// The host of an event's referrer, unless it is the page's own or the account's.
pub fn external_referrer<'a>(event: &'a MemoryEvent, own_domains: &[String]) -> Option<&'a str> {
    let host = event.text(TextField::ReferrerHost)?;
    let is_own = own_domains.iter().any(|domain| host == domain || host.ends_with(&format!(".{domain}")));
    let is_page = event.text(TextField::Host).is_some_and(|page| registrable(page) == registrable(host));
    (!is_own && !is_page).then_some(host)
}

/// The registrable domain: of hosts under `com` the last two labels. The other hosts of tests are under `example`, which
/// is no public suffix: they stand for themselves.
fn registrable(host: &str) -> &str {
    match host.strip_suffix(".com") {
        Some(below) => &host[below.rfind('.').map_or(0, |dot| dot + 1)..],
        None => host.strip_prefix("www.").unwrap_or(host),
    }
}
