//! Refused events that somebody chose, oldest first, as values: to be shown whole, or sent again.

use arrow::array::{Array, RecordBatch, StringViewArray};
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::common::exec_datafusion_err;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::lit;
use datafusion::prelude::{Expr, col};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::rejected_events::{self as column, RefusedEvent};
use uuid::Uuid;

use super::{COLUMNS, DEFINITION, FILTERS};
use crate::columns::{texts, times};
use crate::reports::rows::{filtered, filters};
use crate::reports::{TimeRange, rows_in};
use crate::{PipelineError, QueryEngine};

/// Which refused events.
#[derive(Debug, Clone)]
pub enum Choice {
    /// Those with these ids; one that there is not is nothing.
    Ids(Vec<String>),
    /// Those that arrived in the range and for which all filters hold: column and value.
    Which {
        /// By the time of arrival.
        range: TimeRange,
        /// As [`super::Params::filters`].
        filters: Vec<(String, String)>,
    },
}

/// Refused events, some at a time.
pub type Chosen = BoxStream<'static, Result<Vec<RefusedEvent>, PipelineError>>;

/// The chosen events, in the order in which they arrived; at most `limit` of them.
pub async fn query(
    engine: &QueryEngine,
    tenant: Tenant,
    choice: &Choice,
    limit: Option<usize>,
) -> Result<Chosen, PipelineError> {
    let (range, which) = choice.expressions()?;
    let (_, frame, _) = rows_in(engine, Table::RejectedEvents, tenant, range, DEFINITION).await?;
    let order = vec![col(column::RECEIVED_AT).sort(true, true), col(column::REJECTED_ID).sort(true, true)];
    let frame = filtered(frame, which)?.select(COLUMNS.map(col))?.sort(order)?.limit(0, limit)?;
    let batches = frame.execute_stream().await?.map_err(PipelineError::from);
    Ok(batches.and_then(async |batch| Ok(events(&batch)?)).boxed())
}

/// One event, whole.
pub async fn find(engine: &QueryEngine, tenant: Tenant, id: &str) -> Result<Option<RefusedEvent>, PipelineError> {
    let mut chosen = query(engine, tenant, &Choice::Ids(vec![id.to_owned()]), None).await?;
    let mut found = None;
    while let Some(events) = chosen.try_next().await? {
        found = found.or(events.into_iter().next());
    }
    Ok(found)
}

impl Choice {
    fn expressions(&self) -> Result<(TimeRange, Vec<Expr>), PipelineError> {
        match self {
            Self::Ids(ids) => {
                let ids: Vec<&str> = ids.iter().map(String::as_str).filter(|id| arrival(id).is_some()).collect();
                let is_one = match ids.as_slice() {
                    [] => lit(false),
                    ids => col(column::REJECTED_ID).in_list(ids.iter().map(|id| lit(*id)).collect(), false),
                };
                Ok((range_of(&ids), vec![is_one]))
            }
            Self::Which { range, filters: given } => Ok((*range, filters(given, &FILTERS)?)),
        }
    }
}

/// The millisecond of its arrival, which an id begins with.
fn arrival(rejected_id: &str) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = Uuid::parse_str(rejected_id).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// When events with these ids arrived: files of other days need not be read.
fn range_of(ids: &[&str]) -> TimeRange {
    let arrivals = || ids.iter().filter_map(|id| arrival(id));
    TimeRange { from: arrivals().min(), to: arrivals().max().map(|last| last + TimeDelta::milliseconds(1)) }
}

fn events(batch: &RecordBatch) -> Result<Vec<RefusedEvent>, DataFusionError> {
    let column = |name| texts(batch, name);
    let [rejected_id, event_id, event_type] =
        [column(column::REJECTED_ID)?, column(column::EVENT_ID)?, column(column::EVENT_TYPE)?];
    let [code, errors, body] = [column(column::CODE)?, column(column::ERRORS)?, column(column::BODY)?];
    let (source, received_at) = (column(column::SOURCE)?, times(batch, column::RECEIVED_AT)?);
    let event = |row| {
        let time = DateTime::from_timestamp_micros(received_at.value(row));
        Ok(RefusedEvent {
            rejected_id: text(rejected_id, row).unwrap_or_default(),
            received_at: time.ok_or_else(|| exec_datafusion_err!("a time of arrival is beyond all times"))?,
            event_id: text(event_id, row),
            event_type: text(event_type, row),
            code: text(code, row).unwrap_or_default(),
            errors: text(errors, row).unwrap_or_default(),
            body: text(body, row),
            source: text(source, row).unwrap_or_default(),
        })
    };
    (0..batch.num_rows()).map(event).collect()
}

fn text(column: &StringViewArray, row: usize) -> Option<String> {
    (!column.is_null(row)).then(|| column.value(row).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_say_when_their_events_arrived() {
        let ids = ["019b765f-2c00-7000-a000-000000000001", "019b765f-3000-7000-a000-000000000001"];
        let [first, last] = ids.map(|id| arrival(id).unwrap());
        assert_eq!((last - first).num_milliseconds(), 0x400);
        let range = range_of(&[ids[1], ids[0]]);
        assert_eq!((range.from, range.to), (Some(first), Some(last + TimeDelta::milliseconds(1))));
        for nobodys in ["", "nonsense", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"] {
            assert_eq!(arrival(nobodys), None, "{nobodys}");
        }
    }
}
