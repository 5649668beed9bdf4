//! The query string of a report: every parameter is known, or the request is refused.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use touchline_pipeline::AsOf;
use touchline_pipeline::reports::compared::Compare;
use touchline_pipeline::reports::{Bots, TimeRange};
use touchline_schemas::control::AccountSettings;
use url::form_urlencoded;

use super::cursor::Cursor;
use crate::error::{ApiError, ProblemItem};
use crate::format::{CsvOptions, Format};

mod described;

pub use described::{
    AllTimeParams, AnswerParams, BotsParam, CompareParam, FilterParam, IntervalParam, LimitParam, PageParams,
    RangeParams, SortParam, TimeZoneParam,
};

/// Days before `to` at which a report begins when the request does not say.
const DEFAULT_RANGE_DAYS: u64 = 30;

/// Most parameters of a request.
const MAX_PARAMETERS: usize = 100;

/// What `order=` may be.
const MARKOV_ORDERS: std::ops::RangeInclusive<u8> = 1..=3;
/// What `lookback_days=` may be.
const LOOKBACK_DAYS: std::ops::RangeInclusive<u16> = 1..=365;

/// Which state of the lake is asked about.
pub const AS_OF: &str = "as_of";
/// What is wanted to know about the answer instead of it.
pub const EXPLAIN: &str = "explain";
/// Whose days count; a report that has days names it among its own.
pub const TIME_ZONE: &str = "tz";
/// The days of accounts that have not chosen others.
const DEFAULT_TIME_ZONE: &str = "UTC";

/// What stands beside the answer.
pub const COMPARE: &str = "compare";
/// By which column rows are ordered.
pub const SORT: &str = "sort";
/// How long the parts are into which the range is cut.
pub const INTERVAL: &str = "interval";

/// A parameter that only some reports take; the common ones need no mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// `by=`: what the rows are grouped by.
    By,
    /// `bots=`: whether bots are counted.
    Bots,
    /// `filter[column]=`: rows with this value only.
    Filter,
    /// `limit=`: rows of a page.
    Limit,
    /// `cursor=`: where the page begins.
    Cursor,
    /// `model=`: how credit is given.
    Model,
    /// `order=`: how much a Markov model remembers.
    Order,
    /// `event_type=`: which conversions.
    EventType,
    /// `lookback_days=`: which touches count.
    LookbackDays,
    /// A parameter of this name that the report reads itself.
    Own(&'static str),
    /// No parameter: without `from=` the range is open on that side.
    AllTime,
    /// No parameter: the range is all time, and neither `from=` nor `to=` is taken.
    NoRange,
    /// No parameter: the range is so many minutes before now, and neither `from=` nor `to=` is taken.
    LastMinutes(i64),
}

/// A query string that was understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportQuery {
    /// The range of time. `from` is set, but for reports that look at all time.
    pub range: TimeRange,
    /// The state of the lake.
    pub as_of: AsOf,
    /// What the rows are grouped by.
    pub by: Option<String>,
    /// Whether bots are counted.
    pub bots: Bots,
    /// Column and value.
    pub filters: Vec<(String, String)>,
    /// Rows of a page.
    pub limit: Option<usize>,
    /// Where the page begins.
    pub after: Option<Cursor>,
    /// How credit is given.
    pub model: Option<String>,
    /// How much a Markov model remembers.
    pub order: Option<u8>,
    /// Which conversions.
    pub event_type: Option<String>,
    /// Which touches count.
    pub lookback_days: Option<u16>,
    /// What the report reads itself, by name.
    pub own: BTreeMap<&'static str, String>,
    /// Whether the caller wants to know how the answer comes about, instead of it.
    pub is_explained: bool,
    /// The format by name.
    pub format: Option<Format>,
    /// The choices about CSV.
    pub csv: CsvOptions,
}

impl ReportQuery {
    /// A parameter that the report reads itself, if it is given.
    pub fn own(&self, name: &str) -> Option<String> {
        self.own.get(name).cloned()
    }

    /// The time zone whose days count: that of `tz=`, else the account's.
    pub fn time_zone(&self, settings: &AccountSettings) -> String {
        let chosen = self.own(TIME_ZONE).or_else(|| settings.time_zone.clone());
        chosen.unwrap_or_else(|| DEFAULT_TIME_ZONE.to_owned())
    }

    /// What `compare=` names.
    pub fn compare(&self) -> Result<Option<Compare>, ApiError> {
        Ok(self.own.get(COMPARE).map(|word| Compare::from_word(word)).transpose()?)
    }

    /// The one spelling of the query string `query`: names in order, the range spelled out, without `format`.
    pub fn normal_form(&self, query: &str) -> String {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let kept = |name: &str| !matches!(name, "from" | "to" | "format");
        let mut pairs: Vec<_> = pairs.filter(|(name, _)| kept(name)).collect();
        pairs.sort();
        let mut normal = form_urlencoded::Serializer::new(String::new());
        normal.extend_pairs(pairs);
        self.append_range(&mut normal);
        normal.finish()
    }

    fn append_range(&self, query: &mut form_urlencoded::Serializer<'_, String>) {
        for (name, at) in [("from", self.range.from), ("to", self.range.to)] {
            if let Some(at) = at {
                query.append_pair(name, &instant_text(at));
            }
        }
    }

    /// Reads `query`. Everything that is wrong with it is said at once.
    pub fn parse(query: &str, taken: &[Parameter], max_limit: usize, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let mut reader = Reader { taken, max_limit, parsed: Self::default(), seen: Vec::new(), errors: Vec::new() };
        for (place, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
            if place == MAX_PARAMETERS {
                let detail = format!("there are more than {MAX_PARAMETERS} parameters");
                reader.refuse(&name, "too_many_parameters", detail);
                break;
            }
            reader.take(&name, &value);
        }
        reader.finish(now)
    }

    /// The query string of the page that begins after `cursor`. The range is spelled out, so that pages asked for at
    /// different times are pages of one list.
    pub fn next_page(&self, query: &str, cursor: &Cursor) -> String {
        let mut next = form_urlencoded::Serializer::new(String::new());
        let kept = |name: &str| !matches!(name, "from" | "to" | "cursor");
        next.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| kept(name)));
        self.append_range(&mut next);
        next.append_pair("cursor", &cursor.encode());
        next.finish()
    }
}

/// RFC 3339, UTC, microseconds: the one way in which this API writes an instant.
pub fn instant_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

struct Reader<'a> {
    taken: &'a [Parameter],
    max_limit: usize,
    parsed: ReportQuery,
    seen: Vec<String>,
    errors: Vec<ProblemItem>,
}

impl Reader<'_> {
    fn take(&mut self, name: &str, value: &str) {
        if self.seen.iter().any(|seen| seen == name) {
            return self.refuse(name, "repeated", format!("`{name}` is given more than once"));
        }
        self.seen.push(name.to_owned());
        let is_read = match name {
            "from" | "to" if self.last_minutes().is_some() || self.takes(Parameter::NoRange) => false,
            "from" => {
                self.set(name, value, instant(value), "RFC 3339 or YYYY-MM-DD", |parsed, at| parsed.range.from = at)
            }
            "to" => self.set(name, value, instant(value), "RFC 3339 or YYYY-MM-DD", |parsed, at| parsed.range.to = at),
            AS_OF => self.set(name, value, as_of(value), "a version, RFC 3339 or YYYY-MM-DD", |parsed, as_of| {
                parsed.as_of = as_of.unwrap_or_default();
            }),
            EXPLAIN => self.set(name, value, (value == "sql").then_some(true), "`sql`", |parsed, is_explained| {
                parsed.is_explained = is_explained == Some(true);
            }),
            "format" => {
                let form = "`json`, `ndjson`, `csv`, `parquet` or `arrow`";
                self.set(name, value, Format::from_word(value), form, |parsed, format| parsed.format = format)
            }
            "bom" => self.set(name, value, flag(value), "`1` or `0`", |parsed, on| {
                parsed.csv.byte_order_mark = on == Some(true);
            }),
            "raw" => self.set(name, value, flag(value), "`1` or `0`", |parsed, on| parsed.csv.raw = on == Some(true)),
            "by" if self.takes(Parameter::By) => {
                self.parsed.by = Some(value.to_owned());
                true
            }
            "bots" if self.takes(Parameter::Bots) => {
                self.set(name, value, bots(value), "`exclude`, `only` or `include`", |parsed, bots| {
                    parsed.bots = bots.unwrap_or_default();
                })
            }
            "limit" if self.takes(Parameter::Limit) => {
                let limit = value.parse().ok().filter(|limit| (1..=self.max_limit).contains(limit));
                let form = format!("a whole number from 1 to {}", self.max_limit);
                self.set(name, value, limit, &form, |parsed, limit| parsed.limit = limit)
            }
            "cursor" if self.takes(Parameter::Cursor) => self.set(
                name,
                value,
                Cursor::decode(value),
                "a cursor that a link of this report gave",
                |parsed, after| {
                    parsed.after = after;
                },
            ),
            "model" if self.takes(Parameter::Model) => {
                self.parsed.model = Some(value.to_owned());
                true
            }
            "order" if self.takes(Parameter::Order) => {
                let order = value.parse().ok().filter(|order| MARKOV_ORDERS.contains(order));
                self.set(name, value, order, "1, 2 or 3", |parsed, order| parsed.order = order)
            }
            "event_type" if self.takes(Parameter::EventType) => {
                self.parsed.event_type = Some(value.to_owned());
                true
            }
            "lookback_days" if self.takes(Parameter::LookbackDays) => {
                let days = value.parse().ok().filter(|days| LOOKBACK_DAYS.contains(days));
                self.set(name, value, days, "a whole number from 1 to 365", |parsed, days| parsed.lookback_days = days)
            }
            _ => self.take_own(name, value) || self.take_filter(name, value),
        };
        if !is_read {
            self.refuse(name, "unknown_parameter", format!("this report has no parameter `{}`", shortened(name)));
        }
    }

    fn last_minutes(&self) -> Option<i64> {
        self.taken.iter().find_map(|taken| match taken {
            Parameter::LastMinutes(minutes) => Some(*minutes),
            _ => None,
        })
    }

    fn takes(&self, parameter: Parameter) -> bool {
        self.taken.contains(&parameter)
    }

    /// Stores what was read, or says which form the value must have. The parameter is known in both cases.
    fn set<T>(
        &mut self,
        name: &str,
        value: &str,
        read: Option<T>,
        form: &str,
        store: impl FnOnce(&mut ReportQuery, Option<T>),
    ) -> bool {
        match read {
            Some(read) => store(&mut self.parsed, Some(read)),
            None => self.refuse(name, "invalid_value", format!("`{name}` must be {form}, not `{}`", shortened(value))),
        }
        true
    }

    fn take_own(&mut self, name: &str, value: &str) -> bool {
        let own = self.taken.iter().find_map(|taken| match taken {
            Parameter::Own(own) if *own == name => Some(*own),
            _ => None,
        });
        own.map(|own| self.parsed.own.insert(own, value.to_owned())).is_some()
    }

    fn take_filter(&mut self, name: &str, value: &str) -> bool {
        let column = name.strip_prefix("filter[").and_then(|rest| rest.strip_suffix(']'));
        match column {
            Some(column) if self.takes(Parameter::Filter) => {
                self.parsed.filters.push((column.to_owned(), value.to_owned()));
                true
            }
            Some(_) | None => false,
        }
    }

    fn refuse(&mut self, name: &str, code: &'static str, detail: String) {
        self.errors.push(ProblemItem::parameter(shortened(name), code, detail));
    }

    fn finish(mut self, now: DateTime<Utc>) -> Result<ReportQuery, ApiError> {
        let (last_minutes, is_all_time) =
            (self.last_minutes(), self.takes(Parameter::AllTime) || self.takes(Parameter::NoRange));
        let range = &mut self.parsed.range;
        if let Some(minutes) = last_minutes {
            *range = TimeRange { from: now.checked_sub_signed(TimeDelta::minutes(minutes)), to: Some(now) };
        }
        if range.from.is_none() && !is_all_time {
            range.from = Some(default_from(range.to.unwrap_or(now)));
        }
        if range.from.zip(range.to).is_some_and(|(from, to)| to < from) {
            self.refuse("to", "invalid_value", "`to` lies before `from`".to_owned());
        }
        if self.errors.is_empty() { Ok(self.parsed) } else { Err(ApiError::Query(self.errors)) }
    }
}

/// Midnight, so that a report asked for twice on one day is the same report.
fn default_from(to: DateTime<Utc>) -> DateTime<Utc> {
    let date = to.date_naive();
    date.checked_sub_days(Days::new(DEFAULT_RANGE_DAYS)).unwrap_or(date).and_time(NaiveTime::MIN).and_utc()
}

fn instant(value: &str) -> Option<DateTime<Utc>> {
    // In a query string a bare `+` means a space; an offset like `+02:00` is more likely meant.
    let value = value.replace(' ', "+");
    if let Ok(date) = NaiveDate::parse_from_str(&value, "%Y-%m-%d") {
        return Some(date.and_time(NaiveTime::MIN).and_utc()).filter(is_storable);
    }
    DateTime::parse_from_rfc3339(&value).ok().map(|at| at.to_utc()).filter(is_storable)
}

/// A number is a version, anything else a time.
fn as_of(value: &str) -> Option<AsOf> {
    match value.parse().ok().filter(|version| *version >= 0) {
        Some(version) => Some(AsOf::Version(version)),
        None => instant(value).map(AsOf::Time),
    }
}

/// Whether every part of the system can hold this instant: four digits of year, as RFC 3339 has it.
fn is_storable(at: &DateTime<Utc>) -> bool {
    (0..=9999).contains(&chrono::Datelike::year(at))
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn bots(value: &str) -> Option<Bots> {
    match value {
        "exclude" => Some(Bots::Exclude),
        "only" => Some(Bots::Only),
        "include" => Some(Bots::Include),
        _ => None,
    }
}

/// What a caller sent, short enough to be said back.
fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Parameter; 10] = [
        Parameter::By,
        Parameter::Bots,
        Parameter::Filter,
        Parameter::Limit,
        Parameter::Cursor,
        Parameter::Model,
        Parameter::Order,
        Parameter::EventType,
        Parameter::LookbackDays,
        Parameter::Own("depth"),
    ];

    fn now() -> DateTime<Utc> {
        instant("2026-03-31T15:30:00Z").unwrap()
    }

    fn parse(query: &str, taken: &[Parameter]) -> Result<ReportQuery, Vec<(String, &'static str)>> {
        ReportQuery::parse(query, taken, 1_000, now()).map_err(|error| match error {
            ApiError::Query(items) => {
                items.into_iter().map(|item| (item.parameter.unwrap_or_default(), item.code)).collect()
            }
            other => panic!("{other}"),
        })
    }

    #[test]
    fn ranges_are_read_and_defaulted() {
        for (query, from, to) in [
            ("", "2026-03-01", None),
            ("from=2026-01-01", "2026-01-01", None),
            ("to=2026-01-31T12:00:00Z", "2026-01-01", Some("2026-01-31T12:00:00Z")),
            ("from=2026-01-01&to=2026-01-01", "2026-01-01", Some("2026-01-01")),
            ("from=2026-01-01T02:00:00%2B02:00&to=2026-02-01T00:00:00+00:00", "2026-01-01", Some("2026-02-01")),
        ] {
            let range = parse(query, &[]).unwrap().range;
            assert_eq!(range, TimeRange { from: instant(from), to: to.and_then(instant) }, "{query}");
        }
    }

    #[test]
    fn a_report_may_look_at_all_time_or_at_the_last_minutes() {
        assert_eq!(parse("", &[Parameter::AllTime]).unwrap().range, TimeRange::default());
        let from = instant("2026-01-01");
        let range = parse("from=2026-01-01", &[Parameter::AllTime]).unwrap().range;
        assert_eq!(range, TimeRange { from, to: None });
        let backwards = parse("from=2026-02-01&to=2026-01-01", &[Parameter::AllTime]);
        assert_eq!(backwards, Err(vec![("to".to_owned(), "invalid_value")]));

        let last = [Parameter::LastMinutes(30)];
        let range = parse("", &last).unwrap().range;
        assert_eq!(range, TimeRange { from: instant("2026-03-31T15:00:00Z"), to: Some(now()) });
        assert_eq!(parse("from=2026-01-01", &last), Err(vec![("from".to_owned(), "unknown_parameter")]));
    }

    #[test]
    fn a_state_of_the_lake_is_a_version_or_a_time() {
        let time = |text: &str| AsOf::Time(instant(text).unwrap());
        for (query, expected) in [
            ("", AsOf::Newest),
            ("as_of=0", AsOf::Version(0)),
            ("as_of=2026", AsOf::Version(2026)),
            ("as_of=2026-01-02", time("2026-01-02T00:00:00Z")),
            ("as_of=2026-01-02T03:04:05%2B01:00", time("2026-01-02T02:04:05Z")),
        ] {
            assert_eq!(parse(query, &[]).unwrap().as_of, expected, "{query}");
        }
    }

    #[test]
    fn one_question_has_one_spelling() {
        let normal = |query: &str| parse(query, &ALL).unwrap().normal_form(query);
        let expected = "bots=only&by=a+b&from=2026-03-01T00%3A00%3A00.000000Z";
        for query in ["bots=only&by=a%20b", "by=a+b&bots=only&format=csv", "from=2026-03-01&by=a%20b&bots=only"] {
            assert_eq!(normal(query), expected, "{query}");
        }
        assert_ne!(normal("bots=only&by=a%20b&to=2026-03-31"), expected);
    }

    #[test]
    fn every_parameter_arrives() {
        let cursor = Cursor { at: now(), id: "s1".to_owned() };
        let query = format!(
            "model=markov&order=2&event_type=sign%20up&lookback_days=7&by=utm_source&bots=only&filter%5Bchannel%5D=a%26b&filter[country]=DE&limit=5&cursor={}&depth=3&format=csv&bom=1&raw=1&as_of=17&explain=sql",
            cursor.encode()
        );
        let parsed = parse(&query, &ALL).unwrap();
        let pair = |column: &str, value: &str| (column.to_owned(), value.to_owned());
        assert_eq!(
            parsed,
            ReportQuery {
                range: parsed.range,
                as_of: AsOf::Version(17),
                by: Some("utm_source".to_owned()),
                bots: Bots::Only,
                filters: vec![pair("channel", "a&b"), pair("country", "DE")],
                limit: Some(5),
                after: Some(cursor),
                model: Some("markov".to_owned()),
                order: Some(2),
                is_explained: true,
                event_type: Some("sign up".to_owned()),
                lookback_days: Some(7),
                own: BTreeMap::from([("depth", "3".to_owned())]),
                format: Some(Format::Csv),
                csv: CsvOptions { byte_order_mark: true, raw: true },
            }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, taken, expected) in [
            ("form=2026-01-01", &ALL[..], ("form", "unknown_parameter")),
            ("by=channel", &[][..], ("by", "unknown_parameter")),
            ("depth=3", &[][..], ("depth", "unknown_parameter")),
            ("filter[x]=1", &[][..], ("filter[x]", "unknown_parameter")),
            ("filter=1", &ALL[..], ("filter", "unknown_parameter")),
            ("from=yesterday", &ALL[..], ("from", "invalid_value")),
            ("from=2026-02-30", &ALL[..], ("from", "invalid_value")),
            ("from=+12026-02-03", &ALL[..], ("from", "invalid_value")),
            ("from=2026-02-01&to=2026-01-01", &ALL[..], ("to", "invalid_value")),
            ("limit=0", &ALL[..], ("limit", "invalid_value")),
            ("limit=1001", &ALL[..], ("limit", "invalid_value")),
            ("limit=-1", &ALL[..], ("limit", "invalid_value")),
            ("limit=1&limit=2", &ALL[..], ("limit", "repeated")),
            ("cursor=x", &ALL[..], ("cursor", "invalid_value")),
            ("format=xml", &ALL[..], ("format", "invalid_value")),
            ("bots=maybe", &ALL[..], ("bots", "invalid_value")),
            ("bom=yes", &ALL[..], ("bom", "invalid_value")),
            ("model=linear", &[][..], ("model", "unknown_parameter")),
            ("order=4", &ALL[..], ("order", "invalid_value")),
            ("as_of=-1", &[][..], ("as_of", "invalid_value")),
            ("as_of=yesterday", &[][..], ("as_of", "invalid_value")),
            ("lookback_days=0", &ALL[..], ("lookback_days", "invalid_value")),
            ("lookback_days=366", &ALL[..], ("lookback_days", "invalid_value")),
        ] {
            assert_eq!(parse(query, taken), Err(vec![(expected.0.to_owned(), expected.1)]), "{query}");
        }
        assert_eq!(parse("a=1&b=2", &ALL).unwrap_err().len(), 2);
    }

    #[test]
    fn the_next_page_keeps_the_question_and_pins_the_range() {
        let query = "filter%5Bchannel%5D=paid%20search&limit=5&cursor=old&format=json";
        let parsed = ReportQuery::parse("filter%5Bchannel%5D=paid%20search&limit=5", &ALL, 10, now()).unwrap();
        let cursor = Cursor { at: now(), id: "s1".to_owned() };
        assert_eq!(
            parsed.next_page(query, &cursor),
            format!(
                "filter%5Bchannel%5D=paid+search&limit=5&format=json&from=2026-03-01T00%3A00%3A00.000000Z&cursor={}",
                cursor.encode()
            )
        );
    }
}
