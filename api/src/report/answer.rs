//! The answer to a report: head, rows, and what they were computed from.

use std::collections::BTreeMap;
use std::convert::Infallible;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use touchline_pipeline::AnswerMeta;
use touchline_schemas::control::Scope;
use utoipa::ToSchema;

use super::params::{Parameter, ReportQuery, instant_text};
use super::{Cursor, Page};
use crate::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::format::{CsvOptions, Ending, Format, FormatError, RowWriter, body, negotiate};

/// The version of the table that was read.
pub const X_LAKE_VERSION: HeaderName = HeaderName::from_static("x-lake-version");
/// The time up to which the table is complete.
pub const X_WATERMARK: HeaderName = HeaderName::from_static("x-watermark");

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
        Self::parse(uri, headers, taken, state.config.query.max_limit, state.clock.now())
    }

    fn parse(
        uri: &Uri,
        headers: &HeaderMap,
        taken: &[Parameter],
        max_limit: usize,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let query = ReportQuery::parse(uri.query().unwrap_or_default(), taken, max_limit, now)?;
        let delivery = Delivery::choose(&query, uri, headers)?;
        Ok(Self { query, delivery, uri: uri.clone() })
    }

    /// What was asked in a body: the address says at most how the answer is to look, and the body wins.
    pub fn in_body(
        format: Option<Format>,
        uri: &Uri,
        headers: &HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let address = ReportQuery::parse(uri.query().unwrap_or_default(), &[], 1, now)?;
        let query = ReportQuery { format: format.or(address.format), csv: address.csv, ..ReportQuery::default() };
        let delivery = Delivery::choose(&query, uri, headers)?;
        Ok(Self { query, delivery, uri: uri.clone() })
    }

    /// The address of the page after `cursor`, relative to this server.
    fn next_link(&self, cursor: &Cursor) -> String {
        let next = self.query.next_page(self.uri.query().unwrap_or_default(), cursor);
        format!("{}?{next}", self.uri.path())
    }
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
}

impl Meta {
    /// What a query's answer says of itself.
    pub fn of(answer: &AnswerMeta, query: &ReportQuery) -> Self {
        Self {
            lake_version: Some(answer.lake_version),
            source_version: answer.source_version,
            watermark: answer.watermark.map(instant_text),
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
        }
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

/// Answers with one page, whose rows are already here.
pub fn page(asked: &Asked, schema: &SchemaRef, page: Page, meta: &Meta) -> Result<Response, ApiError> {
    let next = page.next.as_ref().map(|cursor| asked.next_link(cursor));
    let batches = stream::iter(page.batches.into_iter().map(Ok::<_, Infallible>));
    respond(asked.delivery, schema, batches, meta, Links { next })
}

/// Answers with all rows, written while they are computed.
///
/// The first batch is waited for: what fails before any row can still be told as a problem.
pub async fn all<S, E>(asked: &Asked, schema: &SchemaRef, mut batches: S, meta: &Meta) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<RecordBatch, E>> + Send + Unpin + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let first = batches.next().await.transpose().map_err(|source| FormatError::Query(Box::new(source)))?;
    respond(asked.delivery, schema, stream::iter(first.map(Ok)).chain(batches), meta, Links { next: None })
}

fn respond<S, E>(
    delivery: Delivery,
    schema: &SchemaRef,
    batches: S,
    meta: &Meta,
    links: Links,
) -> Result<Response, ApiError>
where
    S: Stream<Item = Result<RecordBatch, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let writer = RowWriter::new(delivery.format, delivery.csv, schema)?;
    let ending = match delivery.format {
        Format::Json => json_ending(meta, &links)?,
        Format::Csv => Ending::default(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, delivery.format.content_type());
    headers.insert(header::VARY, negotiate::VARY);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Some(version) = meta.lake_version {
        headers.insert(X_LAKE_VERSION, HeaderValue::from(version));
    }
    put(&mut headers, X_WATERMARK, meta.watermark.clone());
    put(&mut headers, header::LINK, links.next.map(|next| format!("<{next}>; rel=\"next\"")));
    Ok((headers, body(writer, schema, batches, ending)).into_response())
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
        Asked::parse(&Uri::from_static(address), headers, &[Parameter::Limit, Parameter::Cursor], 100, now)
    }

    fn meta(query: &ReportQuery) -> Meta {
        let answer = AnswerMeta {
            lake_version: 7,
            source_version: Some(9),
            watermark: DateTime::from_timestamp(1_767_225_600, 0),
            definition: "sessions/1",
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
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            let chosen = asked(address, &headers).ok().map(|asked| asked.delivery.format);
            assert_eq!(chosen, expected, "{address} {accept}");
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
        assert_eq!(body["links"]["next"], next);
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
