//! The rows of a query, printed as they come or as a table.

use std::error::Error;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::ValueEnum;
use futures::{Stream, TryStreamExt};
use serde::Serialize;
use touchline_api::{CsvOptions, Format, RowWriter};

use crate::output::{NOTHING, Output, count};

/// Form of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowsFormat {
    /// A table for people.
    Table,
    /// RFC 4180 with a header.
    Csv,
    /// One object with all rows.
    Json,
}

impl RowsFormat {
    /// The form that was named, else the one that suits the output.
    pub fn or_of(named: Option<Self>, output: Output) -> Self {
        named.unwrap_or(if output.is_json() { Self::Json } else { Self::Table })
    }
}

/// Prints rows; `meta` stands behind them in JSON.
pub async fn print<S, E>(
    schema: &SchemaRef,
    batches: S,
    meta: &impl Serialize,
    format: RowsFormat,
    output: Output,
) -> anyhow::Result<()>
where
    S: Stream<Item = Result<RecordBatch, E>> + Unpin,
    E: Error + Send + Sync + 'static,
{
    match format {
        RowsFormat::Table => table(schema, batches, output).await,
        RowsFormat::Csv => {
            stream(schema, batches, Format::Csv, output).await?;
            Ok(())
        }
        RowsFormat::Json => {
            stream(schema, batches, Format::Json, output).await?;
            output.line(&format!("],\"meta\":{}}}", serde_json::to_string(meta)?))
        }
    }
}

/// All rows at once: a column is as wide as its widest cell.
async fn table<S, E>(schema: &SchemaRef, mut batches: S, output: Output) -> anyhow::Result<()>
where
    S: Stream<Item = Result<RecordBatch, E>> + Unpin,
    E: Error + Send + Sync + 'static,
{
    let mut printed = vec![printable(&RecordBatch::new_empty(schema.clone()))?];
    while let Some(rows) = batches.try_next().await? {
        printed.push(printable(&rows)?);
    }
    let row_count: usize = printed.iter().map(RecordBatch::num_rows).sum();
    let options = FormatOptions::default().with_null(NOTHING);
    output.line(&pretty_format_batches_with_options(&printed, &options)?.to_string())?;
    output.note(&format!("{} {}", count(row_count as u64), if row_count == 1 { "row" } else { "rows" }));
    Ok(())
}

/// Rows as they come.
async fn stream<S, E>(schema: &SchemaRef, mut batches: S, format: Format, output: Output) -> anyhow::Result<()>
where
    S: Stream<Item = Result<RecordBatch, E>> + Unpin,
    E: Error + Send + Sync + 'static,
{
    let mut writer = RowWriter::new(format, CsvOptions::default(), schema)?;
    output.bytes(&writer.head(schema))?;
    while let Some(rows) = batches.try_next().await? {
        output.bytes(&writer.rows(&rows)?)?;
    }
    Ok(())
}

/// The same rows, with everything spelled out that a terminal would obey instead of showing it.
fn printable(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<ArrayRef> = rows.columns().iter().map(shown).collect();
    let fields = rows.schema_ref().fields().iter().zip(&columns);
    let fields: Vec<Field> = fields
        .map(|(field, column)| Field::new(escaped(field.name()), column.data_type().clone(), field.is_nullable()))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn shown(column: &ArrayRef) -> ArrayRef {
    let texts: StringArray = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().map(|text| text.map(escaped)).collect(),
        DataType::Utf8View => column.as_string_view().iter().map(|text| text.map(escaped)).collect(),
        _ => return Arc::clone(column),
    };
    Arc::new(texts)
}

/// A text with everything spelled out that a terminal would obey instead of showing it.
pub fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_by_a_table() {
        for (text, expected) in [
            ("plain ä 日本 \"q\" \\", "plain ä 日本 \"q\" \\"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            ("\u{9b}31m\x7f\0", "\\u{9b}31m\\u{7f}\\u{0}"),
        ] {
            let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(text), None]));
            let views: ArrayRef = Arc::new(StringViewArray::from(vec![Some(text), None]));
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
            let given = [(text, texts), ("v", views), ("n", Arc::clone(&numbers))];
            let rows = printable(&RecordBatch::try_from_iter(given).unwrap()).unwrap();
            assert_eq!(rows.schema_ref().field(0).name(), expected);
            for place in 0..2 {
                let texts: Vec<_> = rows.column(place).as_string::<i32>().iter().collect();
                assert_eq!(texts, vec![Some(expected), None]);
            }
            assert_eq!(rows.column(2), &numbers);
        }
    }
}
