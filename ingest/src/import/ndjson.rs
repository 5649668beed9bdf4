//! Import of NDJSON: one native event, or one message in the form of Segment, per line, given an id from its content when it has none.
//!
//! The bounded line reader and the content ids live here because NDJSON is what every other import format is turned
//! into: an imported line and a posted event go through one and the same parsing.

use std::io::{self, BufRead};

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use crate::receive::check::TOO_LARGE;

/// Prefix of the ids that NDJSON lines without an id are given.
const ID_PREFIX: &str = "line_";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// In whose words an imported event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The native API's.
    Native,
    /// Segment's: a message as its clients send it, or as an export has it.
    Segment,
}

impl Form {
    /// What the member is called that holds the id.
    const fn id(self) -> &'static str {
        match self {
            Self::Native => "event_id",
            Self::Segment => "messageId",
        }
    }
}

/// One event, with an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedEvent {
    /// The event's id, which is also inside `json`.
    pub event_id: String,
    /// The event: JSON text, an object.
    pub json: String,
    /// In whose words.
    pub form: Form,
}

/// What became of one line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportedLine {
    /// It holds an event.
    Event(ImportedEvent),
    /// It holds none; it is to be kept as a rejected event.
    Refused(RefusedLine),
}

impl ImportedLine {
    /// Bytes of the event, or of what is kept of a line that holds none.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Event(event) => event.json.len(),
            Self::Refused(refused) => refused.body.len(),
        }
    }
}

/// A line that no event could be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLine {
    /// Number of the line in its file, from 1.
    pub line_number: u64,
    /// The line's bytes; of a line that is too long, its beginning.
    pub body: Vec<u8>,
    /// Why.
    pub reason: RefusedReason,
}

/// Why a line was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedReason {
    /// The line has more bytes than an event may have.
    #[error("the line has {size_bytes} bytes, more than the {max_bytes} allowed")]
    TooLong {
        /// Bytes of the line without its end.
        size_bytes: u64,
        /// The limit, in bytes.
        max_bytes: usize,
    },
    /// Not a JSON object.
    #[error("not a JSON object at column {column}: {detail}")]
    InvalidJson {
        /// Byte of the line at which reading stopped, from 1.
        column: usize,
        /// What was expected there.
        detail: String,
    },
    /// Not a line of a combined log.
    #[error("not a combined log line: {0}")]
    InvalidCombined(#[from] super::combined::CombinedError),
    /// Not a row of CSV.
    #[error("not a row of CSV: {0}")]
    InvalidCsv(String),
    /// Another number of cells than the header.
    #[error("the row has {found} cells, the header has {expected}")]
    WrongCells {
        /// Cells of the header.
        expected: usize,
        /// Cells of the row.
        found: usize,
    },
}

impl RefusedReason {
    /// The reason as a stable word, for the column `code` of `rejected_events`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => TOO_LARGE,
            Self::InvalidJson { .. } => "invalid_json",
            Self::InvalidCombined(_) => "invalid_log_line",
            Self::InvalidCsv(_) | Self::WrongCells { .. } => "invalid_csv",
        }
    }
}

/// One line of a reader, borrowed until the next is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Number of the line, from 1.
    pub number: u64,
    /// The line without its end; only its beginning when it is too long.
    pub bytes: &'a [u8],
    /// Bytes of the whole line without its end.
    pub size_bytes: u64,
}

/// Reads lines of bounded length: a file without a single line break costs no more memory than the limit.
#[derive(Debug)]
pub struct LineReader<R> {
    reader: R,
    max_line_bytes: usize,
    line_number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> LineReader<R> {
    /// Reads `reader`, keeping at most `max_line_bytes` of each line.
    pub fn new(reader: R, max_line_bytes: usize) -> Self {
        Self { reader, max_line_bytes, line_number: 0, line: Vec::new() }
    }

    /// The longest line that is kept whole, in bytes.
    pub const fn max_line_bytes(&self) -> usize {
        self.max_line_bytes
    }

    /// The next line that is not blank, or `None` at the end.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let Some(size_bytes) = self.fill()? else { return Ok(None) };
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line { number: self.line_number, bytes: &self.line, size_bytes }));
            }
        }
    }

    /// The next line, blank or not, or `None` at the end.
    pub fn next_line_or_blank(&mut self) -> io::Result<Option<Line<'_>>> {
        let Some(size_bytes) = self.fill()? else { return Ok(None) };
        Ok(Some(Line { number: self.line_number, bytes: &self.line, size_bytes }))
    }

    /// Reads one line into `self.line` and returns its size, `None` at the end of the file.
    fn fill(&mut self) -> io::Result<Option<u64>> {
        self.line.clear();
        let mut size_bytes = 0;
        let mut ends_in_return = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() && size_bytes == 0 {
                return Ok(None);
            }
            let line_break = memchr::memchr(b'\n', buffer);
            let piece = &buffer[..line_break.unwrap_or(buffer.len())];
            // One byte more than the limit, which may turn out to be the carriage return of the line's end.
            let room = (self.max_line_bytes + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            ends_in_return = piece.last().map_or(ends_in_return, |last| *last == b'\r');
            size_bytes += piece.len() as u64;
            let consumed = piece.len() + usize::from(line_break.is_some());
            let ended = line_break.is_some() || buffer.is_empty();
            self.reader.consume(consumed);
            if ended {
                self.line_number += 1;
                return Ok(Some(self.trim(size_bytes, ends_in_return)));
            }
        }
    }

    /// Cuts what does not belong to the line's text and returns the size of the rest.
    fn trim(&mut self, size_bytes: u64, ends_in_return: bool) -> u64 {
        let text_bytes = size_bytes - u64::from(ends_in_return);
        if ends_in_return && self.line.len() as u64 == size_bytes {
            self.line.pop();
        }
        self.line.truncate(self.max_line_bytes);
        if self.line_number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
            return text_bytes - BYTE_ORDER_MARK.len() as u64;
        }
        text_bytes
    }
}

/// Counts how often each line has been seen in a file, so that identical lines stay different events.
///
/// It keeps 64 bits of each line. Two lines that share them would only make the second begin to count at 1, the same
/// in every import of that file.
#[derive(Debug, Default)]
pub struct Occurrences(HashMap<u64, u32>);

impl Occurrences {
    /// How often `line` was seen before: 0 for the first time.
    pub fn next(&mut self, line: &[u8]) -> u32 {
        let seen = self.0.entry(SipHasher13::new().hash(line)).or_insert(0);
        let occurrence = *seen;
        *seen = seen.saturating_add(1);
        occurrence
    }
}

/// An id made of the line's bytes and its occurrence: importing the file again gives the same ids.
///
/// `prefix` followed by the first 32 hex digits of SHA-256 over the line, a line break and the occurrence number.
pub fn content_id(prefix: &str, raw_line: &[u8], occurrence: u32) -> String {
    let digest =
        Sha256::new().chain_update(raw_line).chain_update(b"\n").chain_update(occurrence.to_string()).finalize();
    let mut id = String::with_capacity(prefix.len() + 32);
    id.push_str(prefix);
    for byte in &digest[..16] {
        for digit in [byte >> 4, byte & 15] {
            id.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    id
}

/// Iterates over the native events of an NDJSON file.
#[derive(Debug)]
pub struct NdjsonReader<R> {
    lines: LineReader<R>,
    occurrences: Occurrences,
    form: Form,
}

impl<R: BufRead> NdjsonReader<R> {
    /// Reads `reader`, whose lines have this form; lines of more than `max_line_bytes` are refused.
    pub fn new(reader: R, form: Form, max_line_bytes: usize) -> Self {
        Self { lines: LineReader::new(reader, max_line_bytes), occurrences: Occurrences::default(), form }
    }
}

impl<R: BufRead> Iterator for NdjsonReader<R> {
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
            parse_event(line.bytes, self.form, &mut self.occurrences)
        };
        Some(Ok(match parsed {
            Ok(event) => ImportedLine::Event(event),
            Err(reason) => {
                ImportedLine::Refused(RefusedLine { line_number: line.number, body: line.bytes.to_vec(), reason })
            }
        }))
    }
}

/// The one field that an import has to know of before the receiver sees the event.
#[derive(Deserialize)]
struct IdOfEvent<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    event_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "messageId")]
    message_id: Option<&'a RawValue>,
}

/// Keeps a `null` that is written out apart from a member that is missing.
fn present<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn parse_event(line: &[u8], form: Form, occurrences: &mut Occurrences) -> Result<ImportedEvent, RefusedReason> {
    let text = std::str::from_utf8(line)
        .map_err(|error| RefusedReason::InvalidJson {
            column: error.valid_up_to() + 1,
            detail: "the line is not UTF-8".to_owned(),
        })?
        .trim();
    if !text.starts_with('{') {
        return Err(RefusedReason::InvalidJson { column: 1, detail: "expected `{`".to_owned() });
    }
    let parsed: IdOfEvent<'_> = serde_json::from_str(text)
        .map_err(|error| RefusedReason::InvalidJson { column: error.column(), detail: error.to_string() })?;
    let given = match form {
        Form::Native => parsed.event_id,
        Form::Segment => parsed.message_id,
    };
    let given = given.map(RawValue::get);
    match given {
        None => {
            let event_id = content_id(ID_PREFIX, line, occurrences.next(line));
            Ok(ImportedEvent { json: with_new_id(text, form, &event_id), event_id, form })
        }
        // A null or empty id is no id; left in place it would be given a new one at each import.
        Some(absent @ ("null" | "\"\"")) => {
            let event_id = content_id(ID_PREFIX, line, occurrences.next(line));
            Ok(ImportedEvent { json: with_replaced_id(text, absent, &event_id), event_id, form })
        }
        Some(given) => {
            // An id of another type is left to the native parser, which refuses it with its pointer.
            let event_id = serde_json::from_str::<String>(given).unwrap_or_else(|_| given.to_owned());
            Ok(ImportedEvent { event_id, json: text.to_owned(), form })
        }
    }
}

/// Puts the id in as the object's first member.
fn with_new_id(object: &str, form: Form, event_id: &str) -> String {
    let members = object[1..].trim_start();
    let comma = if members.starts_with('}') { "" } else { "," };
    format!("{{\"{}\":\"{event_id}\"{comma}{members}", form.id())
}

/// Puts the id in place of `value`, which is a piece of `object`.
fn with_replaced_id(object: &str, value: &str, event_id: &str) -> String {
    let at = value.as_ptr() as usize - object.as_ptr() as usize;
    format!("{}\"{event_id}\"{}", &object[..at], &object[at + value.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_BYTES: usize = 200;

    fn import(file: &str) -> Vec<ImportedLine> {
        NdjsonReader::new(file.as_bytes(), Form::Native, LIMIT_BYTES).map(|line| line.expect("in memory")).collect()
    }

    fn ids(file: &str) -> Vec<String> {
        import(file)
            .into_iter()
            .map(|line| match line {
                ImportedLine::Event(event) => event.event_id,
                ImportedLine::Refused(refused) => panic!("{refused:?}"),
            })
            .collect()
    }

    #[test]
    fn every_event_has_its_id_inside_its_json() {
        for line in [
            r#"{"event_type":"signup","event_id":"abc"}"#,
            r#"{"event_type":"signup"}"#,
            r#"  {"event_type":"signup","event_id":null}  "#,
            r#"{"event_type":"signup","event_id" : "" }"#,
            r#"{"event_type":"\"event_id\":null","event_id":null}"#,
            "{ }",
        ] {
            for imported in import(line) {
                let ImportedLine::Event(event) = imported else { panic!("{line}: refused") };
                let json: serde_json::Value = serde_json::from_str(&event.json).expect(line);
                assert_eq!(json["event_id"], event.event_id, "{line}");
            }
        }
    }

    #[test]
    fn a_given_id_is_kept_and_a_missing_one_comes_from_the_content() {
        assert_eq!(ids(r#"{"event_id":"given"}"#), ["given"]);
        let made = ids("{\"a\":1}\n{\"a\":2}\n{\"a\":1}\n");
        assert_eq!(made, ids("{\"a\":1}\n{\"a\":2}\n{\"a\":1}\n"), "the same file again");
        assert!(made.iter().all(|id| id.len() == "line_".len() + 32 && id.starts_with("line_")), "{made:?}");
        assert_ne!(made[0], made[2], "identical lines are two events");
        assert_eq!(made[0], ids("{\"a\":1}\r\n")[0], "the line's end is no content");
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_place() {
        let check = |line: &str, code: &str, column: Option<usize>| match import(line).as_slice() {
            [ImportedLine::Refused(refused)] => {
                assert_eq!(refused.reason.code(), code, "{line}");
                if let RefusedReason::InvalidJson { column: found, .. } = &refused.reason {
                    assert_eq!(Some(*found), column, "{line}");
                }
            }
            other => panic!("{line}: {other:?}"),
        };
        check("not json", "invalid_json", Some(1));
        check("[1]", "invalid_json", Some(1));
        check(r#"{"a":1} x"#, "invalid_json", Some(9));
        check(r#"{"a":}"#, "invalid_json", Some(6));
        check(&format!("{{\"a\":\"{}\"}}", "x".repeat(LIMIT_BYTES)), "event_too_large", None);
    }

    #[test]
    fn lines_are_counted_bounded_and_cleaned_of_their_ends() {
        let file = b"\xef\xbb\xbfone\r\n\n  \ntwo\n0123456789\r\n01234567890\nlast";
        for capacity in 1..file.len() {
            let mut reader = LineReader::new(io::BufReader::with_capacity(capacity, file.as_slice()), 10);
            let mut seen = Vec::new();
            while let Some(line) = reader.next_line().expect("in memory") {
                seen.push((line.number, String::from_utf8_lossy(line.bytes).into_owned(), line.size_bytes));
            }
            let expected = [
                (1, "one".to_owned(), 3),
                (4, "two".to_owned(), 3),
                (5, "0123456789".to_owned(), 10),
                (6, "0123456789".to_owned(), 11),
                (7, "last".to_owned(), 4),
            ];
            assert_eq!(seen, expected, "buffer of {capacity} bytes");
        }
    }

    #[test]
    fn messages_in_the_form_of_segment_have_their_ids_elsewhere() {
        let file = "{\"type\":\"track\"}\n{\"messageId\":\"m1\"}\n{\"messageId\":null}\n";
        let events: Vec<_> = NdjsonReader::new(file.as_bytes(), Form::Segment, LIMIT_BYTES)
            .map(|line| match line.expect("in memory") {
                ImportedLine::Event(event) => event,
                ImportedLine::Refused(refused) => panic!("{refused:?}"),
            })
            .collect();
        let json = events.iter().map(|event| event.json.replace(&event.event_id, "ID"));
        let expected = [r#"{"messageId":"ID","type":"track"}"#, r#"{"messageId":"ID"}"#, r#"{"messageId":"ID"}"#];
        assert_eq!(json.collect::<Vec<_>>(), expected);
        assert_eq!(events[1].event_id, "m1");
    }
}
