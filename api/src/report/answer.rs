//! The answer to a report: head, rows, and what they were computed from.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use touchline_pipeline::reports::TimeRange;
use touchline_pipeline::reports::rows::{ListKey, Page as ListPage};
use touchline_pipeline::view::Looked;
use touchline_pipeline::{Answer, AnswerMeta, AsOf, QueryEngine, View};
use touchline_schemas::control::{Scope, TableVersion};
use touchline_schemas::tables::Table;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::explanation::Explanation;
use super::params::{AS_OF, EXPLAIN, Parameter, ReportQuery, instant_text};
use super::tag::{KnownTags, Question};
use super::{Cursor, Page};
use crate::auth::Caller;
use crate::error::{ApiError, ProblemItem};
use crate::exports::AnswerFacts;
use crate::format::{CsvOptions, Ending, Format, FormatError, RowWriter, body, negotiate};
use crate::{AppState, VERSION};

/// The version of the table that was read.
pub const X_LAKE_VERSION: HeaderName = HeaderName::from_static("x-lake-version");
/// The time up to which the table is complete.
pub const X_WATERMARK: HeaderName = HeaderName::from_static("x-watermark");
/// Bytes of the files that were planned to be read.
pub const X_BYTES_SCANNED: HeaderName = HeaderName::from_static("x-bytes-scanned");

/// The answer is the caller's own, and may be kept if it is asked for again each time.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// How the caller wants the rows.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The format.
    pub format: Format,
    csv: CsvOptions,
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
    view: Arc<View>,
    question: Question,
    known: KnownTags,
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

    fn parse(
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
    fn tag(&self, definition: &str, looked_at: &[Looked], facts: Option<&str>) -> Option<HeaderValue> {
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
    fn page_limit(&self, default_limit: usize) -> Option<usize> {
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

    fn with_late_events(&self, meta: &Meta) -> Meta {
        Meta { late_events: self.late_events.get().copied(), ..meta.clone() }
    }

    /// What stands in the head of every answer.
    fn head(&self, tag: Option<HeaderValue>, lake_version: Option<i64>, watermark: Option<String>) -> HeaderMap {
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
    fn next_link(&self, cursor: &Cursor) -> String {
        let next = self.query.next_page(self.uri.query().unwrap_or_default(), cursor);
        format!("{}?{next}", self.uri.path())
    }
}

/// The first and the last day of UTC that a range touches.
fn days_of(range: TimeRange) -> (Option<NaiveDate>, Option<NaiveDate>) {
    let last = range.to.map(|to| to.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(to));
    (range.from.map(|from| from.date_naive()), last.map(|last| last.date_naive()))
}

/// What rows were computed from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Meta {
    /// Version of the table that was read; null for reports that read none.
    pub lake_version: Option<i64>,
    /// Version of `events` that this table was computed from.
    pub source_version: Option<i64>,
    /// The time up to which events are in it, RFC 3339.
    pub watermark: Option<String>,
    /// Versions of the tables that a statement may have read; missing in reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_versions: Option<BTreeMap<String, i64>>,
    /// Name and version of the metric's definition.
    pub definition: &'static str,
    /// Begin of the range, included.
    pub from: Option<String>,
    /// End of the range, excluded; null when it is open.
    pub to: Option<String>,
    /// Events of the account, on days of UTC that the range touches, that came in when their day was over: how much what
    /// was counted before may have changed. Null for earlier states, and where nothing was read from the lake.
    pub late_events: Option<u64>,
    /// Whether everything that was received up to the end of the range is in the answer: the watermark reaches it. What
    /// comes late may still change it.
    pub complete: bool,
    /// What it was made of, if not of tables.
    #[serde(skip)]
    facts: Option<String>,
    /// As [`AnswerMeta`] has it.
    #[serde(skip)]
    pub(super) is_of_last_plan: bool,
}

impl Meta {
    /// What a query's answer says of itself.
    pub fn of(answer: &AnswerMeta, query: &ReportQuery) -> Self {
        Self {
            lake_version: Some(answer.lake_version),
            source_version: answer.source_version,
            watermark: answer.watermark.map(instant_text),
            is_of_last_plan: answer.is_of_last_plan,
            complete: answer.watermark.zip(query.range.to).is_some_and(|(watermark, to)| watermark >= to),
            ..Self::without_lake(answer.definition, query)
        }
    }

    /// What is known of an answer that was not read from a table.
    pub fn without_lake(definition: &'static str, query: &ReportQuery) -> Self {
        let text = |at: Option<DateTime<Utc>>| at.map(instant_text);
        Self {
            lake_version: None,
            source_version: None,
            watermark: None,
            table_versions: None,
            definition,
            from: text(query.range.from),
            to: text(query.range.to),
            late_events: None,
            complete: false,
            facts: None,
            is_of_last_plan: false,
        }
    }

    /// Names the versions of the tables that a statement may have read.
    pub fn with_tables(self, versions: BTreeMap<String, i64>) -> Self {
        Self { table_versions: Some(versions), ..self }
    }

    /// Names what an answer without tables was made of, so that the same answer can be told.
    pub fn made_of(self, facts: impl std::fmt::Debug) -> Self {
        Self { facts: Some(format!("{facts:?}")), ..self }
    }
}

/// Where to go from here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Links {
    /// The next page; null when there is none.
    pub next: Option<String>,
}

/// The whole document in JSON, as the description of the API has it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct Envelope {
    /// One object for each row, with the column names of the CSV.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<()>,
    /// What the rows were computed from.
    pub meta: Meta,
    /// Where to go from here.
    pub links: Links,
}

/// What follows the rows in JSON.
#[derive(Serialize)]
struct Tail<'a> {
    meta: &'a Meta,
    links: &'a Links,
}

/// Answers with the rows that [`Asked::list_page`] asked for.
pub async fn list(asked: &Asked, found: Answer, key: ListKey, default_limit: usize) -> Result<Response, ApiError> {
    let meta = Meta::of(&found.meta, &asked.query);
    match asked.page_limit(default_limit) {
        Some(_) if asked.query.is_explained => explained(asked, &meta),
        None => all(asked, &found.schema, found.batches, &meta).await,
        Some(limit) => {
            let rows = Page::collect(found.batches, limit, key).await?;
            page(asked, &found.schema, rows, &meta)
        }
    }
}

/// Answers with one page, whose rows are already here.
pub fn page(asked: &Asked, schema: &SchemaRef, page: Page, meta: &Meta) -> Result<Response, ApiError> {
    let next = page.next.as_ref().map(|cursor| asked.next_link(cursor));
    let batches = stream::iter(page.batches.into_iter().map(Ok::<_, Infallible>));
    respond(asked, schema, batches, meta, Links { next })
}

/// Answers with all rows, written while they are computed.
///
/// The first batch is waited for: what fails before any row can still be told as a problem.
pub async fn all<S, E>(asked: &Asked, schema: &SchemaRef, mut batches: S, meta: &Meta) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<RecordBatch, E>> + Send + Unpin + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    if asked.query.is_explained {
        return explained(asked, meta);
    }
    let first = batches.next().await.transpose().map_err(|source| FormatError::Query(Box::new(source)))?;
    respond(asked, schema, stream::iter(first.map(Ok)).chain(batches), meta, Links { next: None })
}

/// Answers with how the answer would come about. Its rows are never computed, unless the report counts by hand.
fn explained(asked: &Asked, meta: &Meta) -> Result<Response, ApiError> {
    let looked_at = asked.view.looked_at();
    if looked_at.is_empty() {
        let detail = "this report is not read from the lake: there is no SQL to show";
        return Err(ApiError::Query(vec![ProblemItem::parameter(EXPLAIN, "unknown_parameter", detail)]));
    }
    let tag = asked.tag(meta.definition, &looked_at, meta.facts.as_deref());
    let meta = &asked.with_late_events(meta);
    let mut headers = asked.head(tag, meta.lake_version, meta.watermark.clone());
    headers.insert(header::CONTENT_TYPE, asked.delivery.format.content_type());
    let body = serde_json::to_vec(&Explanation::of(&asked.view, meta)).map_err(FormatError::from)?;
    Ok((headers, body).into_response())
}

fn respond<S, E>(asked: &Asked, schema: &SchemaRef, batches: S, meta: &Meta, links: Links) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<RecordBatch, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let (delivery, looked_at) = (asked.delivery, asked.view.looked_at());
    if looked_at.is_empty() && asked.view.as_of() != AsOf::Newest {
        let detail = "this report is not read from the lake, and knows no earlier state of itself";
        return Err(ApiError::Query(vec![ProblemItem::parameter(AS_OF, "unknown_parameter", detail)]));
    }
    let tag = asked.tag(meta.definition, &looked_at, meta.facts.as_deref());
    let meta = &asked.with_late_events(meta);
    let is_known = asked.known.hold_any() || tag.as_ref().is_some_and(|tag| asked.known.hold(tag));
    let mut headers = asked.head(tag, meta.lake_version, meta.watermark.clone());
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let writer = RowWriter::new(delivery.format, delivery.csv, schema)?;
    let ending = match delivery.format {
        Format::Json => json_ending(meta, &links)?,
        Format::Ndjson | Format::Csv | Format::Parquet | Format::Arrow => Ending::default(),
    };
    headers.insert(header::CONTENT_TYPE, delivery.format.content_type());
    put(&mut headers, header::LINK, links.next.map(|next| format!("<{next}>; rel=\"next\"")));
    let facts = facts(schema, meta, &looked_at);
    let mut response = (headers, body(writer, schema, batches, ending, Arc::clone(&facts.rows))).into_response();
    response.extensions_mut().insert(facts);
    Ok(response)
}

fn facts(schema: &SchemaRef, meta: &Meta, looked_at: &[Looked]) -> AnswerFacts {
    let looked_up =
        looked_at.iter().map(|looked| (looked.table.name().to_owned(), looked.id.clone(), looked.snapshot.version));
    let by_statement =
        meta.table_versions.iter().flatten().map(|(name, version)| (name.clone(), String::new(), *version));
    let tables = looked_up.chain(by_statement).map(|(name, id, version)| (name, TableVersion { id, version }));
    let snapshot = looked_at.first().map(|looked| &looked.snapshot);
    AnswerFacts {
        schema: SchemaRef::clone(schema),
        tables: tables.collect(),
        watermark: snapshot.and_then(|snapshot| snapshot.info.as_ref()).and_then(|info| info.watermark),
        definition: meta.definition,
        rows: Arc::default(),
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<String>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
        headers.insert(name, value);
    }
}

/// `],"meta":{…},"links":{…}}`: the rest of the object that the writer's head opened.
fn json_ending(meta: &Meta, links: &Links) -> Result<Ending, FormatError> {
    let tail = serde_json::to_vec(&Tail { meta, links })?;
    let mut ending = b"],".to_vec();
    ending.extend_from_slice(&tail[1..]);
    Ok(Ending(ending))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::format::tests::every_kind;

    fn asked(address: &'static str, headers: &HeaderMap) -> Result<Asked, ApiError> {
        let now = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        Asked::parse(&Uri::from_static(address), headers, &[Parameter::Limit, Parameter::Cursor], 100, now, "")
    }

    fn meta(query: &ReportQuery) -> Meta {
        let answer = AnswerMeta {
            lake_version: 7,
            source_version: Some(9),
            watermark: DateTime::from_timestamp(1_767_225_600, 0),
            definition: "sessions/1",
            is_of_last_plan: true,
        };
        Meta::of(&answer, query)
    }

    async fn text(response: Response) -> String {
        String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn format_parameter_beats_suffix_beats_accept() {
        for (address, accept, expected) in [
            ("/r", "text/csv", Some(Format::Csv)),
            ("/r.json", "text/csv", Some(Format::Json)),
            ("/r.json?format=csv", "application/json", Some(Format::Csv)),
            ("/r?format=json", "image/png", Some(Format::Json)),
            ("/r", "image/png", None),
            ("/r.parquet", "text/csv", Some(Format::Parquet)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            let chosen = asked(address, &headers).ok().map(|asked| asked.delivery.format);
            assert_eq!(chosen, expected, "{address} {accept}");
        }
    }

    #[test]
    fn beside_a_body_the_address_says_only_how_the_answer_looks() {
        for (query, expected) in [
            ("", Ok(Format::Json)),
            ("format=csv&bom=1&raw=1", Ok(Format::Csv)),
            ("as_of=7", Err("as_of unknown_parameter")),
            ("from=yesterday&format=csv&limit=1", Err("from unknown_parameter, limit unknown_parameter")),
            ("format=xml", Err("format invalid_value")),
            ("raw=1&raw=1", Err("raw repeated")),
        ] {
            let uri: Uri = format!("/sql?{query}").parse().unwrap();
            let asked = Asked::in_body(None, &uri, &HeaderMap::new(), DateTime::UNIX_EPOCH);
            let told = asked.map(|asked| asked.delivery.format).map_err(|error| match error {
                ApiError::Query(items) => {
                    let said = |item: ProblemItem| format!("{} {}", item.parameter.unwrap_or_default(), item.code);
                    items.into_iter().map(said).collect::<Vec<_>>().join(", ")
                }
                other => panic!("{other}"),
            });
            assert_eq!(told, expected.map_err(str::to_owned), "{query}");
        }
    }

    #[tokio::test]
    async fn a_page_is_an_envelope_with_a_link_to_the_next() {
        let asked = asked("/r?limit=2&from=2025-12-01", &HeaderMap::new()).unwrap();
        let cursor = Cursor { at: DateTime::UNIX_EPOCH, id: "s1".to_owned() };
        let held = Page { batches: vec![every_kind()], next: Some(cursor.clone()) };
        let response = page(&asked, &every_kind().schema(), held, &meta(&asked.query)).unwrap();

        let next = format!("/r?limit=2&from=2025-12-01T00%3A00%3A00.000000Z&cursor={}", cursor.encode());
        assert_eq!(response.headers()[header::LINK], format!("<{next}>; rel=\"next\"").as_str());
        assert_eq!(response.headers()[X_LAKE_VERSION], "7");
        assert_eq!(response.headers()[X_WATERMARK], "2026-01-01T00:00:00.000000Z");
        let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(body["data"].as_array().map(Vec::len), Some(2));
        assert_eq!(body["meta"]["lake_version"], 7);
        assert_eq!(body["meta"]["definition"], "sessions/1");
        assert_eq!(body["meta"]["late_events"], serde_json::Value::Null);
        assert_eq!(body["links"]["next"], next);
    }

    #[test]
    fn a_range_is_complete_when_the_watermark_reaches_its_end() {
        for (range, expected) in [
            ("to=2025-12-31", true),
            ("to=2026-01-01", true),
            ("to=2026-01-01T00:00:00.000001Z", false),
            ("from=2025-12-01", false),
        ] {
            let uri: Uri = format!("/r?{range}").parse().unwrap();
            let asked = Asked::parse(&uri, &HeaderMap::new(), &[], 100, DateTime::UNIX_EPOCH, "");
            assert_eq!(meta(&asked.unwrap().query).complete, expected, "{range}");
        }
    }

    #[tokio::test]
    async fn what_the_caller_has_is_not_sent_again() {
        let address = "/r?from=2025-12-01";
        let answer = async |headers: &HeaderMap, fact: u8| {
            let asked = asked(address, headers).unwrap();
            let rows = stream::iter([Ok::<_, std::io::Error>(every_kind())]);
            let meta = Meta::without_lake("r/1", &asked.query).made_of(fact);
            all(&asked, &every_kind().schema(), rows, &meta).await.unwrap()
        };
        let first = answer(&HeaderMap::new(), 1).await;
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let again = answer(&headers, 1).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()[header::ETAG], first.headers()[header::ETAG]);
        assert_eq!(text(again).await, "");
        assert_eq!(answer(&headers, 2).await.status(), StatusCode::OK);
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        assert_eq!(answer(&headers, 3).await.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn a_report_without_earlier_states_says_so() {
        let asked = asked("/r?as_of=7", &HeaderMap::new()).unwrap();
        let rows = stream::iter([Ok::<_, std::io::Error>(every_kind())]);
        let meta = Meta::without_lake("r/1", &asked.query);
        let refused = all(&asked, &every_kind().schema(), rows, &meta).await.unwrap_err();
        assert!(matches!(refused, ApiError::Query(_)));
    }

    #[tokio::test]
    async fn no_rows_are_still_a_document() {
        for (address, expected) in
            [("/r?format=csv", "text,count,flag,share,at,day,revenue\r\n"), ("/r", r#"{"data":[],"meta":{"#)]
        {
            let asked = asked(address, &HeaderMap::new()).unwrap();
            let nothing = stream::iter(Vec::<Result<RecordBatch, std::io::Error>>::new());
            let response = all(&asked, &every_kind().schema(), nothing, &meta(&asked.query)).await.unwrap();
            assert!(text(response).await.starts_with(expected));
        }
    }

    #[tokio::test]
    async fn a_query_that_fails_at_once_is_an_error_and_not_a_body() {
        let asked = asked("/r", &HeaderMap::new()).unwrap();
        let failing = stream::iter([Err::<RecordBatch, _>(std::io::Error::other("disk"))]);
        assert!(all(&asked, &every_kind().schema(), failing, &meta(&asked.query)).await.is_err());
    }
}
