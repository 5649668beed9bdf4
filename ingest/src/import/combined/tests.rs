use std::io::{BufReader, Read};
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::import::ndjson::content_id;

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
        lines.map(|line| if let ImportedLine::Event(event) = line { event.event_id } else { String::new() }).collect()
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
    let line = r#"1.2.3.4 - - [20/May/2015:12:05:17 +0000] "GET /c.py HTTP/1.1" 200 235 "-" "Mozilla/5.0 (compatible"#;
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
