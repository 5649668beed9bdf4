//! The answer to a report: head, rows, and what they were computed from.

mod asked;
mod meta;

use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use touchline_pipeline::reports::rows::ListKey;
use touchline_pipeline::view::Looked;
use touchline_pipeline::{Answer, AsOf};
use touchline_schemas::control::TableVersion;

pub use self::asked::Asked;
use self::meta::json_ending;
pub use self::meta::{Envelope, Links, Meta};
use super::Page;
use super::explanation::Explanation;
use super::params::{AS_OF, EXPLAIN};
use crate::error::{ApiError, ProblemItem};
use crate::exports::AnswerFacts;
use crate::format::{Ending, Format, FormatError, RowWriter, body};

/// The version of the table that was read.
pub const X_LAKE_VERSION: HeaderName = HeaderName::from_static("x-lake-version");
/// The time up to which the table is complete.
pub const X_WATERMARK: HeaderName = HeaderName::from_static("x-watermark");
/// Bytes of the files that were planned to be read.
pub const X_BYTES_SCANNED: HeaderName = HeaderName::from_static("x-bytes-scanned");

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

#[cfg(test)]
mod tests;
