//! Values for a statement's placeholders. They are bound to the plan and never become part of the text.

use std::collections::HashMap;

use datafusion::common::ParamValues;
use datafusion::scalar::ScalarValue;
use serde_json::{Number, Value};

use super::SqlError;

/// The values for `$1`, `$2`, … from an array, for `$name` from an object.
pub(super) fn values(params: &Value) -> Result<Option<ParamValues>, SqlError> {
    match params {
        Value::Null => Ok(None),
        Value::Array(values) => {
            let scalars = values.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
            Ok(Some(scalars.into()))
        }
        Value::Object(values) => {
            let scalars = values.iter().map(|(name, value)| Ok((name.clone(), scalar(value)?)));
            Ok(Some(scalars.collect::<Result<HashMap<_, _>, SqlError>>()?.into()))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(SqlError::invalid("`params` is an array for `$1`, `$2`, … or an object for `$name`"))
        }
    }
}

fn scalar(value: &Value) -> Result<ScalarValue, SqlError> {
    match value {
        Value::Null => Ok(ScalarValue::Null),
        Value::Bool(truth) => Ok(ScalarValue::Boolean(Some(*truth))),
        Value::Number(number) => Ok(of_number(number)),
        Value::String(text) => Ok(ScalarValue::Utf8(Some(text.clone()))),
        Value::Array(_) | Value::Object(_) => {
            Err(SqlError::invalid("a parameter is a text, a number, a truth value or null"))
        }
    }
}

fn of_number(number: &Number) -> ScalarValue {
    match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => ScalarValue::Int64(Some(whole)),
        (None, Some(whole)) => ScalarValue::UInt64(Some(whole)),
        (None, None) => ScalarValue::Float64(number.as_f64()),
    }
}
