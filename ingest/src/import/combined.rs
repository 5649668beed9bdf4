//! Import of web server access logs in the combined format of Apache and nginx: one page view per line.
//!
//! `host identity user [time] "request" status bytes "referrer" "user agent"`, where a text that the client sent
//! may hold `\"`, `\\` and `\xHH`. What follows the user agent is ignored; a user agent that the line's end cuts off
//! is taken as far as it goes.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};
use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::ndjson::{
    Form, ImportedEvent, ImportedLine, LineReader, Occurrences, RefusedLine, RefusedReason, content_id,
};
use touchline_schemas::event::PAGE_VIEW;

/// Prefix of the ids that log lines are given.
const ID_PREFIX: &str = "log_";
/// What a server writes for a field that has no value.
const NO_VALUE: &[u8] = b"-";
/// The longest name that is taken for a person's.
const MAX_USER_CHARS: usize = 200;
const STATUS_UNAUTHORIZED: u16 = 401;

/// A field of the combined format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogField {
    /// The client's address or name.
    RemoteHost,
    /// The identity by RFC 1413, which nobody sends.
    Identity,
    /// The name by which the client authenticated.
    User,
    /// When the request was answered or begun.
    Time,
    /// The first line of the request.
    Request,
    /// The answer's status.
    Status,
    /// The answer's size.
    Bytes,
    /// The referring address.
    Referrer,
    /// The client's software.
    UserAgent,
}

impl fmt::Display for LogField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RemoteHost => "remote host",
            Self::Identity => "identity",
            Self::User => "user",
            Self::Time => "time",
            Self::Request => "request",
            Self::Status => "status",
            Self::Bytes => "bytes",
            Self::Referrer => "referrer",
            Self::UserAgent => "user agent",
        })
    }
}

/// Why a line is not in the combined format. Columns are bytes of the line, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CombinedError {
    /// The line ends before the field.
    #[error("{field} is missing at column {column}")]
    Missing {
        /// The field.
        field: LogField,
        /// Where it should begin.
        column: usize,
    },
    /// The field does not begin with its quote or bracket.
    #[error("{field} does not begin with `{opening}` at column {column}")]
    NotOpened {
        /// The field.
        field: LogField,
        /// Where it begins.
        column: usize,
        /// What it should begin with.
        opening: char,
    },
    /// The field's closing quote or bracket does not come.
    #[error("{field}, which begins at column {column}, is not closed")]
    NotClosed {
        /// The field.
        field: LogField,
        /// Where it begins.
        column: usize,
    },
    /// The field has another form than it must have.
    #[error("{field} is invalid at column {column}")]
    Invalid {
        /// The field.
        field: LogField,
        /// Where it begins.
        column: usize,
    },
}

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
    let mut cursor = Cursor { line, at: 0 };
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

/// The native event of a line.
///
/// `raw_line` is the line as it stands in the file, without its end; `occurrence` says how often the very same line
/// came before it in that file.
pub fn to_event(line: &CombinedLine<'_>, raw_line: &[u8], occurrence: u32) -> ImportedEvent {
    let event_id = content_id(ID_PREFIX, raw_line, occurrence);
    let mut event = Map::new();
    put(&mut event, "event_id", event_id.as_str());
    put(&mut event, "event_type", PAGE_VIEW);
    put(&mut event, "timestamp", line.time.to_rfc3339_opts(SecondsFormat::Secs, true));
    put_identity(&mut event, line);
    event.insert("properties".to_owned(), Value::Object(properties(line)));
    ImportedEvent { event_id, json: Value::Object(event).to_string(), form: Form::Native }
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

fn put(object: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    object.insert(key.to_owned(), value.into());
}

fn put_text(object: &mut Map<String, Value>, key: &str, value: Option<&Cow<'_, str>>) {
    if let Some(value) = value {
        put(object, key, value.as_ref());
    }
}

/// Whoever made the request: address and user agent, from which ingest derives the visitor.
fn put_identity(event: &mut Map<String, Value>, line: &CombinedLine<'_>) {
    // A client without a user agent is still somebody: the log's own `-` stands for it.
    let user_agent = line.user_agent.as_deref().unwrap_or("-");
    put(event, "user_agent", user_agent);
    if line.remote_host.parse::<IpAddr>().is_ok() {
        put(event, "ip", line.remote_host.as_ref());
    } else {
        // A name cannot be masked like an address, so only its digest is kept.
        let host_and_agent = [line.remote_host.as_bytes(), user_agent.as_bytes()].join(&b' ');
        put(event, "visitor_id", content_id("host_", &host_and_agent, 0));
    }
    // A name that the server refused proves nothing about who sent it.
    if line.status != Some(STATUS_UNAUTHORIZED) {
        put_text(event, "user_id", line.user.as_ref().filter(|name| name.chars().count() <= MAX_USER_CHARS));
    }
}

fn properties(line: &CombinedLine<'_>) -> Map<String, Value> {
    let mut properties = Map::new();
    let url = line.target.as_ref().filter(|target| target.starts_with('/') || target.contains("://"));
    match url {
        Some(url) => put(&mut properties, "url", url.as_ref()),
        None => put(&mut properties, "request", line.request.as_ref()),
    }
    put_text(&mut properties, "referrer", line.referrer.as_ref());
    put_text(&mut properties, "method", line.method.as_ref());
    if let Some(status) = line.status {
        put(&mut properties, "status", status);
    }
    if let Some(bytes) = line.bytes {
        put(&mut properties, "bytes", bytes);
    }
    properties
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

/// Whether a quoted field must be closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Required,
    MayBeCutOff,
}

/// A place in the line.
struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
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
    fn word(&mut self, field: LogField) -> Result<&'a [u8], CombinedError> {
        let rest = self.rest(field)?;
        let word = &rest[..memchr::memchr(b' ', rest).unwrap_or(rest.len())];
        self.at += word.len();
        Ok(word)
    }

    /// Everything up to the time's bracket: a name may have spaces in it.
    fn user(&mut self) -> Result<&'a [u8], CombinedError> {
        let rest = self.rest(LogField::User)?;
        let bracket = memchr::memmem::find(rest, b" [")
            .ok_or(CombinedError::Missing { field: LogField::Time, column: self.line.len() + 1 })?;
        self.at += bracket;
        Ok(rest[..bracket].trim_ascii())
    }

    fn time(&mut self) -> Result<DateTime<Utc>, CombinedError> {
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
    fn quoted(&mut self, field: LogField, ending: Ending) -> Result<&'a [u8], CombinedError> {
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
    fn number<T: std::str::FromStr>(&mut self, field: LogField) -> Result<Option<T>, CombinedError> {
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

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};
    use std::path::Path;

    use super::*;

    const CHROME: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 Chrome/32.0 Safari/537.36";

    fn event(line: &str) -> Value {
        let parsed = parse_line(line.as_bytes()).expect(line);
        serde_json::from_str(&to_event(&parsed, line.as_bytes(), 0).json).expect("an event is JSON")
    }

    #[test]
    fn an_ordinary_line_gives_all_its_fields_without_copying_them() {
        let line = format!(
            r#"83.149.9.216 - frank [17/May/2015:10:05:03 +0200] "GET /a.png?x=1 HTTP/1.1" 200 203023 "http://s.com/p/" "{CHROME}""#
        );
        let parsed = parse_line(line.as_bytes()).expect("valid");
        assert_eq!(parsed.remote_host, "83.149.9.216");
        assert_eq!(parsed.user.as_deref(), Some("frank"));
        assert_eq!(parsed.time.to_rfc3339(), "2015-05-17T08:05:03+00:00");
        assert_eq!(parsed.method.as_deref(), Some("GET"));
        assert_eq!(parsed.target.as_deref(), Some("/a.png?x=1"));
        assert_eq!((parsed.status, parsed.bytes), (Some(200), Some(203_023)));
        assert_eq!(parsed.referrer.as_deref(), Some("http://s.com/p/"));
        assert_eq!(parsed.user_agent.as_deref(), Some(CHROME));
        assert!(matches!(parsed.target, Some(Cow::Borrowed(_))), "nothing to unescape, nothing to copy");
    }

    #[test]
    fn the_event_has_the_shape_of_the_native_api() {
        let line = r#"2001:db8::7 - frank [17/May/2015:10:05:03 +0000] "POST /buy?utm_source=x HTTP/2.0" 201 - "https://a.example/" "Mozilla/5.0""#;
        let expected = serde_json::json!({
            "event_id": content_id("log_", line.as_bytes(), 0),
            "event_type": "page_view",
            "timestamp": "2015-05-17T10:05:03Z",
            "ip": "2001:db8::7",
            "user_agent": "Mozilla/5.0",
            "user_id": "frank",
            "properties": {
                "url": "/buy?utm_source=x", "referrer": "https://a.example/", "method": "POST", "status": 201,
            },
        });
        assert_eq!(event(line), expected);
    }

    #[test]
    fn identical_lines_of_a_file_are_different_events_and_a_second_import_gives_the_same_ids() {
        let line = r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "curl/8""#;
        let file = format!("{line}\r\n{line}\n");
        let import = || -> Vec<String> {
            let lines = CombinedReader::new(file.as_bytes(), 1_000).map(|line| line.expect("in memory"));
            lines
                .map(|line| if let ImportedLine::Event(event) = line { event.event_id } else { String::new() })
                .collect()
        };
        let ids = import();
        assert_eq!(ids.len(), 2);
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| id.starts_with("log_") && id.len() == 36), "{ids:?}");
        assert_eq!(ids, import());
    }

    #[test]
    fn request_lines_are_split_or_kept_whole() {
        let check = |request: &str, method: Option<&str>, target: Option<&str>| {
            let line = format!(r#"::1 - - [01/Jan/2024:00:00:00 +0000] "{request}" 400 0 "-" "-""#);
            let parsed = parse_line(line.as_bytes()).expect(request);
            assert_eq!((parsed.method.as_deref(), parsed.target.as_deref()), (method, target), "{request}");
            let url = event(&line)["properties"]["url"].as_str().map(str::to_owned);
            let is_address = |target: &&str| target.starts_with('/') || target.contains("://");
            assert_eq!(url.as_deref(), target.filter(is_address), "{request}");
        };
        check("GET / HTTP/1.1", Some("GET"), Some("/"));
        check("GET /", Some("GET"), Some("/"));
        check("GET /a b HTTP/1.0", Some("GET"), Some("/a b"));
        check(r#"GET /\"quoted\" HTTP/1.1"#, Some("GET"), Some("/\"quoted\""));
        check(r"GET /caf\xC3\xA9 HTTP/1.1", Some("GET"), Some("/café"));
        check("GET http://other.example/x HTTP/1.1", Some("GET"), Some("http://other.example/x"));
        check("OPTIONS * HTTP/1.0", Some("OPTIONS"), Some("*"));
        check("-", None, None);
        check("", None, None);
        check("GET", None, None);
        check("GET  HTTP/1.1", None, None);
        check(r"\x16\x03\x01\x02\x00\x01", None, None);
        check(r"\x03 /x HTTP/1.1", None, None);
    }

    #[test]
    fn texts_are_unescaped_but_control_characters_are_not() {
        let check = |raw: &[u8], expected: &str| assert_eq!(text(raw), expected, "{raw:?}");
        check(b"plain", "plain");
        check("grüße".as_bytes(), "grüße");
        check(br#"a \"b\" \\c"#, r#"a "b" \c"#);
        check(br"\xe2\x82\xac", "€");
        check(br"\xff!", "\u{fffd}!");
        check(br"nul \x00 tab \t", r"nul \x00 tab \t");
        check(b"raw \x00 nul", r"raw \x00 nul");
        check(br"\xZZ \x4", r"\xZZ \x4");
        check(br"end \", r"end \");
    }

    #[test]
    fn absent_fields_and_extra_fields_are_allowed() {
        let line = r#"host.example - - [01/Jan/2024:00:00:00 +0000] "-" - - "-" "-" "1.2.3.4" 0.003 extra"#;
        let parsed = parse_line(line.as_bytes()).expect("valid");
        assert_eq!((parsed.user, parsed.status, parsed.bytes, parsed.referrer, parsed.user_agent), Default::default());
        let event = event(line);
        assert_eq!(event["user_agent"], "-");
        assert_eq!(event.get("ip"), None, "a name is no address");
        assert!(event["visitor_id"].as_str().is_some_and(|id| id.starts_with("host_")), "{event}");
        assert_eq!(event["properties"], serde_json::json!({"request": "-"}));
    }

    #[test]
    fn a_name_counts_only_when_the_server_accepted_it() {
        let check = |user: &str, status: u16, expected: Option<&str>| {
            let line = format!(r#"::1 - {user} [01/Jan/2024:00:00:00 +0000] "GET / HTTP/1.1" {status} 0 "-" "x""#);
            assert_eq!(event(&line)["user_id"].as_str(), expected, "{user} {status}");
        };
        check("frank", 200, Some("frank"));
        check("mary ann", 200, Some("mary ann"));
        check("frank", 401, None);
        check("-", 200, None);
        check(&"x".repeat(201), 200, None);
    }

    #[test]
    fn a_cut_off_user_agent_is_taken_as_far_as_it_goes() {
        let line =
            r#"1.2.3.4 - - [20/May/2015:12:05:17 +0000] "GET /c.py HTTP/1.1" 200 235 "-" "Mozilla/5.0 (compatible"#;
        assert_eq!(event(line)["user_agent"], "Mozilla/5.0 (compatible");
    }

    #[test]
    fn errors_name_field_and_column() {
        let check = |line: &str, expected: &str| {
            let error = parse_line(line.as_bytes()).expect_err(line);
            assert_eq!(error.to_string(), expected, "{line}");
        };
        check("", "remote host is missing at column 1");
        check("1.2.3.4", "identity is missing at column 8");
        check("1.2.3.4 - -", "time is missing at column 12");
        check("1.2.3.4 - - [17/May/2015", "time, which begins at column 13, is not closed");
        check("1.2.3.4 - - [17/Mai/2015:10:05:03 +0000] ", "time is invalid at column 14");
        let head = "1.2.3.4 - - [17/May/2015:10:05:03 +0000]";
        check(head, "request is missing at column 41");
        check(&format!("{head} GET /"), "request does not begin with `\"` at column 42");
        check(&format!("{head} \"GET /"), "request, which begins at column 42, is not closed");
        check(&format!("{head} \"GET /\\\""), "request, which begins at column 42, is not closed");
        check(&format!("{head} \"GET /\" +20 1"), "status is invalid at column 50");
        check(&format!("{head} \"GET /\" 99999 1"), "status is invalid at column 50");
        check(&format!("{head} \"GET /\" 200 many"), "bytes is invalid at column 54");
        check(&format!("{head} \"GET /\" 200 1"), "referrer is missing at column 55");
        check(&format!("{head} \"GET /\" 200 1 \"-\""), "user agent is missing at column 59");
    }

    #[test]
    fn no_beginning_of_a_line_stops_the_process() {
        let line = br#"1.2.3.4 - a [17/May/2015:10:05:03 +0000] "GET /\x4\"\\ HTTP/1.1" 200 1 "\" "x\"#;
        for length in 0..=line.len() {
            let _ = parse_line(&line[..length]);
        }
    }

    #[test]
    fn every_line_of_a_real_log_parses() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/access-log/apache_logs.gz");
        let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut log = Vec::new();
        flate2::read::GzDecoder::new(BufReader::new(file)).read_to_end(&mut log).expect("a gzip file");
        let mut ids = std::collections::HashSet::new();
        let mut lines = 0;
        for line in CombinedReader::new(log.as_slice(), 64 * 1024) {
            lines += 1;
            match line.expect("in memory") {
                ImportedLine::Event(event) => assert!(ids.insert(event.event_id), "line {lines}: id twice"),
                ImportedLine::Refused(refused) => panic!("line {}: {}", refused.line_number, refused.reason),
            }
        }
        assert_eq!(lines, 10_000);
    }
}
