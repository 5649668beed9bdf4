//! A report that was asked for: what is wanted, how the answer is to look, and what the caller has already.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use touchline_pipeline::reports::TimeRange;
use touchline_pipeline::reports::rows::Page as ListPage;
use touchline_pipeline::view::Looked;
use touchline_pipeline::{AsOf, QueryEngine, View};
use touchline_schemas::control::Scope;
use touchline_schemas::tables::Table;
use url::form_urlencoded;

use super::{Meta, X_BYTES_SCANNED, X_LAKE_VERSION, X_WATERMARK, put};
use crate::auth::Caller;
use crate::error::{ApiError, ProblemItem};
use crate::format::{CsvOptions, Format, FormatError, negotiate};
use crate::report::params::{Parameter, ReportQuery, instant_text};
use crate::report::tag::{KnownTags, Question};
use crate::report::{Cursor, Page};
use crate::{AppState, VERSION};

/// The answer is the caller's own, and may be kept if it is asked for again each time.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// How the caller wants the rows.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The format.
    pub format: Format,
    pub(super) csv: CsvOptions,
}

impl Delivery {
    /// Chooses the format: `format=`, then the path's suffix, then `Accept`.
    pub fn choose(query: &ReportQuery, uri: &Uri, headers: &HeaderMap) -> Result<Self, ApiError> {
        let named = query.format.or_else(|| Format::from_suffix(uri.path()));
        let format = named.or_else(|| Format::from_accept(headers)).ok_or(ApiError::NotAcceptable)?;
        Ok(Self { format, csv: query.csv })
    }
}

/// A report that was asked for by somebody who may.
#[derive(Debug)]
pub struct Asked {
    /// What was asked.
    pub query: ReportQuery,
    /// How the answer is to look.
    pub delivery: Delivery,
    uri: Uri,
    pub(super) view: Arc<View>,
    question: Question,
    pub(super) known: KnownTags,
    /// Events of the days of the range that came when their day was over; of an answer of now.
    late_events: OnceLock<u64>,
}

impl Asked {
    /// Checks the scope, then the query string, then the format.
    pub fn read(
        state: &AppState,
        caller: &Caller,
        uri: &Uri,
        headers: &HeaderMap,
        taken: &[Parameter],
    ) -> Result<Self, ApiError> {
        caller.require(Scope::CanViewReports)?;
        let limits = &state.config.query;
        let tenant = caller.tenant();
        let settings = serde_json::to_string(&caller.key().settings).map_err(FormatError::from)?;
        // What an answer may depend on without being asked for.
        let given =
            format!("{VERSION} {} {} {} {settings}", limits.default_limit, tenant.account_id, tenant.environment);
        Self::parse(uri, headers, taken, limits.max_limit, state.clock.now(), &given)
    }

    pub(super) fn parse(
        uri: &Uri,
        headers: &HeaderMap,
        taken: &[Parameter],
        max_limit: usize,
        now: DateTime<Utc>,
        given: &str,
    ) -> Result<Self, ApiError> {
        let text = uri.query().unwrap_or_default();
        let query = ReportQuery::parse(text, taken, max_limit, now)?;
        let delivery = Delivery::choose(&query, uri, headers)?;
        let question = Question::of(&[given, uri.path(), &query.normal_form(text), delivery.format.word()]);
        if query.is_explained && delivery.format != Format::Json {
            return Err(ApiError::NotAcceptable);
        }
        let view = View::new(query.as_of);
        let view = Arc::new(if query.is_explained { view.explained() } else { view });
        Ok(Self {
            query,
            delivery,
            uri: uri.clone(),
            view,
            question,
            known: KnownTags::of(headers),
            late_events: OnceLock::new(),
        })
    }

    /// The engine that answers: its queries see one version of each table, those of `as_of=` if it is given. The
    /// versions of `tables` are chosen now.
    pub async fn engine(&self, state: &AppState, caller: &Caller, tables: &[Table]) -> Result<QueryEngine, ApiError> {
        let engine = state.engine.viewing(&self.view);
        for table in tables {
            engine.snapshot(*table, caller.tenant()).await?;
        }
        if self.query.as_of == AsOf::Newest {
            let (first, last) = days_of(self.query.range);
            // Chosen once, as the versions are: the answer's tag names it.
            let _ = self.late_events.set(state.control.late_events(caller.tenant(), first, last).await?);
        }
        Ok(engine)
    }

    /// The name of the answer's bytes.
    pub(super) fn tag(&self, definition: &str, looked_at: &[Looked], facts: Option<&str>) -> Option<HeaderValue> {
        match self.late_events.get() {
            None => self.question.tag(definition, looked_at, facts),
            Some(late) => {
                let facts = format!("{} {late}", facts.unwrap_or_default());
                self.question.tag(definition, looked_at, (!looked_at.is_empty()).then_some(&facts))
            }
        }
    }

    /// The answer: 304 if the caller has it already, told from the versions of the tables alone; else the one that is kept,
    /// or the one that `compute` gives.
    pub async fn once(
        &self,
        state: &AppState,
        definition: &'static str,
        compute: impl Future<Output = Result<Response, ApiError>>,
    ) -> Result<Response, ApiError> {
        let looked_at = self.view.looked_at();
        match self.tag(definition, &looked_at, None) {
            Some(tag) if self.known.hold(&tag) => Ok(self.unchanged(tag, &looked_at)),
            Some(tag) if !self.known.hold_any() => state.answers.get_or(&tag, compute).await,
            Some(_) | None => state.answers.in_turn(compute).await,
        }
    }

    fn unchanged(&self, tag: HeaderValue, looked_at: &[Looked]) -> Response {
        let snapshot = looked_at.first().map(|looked| &looked.snapshot);
        let watermark = snapshot.and_then(|snapshot| snapshot.info.as_ref()).and_then(|info| info.watermark);
        let lake_version = snapshot.map(|snapshot| snapshot.version);
        let head = self.head(Some(tag), lake_version, watermark.map(instant_text));
        (StatusCode::NOT_MODIFIED, head).into_response()
    }

    /// Rows of a page. JSON always comes in pages; the other formats hold everything unless the caller wants a page of it.
    pub(super) fn page_limit(&self, default_limit: usize) -> Option<usize> {
        match self.delivery.format {
            Format::Json => Some(self.query.limit.unwrap_or(default_limit)),
            Format::Ndjson | Format::Csv | Format::Parquet | Format::Arrow => self.query.limit,
        }
    }

    /// Which rows of a list to ask for: one more than a page has, if it comes in pages.
    pub fn list_page(&self, default_limit: usize) -> ListPage {
        ListPage {
            after: self.query.after.clone().map(|cursor| (cursor.at, cursor.id)),
            limit: self.page_limit(default_limit).map(Page::query_limit),
        }
    }

    pub(super) fn with_late_events(&self, meta: &Meta) -> Meta {
        Meta { late_events: self.late_events.get().copied(), ..meta.clone() }
    }

    /// What stands in the head of every answer.
    pub(super) fn head(
        &self,
        tag: Option<HeaderValue>,
        lake_version: Option<i64>,
        watermark: Option<String>,
    ) -> HeaderMap {
        let mut head = HeaderMap::new();
        head.insert(header::VARY, negotiate::VARY);
        head.insert(header::CACHE_CONTROL, CACHING);
        head.insert(X_BYTES_SCANNED, HeaderValue::from(self.view.planned_bytes()));
        head.extend(tag.map(|tag| (header::ETAG, tag)));
        head.extend(lake_version.map(|version| (X_LAKE_VERSION, HeaderValue::from(version))));
        put(&mut head, X_WATERMARK, watermark);
        head
    }

    /// What was asked in a body: the address says at most how the answer is to look (`format`, `bom`, `raw`), and the
    /// body wins.
    pub fn in_body(
        format: Option<Format>,
        uri: &Uri,
        headers: &HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let text = uri.query().unwrap_or_default();
        let unknown = form_urlencoded::parse(text.as_bytes())
            .filter(|(name, _)| !matches!(&**name, "format" | "bom" | "raw"))
            .map(|(name, _)| {
                // Short enough to be said back.
                let name: String = name.chars().take(80).collect();
                let detail = format!("this address has no parameter `{name}`: what is asked stands in the body");
                ProblemItem::parameter(name, "unknown_parameter", detail)
            });
        let unknown: Vec<ProblemItem> = unknown.collect();
        if !unknown.is_empty() {
            return Err(ApiError::Query(unknown));
        }
        let address = ReportQuery::parse(text, &[], 1, now)?;
        let query = ReportQuery { format: format.or(address.format), csv: address.csv, ..ReportQuery::default() };
        let delivery = Delivery::choose(&query, uri, headers)?;
        let view = Arc::new(View::new(query.as_of));
        // What is posted has no tag.
        let (question, known) = (Question::of(&[]), KnownTags::of(&HeaderMap::new()));
        Ok(Self { query, delivery, uri: uri.clone(), view, question, known, late_events: OnceLock::new() })
    }

    /// The address of the page after `cursor`, relative to this server.
    pub(super) fn next_link(&self, cursor: &Cursor) -> String {
        let next = self.query.next_page(self.uri.query().unwrap_or_default(), cursor);
        format!("{}?{next}", self.uri.path())
    }
}

/// The first and the last day of UTC that a range touches.
fn days_of(range: TimeRange) -> (Option<NaiveDate>, Option<NaiveDate>) {
    let last = range.to.map(|to| to.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(to));
    (range.from.map(|from| from.date_naive()), last.map(|last| last.date_naive()))
}
