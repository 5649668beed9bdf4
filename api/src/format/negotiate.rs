//! Which format an answer takes: `format=`, then the path's suffix, then `Accept`.

use axum::http::{HeaderMap, HeaderValue, header};

/// A format that reports are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `{"data":[…],"meta":{…},"links":{…}}`.
    Json,
    /// One JSON object on each line.
    Ndjson,
    /// RFC 4180 with a header.
    Csv,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// All of them; the first is what a caller without a wish gets.
    pub const ALL: [Format; 5] = [Format::Json, Format::Csv, Format::Ndjson, Format::Parquet, Format::Arrow];

    /// The word in `format=` and in the path's suffix.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// The `Content-Type` of an answer.
    pub const fn content_type(self) -> HeaderValue {
        match self {
            Self::Json | Self::Ndjson | Self::Parquet | Self::Arrow => HeaderValue::from_static(self.media_type()),
            Self::Csv => HeaderValue::from_static("text/csv; charset=utf-8; header=present"),
        }
    }

    /// The type in `Accept`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The format with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.word() == word)
    }

    /// The format that the path's last part ends with.
    pub fn from_suffix(path: &str) -> Option<Self> {
        let (_, suffix) = path.rsplit('/').next()?.rsplit_once('.')?;
        Self::from_word(suffix)
    }

    /// The format that suits `Accept` best; `None` when none does.
    pub fn from_accept(headers: &HeaderMap) -> Option<Self> {
        let mut ranges = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
        ranges.peek().copied().map_or(Some(Self::ALL[0]), |_| {
            let ranges: Vec<Range<'_>> = ranges.flat_map(|value| value.split(',')).filter_map(Range::parse).collect();
            best(&ranges)
        })
    }
}

/// Where the answer may vary.
pub const VARY: HeaderValue = HeaderValue::from_static("Accept");

/// One entry of `Accept`. Quality in thousandths.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(entry: &'a str) -> Option<Self> {
        let mut parts = entry.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(Some(1.0), |quality| quality.trim().parse::<f32>().ok())?;
        Some(Self { main, sub, quality: (quality.clamp(0.0, 1.0) * 1000.0) as u16 })
    }

    /// How closely this entry names `format`: 0 for `*/*`, 2 for the very type.
    fn precision(&self, format: Format) -> Option<u8> {
        let (main, sub) = format.media_type().split_once('/')?;
        match (self.main, self.sub) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(main) => Some(1),
            (own, own_sub) if own.eq_ignore_ascii_case(main) && own_sub.eq_ignore_ascii_case(sub) => Some(2),
            _ => None,
        }
    }
}

/// The format of the highest quality; the earlier in [`Format::ALL`] wins a tie.
fn best(ranges: &[Range<'_>]) -> Option<Format> {
    let quality = |format: Format| {
        let matching = ranges.iter().filter_map(|range| Some((range.precision(format)?, range.quality)));
        matching.max_by_key(|(precision, _)| *precision).map_or(0, |(_, quality)| quality)
    };
    let rated = Format::ALL.into_iter().rev().map(|format| (quality(format), format));
    rated.filter(|(quality, _)| *quality > 0).max_by_key(|(quality, _)| *quality).map(|(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_decides() {
        for (accept, expected) in [
            (None, Some(Format::Json)),
            (Some("*/*"), Some(Format::Json)),
            (Some("application/json"), Some(Format::Json)),
            (Some("Application/*"), Some(Format::Json)),
            (Some("text/csv"), Some(Format::Csv)),
            (Some("text/*"), Some(Format::Csv)),
            (Some("text/csv; charset=utf-8"), Some(Format::Csv)),
            (Some("application/json;q=0.5, text/csv"), Some(Format::Csv)),
            (Some("application/json, text/csv"), Some(Format::Json)),
            (Some("*/*;q=0.1, text/csv;q=0.2"), Some(Format::Csv)),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Some(Format::Json)),
            (Some("application/json;q=0, */*"), Some(Format::Csv)),
            (Some("application/json;q=0"), None),
            (Some("application/xml"), None),
            (Some("nonsense"), None),
            (Some("application/x-ndjson"), Some(Format::Ndjson)),
            (Some("application/vnd.apache.parquet, application/json;q=0.9"), Some(Format::Parquet)),
            (Some("application/vnd.apache.arrow.stream;q=0.2, text/csv;q=0.1"), Some(Format::Arrow)),
            (Some("application/json;q=0, application/*"), Some(Format::Ndjson)),
            (Some("application/vnd.apache.arrow.file"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(Format::from_accept(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn the_suffix_names_the_format() {
        for (path, expected) in [
            ("/api/v1/reports/sessions", None),
            ("/api/v1/reports/sessions.csv", Some(Format::Csv)),
            ("/api/v1/reports/sessions.json", Some(Format::Json)),
            ("/api/v1/reports/sessions.ndjson", Some(Format::Ndjson)),
            ("/api/v1/reports/sessions.parquet", Some(Format::Parquet)),
            ("/api/v1/reports/sessions.arrow", Some(Format::Arrow)),
            ("/api/v1.csv/sessions", None),
            ("/api/v1/reports/sessions.xml", None),
        ] {
            assert_eq!(Format::from_suffix(path), expected, "{path}");
        }
    }
}
