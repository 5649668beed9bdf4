//! Changes to the JSON text of an event. What is not changed stays, byte for byte: no number loses a digit.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::normalize::properties::{Members, push_json_string};

/// No event is nested as deep.
const MAX_PARTS: usize = 100;
/// Behind the last element of an array, as in JSON Patch.
const END: &str = "-";

/// A place in an event: a JSON pointer (RFC 6901), or names with dots between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<String>);

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path: it must be a JSON pointer, as in /properties/url, or names, as in properties.url")]
pub struct PathError(String);

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let parts: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
            None if text.split('.').any(str::is_empty) => return Err(PathError(text.to_owned())),
            None => text.split('.').map(str::to_owned).collect(),
        };
        if parts.len() > MAX_PARTS { Err(PathError(text.to_owned())) } else { Ok(Self(parts)) }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "/{}", part.replace('~', "~0").replace('/', "~1")))
    }
}

/// What is changed in every event of a replay.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Taken out first, where they are.
    pub unset: Vec<Path>,
    /// Then put in, in this order; objects on the way are made where they are missing.
    pub set: Vec<(Path, Box<RawValue>)>,
}

/// Why a change cannot be made in an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// On the way stands something that has no members.
    #[error("`{path}` cannot be set: what stands on the way is neither an object nor an array")]
    NoMembers {
        /// The path.
        path: String,
    },
    /// The array on the way has no such element.
    #[error("`{path}` cannot be set: an array has the elements 0, 1, … and `-` behind the last, not `{element}`")]
    NoElement {
        /// The path.
        path: String,
        /// The part of the path that names none.
        element: String,
    },
}

impl Changes {
    /// The value of a `--set`: JSON if it reads as JSON, else text.
    pub fn value(text: &str) -> Box<RawValue> {
        let as_text = |_| serde_json::value::to_raw_value(text).unwrap_or_default();
        serde_json::from_str(text).unwrap_or_else(as_text)
    }

    /// Bytes of all that is put in.
    pub fn set_bytes(&self) -> usize {
        self.set.iter().map(|(_, value)| value.get().len()).sum()
    }

    /// Where something is set, as JSON pointers.
    pub fn set_paths(&self) -> Vec<String> {
        self.set.iter().map(|(path, _)| path.to_string()).collect()
    }

    /// Where something is taken out, as JSON pointers.
    pub fn unset_paths(&self) -> Vec<String> {
        self.unset.iter().map(Path::to_string).collect()
    }

    /// The event with all changes.
    pub fn apply<'a>(&self, event: &'a str) -> Result<Cow<'a, str>, ChangeError> {
        let mut changed = Cow::Borrowed(event);
        for path in &self.unset {
            if let Some(without) = without(&changed, &path.0) {
                changed = Cow::Owned(without);
            }
        }
        for (path, value) in &self.set {
            let with = with(&changed, &path.0, value.get()).map_err(|wrong| wrong.at(path))?;
            changed = Cow::Owned(with);
        }
        Ok(changed)
    }
}

/// A value that has members, as far as it must be read to change one of them.
enum Node<'a> {
    Object(Members<'a>),
    Array(Vec<&'a RawValue>),
    Leaf,
}

impl<'a> Node<'a> {
    fn read(json: &'a str) -> Self {
        match json.trim_start().as_bytes().first() {
            Some(b'{') => serde_json::from_str(json).map_or(Self::Leaf, Self::Object),
            Some(b'[') => serde_json::from_str(json).map_or(Self::Leaf, Self::Array),
            Some(_) | None => Self::Leaf,
        }
    }
}

/// Why a value cannot be put in, before it is known where.
enum Wrong {
    NoMembers,
    NoElement(String),
}

impl Wrong {
    fn at(self, path: &Path) -> ChangeError {
        let path = path.to_string();
        match self {
            Self::NoMembers => ChangeError::NoMembers { path },
            Self::NoElement(element) => ChangeError::NoElement { path, element },
        }
    }
}

/// `json` with `value` at `path`. A member that stands twice stands once afterwards.
fn with(json: &str, path: &[String], value: &str) -> Result<String, Wrong> {
    let Some((part, rest)) = path.split_first() else { return Ok(value.to_owned()) };
    match Node::read(json) {
        Node::Object(Members(members)) => {
            let place = members.iter().position(|(name, _)| name == part);
            // Of members of one name the last holds.
            let before = members.iter().rev().find(|(name, _)| name == part).map_or("{}", |(_, value)| object(value));
            let changed = with(before, rest, value)?;
            let mut out = Written::new('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if name != part {
                    out.member(name, value.get());
                } else if Some(at) == place {
                    out.member(name, &changed);
                }
            }
            if place.is_none() {
                out.member(part, &changed);
            }
            Ok(out.end('}'))
        }
        Node::Array(elements) => {
            let place = if part == END { elements.len() } else { index(part, &elements)? };
            let before = elements.get(place).map_or("{}", |value| object(value));
            let changed = with(before, rest, value)?;
            let mut out = Written::new('[');
            for (at, element) in elements.iter().enumerate() {
                out.element(if at == place { &changed } else { element.get() });
            }
            if place == elements.len() {
                out.element(&changed);
            }
            Ok(out.end(']'))
        }
        Node::Leaf => Err(Wrong::NoMembers),
    }
}

/// A null is the same as nothing: below it an object is made.
fn object(value: &RawValue) -> &str {
    if value.get() == "null" { "{}" } else { value.get() }
}

fn index(part: &str, elements: &[&RawValue]) -> Result<usize, Wrong> {
    let place = part.parse().ok().filter(|place| *place < elements.len());
    place.ok_or_else(|| Wrong::NoElement(part.to_owned()))
}

/// `json` without what stands at `path`; none if nothing does.
fn without(json: &str, path: &[String]) -> Option<String> {
    let (part, rest) = path.split_first()?;
    match Node::read(json) {
        Node::Object(Members(members)) => {
            let mut is_changed = false;
            let mut out = Written::new('{');
            for (name, value) in &members {
                if name != part {
                    out.member(name, value.get());
                } else if rest.is_empty() {
                    is_changed = true;
                } else if let Some(changed) = without(value.get(), rest) {
                    out.member(name, &changed);
                    is_changed = true;
                } else {
                    out.member(name, value.get());
                }
            }
            is_changed.then(|| out.end('}'))
        }
        Node::Array(elements) => {
            let place = index(part, &elements).ok()?;
            let changed = if rest.is_empty() { None } else { Some(without(elements[place].get(), rest)?) };
            let mut out = Written::new('[');
            for (at, element) in elements.iter().enumerate() {
                match (at == place, &changed) {
                    (true, Some(changed)) => out.element(changed),
                    (true, None) => {}
                    (false, _) => out.element(element.get()),
                }
            }
            Some(out.end(']'))
        }
        Node::Leaf => None,
    }
}

/// JSON text on its way.
struct Written(String);

impl Written {
    fn new(opening: char) -> Self {
        Self(String::from(opening))
    }

    fn element(&mut self, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(value);
    }

    fn member(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_json_string(&mut self.0, name);
        self.0.push(':');
        self.0.push_str(value);
    }

    fn end(mut self, closing: char) -> String {
        self.0.push(closing);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(unset: &[&str], set: &[(&str, &str)]) -> Changes {
        Changes {
            unset: unset.iter().map(|path| path.parse().unwrap()).collect(),
            set: set.iter().map(|(path, value)| (path.parse().unwrap(), Changes::value(value))).collect(),
        }
    }

    #[test]
    fn paths_are_pointers_or_names_with_dots() {
        for (text, expected) in [
            ("timestamp", Some("/timestamp")),
            ("properties.url", Some("/properties/url")),
            ("/properties/a.b", Some("/properties/a.b")),
            ("/a~1b/c~0d", Some("/a~1b/c~0d")),
            ("/", Some("/")),
            ("", None),
            ("a..b", None),
            (".a", None),
        ] {
            assert_eq!(text.parse::<Path>().ok().map(|path| path.to_string()).as_deref(), expected, "{text}");
        }
        assert!(["a"; MAX_PARTS].join(".").parse::<Path>().is_ok());
        assert!(["a"; MAX_PARTS + 1].join(".").parse::<Path>().is_err());
    }

    #[test]
    fn values_are_json_if_they_read_as_json_and_else_text() {
        for (text, expected) in [
            ("7", "7"),
            ("1.10", "1.10"),
            ("true", "true"),
            ("null", "null"),
            ("\"7\"", "\"7\""),
            ("{\"a\": [1]}", "{\"a\": [1]}"),
            ("page view", "\"page view\""),
            ("2026-01-01T00:00:00Z", "\"2026-01-01T00:00:00Z\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("", "\"\""),
        ] {
            assert_eq!(Changes::value(text).get(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_set_is_put_in_and_everything_else_stays() {
        let check = |event: &str, path: &str, value: &str, expected: &str| {
            assert_eq!(changes(&[], &[(path, value)]).apply(event).unwrap(), expected, "{event} {path}");
        };
        check(r#"{"a": 12345678901234567890.10,"b":2}"#, "b", "3", r#"{"a":12345678901234567890.10,"b":3}"#);
        check(r#"{"a":1}"#, "b.c.d", "x", r#"{"a":1,"b":{"c":{"d":"x"}}}"#);
        check(r#"{"a":null}"#, "a.b", "1", r#"{"a":{"b":1}}"#);
        check(r#"{"a":1,"b":2,"a":{"c":3}}"#, "/a/d", "4", r#"{"a":{"c":3,"d":4},"b":2}"#);
        check(r#"{"a":[1,{"b":2}]}"#, "a.1.b", "3", r#"{"a":[1,{"b":3}]}"#);
        check(r#"{"a":[1]}"#, "/a/-", "2", r#"{"a":[1,2]}"#);
        check(r#"{"a\u0062":1}"#, "ab", "2", r#"{"ab":2}"#);
        check(r#"{"":1}"#, "/", "2", r#"{"":2}"#);
    }

    #[test]
    fn what_is_unset_goes_before_anything_is_set() {
        let check = |event: &str, unset: &[&str], set: &[(&str, &str)], expected: &str| {
            assert_eq!(changes(unset, set).apply(event).unwrap(), expected, "{event} {unset:?}");
        };
        check(r#"{"a":1,"b":{"c":2,"d":3}}"#, &["b.c"], &[], r#"{"a":1,"b":{"d":3}}"#);
        check(r#"{"a":1,"b":2,"a":3}"#, &["a"], &[], r#"{"b":2}"#);
        check(r#"{"a":[1,2,3]}"#, &["/a/1"], &[], r#"{"a":[1,3]}"#);
        check(r#"{"a":{"b":1}}"#, &["a"], &[("a.c", "2")], r#"{"a":{"c":2}}"#);
        check(r#"{ "a": 1 }"#, &["b", "a.b", "a.0"], &[], r#"{ "a": 1 }"#);
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        let check = |event: &str, path: &str, expected: ChangeError| {
            assert_eq!(changes(&[], &[(path, "1")]).apply(event).unwrap_err(), expected, "{event} {path}");
        };
        check(r#"{"a":1}"#, "a.b", ChangeError::NoMembers { path: "/a/b".to_owned() });
        for element in ["2", "x", "01x"] {
            let path = format!("/a/{element}");
            check(r#"{"a":[1,2]}"#, &path, ChangeError::NoElement { path: path.clone(), element: element.to_owned() });
        }
    }
}
