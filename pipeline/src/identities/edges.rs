//! Edges: which ids events name together.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::{DataFrame, SessionContext};
use serde::Deserialize;

/// The edges of `events` (the columns of `events`, one tenant), with the columns of `identity_edges`.
pub async fn edges(context: &SessionContext, events: Arc<dyn TableProvider>) -> Result<DataFrame> {
    context.register_udf(previous_id());
    context.register_table("events", events)?;
    context.sql(include_str!("edges.sql")).await
}

/// Edges of several origins as one: `edges` has the columns of `identity_edges`.
pub async fn merge_edges(context: &SessionContext, edges: Arc<dyn TableProvider>) -> Result<DataFrame> {
    context.register_table("edges", edges)?;
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
        let texts = arrow::compute::cast(&texts[0], &DataType::Utf8View)?;
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
