//! Properties: what has a column of its own is moved there, everything else stays as the JSON text that came.
//!
//! Nothing is lost on the way: a property leaves the text only when its column took exactly its value.

use std::borrow::Cow;
use std::fmt;

use hashbrown::HashSet;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use touchline_enrich::path;
use touchline_schemas::event::TextField;
use touchline_schemas::money;

use super::campaign;
use crate::record::Event;

/// The members of a JSON object: borrowed names and the text of their values.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The value of the first member called `name`, unless it is null.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.0.iter().find(|(member, _)| member == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// Adds a member, unless it is there already, name and value.
    pub fn add(&mut self, member: (Cow<'a, str>, &'a RawValue)) {
        if !self.0.iter().any(|(name, value)| *name == member.0 && value.get() == member.1.get()) {
            self.0.push(member);
        }
    }
}

impl<'a> Members<'a> {
    /// Adds members as [`Self::add`] does.
    pub fn add_all(&mut self, members: Vec<(Cow<'a, str>, &'a RawValue)>) {
        /// With no more, comparing each with each is less work than hashing them.
        const FEW: usize = 64;
        if self.0.is_empty() {
            self.0 = members;
        } else if self.0.len() + members.len() <= FEW {
            members.into_iter().for_each(|member| self.add(member));
        } else {
            let mut known: HashSet<_> = self.0.iter().map(|(name, value)| (name.clone(), value.get())).collect();
            self.0.extend(members.into_iter().filter(|(name, value)| known.insert((name.clone(), value.get()))));
        }
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    members.push((name.0, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// A member's name, borrowed unless it holds escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// A JSON text's content, borrowed unless it holds escapes; `None` when the value is no text.
pub fn text_of<'a>(value: &'a RawValue) -> Option<Cow<'a, str>> {
    let json = value.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).ok().map(Cow::Owned)
}

/// What is known of the event when its properties are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'r> {
    /// The event's type: it decides which amounts are revenue and whether message fields have columns.
    pub event_type: &'r str,
    /// Characters that a column of an address or parameter takes; longer values stay in the properties only.
    pub max_url_chars: usize,
    /// Whether a `revenue` says what was paid: then no other amount does.
    has_revenue: bool,
    /// Whether the query of the page's address names another campaign than the properties: then theirs stays with them. A
    /// first touch made of two campaigns would be neither.
    is_other_campaign: bool,
}

impl<'r> Reading<'r> {
    /// Before anything is read.
    pub const fn new(event_type: &'r str, max_url_chars: usize) -> Self {
        Self { event_type, max_url_chars, has_revenue: false, is_other_campaign: false }
    }

    /// With what is known of all members, of an event that has the columns of its address.
    fn of(self, event: &Event<'_>, members: &[(Cow<'_, str>, &RawValue)]) -> Self {
        let contradicts = |name: &str, value: &RawValue| {
            let in_query = campaign::field_of(name).and_then(|field| event.get(field));
            let differs =
                |said: &str| text_of(value).is_some_and(|text| !text.trim().is_empty() && text.trim() != said);
            in_query.is_some_and(differs)
        };
        Self {
            has_revenue: members.iter().any(|(name, value)| name == "revenue" && amount_of(value).is_some()),
            is_other_campaign: members.iter().any(|(name, value)| contradicts(name, value)),
            ..self
        }
    }
}

/// Whether a text has more characters than `max_chars`.
pub fn is_longer_than(text: &str, max_chars: usize) -> bool {
    text.len() > max_chars && text.chars().count() > max_chars
}

/// Moves members into the columns of `event`, and returns what stays as JSON text (`None` when nothing does).
pub fn move_into<'a>(
    event: &mut Event<'a>,
    members: &[(Cow<'a, str>, &'a RawValue)],
    reading: Reading<'_>,
) -> Option<String> {
    let reading = reading.of(event, members);
    let mut rest = String::new();
    for (name, value) in members {
        if !moved(event, name, value, reading) {
            rest.push(if rest.is_empty() { '{' } else { ',' });
            push_json_string(&mut rest, name);
            rest.push(':');
            rest.push_str(value.get());
        }
    }
    if rest.is_empty() {
        return None;
    }
    rest.push('}');
    Some(rest)
}

fn moved<'a>(event: &mut Event<'a>, name: &str, value: &'a RawValue, reading: Reading<'_>) -> bool {
    if value.get() == "null" {
        return column_of(name, reading.event_type).is_some();
    }
    if is_revenue(name, reading.event_type) {
        if event.revenue_e4.is_some() || (reading.has_revenue && name != "revenue") {
            return false;
        }
        event.revenue_e4 = amount_of(value);
        return event.revenue_e4.is_some();
    }
    let Some(field) = column_of(name, reading.event_type) else { return false };
    let Some(text) = text_of(value) else { return false };
    let text = campaign::trimmed(text);
    if let Some(present) = event.get(field) {
        return present == text;
    }
    if is_longer_than(&text, reading.max_url_chars) || (reading.is_other_campaign && campaign::field_of(name).is_some())
    {
        return false;
    }
    if field == TextField::Path && path::normalized(&text) != text {
        // What was sent stands nowhere else.
        event.set(field, path::normalized(&text).into_owned());
        return false;
    }
    if !text.is_empty() {
        event.set(field, text);
    }
    true
}

/// An amount of money, as a number or as text.
fn amount_of(value: &RawValue) -> Option<i64> {
    text_of(value).as_deref().or(Some(value.get())).and_then(money::parse_e4)
}

fn column_of(name: &str, event_type: &str) -> Option<TextField> {
    Some(match name {
        "url" => TextField::Url,
        "referrer" => TextField::Referrer,
        "title" => TextField::Title,
        "path" => TextField::Path,
        "currency" => TextField::Currency,
        _ if event_type.starts_with('$') => return message_column_of(name).or_else(|| campaign::field_of(name)),
        _ => return campaign::field_of(name),
    })
}

fn message_column_of(name: &str) -> Option<TextField> {
    Some(match name {
        "message_id" => TextField::MessageId,
        "delivery_id" => TextField::DeliveryId,
        "variant" => TextField::Variant,
        "channel" => TextField::Channel,
        "rule_name" => TextField::RuleName,
        "sequence_id" => TextField::SequenceId,
        "step_id" => TextField::StepId,
        _ => return None,
    })
}

/// `revenue` is revenue on any event; `value` and `amount` only where money changes hands.
fn is_revenue(name: &str, event_type: &str) -> bool {
    match name {
        "revenue" => true,
        "value" | "amount" => matches!(event_type, "purchase" | "order_completed" | "Order Completed" | "subscription"),
        _ => false,
    }
}

pub(crate) fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push_str(text);
    } else {
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                control if control < ' ' => {
                    use fmt::Write;
                    let _ = write!(out, "\\u{:04x}", control as u32);
                }
                other => out.push(other),
            }
        }
    }
    out.push('"');
}

/// Whether objects and arrays are nested deeper than `limit` in a JSON text that is known to be valid.
pub fn is_deeper_than(json: &str, limit: usize) -> bool {
    // Few brackets cannot nest deeply: nearly every event is done here.
    if memchr::memchr2_iter(b'{', b'[', json.as_bytes()).nth(limit).is_none() {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event_type: &str, json: &str, columns: &[(TextField, &str)], revenue_e4: Option<i64>, rest: Option<&str>) {
        let members: Members<'_> = serde_json::from_str(json).unwrap();
        let mut event = Event::at(0);
        let reading = Reading::new(event_type, 20);
        let stays = move_into(&mut event, &members.0, reading);
        let found: Vec<_> =
            TextField::ALL.into_iter().filter_map(|field| event.get(field).map(|text| (field, text))).collect();
        assert_eq!(found, columns, "{json}");
        assert_eq!(event.revenue_e4, revenue_e4, "{json}");
        assert_eq!(stays.as_deref(), rest, "{json}");
    }

    #[test]
    fn what_has_a_column_moves_and_the_rest_stays_verbatim() {
        use TextField::*;
        check("page_view", r#"{"url":"/a","plan":"pro"}"#, &[(Url, "/a")], None, Some(r#"{"plan":"pro"}"#));
        check("page_view", r#"{"a":{"b":[1, 2.50]}}"#, &[], None, Some(r#"{"a":{"b":[1, 2.50]}}"#));
        check("page_view", r#"{"utm_source":" google ","utm_term":""}"#, &[(UtmSource, "google")], None, None);
        check("page_view", r#"{"url":7}"#, &[], None, Some(r#"{"url":7}"#));
        check("page_view", r#"{"url":null,"x":null}"#, &[], None, Some(r#"{"x":null}"#));
        check("page_view", r#"{"title":"a\"b\u00e9"}"#, &[(Title, "a\"bé")], None, None);
        check("page_view", r#"{"a\"b":1}"#, &[], None, Some(r#"{"a\"b":1}"#));
        check("page_view", "{}", &[], None, None);
    }

    #[test]
    fn a_path_that_is_written_otherwise_stays_as_it_was_sent() {
        use TextField::Path;
        check("page_view", r#"{"path":"/a"}"#, &[(Path, "/a")], None, None);
        check("page_view", r#"{"path":"/a//%62/"}"#, &[(Path, "/a/b")], None, Some(r#"{"path":"/a//%62/"}"#));
    }

    #[test]
    fn a_value_too_long_for_its_column_stays_whole() {
        let json = r#"{"url":"/123456789012345678901"}"#;
        check("page_view", json, &[], None, Some(json));
    }

    #[test]
    fn amounts_are_revenue_where_money_changes_hands() {
        check("purchase", r#"{"value":"12.50"}"#, &[], Some(125_000), None);
        check("page_view", r#"{"value":12.5}"#, &[], None, Some(r#"{"value":12.5}"#));
        check("page_view", r#"{"revenue":12.5}"#, &[], Some(125_000), None);
        check("purchase", r#"{"revenue":1,"value":2}"#, &[], Some(10_000), Some(r#"{"value":2}"#));
        check("purchase", r#"{"value":2,"revenue":1}"#, &[], Some(10_000), Some(r#"{"value":2}"#));
        check("purchase", r#"{"value":2,"revenue":"?"}"#, &[], Some(20_000), Some(r#"{"revenue":"?"}"#));
        check("purchase", r#"{"revenue":"free"}"#, &[], None, Some(r#"{"revenue":"free"}"#));
    }

    #[test]
    fn message_fields_have_columns_on_reserved_events_only() {
        use TextField::*;
        check(
            "$message_sent",
            r#"{"message_id":"m","channel":"email"}"#,
            &[(MessageId, "m"), (Channel, "email")],
            None,
            None,
        );
        check("page_view", r#"{"channel":"email"}"#, &[], None, Some(r#"{"channel":"email"}"#));
    }

    #[test]
    fn depth_ignores_brackets_in_text() {
        for (json, depth) in [("1", 0), ("[]", 1), (r#"{"a":[{"b":1}]}"#, 3), (r#""[[[[""#, 0), (r#"["\"[["]"#, 1)] {
            assert!(!is_deeper_than(json, depth), "{json}");
            assert!(depth == 0 || is_deeper_than(json, depth - 1), "{json}");
        }
    }
}
