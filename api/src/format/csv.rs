//! CSV as RFC 4180 has it, and safe to open in a spreadsheet.

use arrow::datatypes::SchemaRef;

use super::cell::{Cell, Column};

/// What makes Excel read UTF-8 as UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const END_OF_RECORD: &[u8] = b"\r\n";

/// What a caller may choose about CSV.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CsvOptions {
    /// Begin with a byte order mark.
    pub byte_order_mark: bool,
    /// Leave texts as they are, even those that a spreadsheet would take for formulas.
    pub raw: bool,
}

/// The names of the columns, as the first record.
pub fn header(schema: &SchemaRef, options: CsvOptions) -> Vec<u8> {
    let mut out = if options.byte_order_mark { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
    for (place, field) in schema.fields().iter().enumerate() {
        separate(&mut out, place);
        text(&mut out, field.name(), true);
    }
    out.extend_from_slice(END_OF_RECORD);
    out
}

/// One row, as a record.
pub fn row(out: &mut Vec<u8>, options: CsvOptions, columns: &[Column], row: usize) {
    let mut scratch = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        separate(out, place);
        match column.cell(row, &mut scratch) {
            Cell::Null => {}
            Cell::Text(value) => text(out, value, options.raw),
            Cell::Quoted(value) | Cell::Bare(value) => out.extend_from_slice(value.as_bytes()),
        }
    }
    out.extend_from_slice(END_OF_RECORD);
}

fn separate(out: &mut Vec<u8>, place: usize) {
    if place > 0 {
        out.push(b',');
    }
}

/// Quotes what needs it. An empty text is quoted too, which tells it from nothing.
fn text(out: &mut Vec<u8>, value: &str, raw: bool) {
    let guarded = !raw && starts_a_formula(value);
    let quoted = value.is_empty() || value.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n'));
    if !quoted && !guarded {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    if quoted {
        out.push(b'"');
    }
    if guarded {
        out.push(b'\'');
    }
    for (place, part) in value.split('"').enumerate() {
        if place > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    if quoted {
        out.push(b'"');
    }
}

/// Whether a spreadsheet would compute this text instead of showing it.
fn starts_a_formula(value: &str) -> bool {
    matches!(value.as_bytes().first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

    use super::*;

    #[track_caller]
    fn check(value: &str, raw: bool, expected: &str) {
        let mut out = Vec::new();
        text(&mut out, value, raw);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{value:?}");
    }

    #[test]
    fn only_what_needs_quotes_gets_them() {
        for (value, expected) in [
            ("plain", "plain"),
            (" padded ", " padded "),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("Grüße, 世界", "\"Grüße, 世界\""),
        ] {
            check(value, false, expected);
        }
    }

    #[test]
    fn formulas_are_guarded_unless_raw() {
        for (value, guarded, raw) in [
            ("=1+1", "'=1+1", "=1+1"),
            ("+49 30", "'+49 30", "+49 30"),
            ("-5", "'-5", "-5"),
            ("@SUM(A1)", "'@SUM(A1)", "@SUM(A1)"),
            ("\tx", "'\tx", "\tx"),
            ("\rx", "\"'\rx\"", "\"\rx\""),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"", "\"=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("a=b", "a=b", "a=b"),
        ] {
            check(value, false, guarded);
            check(value, true, raw);
        }
    }

    #[test]
    fn numbers_are_never_guarded_and_empty_is_not_null() {
        let columns: [(&str, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from(vec![Some(-1), None]))),
            ("t", Arc::new(StringArray::from(vec![Some(""), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let options = CsvOptions { byte_order_mark: true, raw: false };
        let mut out = header(&batch.schema(), options);
        let columns = Column::all(&batch).unwrap();
        row(&mut out, options, &columns, 0);
        row(&mut out, options, &columns, 1);
        assert_eq!(String::from_utf8(out).unwrap(), "\u{feff}n,t\r\n-1,\"\"\r\n,\r\n");
    }
}
