//! Reading a query string, one parameter after the other.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use touchline_pipeline::AsOf;
use touchline_pipeline::reports::{Bots, TimeRange};

use super::{AS_OF, EXPLAIN, Parameter, ReportQuery};
use crate::error::{ApiError, ProblemItem};
use crate::format::Format;
use crate::report::cursor::Cursor;

/// Days before `to` at which a report begins when the request does not say.
const DEFAULT_RANGE_DAYS: u64 = 30;
/// What `order=` may be.
const MARKOV_ORDERS: std::ops::RangeInclusive<u8> = 1..=3;
/// What `lookback_days=` may be.
const LOOKBACK_DAYS: std::ops::RangeInclusive<u16> = 1..=365;

/// A query string as far as it was read.
pub(super) struct Reader<'a> {
    taken: &'a [Parameter],
    max_limit: usize,
    parsed: ReportQuery,
    seen: Vec<String>,
    errors: Vec<ProblemItem>,
}

impl<'a> Reader<'a> {
    /// Nothing was read yet.
    pub(super) fn new(taken: &'a [Parameter], max_limit: usize) -> Self {
        Self { taken, max_limit, parsed: ReportQuery::default(), seen: Vec::new(), errors: Vec::new() }
    }

    pub(super) fn take(&mut self, name: &str, value: &str) {
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

    pub(super) fn refuse(&mut self, name: &str, code: &'static str, detail: String) {
        self.errors.push(ProblemItem::parameter(shortened(name), code, detail));
    }

    pub(super) fn finish(mut self, now: DateTime<Utc>) -> Result<ReportQuery, ApiError> {
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

pub(super) fn instant(value: &str) -> Option<DateTime<Utc>> {
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
