//! `rejected`: refused events, one by one, newest first.

use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, rejected_events as column};

use super::listed::Listed;
use super::rows::{ListKey, Page, filtered, filters};
use super::{Answer, TimeRange};
use crate::{PipelineError, QueryEngine};

pub mod chosen;
pub mod reasons;

/// Name and version of what a refused event is.
pub const DEFINITION: &str = "rejected/1";

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// By the time of arrival.
    pub range: TimeRange,
    /// Column and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// Which of these rows.
    pub page: Page,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::RejectedEvents];

/// The order of the rows.
pub const KEY: ListKey = ListKey { at: column::RECEIVED_AT, id: column::REJECTED_ID };

/// The columns, in order.
pub const COLUMNS: [&str; 8] = [
    column::REJECTED_ID,
    column::RECEIVED_AT,
    column::EVENT_ID,
    column::EVENT_TYPE,
    column::CODE,
    column::ERRORS,
    column::BODY,
    column::SOURCE,
];

/// What rows can be chosen by.
pub const FILTERS: [&str; 5] =
    [column::REJECTED_ID, column::EVENT_ID, column::EVENT_TYPE, column::CODE, column::SOURCE];

/// Events that arrived in the range and were refused.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let filters = filters(&params.filters, &FILTERS)?;
    let (range, page) = (params.range, params.page.clone());
    let listed = Listed { table: Table::RejectedEvents, range, key: KEY, page, definition: DEFINITION };
    listed.answer(engine, tenant, move |frame| Ok(filtered(frame, filters.clone())?.select(COLUMNS.map(col))?)).await
}
