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
use crate::days::{Days, Interval, time_zone};
use crate::gather::{blocking, gather};
use crate::retention::{Activity, Cohort, DEFINITION};
use crate::{PipelineError, QueryEngine};

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

fn rows(cohorts: &[Cohort]) -> Result<RecordBatch, DataFusionError> {
    let cells = || cohorts.iter().flat_map(|cohort| cohort.active.iter().enumerate().map(move |cell| (cohort, cell)));
    let size = |cohort: &Cohort| cohort.active.first().copied().unwrap_or(0);
    let counts = |of: &dyn Fn((&Cohort, (usize, &u64))) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(cells().map(of)))
    };
    let rates = cells().map(|(cohort, (_, active))| *active as f64 / size(cohort) as f64);
    Ok(RecordBatch::try_from_iter_with_nullable([
        (
            "cohort",
            Arc::new(Date32Array::from_iter_values(cells().map(|(cohort, _)| cohort.begins_on))) as ArrayRef,
            false,
        ),
        ("period", counts(&|(_, (period, _))| period as i64), false),
        ("cohort_visitors", counts(&|(cohort, _)| size(cohort) as i64), false),
        ("visitors", counts(&|(_, (_, active))| *active as i64), false),
        ("rate", Arc::new(Float64Array::from_iter_values(rates)), false),
    ])?)
}
