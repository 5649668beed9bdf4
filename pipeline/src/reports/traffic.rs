//! `traffic`: sessions and what happened in them, by one dimension. Visitors are distinct over the whole range.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::compared::{Compare, Counting, INTERVAL_AT, Key, Row, calendar, columns, count, interval_at, sums};
use super::rows::{filters, sorted};
use super::{Answer, Bots, TimeRange, computed, dimension, run, sessions};
use crate::days::time_zone;
use crate::traffic::{Calendar, Dimension};
use crate::{PipelineError, QueryEngine};

pub use super::compared::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the session's start.
    pub range: TimeRange,
    /// One of [`DIMENSIONS`].
    pub by: String,
    /// One of [`super::compared::INTERVALS`], if they are to be kept apart.
    pub interval: Option<String>,
    /// By who made it.
    pub bots: Bots,
    /// Column of `sessions` and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// IANA name of the time zone whose days count.
    pub time_zone: String,
    /// What stands beside, in columns that begin with `previous_`.
    pub compare: Option<Compare>,
    /// A column of the answer, descending with `-` in front. Without it most sessions come first, and days and intervals
    /// in order.
    pub sort: Option<String>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Sessions];

/// What sessions can be grouped by.
pub const DIMENSIONS: [&str; 14] = [
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "referrer_host",
    "landing_page",
    "exit_page",
    "country",
    "device_type",
    "browser",
    "os",
    DAY,
];

const DAY: &str = "day";

/// Sessions that started in the range, by part of the calendar and value.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let by = dimension("by", &params.by, &DIMENSIONS)?;
    let zone = time_zone(&params.time_zone)?;
    let calendar = match (by, &params.interval) {
        (DAY, Some(_)) => {
            let detail = "`by=day` has intervals already".to_owned();
            return Err(PipelineError::BadParameter { name: "interval", detail });
        }
        (DAY, None) => Calendar::Days(zone),
        (_, interval) => calendar(interval.as_deref(), zone)?,
    };
    let column = Dimension::OF_SESSIONS.into_iter().chain([Dimension::ExitPage]).find(|known| known.name() == by);
    let counting = Counting {
        dimension: column.unwrap_or(Dimension::Total),
        calendar,
        range: params.range,
        bots: params.bots,
        filters: filters(&params.filters, &sessions::COLUMNS)?,
        compare: params.compare,
    };
    let (rows, meta) = count(engine, tenant, counting).await?;
    // The map has them in the order of parts and values, which decides among equals.
    let mut rows: Vec<(Key, Row)> = rows.into_iter().collect();
    rows.sort_by_key(|((part, _), row)| (*part, Reverse(row.now.as_ref().map_or(0, |group| group.rows))));
    if params.sort.is_none() {
        rows.truncate(params.limit.unwrap_or(usize::MAX));
    }
    let batch = batch(by, calendar, &rows, params.compare.is_some())?;
    if params.sort.is_none() {
        return Ok(computed(batch, meta));
    }
    let own: &[&str] = if batch.schema().column_with_name(INTERVAL_AT).is_some() { &[INTERVAL_AT, by] } else { &[by] };
    let own = own.iter().map(|name| col(*name).sort(true, true)).collect();
    let frame = sorted(engine.context().read_batch(batch)?, params.sort.as_deref(), own)?;
    run(frame.limit(0, params.limit)?, meta).await
}

fn batch(
    by: &'static str,
    calendar: Calendar,
    rows: &[(Key, Row)],
    is_compared: bool,
) -> Result<RecordBatch, DataFusionError> {
    let mut found = Vec::new();
    if by != DAY && calendar != Calendar::Whole {
        found.push(interval_at(calendar, rows.iter().map(|(key, _)| key)));
    }
    let value: ArrayRef = if by == DAY {
        Arc::new(rows.iter().map(|((day, _), _)| *day).collect::<Date32Array>())
    } else {
        Arc::new(rows.iter().map(|((_, value), _)| value.as_deref()).collect::<StringArray>())
    };
    found.push((by.to_owned(), value, true));
    found.extend(columns(rows.iter().map(|(_, row)| row), is_compared, sums));
    Ok(RecordBatch::try_from_iter_with_nullable(found)?)
}
