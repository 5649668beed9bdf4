//! `GET /api/v1/data/…`: rows one by one in numbered pages, in the form in which other attribution services give them, so
//! that whoever pulls data from one of these can pull it from here. JSON only: what an event said is nested in its row.
//! Reports have the same in every format.

pub mod conversions;
pub mod funnel;

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use touchline_pipeline::reports::TimeRange;
use touchline_pipeline::reports::data::{Found, Page};
use touchline_pipeline::{AsOf, QueryEngine, View};
use touchline_schemas::tables::Table;
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, ProblemItem};
use crate::report::answer::{X_LAKE_VERSION, X_WATERMARK};
use crate::report::params::instant_text;

/// Rows of a page when the request does not say.
const DEFAULT_PER_PAGE: usize = 100;
/// Most rows of a page.
const MAX_PER_PAGE: usize = 1_000;
/// The greatest number of a page.
const MAX_PAGE: usize = 1_000_000;
/// Days before `end_date` at which the range begins when the request does not say.
const DEFAULT_DAYS: u64 = 30;
/// Most days of a range.
const MAX_DAYS: i64 = 365;

/// Which rows, and which page of them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct DataParams {
    /// First day of the range, UTC. Default: 30 days before `end_date`. A range has at most 365 days.
    #[param(example = "2026-01-01")]
    pub start_date: Option<NaiveDate>,
    /// Last day of the range, UTC, included. Default: today.
    #[param(example = "2026-01-31")]
    pub end_date: Option<NaiveDate>,
    /// Only rows of this channel; may be given for several.
    #[param(rename = "channels[]", example = "paid_search")]
    pub channels: Option<String>,
    /// Number of the page, 1 to 1000000. Default 1.
    #[param(example = 1, minimum = 1, maximum = 1000000)]
    pub page: Option<u64>,
    /// Rows of a page, 1 to 1000. Default 100.
    #[param(example = 100, minimum = 1, maximum = 1000)]
    pub per_page: Option<u64>,
}

/// Rows, and of how many.
#[derive(Debug, Serialize, ToSchema)]
pub struct DataPage<T> {
    /// The rows of this page; none behind the last one.
    pub data: Vec<T>,
    /// Of how many.
    pub meta: PageMeta,
}

/// Of how many rows and pages this is one.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageMeta {
    /// Rows of all pages.
    pub total_count: usize,
    /// Number of this page.
    pub page: usize,
    /// Rows of a page.
    pub per_page: usize,
    /// How many pages there are.
    pub total_pages: usize,
}

/// A request that was understood.
#[derive(Debug, PartialEq, Eq)]
struct DataQuery {
    range: TimeRange,
    channels: Vec<String>,
    page: Page,
    /// The parameter that only one of the routes takes.
    own: Option<String>,
}

impl DataQuery {
    /// Reads the query of `uri`; `own` names a parameter that the route takes besides. Everything that is wrong is said at
    /// once.
    fn read(uri: &Uri, own: Option<&str>, now: DateTime<Utc>) -> Result<Self, ApiError> {
        let mut read = Reader::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "start_date" => read.set(&name, |read| &mut read.start, value.parse().ok(), "a day, as in 2026-01-31"),
                "end_date" => read.set(&name, |read| &mut read.end, value.parse().ok(), "a day, as in 2026-01-31"),
                "channels[]" => read.channels.push(value.into_owned()),
                "page" => {
                    let number = value.parse().ok().filter(|number| (1..=MAX_PAGE).contains(number));
                    let form = format!("a whole number from 1 to {MAX_PAGE}");
                    read.set(&name, |read| &mut read.page, number, &form);
                }
                "per_page" => {
                    let size = value.parse().ok().filter(|size| (1..=MAX_PER_PAGE).contains(size));
                    let form = format!("a whole number from 1 to {MAX_PER_PAGE}");
                    read.set(&name, |read| &mut read.per_page, size, &form);
                }
                name if Some(name) == own => read.set(name, |read| &mut read.own, Some(value.into_owned()), "a text"),
                name => {
                    let name: String = name.chars().take(80).collect();
                    let detail = format!("this route has no parameter `{name}`");
                    read.errors.push(ProblemItem::parameter(name, "unknown_parameter", detail));
                }
            }
        }
        read.finish(now)
    }
}

#[derive(Debug, Default)]
struct Reader {
    start: Option<NaiveDate>,
    end: Option<NaiveDate>,
    page: Option<usize>,
    per_page: Option<usize>,
    own: Option<String>,
    channels: Vec<String>,
    errors: Vec<ProblemItem>,
}

impl Reader {
    /// Stores what was read, or says which form it must have.
    fn set<T>(&mut self, name: &str, place: impl Fn(&mut Self) -> &mut Option<T>, read: Option<T>, form: &str) {
        let problem = match read {
            None => Some(("invalid_value", format!("`{name}` must be {form}"))),
            Some(_) if place(self).is_some() => Some(("repeated", format!("`{name}` is given more than once"))),
            Some(read) => {
                *place(self) = Some(read);
                None
            }
        };
        self.errors.extend(problem.map(|(code, detail)| ProblemItem::parameter(name, code, detail)));
    }

    fn finish(mut self, now: DateTime<Utc>) -> Result<DataQuery, ApiError> {
        let end = self.end.unwrap_or(now.date_naive());
        let start = self.start.unwrap_or(end.checked_sub_days(Days::new(DEFAULT_DAYS)).unwrap_or(end));
        let days = (end - start).num_days() + 1;
        if !(1..=MAX_DAYS).contains(&days) {
            let detail = format!("a range must have 1 to {MAX_DAYS} days, and begin no later than it ends");
            self.errors.push(ProblemItem::parameter("start_date", "invalid_value", detail));
        }
        if !self.errors.is_empty() {
            return Err(ApiError::Query(self.errors));
        }
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        let range = TimeRange { from: Some(midnight(start)), to: end.succ_opt().map(midnight) };
        let page = Page { number: self.page.unwrap_or(1), size: self.per_page.unwrap_or(DEFAULT_PER_PAGE) };
        Ok(DataQuery { range, channels: self.channels, page, own: self.own })
    }
}

/// An engine whose queries see one version of each of these tables.
async fn engine(state: &AppState, caller: &Caller, tables: &[Table]) -> Result<QueryEngine, ApiError> {
    let engine = state.engine.viewing(&Arc::new(View::new(AsOf::Newest)));
    for table in tables {
        engine.snapshot(*table, caller.tenant()).await?;
    }
    Ok(engine)
}

fn answer<T, R: Serialize>(found: Found<T>, page: Page, row: impl FnMut(T) -> R) -> Response {
    let mut head = HeaderMap::new();
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    head.insert(X_LAKE_VERSION, HeaderValue::from(found.meta.lake_version));
    let watermark = found.meta.watermark.and_then(|watermark| HeaderValue::try_from(instant_text(watermark)).ok());
    head.extend(watermark.map(|watermark| (X_WATERMARK, watermark)));
    let meta = PageMeta {
        total_count: found.total_count,
        page: page.number,
        per_page: page.size,
        total_pages: found.total_count.div_ceil(page.size),
    };
    (head, Json(DataPage { data: found.rows.into_iter().map(row).collect(), meta })).into_response()
}

/// The day of an instant, UTC.
fn day(at_us: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp_micros(at_us).map(|at| at.date_naive())
}

/// Ten-thousandths as a number.
fn amount(e4: i128) -> f64 {
    // Exact up to 900 billion, and the nearest number that JSON's readers have beyond.
    e4 as f64 / 10_000.0
}

/// What an event said, and what of that has columns of its own here.
#[derive(Debug, Default)]
struct Said {
    funnel: Option<String>,
    is_acquisition: Option<bool>,
    properties: Option<Box<RawValue>>,
}

impl Said {
    fn of(properties: Option<String>) -> Self {
        let Some(text) = properties else { return Self::default() };
        let members: Value = serde_json::from_str(&text).unwrap_or_default();
        Self {
            funnel: members["funnel"].as_str().map(str::to_owned),
            is_acquisition: members["is_acquisition"].as_bool(),
            properties: RawValue::from_string(text).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::start;

    fn read(query: &str) -> Result<DataQuery, Vec<String>> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        DataQuery::read(&uri, Some("model"), start()).map_err(|error| match error {
            ApiError::Query(items) => items.into_iter().map(|item| item.detail).collect(),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_range_is_whole_days_with_the_last_one_in_it() {
        for (query, from, to) in [
            ("", "2025-12-02", "2026-01-02"),
            ("start_date=2025-12-31", "2025-12-31", "2026-01-02"),
            ("end_date=2025-12-31", "2025-12-01", "2026-01-01"),
            ("start_date=2025-03-05&end_date=2025-03-05", "2025-03-05", "2025-03-06"),
            ("start_date=2025-01-01&end_date=2025-12-31", "2025-01-01", "2026-01-01"),
        ] {
            let range = read(query).unwrap().range;
            let days = [range.from, range.to].map(|at| at.unwrap().to_string()[..10].to_owned());
            assert_eq!(days, [from, to], "{query}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_limit() {
        for (query, said) in [
            ("per_page=1001", "from 1 to 1000"),
            ("per_page=0", "from 1 to 1000"),
            ("page=0", "from 1 to 1000000"),
            ("page=1000001", "from 1 to 1000000"),
            ("page=1&page=2", "more than once"),
            ("start_date=banana", "as in 2026-01-31"),
            ("start_date=2025-01-01&end_date=2026-01-01", "1 to 365 days"),
            ("start_date=2026-01-02&end_date=2026-01-01", "1 to 365 days"),
            ("colour=red", "no parameter `colour`"),
        ] {
            let errors = read(query).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(said), "{query}: {errors:?}");
        }
        assert_eq!(read("page=x&per_page=x").unwrap_err().len(), 2);
        let query = read("channels[]=direct&channels%5B%5D=email&page=3&per_page=7&model=first").unwrap();
        assert_eq!((query.page, query.own.as_deref()), (Page { number: 3, size: 7 }, Some("first")));
        assert_eq!(query.channels, ["direct", "email"]);
    }

    #[test]
    fn what_has_a_column_of_its_own_is_found_in_what_the_event_said() {
        let said = Said::of(Some(r#"{"funnel":"sales","is_acquisition":true,"n":1.10}"#.to_owned()));
        assert_eq!((said.funnel.as_deref(), said.is_acquisition), (Some("sales"), Some(true)));
        assert!(said.properties.unwrap().get().contains("1.10"));
        let said = Said::of(Some(r#"{"funnel":7}"#.to_owned()));
        assert_eq!((said.funnel, said.is_acquisition), (None, None));
        assert!(Said::of(None).properties.is_none());
    }
}
