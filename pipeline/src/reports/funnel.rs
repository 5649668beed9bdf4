//! `funnel`: how many visitors do one thing after the other, step by step.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, events};

use super::{Answer, Bots, TimeRange, computed, dimension, only, rows_in};
use crate::funnel::{Collected, Funnel, Reached, quantile, steps, window};
use crate::gather::{blocking, gather};
use crate::{PipelineError, QueryEngine};

pub use crate::funnel::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// When a visitor's first step may be.
    pub range: TimeRange,
    /// The steps, separated by commas.
    pub steps: String,
    /// The longest time from the first to the last step, as `7d`.
    pub window: String,
    /// One of [`OWNERS`]; the first without it.
    pub by: Option<String>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Events];

/// Whose steps can belong together.
pub const OWNERS: [&str; 1] = ["visitor"];

/// The window when the caller does not say.
pub const DEFAULT_WINDOW: &str = "7d";

/// A row for each step, in order.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    if let Some(by) = &params.by {
        dimension("by", by, &OWNERS)?;
    }
    let window = window(&params.window)?;
    let us = |at: DateTime<Utc>| at.timestamp_micros();
    let funnel = Funnel {
        steps: steps(&params.steps)?,
        window_us: window.num_microseconds().unwrap_or(i64::MAX),
        begins_us: params.range.from.map_or(i64::MIN, us)..params.range.to.map_or(i64::MAX, us),
    };
    // Chains that began in the range may end after it.
    let read = TimeRange { from: params.range.from, to: params.range.to.and_then(|to| to.checked_add_signed(window)) };
    let (context, frame, meta) = rows_in(engine, Table::Events, tenant, read, DEFINITION).await?;
    let types = funnel.steps.iter().map(|step| lit(step.event_type.as_str())).collect();
    let fields = [TextField::EventId, TextField::EventType, TextField::Path, TextField::VisitorId, TextField::UserId];
    let columns = fields.iter().map(|field| col(field.column())).chain([col(events::OCCURRED_AT)]);
    let frame = only(frame, Bots::Exclude)?
        .filter(col(TextField::EventType.column()).in_list(types, false))?
        .select(columns.collect::<Vec<_>>())?;
    let read = |collected: &mut Collected, batch: &RecordBatch| collected.read(batch, &funnel);
    let gathered = gather(&context, frame, "funnel", Collected::default(), read, Collected::size_bytes).await?;
    let counted = blocking(move || {
        let reached = gathered.found.count(&funnel);
        rows(&funnel, &reached)
    });
    Ok(computed(counted.await??, meta))
}

fn rows(funnel: &Funnel, reached: &[Reached]) -> Result<RecordBatch, DataFusionError> {
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let first = reached.first().map_or(0, |first| first.visitors);
    let from_first = reached.iter().map(|step| share(step.visitors, first));
    let before = std::iter::once(None).chain(reached.iter().map(|step| Some(step.visitors)));
    let from_previous = reached.iter().zip(before).map(|(step, before)| share(step.visitors, before?));
    let seconds = |part: f64| -> ArrayRef {
        let times = reached.iter().map(|step| quantile(&step.times_us, part).map(|us| us / 1e6));
        Arc::new(times.collect::<Float64Array>())
    };
    let numbers = (1..=reached.len() as i64).collect::<Vec<_>>();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("step", Arc::new(Int64Array::from(numbers)) as ArrayRef, false),
        ("event", Arc::new(StringArray::from_iter_values(funnel.steps.iter().map(|step| &step.text))), false),
        ("visitors", Arc::new(reached.iter().map(|step| Some(step.visitors as i64)).collect::<Int64Array>()), false),
        ("from_first", Arc::new(from_first.collect::<Float64Array>()), true),
        ("from_previous", Arc::new(from_previous.collect::<Float64Array>()), true),
        ("median_s", seconds(0.5), true),
        ("p90_s", seconds(0.9), true),
    ])?)
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    #[test]
    fn shares_are_of_the_first_step_and_of_the_one_before() {
        let funnel =
            Funnel { steps: steps("page_view:/,add_to_cart,purchase").unwrap(), window_us: 1, begins_us: 0..1 };
        let step = |visitors, times_us: &[i64]| Reached { visitors, times_us: times_us.to_vec() };
        let reached = [step(8, &[]), step(2, &[1_000_000, 2_500_000]), step(0, &[])];
        let table = pretty_format_batches(&[rows(&funnel, &reached).unwrap()]).unwrap().to_string();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join(",");
        let lines: Vec<_> = table.lines().filter(|line| line.starts_with('|')).map(cells).collect();
        assert_eq!(
            lines,
            [
                ",step,event,visitors,from_first,from_previous,median_s,p90_s,",
                ",1,page_view:/,8,1.0,,,,",
                ",2,add_to_cart,2,0.25,0.25,1.75,2.35,",
                ",3,purchase,0,0.0,0.0,,,",
            ]
        );
    }
}
