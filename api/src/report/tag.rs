//! `ETag`: which bytes an answer has, told from what it will be made of.

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use touchline_pipeline::view::Looked;

/// Digits of a tag: 128 bits, so that no two answers ever share one.
const DIGITS: usize = 32;
/// Any answer that there is.
const ANY: &str = "*";

/// What decides about the bytes of an answer besides what it is read from.
#[derive(Debug, Clone, Default)]
pub struct Question(Sha256);

impl Question {
    /// Begins with the parts of a question, which are kept apart.
    pub fn of(parts: &[&str]) -> Self {
        parts.iter().fold(Self::default(), |question, part| question.with(part))
    }

    fn with(mut self, part: &str) -> Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part.as_bytes());
        self
    }

    /// The strong tag of the answer by `definition` from these tables and facts; none if it comes from nowhere that
    /// has a version.
    pub fn tag(&self, definition: &str, tables: &[Looked], facts: Option<&str>) -> Option<HeaderValue> {
        if tables.is_empty() && facts.is_none() {
            return None;
        }
        let mut question = self.clone().with(definition).with(facts.unwrap_or_default());
        for looked in tables {
            question = question.with(looked.table.name()).with(&looked.id).with(&looked.snapshot.version.to_string());
        }
        let digest = format!("{:x}", question.0.finalize());
        HeaderValue::from_str(&format!("\"{}\"", &digest[..DIGITS])).ok()
    }
}

/// The tags that a caller has answers of.
#[derive(Debug, Clone, Default)]
pub struct KnownTags(Vec<String>);

impl KnownTags {
    /// Those of `If-None-Match`.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let tags = values.flat_map(|value| value.split(',')).map(str::trim);
        // A cache on the way may have made them weak; for reading that is good enough.
        Self(tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag).to_owned()).collect())
    }

    /// Whether the answer with this tag is among them.
    pub fn hold(&self, tag: &HeaderValue) -> bool {
        self.0.iter().any(|known| known.as_bytes() == tag.as_bytes())
    }

    /// Whether any answer will do, if there is one.
    pub fn hold_any(&self) -> bool {
        self.0.iter().any(|known| known == ANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_question_has_another_tag() {
        let tag = |parts: &[&str], definition: &str, facts: &str| {
            Question::of(parts).tag(definition, &[], Some(facts)).unwrap()
        };
        let one = tag(&["/r", "a=1"], "r/1", "f");
        assert_eq!(one, tag(&["/r", "a=1"], "r/1", "f"));
        assert_eq!(one.len(), DIGITS + 2);
        for other in [
            tag(&["/r", "a=2"], "r/1", "f"),
            tag(&["/ra", "=1"], "r/1", "f"),
            tag(&["/r", "a=1"], "r/2", "f"),
            tag(&["/r", "a=1"], "r/1", "g"),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(Question::of(&["/r"]).tag("r/1", &[], None), None);
    }

    #[test]
    fn known_tags_are_compared_as_caches_write_them() {
        let tag = HeaderValue::from_static("\"a1\"");
        for (sent, holds, any) in [
            (&[][..], false, false),
            (&["\"a1\""], true, false),
            (&["W/\"a1\""], true, false),
            (&["\"b\", \"a1\""], true, false),
            (&["\"b\"", "\"a1\""], true, false),
            (&["a1"], false, false),
            (&["*"], false, true),
        ] {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_str(value).unwrap());
            }
            let known = KnownTags::of(&headers);
            assert_eq!((known.hold(&tag), known.hold_any()), (holds, any), "{sent:?}");
        }
    }
}
