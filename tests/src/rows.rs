//! Rows of a table as text, to be compared.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use touchline_pipeline::QueryEngine;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

/// All rows of one tenant, sorted; each is its cells as `column=value`.
pub async fn rows(engine: &QueryEngine, table: Table, tenant: Tenant) -> anyhow::Result<Vec<String>> {
    let (scan, _) = engine.scan(table, tenant).await?;
    let mut rows = texts(&engine.context().read_table(Arc::new(scan))?.collect().await?)?;
    rows.sort();
    Ok(rows)
}

/// Rows as text, in their order; each is its cells as `column=value`.
pub fn texts(batches: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default().with_null("∅");
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let cells = schema.fields().iter().zip(&columns);
            let cells = cells.map(|(field, column)| format!("{}={}", field.name(), column.value(row)));
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    Ok(rows)
}

/// The value of a row's column, of a row that has it and no spaces in its values.
pub fn value<'a>(row: &'a str, column: &str) -> &'a str {
    let of_column = |cell: &'a str| cell.strip_prefix(column)?.strip_prefix('=');
    row.split(' ').find_map(of_column).unwrap_or_default()
}

/// Some columns of rows from [`rows`], sorted anew.
pub fn only(rows: &[String], columns: &[&str]) -> Vec<String> {
    let cell = |row: &str, column: &str| format!("{column}={}", value(row, column));
    let cells = |row: &String| columns.iter().map(|column| cell(row, column)).collect::<Vec<_>>().join(" ");
    let mut rows: Vec<_> = rows.iter().map(cells).collect();
    rows.sort();
    rows
}
