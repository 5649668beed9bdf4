//! `overview`: what a range came to as a whole, or each hour, day, week or month of it.

use arrow::array::RecordBatch;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::compared::{Compare, Counting, calendar, columns, count, interval_at, sums_and_rates};
use super::{Answer, Bots, TimeRange, computed};
use crate::days::time_zone;
use crate::traffic::{Calendar, Dimension};
use crate::{PipelineError, QueryEngine};

pub use super::compared::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the session's start.
    pub range: TimeRange,
    /// One of [`super::compared::INTERVALS`]; without it the range is one row.
    pub interval: Option<String>,
    /// By who made it.
    pub bots: Bots,
    /// IANA name of the time zone whose days count.
    pub time_zone: String,
    /// What stands beside, in columns that begin with `previous_`.
    pub compare: Option<Compare>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Sessions];

/// One row; with an interval one for each that has sessions, in order.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let calendar = calendar(params.interval.as_deref(), time_zone(&params.time_zone)?)?;
    let counting = Counting {
        dimension: Dimension::Total,
        calendar,
        range: params.range,
        bots: params.bots,
        filters: Vec::new(),
        compare: params.compare,
    };
    let (mut rows, meta) = count(engine, tenant, counting).await?;
    let mut found = Vec::new();
    if calendar == Calendar::Whole {
        // A range without sessions is a row all the same.
        rows.entry((None, None)).or_default();
    } else {
        found.push(interval_at(calendar, rows.keys()));
    }
    found.extend(columns(rows.values(), params.compare.is_some(), sums_and_rates));
    Ok(computed(RecordBatch::try_from_iter_with_nullable(found)?, meta))
}
