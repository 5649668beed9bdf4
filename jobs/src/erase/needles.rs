//! What is looked for: the ids of a person, as whole values and inside of texts.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use touchline_pipeline::identities::{USER_PREFIX, VISITOR_PREFIX};
use touchline_schemas::{IdType, TypedId};

/// An id that is shorter than this is only looked for as a whole value: inside of texts and files it would be found
/// everywhere.
pub const MIN_SEARCHED_BYTES: usize = 6;

/// The ids of a person.
#[derive(Debug, Clone)]
pub struct Needles {
    ids: BTreeMap<IdType, BTreeSet<String>>,
    /// The forms in which the ids stand inside of texts, the longest first.
    forms: Vec<String>,
    replacement: String,
}

impl Needles {
    /// Looks for `ids`; what stands inside of a text becomes `replacement`.
    pub fn new(ids: BTreeSet<TypedId>, replacement: String) -> Self {
        let long = ids.iter().map(|typed| &typed.id).filter(|id| id.len() >= MIN_SEARCHED_BYTES);
        let forms = long.flat_map(|id| {
            let encoded = [Case::Upper, Case::Lower].map(|case| percent_encoded(id, case));
            encoded.into_iter().chain([id.clone(), json_escaped(id)])
        });
        let forms: BTreeSet<String> = forms.collect();
        let mut forms: Vec<String> = forms.into_iter().collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        let mut by_type: BTreeMap<IdType, BTreeSet<String>> = BTreeMap::new();
        for TypedId { id_type, id } in ids {
            by_type.entry(id_type).or_default().insert(id);
        }
        Self { ids: by_type, forms, replacement }
    }

    /// The ids.
    pub fn ids(&self) -> Vec<TypedId> {
        let typed = |(id_type, ids): (&IdType, &BTreeSet<String>)| {
            let id_type = *id_type;
            ids.iter().map(move |id| TypedId { id_type, id: id.clone() }).collect::<Vec<_>>()
        };
        self.ids.iter().flat_map(typed).collect()
    }

    /// Whether all of the ids are long enough to be looked for inside of texts and files.
    pub fn are_all_searched(&self) -> bool {
        self.ids.values().flatten().all(|id| id.len() >= MIN_SEARCHED_BYTES)
    }

    /// Whether a value of this type is one of the ids.
    pub fn is_id(&self, id_type: IdType, value: &str) -> bool {
        self.ids.get(&id_type).is_some_and(|ids| ids.contains(value))
    }

    /// Whether a person is named after one of the ids.
    pub fn is_person(&self, person_id: &str) -> bool {
        let is_of = |prefix, id_type| person_id.strip_prefix(prefix).is_some_and(|id| self.is_id(id_type, id));
        is_of(VISITOR_PREFIX, IdType::Visitor) || is_of(USER_PREFIX, IdType::User)
    }

    /// How often ids stand in a text, each between characters that are neither letters nor digits.
    pub fn count_in_text(&self, text: &[u8]) -> u64 {
        self.forms.iter().map(|form| whole_words(text, form.as_bytes()).count() as u64).sum()
    }

    /// How often ids stand in bytes of any kind, whatever stands beside them.
    pub fn count_in_bytes(&self, bytes: &[u8]) -> u64 {
        self.forms.iter().map(|form| memmem::find_iter(bytes, form).count() as u64).sum()
    }

    /// Whether an id stands in a text.
    pub fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| whole_words(text.as_bytes(), form.as_bytes()).next().is_some())
    }

    /// The text without the ids, if any stands in it.
    pub fn replaced_in(&self, text: &str) -> Option<String> {
        let mut replaced: Option<String> = None;
        for form in &self.forms {
            let current = replaced.as_deref().unwrap_or(text);
            let places: Vec<usize> = whole_words(current.as_bytes(), form.as_bytes()).collect();
            if places.is_empty() {
                continue;
            }
            let (mut next, mut done) = (String::with_capacity(current.len()), 0);
            for place in places {
                next.push_str(&current[done..place]);
                next.push_str(&self.replacement);
                done = place + form.len();
            }
            next.push_str(&current[done..]);
            replaced = Some(next);
        }
        replaced
    }
}

fn whole_words<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    memmem::find_iter(text, word).filter(move |&place| {
        let before = place.checked_sub(1).and_then(|before| text.get(before));
        let after = text.get(place + word.len());
        ![before, after].into_iter().flatten().any(u8::is_ascii_alphanumeric)
    })
}

/// As it stands in an address: everything but letters, digits and `-_.~` as `%XX`, with digits of either case.
fn percent_encoded(id: &str, case: Case) -> String {
    use std::fmt::Write as _;
    id.bytes().fold(String::with_capacity(id.len()), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = match (byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte), case) {
            (true, _) => write!(text, "{}", char::from(byte)),
            (false, Case::Upper) => write!(text, "%{byte:02X}"),
            (false, Case::Lower) => write!(text, "%{byte:02x}"),
        };
        text
    })
}

/// Of the hexadecimal digits in an address.
#[derive(Debug, Clone, Copy)]
enum Case {
    Upper,
    Lower,
}

/// As it stands inside a JSON text.
fn json_escaped(id: &str) -> String {
    let quoted = serde_json::Value::from(id).to_string();
    quoted.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(ids: &[&str]) -> Needles {
        Needles::new(ids.iter().map(|id| TypedId::user(*id)).collect(), "erased-7".into())
    }

    #[test]
    fn ids_are_found_as_words_and_in_the_forms_of_addresses_and_json() {
        let needles = needles(&["user-17", "ada@mail.example", "u1"]);
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(needles.replaced_in(text).as_deref(), expected, "{text}");
            assert_eq!(needles.is_in(text), expected.is_some(), "{text}");
            assert_eq!(needles.count_in_text(text.as_bytes()) > 0, expected.is_some(), "{text}");
        };
        check("https://a.example/?id=user-17&x=1", Some("https://a.example/?id=erased-7&x=1"));
        check("user-17 and user-17", Some("erased-7 and erased-7"));
        check("user-170", None);
        check("superuser-17", None);
        check("?mail=ada%40mail.example", Some("?mail=erased-7"));
        check(r#"{"mail":"ada@mail.example"}"#, Some(r#"{"mail":"erased-7"}"#));
        check("u1", None);
    }

    #[test]
    fn short_ids_are_only_whole_values() {
        let needles = needles(&["u1"]);
        assert!(needles.is_id(IdType::User, "u1") && !needles.is_id(IdType::User, "u11"));
        assert!(!needles.are_all_searched());
    }

    #[test]
    fn an_id_is_one_of_its_type() {
        let needles = needles(&["u1"]);
        assert!(needles.is_person("u:u1") && !needles.is_person("v:u1") && !needles.is_person("u1"));
        assert!(!needles.is_id(IdType::Visitor, "u1"));
    }
}
