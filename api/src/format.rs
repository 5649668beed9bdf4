//! Writing a report: one walk over Arrow batches, two ways of putting a row down.
//!
//! JSON and CSV cannot disagree about a value, because both take it from [`cell::Column`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

pub mod cell;
pub mod csv;
pub mod json;
pub mod negotiate;
pub mod stream;

pub use csv::CsvOptions;
pub use negotiate::Format;
pub use stream::{Ending, body};

use cell::Column;

/// Rows that are written at once: large enough to pay for the chunk, small enough to leave the thread to others.
const ROWS_PER_CHUNK: usize = 1024;

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A column's type has no text form.
    #[error("column `{column}` cannot be written as text")]
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
}

/// Puts rows down in one format.
#[derive(Debug, Clone)]
pub enum RowWriter {
    /// JSON objects, separated by commas.
    Json {
        /// Column names as JSON keys with their colon, in order.
        keys: Arc<[String]>,
        /// Whether a row has been written.
        started: bool,
    },
    /// CSV records.
    Csv(CsvOptions),
}

impl RowWriter {
    /// A writer for rows of `schema`.
    pub fn new(format: Format, csv: CsvOptions, schema: &SchemaRef) -> Result<Self, FormatError> {
        match format {
            Format::Json => Ok(Self::Json { keys: json::keys(schema)?, started: false }),
            Format::Csv => Ok(Self::Csv(csv)),
        }
    }

    /// What comes before the first row.
    pub fn head(&self, schema: &SchemaRef) -> Vec<u8> {
        match self {
            Self::Json { .. } => br#"{"data":["#.to_vec(),
            Self::Csv(options) => csv::header(schema, *options),
        }
    }

    /// The rows of `batch`.
    pub fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, FormatError> {
        let columns = Column::all(batch)?;
        let mut out = Vec::with_capacity(batch.num_rows() * columns.len() * 16);
        for row in 0..batch.num_rows() {
            match self {
                Self::Json { keys, started } => {
                    if std::mem::replace(started, true) {
                        out.push(b',');
                    }
                    json::row(&mut out, keys, &columns, row)?;
                }
                Self::Csv(options) => csv::row(&mut out, *options, &columns, row),
            }
        }
        Ok(out)
    }
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
    fn every_kind_of_value_has_one_form_in_both_formats() {
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
    }

    #[test]
    fn pieces_hold_every_row_once() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2500));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let sizes: Vec<usize> = pieces(batch).map(|piece| piece.num_rows()).collect();
        assert_eq!(sizes, [1024, 1024, 452]);
    }
}
