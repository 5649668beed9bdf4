//! Text columns without any value, which cost next to nothing.
//!
//! Most sessions carry no click id, no user and no campaign, but a null text view takes 16 bytes like any other. Where
//! rows are gathered, such columns are made slices of one array of nulls that everybody shares.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringViewArray, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

/// Rows of the shared nulls; longer columns get nulls of their own.
const SHARED_ROWS: usize = 1 << 20;

static NULLS: LazyLock<StringViewArray> = LazyLock::new(|| StringViewArray::new_null(SHARED_ROWS));

fn nulls(rows: usize) -> ArrayRef {
    if rows <= SHARED_ROWS { Arc::new(NULLS.slice(0, rows)) } else { Arc::new(StringViewArray::new_null(rows)) }
}

fn is_empty_text(values: &ArrayRef) -> bool {
    values.data_type() == &DataType::Utf8View && values.null_count() == values.len()
}

/// The same values, without memory of their own if there are none.
pub(crate) fn lean(values: &ArrayRef) -> ArrayRef {
    if is_empty_text(values) { nulls(values.len()) } else { Arc::clone(values) }
}

/// The same rows, with lean columns.
pub(crate) fn lean_batch(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(lean).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// The same rows, without what they share with others.
pub(crate) fn own_batch(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let own = |values: &ArrayRef| match values.as_string_view_opt() {
        Some(views) if views.null_count() < views.len() => Arc::new(views.gc()),
        Some(_) | None => lean(values),
    };
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), batch.columns().iter().map(own).collect(), &options)
}

/// One batch of many.
pub(crate) fn concat_lean(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    match batches {
        [] => return Ok(RecordBatch::new_empty(Arc::clone(schema))),
        [batch] => return lean_batch(batch),
        _ => {}
    }
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let columns = (0..schema.fields().len()).map(|place| {
        let parts: Vec<&ArrayRef> = batches.iter().map(|batch| batch.column(place)).collect();
        if parts.iter().all(|part| is_empty_text(part)) && schema.field(place).data_type() == &DataType::Utf8View {
            return Ok(nulls(rows));
        }
        concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Chosen rows of a column, without what the others keep alive.
pub(crate) fn take_lean(values: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef, ArrowError> {
    if is_empty_text(values) {
        return Ok(nulls(rows.len()));
    }
    let taken = take(values, rows, None)?;
    Ok(match taken.as_string_view_opt() {
        Some(_) if taken.null_count() == taken.len() => nulls(taken.len()),
        Some(views) => Arc::new(views.gc()),
        None => taken,
    })
}

/// The bytes that belong to a batch's rows. Arrays of text views share their text with others, which would be counted
/// once for each batch that looks into it.
pub(crate) fn own_bytes(batch: &RecordBatch) -> usize {
    let column_bytes = |column: &ArrayRef| match column.as_string_view_opt() {
        Some(views) if views.null_count() == views.len() => 0,
        Some(views) => views.len() * size_of::<u128>() + views.lengths().map(|length| length as usize).sum::<usize>(),
        None => column.to_data().get_slice_memory_size().unwrap_or(0),
    };
    batch.columns().iter().map(column_bytes).sum()
}
