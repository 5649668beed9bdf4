//! The columns of a batch by name and type, for code that goes over rows by itself.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::compute::nullif;
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::common::{Result, exec_datafusion_err};
use touchline_schemas::tables::MONEY_PRECISION;

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

/// Sums of money; null if they have more digits than money has. Only for whole sums: parts of them may go beyond it and
/// come back.
pub(crate) fn within_money(sums: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let limit = 10_i128.pow(u32::from(MONEY_PRECISION));
    let amounts = sums.as_primitive_opt::<Decimal128Type>();
    let amounts = amounts.ok_or_else(|| ArrowError::SchemaError("sums of money are no decimals".to_owned()))?;
    let beyond: BooleanArray =
        amounts.iter().map(|amount| Some(amount.is_some_and(|amount| amount.abs() >= limit))).collect();
    if beyond.true_count() == 0 { Ok(Arc::clone(sums)) } else { nullif(sums, &beyond) }
}
