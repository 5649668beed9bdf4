//! `visitors`: one row per person, newest first.

use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, visitors as column};

use super::listed::Listed;
use super::rows::{ListKey, Page, filtered, filters};
use super::{Answer, TimeRange};
use crate::scan::scan_schema;
use crate::{PipelineError, QueryEngine};

pub use crate::visitors::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// By the first session.
    pub range: TimeRange,
    /// One of [`columns`] and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// Which of them.
    pub page: Page,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Visitors];

/// By what the rows are ordered.
pub const KEY: ListKey = ListKey { at: column::FIRST_SEEN_AT, id: column::PERSON_ID };

/// The columns of the report, which are also those that can be filtered by: all but the merge state.
pub fn columns() -> Vec<String> {
    let schema = scan_schema(Table::Visitors);
    let names = schema.fields().iter().map(|field| field.name().clone());
    names.take_while(|name| name != column::USER_AT).collect()
}

/// People first seen in the range.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let columns = columns();
    let filters = filters(&params.filters, &columns)?;
    let (range, page) = (params.range, params.page.clone());
    let listed = Listed { table: Table::Visitors, range, key: KEY, page, definition: DEFINITION };
    let choose =
        move |frame| Ok(filtered(frame, filters.clone())?.select(columns.iter().map(col).collect::<Vec<_>>())?);
    listed.answer(engine, tenant, choose).await
}
