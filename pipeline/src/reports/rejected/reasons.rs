//! `rejected/reasons`: why events were refused, and how many.

use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, rejected_events as column};

use super::DEFINITION;
use crate::reports::{Answer, TimeRange, rows_in, run};
use crate::{PipelineError, QueryEngine};

/// Refused events that arrived in the range, by reason and endpoint, most first.
pub async fn query(engine: &QueryEngine, tenant: Tenant, range: TimeRange) -> Result<Answer, PipelineError> {
    let (_, frame, meta) = rows_in(engine, Table::RejectedEvents, tenant, range, DEFINITION).await?;
    let by = [column::CODE, column::SOURCE];
    let received_at = || col(column::RECEIVED_AT);
    let measures = vec![
        count(lit(1_i64)).alias("rejected"),
        min(received_at()).alias("first_received_at"),
        max(received_at()).alias("last_received_at"),
    ];
    let order = vec![col("rejected").sort(false, false), col(by[0]).sort(true, true), col(by[1]).sort(true, true)];
    let frame = frame.aggregate(by.map(col).to_vec(), measures)?.sort(order)?;
    run(frame, meta).await
}
