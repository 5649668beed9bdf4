//! The columns of a batch by name and type, for code that goes over rows by itself.

use arrow::array::{
    AsArray, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use datafusion::common::{Result, exec_datafusion_err};

/// A column of text views.
pub(crate) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_view_opt());
    column.ok_or_else(|| exec_datafusion_err!("there are no texts `{name}`"))
}

/// A column of instants.
pub(crate) fn times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    column.ok_or_else(|| exec_datafusion_err!("there are no times `{name}`"))
}

/// A column of whole numbers.
pub(crate) fn counts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.ok_or_else(|| exec_datafusion_err!("there are no counts `{name}`"))
}

/// A column of flags.
pub(crate) fn flags<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BooleanArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_boolean_opt());
    column.ok_or_else(|| exec_datafusion_err!("there are no flags `{name}`"))
}

/// A column of amounts of money.
pub(crate) fn amounts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Decimal128Array> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Decimal128Type>());
    column.ok_or_else(|| exec_datafusion_err!("there are no amounts `{name}`"))
}
