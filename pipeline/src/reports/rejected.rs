//! `rejected`: refused events, one by one, newest first.

use chrono::{DateTime, Utc};
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, rejected_events as column};

use super::{Answer, TimeRange, dimension, instant, rows_in, run};
use crate::{PipelineError, QueryEngine};

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
    /// Arrival and id of the last row that the caller has.
    pub after: Option<(DateTime<Utc>, String)>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::RejectedEvents];

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
const FILTERS: [&str; 5] = [column::REJECTED_ID, column::EVENT_ID, column::EVENT_TYPE, column::CODE, column::SOURCE];

/// Events that arrived in the range and were refused.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let (_, mut frame, meta) = rows_in(engine, Table::RejectedEvents, tenant, params.range, DEFINITION).await?;
    for (name, value) in &params.filters {
        frame = frame.filter(col(dimension("filter", name, &FILTERS)?).eq(lit(value.as_str())))?;
    }
    let (time, id) = (col(column::RECEIVED_AT), col(column::REJECTED_ID));
    if let Some((at, last)) = &params.after {
        let earlier = time.clone().lt(instant(*at));
        let same_time = time.clone().eq(instant(*at)).and(id.clone().lt(lit(last.as_str())));
        frame = frame.filter(earlier.or(same_time))?;
    }
    let frame = frame
        .select(COLUMNS.map(col))?
        .sort(vec![time.sort(false, false), id.sort(false, false)])?
        .limit(0, params.limit)?;
    run(frame, meta).await
}
