//! Times written as text: ISO 8601 in the forms that clients really send.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// Reads a timestamp; without an offset it is UTC. `None` when it is no ISO 8601.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y%m%dT%H%M%S%#z", "%Y-%m-%dT%H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.to_utc());
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc());
        }
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_real_clients_are_read() {
        for (text, expected) in [
            ("2026-11-21T01:21:37.870547+00:00", Some("2026-11-21T01:21:37.870547Z")),
            ("2026-11-21T00:52:11Z", Some("2026-11-21T00:52:11Z")),
            ("2026-11-21T00:52:11.123Z", Some("2026-11-21T00:52:11.123Z")),
            ("2026-11-21T02:52:11+02:00", Some("2026-11-21T00:52:11Z")),
            ("2026-11-21T02:52:11+0200", Some("2026-11-21T00:52:11Z")),
            ("2026-11-21 00:52:11 ", Some("2026-11-21T00:52:11Z")),
            ("2026-11-21T00:52", Some("2026-11-21T00:52:00Z")),
            ("2026-11-21", Some("2026-11-21T00:00:00Z")),
            ("1763686331", None),
            ("yesterday", None),
            ("2026-13-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
