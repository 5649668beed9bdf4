//! Site messages as their builder asks for them: each message and variant, how often it was delivered, viewed, clicked.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use touchline_schemas::Tenant;
use touchline_schemas::event::messaging::SYSTEM_SITE_MESSAGE;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::message_rollups::{self as column, DIMENSIONS};

pub use super::DEFINITION;
use super::group::{Group, Grouping};
use super::sums::{Sums, gather};
use super::{EVENT_RATES, Question, rate_of_events, whole_days};
use crate::reports::{Answer, TimeRange, computed};
use crate::{PipelineError, QueryEngine};

/// The tables that are read: the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::MessageRollups];

const SYSTEM: &str = DIMENSIONS[0];
const MESSAGE: &str = DIMENSIONS[1];
const VARIANT: &str = DIMENSIONS[2];
/// Counts of events, besides the rates.
const COUNTS: [&str; 3] = [column::DELIVERED, column::VIEWS, column::CLICKS];

/// The columns of the answer.
pub const COLUMNS: [&str; 7] =
    ["site_message_id", VARIANT, COUNTS[0], COUNTS[1], COUNTS[2], EVENT_RATES[0].0, EVENT_RATES[1].0];

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// Whole days of UTC, by the day of the delivery.
    pub range: TimeRange,
    /// This message only.
    pub message_id: Option<String>,
}

/// A row for each message and variant, in their order.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let grouping = Grouping::read(&[MESSAGE, VARIANT].join(","))?;
    let message = params.message_id.iter().map(|id| (MESSAGE, id.clone()));
    let filters = std::iter::once((SYSTEM, SYSTEM_SITE_MESSAGE.to_owned())).chain(message).collect();
    let question = Question { calendar: column::CALENDAR_COHORT, range: whole_days(params.range)?, filters };
    let (gathered, meta) = gather(engine, tenant, &question, &grouping).await?;
    let mut found: Vec<(&Group, &Sums)> = gathered.found.iter().collect();
    found.sort_by_key(|(group, _)| *group);
    Ok(computed(rows(&found)?, meta))
}

fn rows(found: &[(&Group, &Sums)]) -> Result<RecordBatch, DataFusionError> {
    let value = |place: usize| -> ArrayRef {
        Arc::new(found.iter().map(|(group, _)| group.values[place].as_deref()).collect::<StringArray>())
    };
    let mut columns = vec![(COLUMNS[0], value(1), true), (COLUMNS[1], value(2), true)];
    for name in COUNTS {
        let counts = Int64Array::from_iter_values(found.iter().map(|(_, sums)| sums.count(name)));
        columns.push((name, Arc::new(counts), false));
    }
    for (name, part, whole) in EVENT_RATES {
        let rates = found.iter().map(|(_, sums)| rate_of_events(sums.count(part), sums.count(whole)));
        columns.push((name, Arc::new(Float64Array::from_iter_values(rates)), false));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
