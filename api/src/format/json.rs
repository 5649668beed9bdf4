//! Rows as JSON objects.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::FormatError;
use super::cell::{Cell, Column};

/// The column names as JSON keys, each with its colon: escaped once, not once a row.
pub fn keys(schema: &SchemaRef) -> Result<Arc<[String]>, FormatError> {
    let key = |name: &String| Ok(format!("{}:", serde_json::to_string(name)?));
    schema.fields().iter().map(|field| key(field.name())).collect()
}

/// One row, as an object.
pub fn row(out: &mut Vec<u8>, keys: &[String], columns: &[Column], row: usize) -> Result<(), FormatError> {
    let mut scratch = Vec::new();
    out.push(b'{');
    for (place, (key, column)) in keys.iter().zip(columns).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key.as_bytes());
        match column.cell(row, &mut scratch) {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Text(value) => serde_json::to_writer(&mut *out, value)?,
            Cell::Quoted(value) => {
                out.push(b'"');
                out.extend_from_slice(value.as_bytes());
                out.push(b'"');
            }
            Cell::Bare(value) => out.extend_from_slice(value.as_bytes()),
        }
    }
    out.push(b'}');
    Ok(())
}
