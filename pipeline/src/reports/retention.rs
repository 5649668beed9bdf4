//! `retention`: visitors by the period of their first session, and how many came again in later ones.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch};
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, sessions as column};

use super::{Answer, Bots, TimeRange, computed, only, rows_in};
use crate::days::{DayNumber, Days, Interval, time_zone};
use crate::gather::{blocking, gather};
use crate::retention::{Activity, Cohort};
use crate::{PipelineError, QueryEngine};

pub use crate::retention::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// When a visitor's first session may have begun. Sessions after its end are not looked at.
    pub range: TimeRange,
    /// `day`, `week` or `month`.
    pub interval: String,
    /// IANA name of the time zone whose days count.
    pub time_zone: String,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Sessions];

/// The interval when the caller does not say.
pub const DEFAULT_INTERVAL: &str = "week";

/// A row for each cohort and period, in order.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let interval = Interval::from_word(&params.interval)?;
    let days = Days::new(time_zone(&params.time_zone)?);
    let us = |at: DateTime<Utc>| at.timestamp_micros();
    let range = params.range.from.map_or(i64::MIN, us)..params.range.to.map_or(i64::MAX, us);
    // Whether a session is a visitor's first is a question to all that came before.
    let read = TimeRange { from: None, to: params.range.to };
    let (context, frame, meta) = rows_in(engine, Table::Sessions, tenant, read, DEFINITION).await?;
    let columns = [column::STARTED_AT, TextField::VisitorId.column(), TextField::UserId.column()];
    let frame = only(frame, Bots::Exclude)?.select(columns.map(col))?;
    let gathered =
        gather(&context, frame, "retention", Activity::new(days, interval), Activity::read, Activity::size_bytes);
    let gathered = gathered.await?;
    let counted = blocking(move || rows(&gathered.found.cohorts(&range)));
    Ok(computed(counted.await??, meta))
}

/// A cohort in one of its periods.
struct Cell {
    begins_on: DayNumber,
    period: i64,
    cohort_visitors: u64,
    visitors: u64,
}

fn rows(cohorts: &[Cohort]) -> Result<RecordBatch, DataFusionError> {
    let cells = cohorts.iter().flat_map(|Cohort { begins_on, active }| {
        let cohort_visitors = active.first().copied().unwrap_or(0);
        let periods = active.iter().zip(0..);
        periods.map(move |(visitors, period)| Cell {
            begins_on: *begins_on,
            period,
            cohort_visitors,
            visitors: *visitors,
        })
    });
    let cells: Vec<Cell> = cells.collect();
    let counts = |of: fn(&Cell) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(cells.iter().map(of))) };
    let cohorts = Date32Array::from_iter_values(cells.iter().map(|cell| cell.begins_on));
    let rates = cells.iter().map(|cell| cell.visitors as f64 / cell.cohort_visitors as f64);
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("cohort", Arc::new(cohorts) as ArrayRef, false),
        ("period", counts(|cell| cell.period), false),
        ("cohort_visitors", counts(|cell| cell.cohort_visitors as i64), false),
        ("visitors", counts(|cell| cell.visitors as i64), false),
        ("rate", Arc::new(Float64Array::from_iter_values(rates)), false),
    ])?)
}
