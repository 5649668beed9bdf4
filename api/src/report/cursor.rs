//! The place in a list where the next page begins: the sort key of the last row of this one.

use chrono::{DateTime, Utc};

use super::base64url;

/// Which form the text has, so that a later form can be told from it.
const FORM: &str = "1";

/// The key of the last row that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The row's time.
    pub at: DateTime<Utc>,
    /// The row's id, which decides among rows of one time.
    pub id: String,
}

impl Cursor {
    /// The text that a caller hands back.
    pub fn encode(&self) -> String {
        base64url::encode(format!("{FORM}:{}:{}", self.at.timestamp_micros(), self.id).as_bytes())
    }

    /// Reads what [`Self::encode`] made; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let text = String::from_utf8(base64url::decode(text)?).ok()?;
        let mut parts = text.splitn(3, ':');
        let (form, micros, id) = (parts.next()?, parts.next()?, parts.next()?);
        let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        (form == FORM).then(|| Self { at, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_out_can_be_read_back() {
        for id in ["", "e1", "a:b:c", "größe"] {
            let cursor =
                Cursor { at: DateTime::from_timestamp_micros(-1_767_225_600_123_456).unwrap(), id: id.to_owned() };
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "x", "%%%", "MToxMjM", &base64url::encode(b"2:1:x"), &base64url::encode(b"1:now:x")] {
            assert_eq!(Cursor::decode(text), None, "{text}");
        }
    }
}
