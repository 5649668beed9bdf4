//! Writing a report: one walk over Arrow batches, several ways of putting rows down.
//!
//! The formats cannot disagree about a value: all of them take it from [`typed`], those that are text through
//! [`cell::Column`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::errors::ParquetError;

mod arrow_stream;
pub mod cell;
pub mod csv;
pub mod json;
pub mod negotiate;
mod parquet_file;
pub mod stream;
mod typed;

pub use csv::CsvOptions;
pub use negotiate::Format;
pub use stream::{Ending, body};

use arrow_stream::ArrowRows;
use cell::Column;
use parquet_file::ParquetRows;

/// Rows that are written at once: large enough to pay for the chunk, small enough to leave the thread to others.
const ROWS_PER_CHUNK: usize = 1024;

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A column's type is none that is written.
    #[error("column `{column}` cannot be written")]
    Column {
        /// The column.
        column: String,
        /// What Arrow says about it.
        #[source]
        source: ArrowError,
    },
    /// The query failed.
    #[error("the query failed")]
    Query(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A text could not be escaped.
    #[error("a text could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Rows could not be put into batches, or these into a stream.
    #[error("the rows could not be written as Arrow")]
    Arrow(#[from] ArrowError),
    /// Rows could not be put into a file.
    #[error("the rows could not be written as Parquet")]
    Parquet(#[from] ParquetError),
}

/// Puts rows down in one format.
pub enum RowWriter {
    /// JSON objects, separated by commas.
    Json {
        /// Column names as JSON keys with their colon, in order.
        keys: Arc<[String]>,
        /// Whether a row has been written.
        started: bool,
    },
    /// JSON objects, one on each line.
    Ndjson {
        /// As those of JSON.
        keys: Arc<[String]>,
    },
    /// CSV records.
    Csv(CsvOptions),
    /// A Parquet file.
    Parquet(Box<ParquetRows>),
    /// An Arrow stream.
    Arrow(Box<ArrowRows>),
}

impl RowWriter {
    /// A writer for rows of `schema`.
    pub fn new(format: Format, csv: CsvOptions, schema: &SchemaRef) -> Result<Self, FormatError> {
        Ok(match format {
            Format::Json => Self::Json { keys: json::keys(schema)?, started: false },
            Format::Ndjson => Self::Ndjson { keys: json::keys(schema)? },
            Format::Csv => Self::Csv(csv),
            Format::Parquet => Self::Parquet(Box::new(ParquetRows::new(schema)?)),
            Format::Arrow => Self::Arrow(Box::new(ArrowRows::new(schema)?)),
        })
    }

    /// What comes before the first row.
    pub fn head(&mut self, schema: &SchemaRef) -> Vec<u8> {
        match self {
            Self::Json { .. } => br#"{"data":["#.to_vec(),
            Self::Ndjson { .. } => Vec::new(),
            Self::Csv(options) => csv::header(schema, *options),
            Self::Parquet(rows) => rows.take(),
            Self::Arrow(rows) => rows.take(),
        }
    }

    /// The rows of `batch`. Formats that are written in batches may keep some of them back.
    pub fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Json { keys, started } => each_row(batch, |out, columns, row| {
                if std::mem::replace(started, true) {
                    out.push(b',');
                }
                json::row(out, keys, columns, row)
            }),
            Self::Ndjson { keys } => each_row(batch, |out, columns, row| {
                json::row(out, keys, columns, row)?;
                out.push(b'\n');
                Ok(())
            }),
            Self::Csv(options) => each_row(batch, |out, columns, row| {
                csv::row(out, *options, columns, row);
                Ok(())
            }),
            Self::Parquet(rows) => rows.write(batch).map(|()| rows.take()),
            Self::Arrow(rows) => rows.write(batch).map(|()| rows.take()),
        }
    }

    /// What comes after the last row.
    pub fn end(&mut self) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Json { .. } | Self::Ndjson { .. } | Self::Csv(_) => Ok(Vec::new()),
            Self::Parquet(rows) => rows.finish().map(|()| rows.take()),
            Self::Arrow(rows) => rows.finish().map(|()| rows.take()),
        }
    }
}

fn each_row(
    batch: &RecordBatch,
    mut write: impl FnMut(&mut Vec<u8>, &[Column], usize) -> Result<(), FormatError>,
) -> Result<Vec<u8>, FormatError> {
    let columns = Column::all(batch)?;
    let mut out = Vec::with_capacity(batch.num_rows() * columns.len() * 16);
    for row in 0..batch.num_rows() {
        write(&mut out, &columns, row)?;
    }
    Ok(out)
}

/// Cuts a batch into pieces that are written at once. The pieces share the batch's memory.
fn pieces(batch: RecordBatch) -> impl Iterator<Item = RecordBatch> + Send {
    let row_count = batch.num_rows();
    (0..row_count).step_by(ROWS_PER_CHUNK).map(move |from| batch.slice(from, ROWS_PER_CHUNK.min(row_count - from)))
}

#[cfg(test)]
pub(crate) mod tests {
    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    /// One column of every kind: a row of values, and a row of nulls.
    pub(crate) fn every_kind() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(StringArray::from(vec![Some("a \"b\", c"), None]))),
            ("count", Arc::new(Int64Array::from(vec![Some(-3), None]))),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("share", Arc::new(Float64Array::from(vec![Some(0.25), Some(f64::NAN)]))),
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from(vec![Some(1_767_225_600_000_001), None]).with_timezone("UTC")),
            ),
            ("day", Arc::new(Date32Array::from(vec![Some(20_454), None]))),
            (
                "revenue",
                Arc::new(Decimal128Array::from(vec![Some(-199_900), None]).with_precision_and_scale(18, 4).unwrap()),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    pub(crate) fn write(format: Format, options: CsvOptions, batch: &RecordBatch) -> String {
        let mut writer = RowWriter::new(format, options, &batch.schema()).unwrap();
        let mut out = writer.head(&batch.schema());
        out.extend(writer.rows(batch).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_of_value_has_one_form_in_texts() {
        let batch = every_kind();
        assert_eq!(
            write(Format::Csv, CsvOptions::default(), &batch),
            "text,count,flag,share,at,day,revenue\r\n\
             \"a \"\"b\"\", c\",-3,true,0.25,2026-01-01T00:00:00.000001Z,2026-01-01,-19.9900\r\n\
             ,,,,,,\r\n"
        );
        assert_eq!(
            write(Format::Json, CsvOptions::default(), &batch),
            concat!(
                r#"{"data":[{"text":"a \"b\", c","count":-3,"flag":true,"share":0.25,"#,
                r#""at":"2026-01-01T00:00:00.000001Z","day":"2026-01-01","revenue":-19.9900},"#,
                r#"{"text":null,"count":null,"flag":null,"share":null,"at":null,"day":null,"revenue":null}"#,
            )
        );
        assert_eq!(
            write(Format::Ndjson, CsvOptions::default(), &batch),
            concat!(
                r#"{"text":"a \"b\", c","count":-3,"flag":true,"share":0.25,"#,
                r#""at":"2026-01-01T00:00:00.000001Z","day":"2026-01-01","revenue":-19.9900}"#,
                "\n",
                r#"{"text":null,"count":null,"flag":null,"share":null,"at":null,"day":null,"revenue":null}"#,
                "\n",
            )
        );
    }

    #[test]
    fn pieces_hold_every_row_once() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2500));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let sizes: Vec<usize> = pieces(batch).map(|piece| piece.num_rows()).collect();
        assert_eq!(sizes, [1024, 1024, 452]);
    }
}
