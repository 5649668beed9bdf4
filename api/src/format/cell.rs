//! The value of one cell as text: the only place that knows how a value looks.

use std::io::Write;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type,
};
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, NaiveDate, Timelike};

use super::{FormatError, typed};

/// Days from 0001-01-01 to 1970-01-01, as `chrono` counts them.
const EPOCH_DAY_FROM_CE: i32 = 719_163;

/// What a cell holds, once it is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Text of a person or a client: must be quoted in JSON and guarded in CSV.
    Text(&'a str),
    /// A time or a date: quoted in JSON.
    Quoted(&'a str),
    /// A number or a truth value.
    Bare(&'a str),
}

/// A column of one batch, ready to be read row by row.
#[derive(Debug)]
pub struct Column {
    values: Values,
}

#[derive(Debug)]
enum Values {
    Text(StringArray),
    Flag(BooleanArray),
    Signed(Int64Array),
    Unsigned(UInt64Array),
    Float(Float64Array),
    Decimal(Decimal128Array),
    Day(Date32Array),
    Instant(TimestampMicrosecondArray),
}

impl Column {
    /// Every column of `batch`, in order.
    pub fn all(batch: &RecordBatch) -> Result<Vec<Self>, FormatError> {
        let schema = batch.schema();
        schema.fields().iter().zip(batch.columns()).map(|(field, array)| Self::new(field, array)).collect()
    }

    fn new(field: &Field, array: &ArrayRef) -> Result<Self, FormatError> {
        let values =
            Values::read(array).map_err(|source| FormatError::Column { column: field.name().clone(), source })?;
        Ok(Self { values })
    }

    /// The cell in `row`. `scratch` is emptied and lends its memory.
    pub fn cell<'a>(&'a self, row: usize, scratch: &'a mut Vec<u8>) -> Cell<'a> {
        scratch.clear();
        match &self.values {
            Values::Text(array) if array.is_valid(row) => Cell::Text(array.value(row)),
            Values::Flag(array) if array.is_valid(row) => Cell::Bare(if array.value(row) { "true" } else { "false" }),
            Values::Signed(array) if array.is_valid(row) => bare(scratch, array.value(row)),
            Values::Unsigned(array) if array.is_valid(row) => bare(scratch, array.value(row)),
            Values::Float(array) if array.is_valid(row) => bare(scratch, array.value(row)),
            Values::Decimal(array) if array.is_valid(row) => bare(scratch, array.value_as_string(row)),
            Values::Day(array) if array.is_valid(row) => day(scratch, array.value(row)),
            Values::Instant(array) if array.is_valid(row) => instant(scratch, array.value(row)),
            Values::Text(_)
            | Values::Flag(_)
            | Values::Signed(_)
            | Values::Unsigned(_)
            | Values::Float(_)
            | Values::Decimal(_)
            | Values::Day(_)
            | Values::Instant(_) => Cell::Null,
        }
    }
}

impl Values {
    fn read(array: &ArrayRef) -> Result<Self, ArrowError> {
        let array = typed::array(array)?;
        Ok(match array.data_type() {
            DataType::Boolean => Self::Flag(array.as_boolean().clone()),
            DataType::Int64 => Self::Signed(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Self::Unsigned(array.as_primitive::<UInt64Type>().clone()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive::<Decimal128Type>().clone()),
            DataType::Date32 => Self::Day(array.as_primitive::<Date32Type>().clone()),
            DataType::Timestamp(..) => Self::Instant(array.as_primitive::<TimestampMicrosecondType>().clone()),
            _ => Self::Text(array.as_string::<i32>().clone()),
        })
    }
}

fn bare(scratch: &mut Vec<u8>, value: impl std::fmt::Display) -> Cell<'_> {
    written(scratch, format_args!("{value}")).map_or(Cell::Null, Cell::Bare)
}

/// `YYYY-MM-DD`.
fn day(scratch: &mut Vec<u8>, days: i32) -> Cell<'_> {
    let date = days.checked_add(EPOCH_DAY_FROM_CE).and_then(NaiveDate::from_num_days_from_ce_opt);
    match date {
        Some(date) => written(scratch, format_args!("{date}")).map_or(Cell::Null, Cell::Quoted),
        None => Cell::Null,
    }
}

/// RFC 3339, UTC, always six digits: so that texts sort like the times they stand for.
fn instant(scratch: &mut Vec<u8>, micros: i64) -> Cell<'_> {
    let Some(at) = DateTime::from_timestamp_micros(micros) else { return Cell::Null };
    let text = format_args!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.timestamp_subsec_micros()
    );
    written(scratch, text).map_or(Cell::Null, Cell::Quoted)
}

fn written<'a>(scratch: &'a mut Vec<u8>, text: std::fmt::Arguments<'_>) -> Option<&'a str> {
    scratch.write_fmt(text).ok()?;
    std::str::from_utf8(scratch).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date64Array, DictionaryArray, Float32Array, Int8Array, LargeStringArray, StringViewArray,
        TimestampMillisecondArray, TimestampNanosecondArray, UInt16Array,
    };
    use arrow::datatypes::Int32Type;

    use super::*;

    #[track_caller]
    fn check(array: impl Array + 'static, expected: Cell<'_>) {
        let array: ArrayRef = Arc::new(array);
        let column = Column::new(&Field::new("x", array.data_type().clone(), true), &array).unwrap();
        assert_eq!(column.cell(0, &mut Vec::new()), expected);
    }

    #[test]
    fn types_that_engines_answer_with_are_brought_to_one_form() {
        check(LargeStringArray::from(vec!["x"]), Cell::Text("x"));
        check(StringViewArray::from(vec!["x"]), Cell::Text("x"));
        check(DictionaryArray::<Int32Type>::from_iter(["x"]), Cell::Text("x"));
        check(Int8Array::from(vec![-7]), Cell::Bare("-7"));
        check(UInt16Array::from(vec![7]), Cell::Bare("7"));
        check(UInt64Array::from(vec![u64::MAX]), Cell::Bare("18446744073709551615"));
        check(Float32Array::from(vec![0.5]), Cell::Bare("0.5"));
        check(Float64Array::from(vec![f64::INFINITY]), Cell::Null);
        check(Date64Array::from(vec![86_400_000]), Cell::Quoted("1970-01-02"));
        check(TimestampMillisecondArray::from(vec![1]), Cell::Quoted("1970-01-01T00:00:00.001000Z"));
        check(TimestampNanosecondArray::from(vec![1_000]), Cell::Quoted("1970-01-01T00:00:00.000001Z"));
        check(Date32Array::from(vec![-1]), Cell::Quoted("1969-12-31"));
        check(Date32Array::from(vec![i32::MAX]), Cell::Null);
    }

    #[test]
    fn amounts_keep_every_digit() {
        let amount = |units, scale| Decimal128Array::from(vec![units]).with_precision_and_scale(38, scale).unwrap();
        check(amount(123_456_789_012_345_678_901_234_567_890, 4), Cell::Bare("12345678901234567890123456.7890"));
        check(amount(-5, 4), Cell::Bare("-0.0005"));
        check(amount(0, 0), Cell::Bare("0"));
    }
}
