//! The few types in which values are written, whatever the engine answers with: the formats cannot disagree about a
//! value, because all of them begin here.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::{BatchCoalescer, cast};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use touchline_schemas::tables::instant_type;

use super::FormatError;

/// Rows of a batch in formats that are written in batches.
pub const BATCH_ROWS: usize = 8192;

const UTC: &str = "UTC";

/// The type in which values of a type are written: whole numbers, floating point numbers, truth values, decimals, days,
/// instants (UTC, microseconds), and text for all others. Widening only; nothing is lost.
pub fn data_type(given: &DataType) -> DataType {
    match given {
        given if given.is_signed_integer() => DataType::Int64,
        given if given.is_unsigned_integer() => DataType::UInt64,
        given if given.is_floating() => DataType::Float64,
        DataType::Boolean => DataType::Boolean,
        DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(..) => instant_type(),
        _ => DataType::Utf8,
    }
}

/// Values in the type in which they are written.
pub fn array(given: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match (given.data_type(), data_type(given.data_type())) {
        // Whatever zone a column names, its numbers count from the same epoch: only the unit is converted.
        (DataType::Timestamp(_, zone), _) => {
            let instants = cast(given, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            Ok(Arc::new(instants.as_primitive::<TimestampMicrosecondType>().clone().with_timezone(UTC)))
        }
        // JSON has no word for what is not a number, and nothing is the honest answer in the other formats too.
        (_, DataType::Float64) => {
            let numbers = cast(given, &DataType::Float64)?;
            let finite = |number: f64| number.is_finite().then_some(number);
            let numbers: Float64Array = numbers.as_primitive::<Float64Type>().unary_opt(finite);
            Ok(Arc::new(numbers))
        }
        (_, written) => cast(given, &written),
    }
}

/// The columns of rows in the types in which they are written. Each may be null.
pub fn schema(rows: &Schema) -> SchemaRef {
    let fields = rows.fields().iter().map(|field| Field::new(field.name(), data_type(field.data_type()), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Brings rows to their types, and into batches of [`BATCH_ROWS`], so that what is written depends on the rows and not
/// on how they came.
#[derive(Debug)]
pub struct TypedBatches {
    schema: SchemaRef,
    gathered: BatchCoalescer,
}

impl TypedBatches {
    /// For rows of a schema.
    pub fn new(rows: &Schema) -> Self {
        let schema = schema(rows);
        Self { gathered: BatchCoalescer::new(SchemaRef::clone(&schema), BATCH_ROWS), schema }
    }

    /// The types in which they are written.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes rows in.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
            array(column).map_err(|source| FormatError::Column { column: field.name().clone(), source })
        });
        let typed = RecordBatch::try_new(SchemaRef::clone(&self.schema), columns.collect::<Result<_, _>>()?)?;
        Ok(self.gathered.push_batch(typed)?)
    }

    /// No rows come any more: the last batch may be shorter.
    pub fn close(&mut self) -> Result<(), FormatError> {
        Ok(self.gathered.finish_buffered_batch()?)
    }

    /// The next batch that is whole.
    pub fn next_batch(&mut self) -> Option<RecordBatch> {
        self.gathered.next_completed_batch()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringViewArray};

    use super::*;

    #[test]
    fn batches_have_one_size_however_rows_come() {
        let rows = |count: i32| -> RecordBatch {
            let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..count));
            let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..count).map(|n| n.to_string())));
            RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()
        };
        for sizes in [&[20_000][..], &[1, 8_191, 3, 11_805], &[10_000, 0, 10_000]] {
            let mut batches = TypedBatches::new(rows(0).schema_ref());
            sizes.iter().for_each(|size| batches.push(&rows(*size)).unwrap());
            batches.close().unwrap();
            let written: Vec<RecordBatch> = std::iter::from_fn(|| batches.next_batch()).collect();
            assert_eq!(written.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8_192, 8_192, 3_616]);
            assert!(written.iter().all(|batch| batch.schema() == *batches.schema()));
        }
    }
}
