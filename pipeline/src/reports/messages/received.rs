//! The messages that people received, which `frequency` and `overlap` count.

use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, col};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, message_deliveries as column};

use crate::reports::{AnswerMeta, TimeRange, instant, rows_in};
use crate::{PipelineError, QueryEngine};

/// Names the definition of both reports.
pub const DEFINITION: &str = "received/1";

/// Deliveries that arrived in a range of time, with a person to whom they went.
pub async fn received(
    engine: &QueryEngine,
    tenant: Tenant,
    range: TimeRange,
) -> Result<(DataFrame, AnswerMeta), PipelineError> {
    // What was sent before the range may have arrived in it, and by clocks that disagree also what was sent after it.
    let always = TimeRange::default();
    let (_, frame, meta) = rows_in(engine, Table::MessageDeliveries, tenant, always, DEFINITION).await?;
    let frame = during(frame, range)?.filter(arrived_in(range).and(col(column::PERSON_ID).is_not_null()))?;
    Ok((frame, meta))
}

/// Attempts of which anything happened in a range of time.
pub(super) fn during(frame: DataFrame, range: TimeRange) -> Result<DataFrame, DataFusionError> {
    let begun = range.to.map(|to| col(column::FIRST_AT).lt(instant(to)));
    let went_on = range.from.map(|from| col(column::LAST_AT).gt_eq(instant(from)));
    begun.into_iter().chain(went_on).try_fold(frame, DataFrame::filter)
}

fn arrived_in(range: TimeRange) -> Expr {
    let at = || col(column::DELIVERED_AT);
    let arrived = at().is_not_null().and(col(column::IS_ORPHAN).is_not_true());
    let arrived = range.from.into_iter().fold(arrived, |so_far, from| so_far.and(at().gt_eq(instant(from))));
    range.to.into_iter().fold(arrived, |so_far, to| so_far.and(at().lt(instant(to))))
}
