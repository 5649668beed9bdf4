//! Import of web server access logs in the combined format of Apache and nginx: one page view per line.
//!
//! `host identity user [time] "request" status bytes "referrer" "user agent"`, where a text that the client sent
//! may hold `\"`, `\\` and `\xHH`. What follows the user agent is ignored; a user agent that the line's end cuts off
//! is taken as far as it goes.

mod cursor;
mod error;
mod event;

use std::borrow::Cow;
use std::io::{self, BufRead};

use chrono::{DateTime, Utc};

use self::cursor::{Cursor, Ending};
pub use self::error::{CombinedError, LogField};
pub use self::event::to_event;
use super::ndjson::{ImportedLine, LineReader, Occurrences, RefusedLine, RefusedReason};

/// What a server writes for a field that has no value.
const NO_VALUE: &[u8] = b"-";

/// One request as the server logged it. Texts are borrowed unless something in them had to be unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CombinedLine<'a> {
    /// The client's address, or its name where the server looks names up.
    pub remote_host: Cow<'a, str>,
    /// The name by which the client authenticated.
    pub user: Option<Cow<'a, str>>,
    /// The request's time, whole seconds.
    pub time: DateTime<Utc>,
    /// The first line of the request as logged.
    pub request: Cow<'a, str>,
    /// The method; `None` when the request line is malformed.
    pub method: Option<Cow<'a, str>>,
    /// The target: path and query, or an absolute address; `None` when the request line is malformed.
    pub target: Option<Cow<'a, str>>,
    /// The answer's status.
    pub status: Option<u16>,
    /// The size of the answer's body.
    pub bytes: Option<u64>,
    /// The referring address.
    pub referrer: Option<Cow<'a, str>>,
    /// The client's software.
    pub user_agent: Option<Cow<'a, str>>,
}

/// Reads one line, without its end.
pub fn parse_line(line: &[u8]) -> Result<CombinedLine<'_>, CombinedError> {
    let mut cursor = Cursor::new(line);
    let remote_host = text(cursor.word(LogField::RemoteHost)?);
    cursor.word(LogField::Identity)?;
    let user = optional_text(cursor.user()?);
    let time = cursor.time()?;
    let request = cursor.quoted(LogField::Request, Ending::Required)?;
    let (method, target) = split_request(request).unzip();
    Ok(CombinedLine {
        remote_host,
        user,
        time,
        request: text(request),
        method: method.map(text),
        target: target.map(text),
        status: cursor.number(LogField::Status)?,
        bytes: cursor.number(LogField::Bytes)?,
        referrer: optional_text(cursor.quoted(LogField::Referrer, Ending::Required)?),
        user_agent: optional_text(cursor.quoted(LogField::UserAgent, Ending::MayBeCutOff)?),
    })
}

/// Iterates over the page views of an access log.
#[derive(Debug)]
pub struct CombinedReader<R> {
    lines: LineReader<R>,
    occurrences: Occurrences,
}

impl<R: BufRead> CombinedReader<R> {
    /// Reads `reader`; lines of more than `max_line_bytes` are refused.
    pub fn new(reader: R, max_line_bytes: usize) -> Self {
        Self { lines: LineReader::new(reader, max_line_bytes), occurrences: Occurrences::default() }
    }
}

impl<R: BufRead> Iterator for CombinedReader<R> {
    type Item = io::Result<ImportedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let max_bytes = self.lines.max_line_bytes();
        let line = match self.lines.next_line() {
            Ok(line) => line?,
            Err(error) => return Some(Err(error)),
        };
        let parsed = if line.size_bytes > max_bytes as u64 {
            Err(RefusedReason::TooLong { size_bytes: line.size_bytes, max_bytes })
        } else {
            parse_line(line.bytes).map_err(RefusedReason::from)
        };
        Some(Ok(match parsed {
            Ok(parsed) => ImportedLine::Event(to_event(&parsed, line.bytes, self.occurrences.next(line.bytes))),
            Err(reason) => {
                ImportedLine::Refused(RefusedLine { line_number: line.number, body: line.bytes.to_vec(), reason })
            }
        }))
    }
}

/// Method and target of `METHOD target HTTP/x`, of HTTP 0.9's `METHOD target`, and of targets with spaces in them.
fn split_request(request: &[u8]) -> Option<(&[u8], &[u8])> {
    let (method, rest) = split_once(request, b' ')?;
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    if method.is_empty() || !method.iter().all(is_method) {
        return None;
    }
    let target = match memchr::memrchr(b' ', rest) {
        Some(space) if rest[space + 1..].starts_with(b"HTTP/") => &rest[..space],
        Some(_) | None => rest,
    };
    let target = target.trim_ascii();
    (!target.is_empty()).then_some((method, target))
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    memchr::memchr(separator, bytes).map(|at| (&bytes[..at], &bytes[at + 1..]))
}

fn optional_text(raw: &[u8]) -> Option<Cow<'_, str>> {
    (!raw.is_empty() && raw != NO_VALUE).then(|| text(raw))
}

/// The text that a field stands for. Control characters stay in, or are put into, their escaped form, so that no NUL
/// and no line break goes on its way to a table; bytes that are not UTF-8 become U+FFFD.
fn text(raw: &[u8]) -> Cow<'_, str> {
    if !raw.iter().any(|byte| *byte == b'\\' || byte.is_ascii_control()) {
        return String::from_utf8_lossy(raw);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, after) {
            (b'\\', [escaped @ (b'"' | b'\\'), after @ ..]) => {
                bytes.push(*escaped);
                rest = after;
            }
            (b'\\', [b'x', high, low, after @ ..]) => match hex_byte(*high, *low) {
                Some(byte) if !byte.is_ascii_control() => {
                    bytes.push(byte);
                    rest = after;
                }
                Some(_) | None => bytes.push(b'\\'),
            },
            (control, _) if control.is_ascii_control() => {
                bytes.extend_from_slice(format!("\\x{control:02x}").as_bytes());
            }
            (plain, _) => bytes.push(plain),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests;
