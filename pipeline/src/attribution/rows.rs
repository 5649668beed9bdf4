//! Credits as rows of the table `attribution`, and journeys as they are read from `touchpoints`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal128Builder, RecordBatch, StringArray, StringViewArray,
    UInt64Array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use touchline_schemas::tables::{Table, attribution as column, money_type, touchpoints};

use super::credit::ONE;
use super::models::{Model, Touch};

/// The channel of which nothing is known, in any rule set and case.
const DIRECT: &str = "direct";

/// Rows of `attribution` for whole journeys: rows of `touchpoints`, in the order of conversion and position.
///
/// A conversion without touches has one row for each model, with all of the credit and no session.
pub fn credits(journeys: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let read = Journeys::read(journeys)?;
    let mut credits = Credits::default();
    for (first, length) in read.spans() {
        let touches = read.touches(first, length);
        let value = read.value(first);
        for model in Model::ALL {
            if touches.is_empty() {
                credits.push(first, model, ONE, value);
            }
            for share in model.shares(&touches, value) {
                credits.push(first + share.touch, model, share.credit, share.value);
            }
        }
    }
    credits.finish(journeys)
}

/// The columns of `touchpoints` that journeys are read from.
#[derive(Debug)]
pub struct Journeys<'a> {
    conversions: StringViewArray,
    converted_at: &'a [i64],
    positions: &'a [i64],
    touched_at: &'a [i64],
    values: &'a Decimal128Array,
    channels: StringViewArray,
}

impl<'a> Journeys<'a> {
    /// The columns that a journey needs, in any batch of rows of `touchpoints`.
    pub const COLUMNS: [&'static str; 6] = [
        touchpoints::CONVERSION_ID,
        touchpoints::CONVERTED_AT,
        touchpoints::POSITION,
        touchpoints::TOUCHED_AT,
        touchpoints::VALUE,
        touchpoints::CHANNEL,
    ];

    /// Reads a batch that begins and ends with a whole journey, in the order of conversion and position.
    pub fn read(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            conversions: text(batch, touchpoints::CONVERSION_ID)?,
            converted_at: times(batch, touchpoints::CONVERTED_AT)?,
            positions: typed(batch, touchpoints::POSITION, AsArray::as_primitive_opt::<Int64Type>)?.values(),
            touched_at: times(batch, touchpoints::TOUCHED_AT)?,
            values: typed(batch, touchpoints::VALUE, AsArray::as_primitive_opt::<Decimal128Type>)?,
            channels: text(batch, touchpoints::CHANNEL)?,
        })
    }

    /// The first row of each journey and the number of its rows.
    pub fn spans(&self) -> Vec<(usize, usize)> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for row in 0..self.conversions.len() {
            match spans.last_mut() {
                Some((first, length)) if self.conversions.value(*first) == self.conversions.value(row) => *length += 1,
                _ => spans.push((row, 1)),
            }
        }
        spans
    }

    /// The touches of a journey; none if it has none.
    pub fn touches(&self, first: usize, length: usize) -> Vec<Touch> {
        let rows = (first..first + length).filter(|row| self.positions[*row] > 0);
        let is_direct =
            |row: usize| self.channels.is_valid(row) && self.channels.value(row).eq_ignore_ascii_case(DIRECT);
        rows.map(|row| Touch { at_us: self.touched_at[row], is_direct: is_direct(row) }).collect()
    }

    /// When the journey that begins in a row led to its conversion, in microseconds.
    pub fn converted_at_us(&self, first: usize) -> i64 {
        self.converted_at[first]
    }

    /// What the conversion of the journey that begins in a row is worth, in units.
    pub fn value(&self, first: usize) -> Option<i128> {
        self.values.is_valid(first).then(|| self.values.value(first))
    }
}

/// Credits, and the touchpoint that each belongs to.
#[derive(Default)]
struct Credits {
    rows: Vec<u64>,
    models: Vec<&'static str>,
    credits: Vec<i128>,
    values: Vec<Option<i128>>,
}

impl Credits {
    fn push(&mut self, row: usize, model: Model, credit: i128, value: Option<i128>) {
        self.rows.push(row as u64);
        self.models.push(model.as_str());
        self.credits.push(credit);
        self.values.push(value);
    }

    fn finish(self, journeys: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let Self { rows, models, credits, values } = self;
        let rows = UInt64Array::from(rows);
        let models: ArrayRef = Arc::new(StringArray::from(models));
        let credits = money(credits.into_iter().map(Some));
        let values = money(values.into_iter());
        let schema: SchemaRef = Table::Attribution.file_schema();
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            column::MODEL => Ok(Arc::clone(&models)),
            column::CREDIT => Ok(Arc::clone(&credits)),
            column::VALUE => Ok(Arc::clone(&values)),
            name => cast(&take(named(journeys, name)?, &rows, None)?, field.data_type()),
        });
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        RecordBatch::try_new(schema, columns)
    }
}

fn money(units: impl Iterator<Item = Option<i128>>) -> ArrayRef {
    let mut array = Decimal128Builder::new().with_data_type(money_type());
    units.for_each(|units| array.append_option(units));
    Arc::new(array.finish())
}

fn named<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("touchpoints have no column `{name}`")))
}

fn typed<'a, T>(
    batch: &'a RecordBatch,
    name: &str,
    read: impl Fn(&'a ArrayRef) -> Option<&'a T>,
) -> Result<&'a T, ArrowError> {
    read(named(batch, name)?).ok_or_else(|| ArrowError::SchemaError(format!("`{name}` has another type")))
}

fn times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a [i64], ArrowError> {
    Ok(typed(batch, name, AsArray::as_primitive_opt::<TimestampMicrosecondType>)?.values())
}

/// Text, as a view whatever it came as.
pub fn text(batch: &RecordBatch, name: &str) -> Result<StringViewArray, ArrowError> {
    let array = cast(named(batch, name)?, &DataType::Utf8View)?;
    array.as_string_view_opt().cloned().ok_or_else(|| ArrowError::SchemaError(format!("`{name}` is no text")))
}
