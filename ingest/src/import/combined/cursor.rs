//! Reading a line field by field.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::{CombinedError, LogField, NO_VALUE};

/// Whether a quoted field must be closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Required,
    MayBeCutOff,
}

/// A place in the line.
pub(super) struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of a line.
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    fn column(&self) -> usize {
        self.at + 1
    }

    /// Skips spaces; what is left must not be empty.
    fn rest(&mut self, field: LogField) -> Result<&'a [u8], CombinedError> {
        while self.line.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        match &self.line[self.at..] {
            [] => Err(CombinedError::Missing { field, column: self.column() }),
            rest => Ok(rest),
        }
    }

    /// Everything up to the next space.
    pub(super) fn word(&mut self, field: LogField) -> Result<&'a [u8], CombinedError> {
        let rest = self.rest(field)?;
        let word = &rest[..memchr::memchr(b' ', rest).unwrap_or(rest.len())];
        self.at += word.len();
        Ok(word)
    }

    /// Everything up to the time's bracket: a name may have spaces in it.
    pub(super) fn user(&mut self) -> Result<&'a [u8], CombinedError> {
        let rest = self.rest(LogField::User)?;
        let bracket = memchr::memmem::find(rest, b" [")
            .ok_or(CombinedError::Missing { field: LogField::Time, column: self.line.len() + 1 })?;
        self.at += bracket;
        Ok(rest[..bracket].trim_ascii())
    }

    pub(super) fn time(&mut self) -> Result<DateTime<Utc>, CombinedError> {
        let field = LogField::Time;
        let rest = self.rest(field)?;
        let column = self.column();
        let inside = rest.strip_prefix(b"[").ok_or(CombinedError::NotOpened { field, column, opening: '[' })?;
        let length = memchr::memchr(b']', inside).ok_or(CombinedError::NotClosed { field, column })?;
        self.at += length + 2;
        std::str::from_utf8(&inside[..length])
            .ok()
            .and_then(|time| DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z").ok())
            .map(|time| time.to_utc())
            .ok_or(CombinedError::Invalid { field, column: column + 1 })
    }

    /// The text between two quotes, as it stands.
    pub(super) fn quoted(&mut self, field: LogField, ending: Ending) -> Result<&'a [u8], CombinedError> {
        let rest = self.rest(field)?;
        let column = self.column();
        let inside = rest.strip_prefix(b"\"").ok_or(CombinedError::NotOpened { field, column, opening: '"' })?;
        match (closing_quote(inside), ending) {
            (Some(length), _) => {
                self.at += length + 2;
                Ok(&inside[..length])
            }
            (None, Ending::MayBeCutOff) => {
                self.at = self.line.len();
                Ok(inside)
            }
            (None, Ending::Required) => Err(CombinedError::NotClosed { field, column }),
        }
    }

    /// A number, or `-`.
    pub(super) fn number<T: FromStr>(&mut self, field: LogField) -> Result<Option<T>, CombinedError> {
        let word = self.word(field)?;
        if word == NO_VALUE {
            return Ok(None);
        }
        let column = self.column() - word.len();
        let digits = std::str::from_utf8(word).ok().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or(CombinedError::Invalid { field, column })
    }
}

/// The place of the first quote that is not escaped.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', &text[at..])?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
        if at > text.len() {
            return None;
        }
    }
}
