//! What every report answers with, for the description of the API.

use std::collections::BTreeMap;

use utoipa::openapi::header::Header;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::answer::Envelope;
use super::explanation::Explanation;
use crate::format::Format;

/// The rows of a report in every format, with what stands in the head.
pub struct ReportRows;

const HEADERS: [(&str, Type, &str); 5] = [
    ("X-Lake-Version", Type::Integer, "Version of the table that was read"),
    ("X-Watermark", Type::String, "The time up to which the table is complete"),
    ("X-Bytes-Scanned", Type::Integer, "Bytes of the files that were planned to be read"),
    ("ETag", Type::String, "Names these very bytes, for `If-None-Match`"),
    ("Link", Type::String, "`rel=\"next\"`: the next page, of lists that come in pages"),
];

impl IntoResponses for ReportRows {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let explanation = Ref::from_schema_name(Explanation::name());
        let json = RefOr::T(OneOfBuilder::new().item(envelope()).item(explanation).build().into());
        let rows = HEADERS.into_iter().fold(every_format(&json), |rows, (name, kind, description)| {
            let mut header = Header::new(ObjectBuilder::new().schema_type(SchemaType::Type(kind)));
            header.description = Some(description.to_owned());
            rows.header(name, header)
        });
        let unchanged =
            ResponseBuilder::new().description("The caller has this answer: its `ETag` is in `If-None-Match`");
        BTreeMap::from([("200".to_owned(), RefOr::T(rows.build())), ("304".to_owned(), RefOr::T(unchanged.build()))])
    }
}

/// The rows of a statement in every format.
pub struct SqlRows;

impl IntoResponses for SqlRows {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        BTreeMap::from([("200".to_owned(), RefOr::T(every_format(&envelope().into()).build()))])
    }
}

fn every_format(json: &RefOr<Schema>) -> ResponseBuilder {
    let rows = ResponseBuilder::new().description("The rows; the same in every format");
    Format::ALL.into_iter().fold(rows, |rows, format| rows.content(format.media_type(), content(format, json.clone())))
}

fn envelope() -> Ref {
    Ref::from_schema_name(Envelope::name())
}

fn content(format: Format, json: RefOr<Schema>) -> Content {
    match format {
        Format::Json => Content::new(Some(json)),
        Format::Csv | Format::Ndjson => {
            Content::new(Some(ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))))
        }
        Format::Parquet | Format::Arrow => Content::default(),
    }
}
