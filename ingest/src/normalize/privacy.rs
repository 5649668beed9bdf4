//! What may be kept of an event: what its consent allows, and what is left of it when it is not for advertising.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::value::{RawValue, to_raw_value};

use super::properties::{Members, text_of};

/// The member, or property, that says what a person has agreed to.
const CONSENT: &str = "consent";
/// Parameters and properties by which advertisers know a click, or a browser, again.
const ADVERTISING_IDS: [&str; 19] = [
    "gclid",
    "gbraid",
    "wbraid",
    "fbclid",
    "msclkid",
    "ttclid",
    "li_fat_id",
    "dclid",
    "gclsrc",
    "gad_source",
    "gad_campaignid",
    "yclid",
    "twclid",
    "igshid",
    "epik",
    "sccid",
    "rdt_cid",
    "fbp",
    "fbc",
];
/// What clients put before the name of a parameter with which a session, or a visitor's first one, began.
const PREFIXES: [&str; 4] = ["initial_", "$initial_", "$session_entry_", "context_page_"];
/// Members besides these that tell one device from others.
const DEVICE_IDS: [&str; 3] = ["device_fingerprint", "ip", "context_device"];

/// What a person has agreed to. What nobody has said is allowed; what cannot be read is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// Whether the event may be kept at all.
    pub analytics: bool,
    /// Whether it may be connected with advertisements.
    pub advertising: bool,
}

impl Consent {
    /// What the members of an event say. Where several speak, the strictest counts; a `consent` that is no object is a
    /// property like any other.
    pub fn said_in<'m, 'a: 'm>(members: impl Iterator<Item = &'m (Cow<'a, str>, &'a RawValue)>) -> Self {
        let mut consent = Self { analytics: true, advertising: true };
        for (_, value) in members.filter(|(name, _)| name == CONSENT) {
            let Ok(said) = serde_json::from_str::<Members<'_>>(value.get()) else { continue };
            let allows = |purpose: &str| {
                let mut words =
                    said.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case(purpose)).map(|(_, word)| word.get());
                words.all(|word| matches!(word, "true" | "null"))
            };
            consent.analytics &= allows("analytics");
            consent.advertising &= allows("advertising");
        }
        consent
    }
}

/// The visitor of one event, of a client that sends no id and must not be known again.
pub fn single_visitor(random: [u8; 10]) -> String {
    let mut id = "once_".to_owned();
    for byte in random {
        for digit in [byte >> 4, byte & 15] {
            id.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    id
}

/// The members of an event without what connects it with advertisements: ids of clicks, also in its addresses, and what
/// tells one device from others.
pub fn without_advertising<'m>(members: &'m Members<'_>) -> Vec<(&'m str, Cow<'m, RawValue>)> {
    let bare = |name: &'m str| PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let is_kept = |name: &'m str| !is_one_of(&ADVERTISING_IDS, bare(name)) && !is_one_of(&DEVICE_IDS, name);
    let kept = members.0.iter().filter(|(name, _)| is_kept(name));
    let cleared = kept.filter_map(|(name, value)| {
        // Any text may be an address, or the query of one.
        let value = match text_of(value).as_deref().and_then(without_click_ids) {
            // A text is always JSON.
            Some(text) => Cow::Owned(to_raw_value(&text).ok()?),
            None => Cow::Borrowed(*value),
        };
        Some((&**name, value))
    });
    cleared.collect()
}

/// An address without parameters that are ids of clicks, in its query or behind `#`; none if it has none.
fn without_click_ids(address: &str) -> Option<String> {
    let begin = address.find(['?', '#'])?;
    let (mut cleared, mut rest) = (address[..begin].to_owned(), &address[begin..]);
    let mut goes_any = false;
    // What a parameter that goes stood behind, if that is more than `&`.
    let mut owed: Option<char> = None;
    while let Some(separator) = rest.chars().next() {
        let after = &rest[separator.len_utf8()..];
        let end = after.find(['?', '&', '#']).unwrap_or(after.len());
        let (parameter, following) = after.split_at(end);
        rest = following;
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        let starts = separator != '&';
        if is_one_of(&ADVERTISING_IDS, &percent_decode_str(name).decode_utf8_lossy()) {
            goes_any = true;
            owed = if starts { Some(separator) } else { owed };
            continue;
        }
        cleared.push(if starts { separator } else { owed.unwrap_or(separator) });
        owed = None;
        cleared.push_str(parameter);
    }
    goes_any.then_some(cleared)
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_what_cannot_be_read_is_no_consent() {
        let check = |event: &str, analytics: bool, advertising: bool| {
            let members: Members<'_> = serde_json::from_str(event).unwrap();
            assert_eq!(Consent::said_in(members.0.iter()), Consent { analytics, advertising }, "{event}");
        };
        check("{}", true, true);
        check(r#"{"consent":{}}"#, true, true);
        check(r#"{"consent":{"analytics":true,"advertising":null}}"#, true, true);
        check(r#"{"consent":{"analytics":false}}"#, false, true);
        check(r#"{"consent":{"Analytics":false}}"#, false, true);
        check(r#"{"consent":{"advertising":false,"functional":true}}"#, true, false);
        check(r#"{"consent":{"analytics":"no","advertising":0}}"#, false, false);
        check(r#"{"consent":{"analytics":false,"analytics":true}}"#, false, true);
        check(r#"{"consent":{"advertising":false},"consent":{"advertising":true}}"#, true, false);
        check(r#"{"c\u006fnsent":{"analytics":false}}"#, false, true);
        check(r#"{"consent":"given","x":{"consent":{"analytics":false}}}"#, true, true);
    }

    #[test]
    fn ids_of_clicks_go_and_nothing_else() {
        for (address, expected) in [
            ("https://a.example/?gclid=1", Some("https://a.example/")),
            ("/x?gclid=1&utm_source=a&fbclid=2#top", Some("/x?utm_source=a#top")),
            ("/x?a=1&GCLID=1&b=2", Some("/x?a=1&b=2")),
            ("/x?a=1&%67clid=1", Some("/x?a=1")),
            ("/x#/route?msclkid=1&b=2", Some("/x#/route?b=2")),
            ("/x?gclid#fbclid=2", Some("/x")),
            ("/x?gclid=1&fbclid=2&é=3", Some("/x?é=3")),
            ("/x?gclid2=1&q=gclid", None),
            ("/gclid=1", None),
            ("", None),
        ] {
            assert_eq!(without_click_ids(address).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn members_that_know_a_device_again_go() {
        let event = r#"{"url":"/\u0061?gclid=1&x=\"","Fbclid":"2","fbp":"3","ip":"203.0.113.7","plan":{"ip":1},"title":"gclid","search":"?gclid=1","$session_entry_gclid":"1","context_device":{"advertisingId":"1"}}"#;
        let members: Members<'_> = serde_json::from_str(event).unwrap();
        let kept: Vec<_> =
            without_advertising(&members).iter().map(|(name, value)| format!("{name} {}", value.get())).collect();
        assert_eq!(kept, [r#"url "/a?x=\"""#, r#"plan {"ip":1}"#, r#"title "gclid""#, r#"search """#]);
    }

    #[test]
    fn a_visitor_of_one_event_is_nobody_elses() {
        assert_eq!(single_visitor([0x1f; 10]), "once_1f1f1f1f1f1f1f1f1f1f");
    }
}
