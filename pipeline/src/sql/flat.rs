//! An answer's columns, brought to the types that every format can write, under names that are all different.
//!
//! Numbers, truth values, dates, instants and texts stay what they are. Lists and structures become JSON text, bytes
//! become hexadecimal digits, and everything else the text that the engine makes of it.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

/// How the columns of one answer are brought to their form.
#[derive(Debug)]
pub(super) struct Flat {
    schema: SchemaRef,
    forms: Vec<Form>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Same,
    Cast(DataType),
    Json(FieldRef),
    Hexadecimal,
}

impl Flat {
    /// For answers of this schema.
    pub(super) fn of(schema: &Schema) -> Self {
        let mut names = HashSet::new();
        let mut fields = Vec::with_capacity(schema.fields().len());
        let mut forms = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let form = form(field);
            let data_type = match &form {
                Form::Same => field.data_type().clone(),
                Form::Cast(data_type) => data_type.clone(),
                Form::Json(_) | Form::Hexadecimal => DataType::Utf8,
            };
            fields.push(Field::new(unique(&mut names, field.name()), data_type, true));
            forms.push(form);
        }
        Self { schema: Arc::new(Schema::new(fields)), forms }
    }

    /// The schema of what [`Self::batch`] returns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same rows in their form.
    pub(super) fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = batch.columns().iter().zip(&self.forms).map(|(column, form)| form.apply(column));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

fn form(field: &FieldRef) -> Form {
    let data_type = field.data_type();
    if data_type.is_integer() || data_type.is_floating() {
        return Form::Same;
    }
    match data_type {
        DataType::Boolean
        | DataType::Utf8
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Decimal128(..) => Form::Same,
        DataType::Dictionary(_, values) if values.is_primitive() => Form::Cast((**values).clone()),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Struct(_)
        | DataType::Map(..) => Form::Json(Arc::clone(field)),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Form::Hexadecimal
        }
        _ => Form::Cast(DataType::Utf8),
    }
}

impl Form {
    fn apply(&self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Self::Same => Ok(Arc::clone(column)),
            Self::Cast(data_type) => cast(column, data_type),
            Self::Json(field) => json(field, column),
            Self::Hexadecimal => hexadecimal(column),
        }
    }
}

fn json(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(std::str::from_utf8(&text).map_err(|error| ArrowError::JsonError(error.to_string()))?);
    }
    Ok(Arc::new(texts.finish()))
}

fn hexadecimal(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let bytes = cast(column, &DataType::LargeBinary)?;
    let mut texts = StringBuilder::new();
    for value in bytes.as_binary::<i64>() {
        match value {
            Some(value) => {
                for byte in value {
                    write!(texts, "{byte:02x}").map_err(|error| ArrowError::ComputeError(error.to_string()))?;
                }
                texts.append_value("");
            }
            None => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}

/// `name`, or `name_2`, `name_3`, … when it was there before, as after a join of tables with columns in common.
fn unique(names: &mut HashSet<String>, name: &str) -> String {
    let mut candidate = name.to_owned();
    let mut number = 1;
    while !names.insert(candidate.clone()) {
        number += 1;
        candidate = format!("{name}_{number}");
    }
    candidate
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int64Array, ListArray, NullArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn every_kind_of_column_gets_its_form() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("n", Arc::new(StringViewArray::from(vec![Some("a"), None]))),
            ("n", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]))),
            ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None]))),
            ("nothing", Arc::new(NullArray::new(2))),
        ];
        let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batch =
            RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, array)| array).collect()).unwrap();
        let flat = Flat::of(&schema);
        let rows = flat.batch(&batch).unwrap();
        let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["n", "n_2", "n_3", "bytes", "nothing"]);
        let texts: Vec<_> = rows.columns()[1..].iter().map(|column| column.as_string::<i32>()).collect();
        let first: Vec<_> = texts.iter().map(|text| text.is_valid(0).then(|| text.value(0))).collect();
        assert_eq!(first, [Some("a"), Some("[1,null]"), Some("00ff"), None]);
        assert!(texts.iter().all(|text| text.is_null(1)));
    }
}
