//! The query string of a report: every parameter is known, or the request is refused.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use touchline_pipeline::AsOf;
use touchline_pipeline::reports::compared::Compare;
use touchline_pipeline::reports::{Bots, TimeRange};
use touchline_schemas::control::AccountSettings;
use url::form_urlencoded;

use self::reader::Reader;
use super::cursor::Cursor;
use crate::error::ApiError;
use crate::format::{CsvOptions, Format};

mod described;
mod reader;

pub use described::{
    AllTimeParams, AnswerParams, BotsParam, CompareParam, FilterParam, IntervalParam, LimitParam, PageParams,
    RangeParams, SortParam, TimeZoneParam,
};

/// Most parameters of a request.
const MAX_PARAMETERS: usize = 100;

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
        let mut reader = Reader::new(taken, max_limit);
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

#[cfg(test)]
mod tests;
