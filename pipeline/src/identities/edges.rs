//! Edges: which ids events name together.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{DataFrame, SessionContext};
use serde::Deserialize;
use touchline_schemas::tables::Table;

use crate::scan::scan_schema;

/// The edges of `events` (the columns of `events`, one tenant), with the columns of `identity_edges`.
pub async fn edges(context: &SessionContext, events: Arc<dyn TableProvider>) -> Result<DataFrame> {
    context.register_udf(previous_id());
    context.register_table("events", events)?;
    context.sql(include_str!("edges.sql")).await
}

/// Edges of several origins as one: `edges` have the columns of `identity_edges`, texts as views or not.
pub async fn merge_edges(context: &SessionContext, edges: Vec<RecordBatch>) -> Result<DataFrame> {
    let schema = scan_schema(Table::IdentityEdges);
    let edges = edges.into_iter().map(|batch| {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(values, field)| cast(values, field.data_type()));
        RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<Vec<_>, _>>()?)
    });
    let edges = edges.collect::<Result<Vec<_>, ArrowError>>()?;
    context.register_table("edges", Arc::new(MemTable::try_new(Arc::clone(&schema), vec![edges])?))?;
    context.sql(include_str!("merge_edges.sql")).await
}

/// The member `previous_id` of an event's properties, if it is a text that is not empty.
fn previous_id() -> ScalarUDF {
    #[derive(Deserialize)]
    struct Properties<'a> {
        #[serde(borrow)]
        previous_id: Option<std::borrow::Cow<'a, str>>,
    }
    let read = |arguments: &[ColumnarValue]| {
        let texts = ColumnarValue::values_to_arrays(arguments)?;
        let texts = cast(&texts[0], &DataType::Utf8View)?;
        let ids: StringViewArray = texts
            .as_string_view()
            .iter()
            .map(|text| {
                let properties: Properties<'_> = serde_json::from_str(text?).ok()?;
                properties.previous_id.filter(|id| !id.is_empty()).map(|id| id.into_owned())
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(ids) as ArrayRef))
    };
    create_udf("previous_id", vec![DataType::Utf8View], DataType::Utf8View, Volatility::Immutable, Arc::new(read))
}
