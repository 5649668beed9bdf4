//! Totals that are computed from whole journeys when somebody asks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::prelude::{DataFrame, col};
use futures::TryStreamExt;
use hashbrown::HashMap;
use touchline_schemas::tables::{MONEY_SCALE, touchpoints as column};

use super::{CONVERSIONS, TOUCHES, VALUE};
use crate::PipelineError;
use crate::attribution::markov::MAX_STATES;
use crate::attribution::rows::{Journeys, text};
use crate::attribution::shapley::{MAX_CHANNELS, MAX_SET_SIZES};
use crate::attribution::tally::{Method, Tally, TooMany, Total, Totals, Visit};

/// Digits of a sum of amounts.
const SUM_PRECISION: u8 = 28;
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// Credit of all journeys in `touchpoints`, by one of its columns. Touches before the look-back are left out.
pub(super) async fn totals(
    touchpoints: DataFrame,
    method: Method,
    lookback_days: Option<u16>,
    by: &'static str,
) -> Result<RecordBatch, PipelineError> {
    let mut columns: Vec<&str> = Journeys::COLUMNS.to_vec();
    if !columns.contains(&by) {
        columns.push(by);
    }
    let order = [column::CONVERSION_ID, column::POSITION].map(|name| col(name).sort(true, true));
    let sorted = touchpoints.select(columns.into_iter().map(col))?.sort(order.to_vec())?;
    let mut batches = sorted.execute_stream().await?;

    let mut gathered = Gathered::new(method, lookback_days, by);
    // The last journey of a batch may go on in the next.
    let mut rest = RecordBatch::new_empty(batches.schema());
    while let Some(batch) = batches.try_next().await? {
        let batch = concat_batches(&batches.schema(), [&rest, &batch]).map_err(engine)?;
        let whole = gathered.add(&batch, false).map_err(engine)?;
        rest = batch.slice(whole, batch.num_rows() - whole);
    }
    gathered.add(&rest, true).map_err(engine)?;
    // Models that look at all journeys together take long enough to keep a worker from other requests.
    let finished = SpawnedTask::spawn_blocking(move || gathered.finish()).join().await;
    finished.map_err(|error| exec_datafusion_err!("attribution: {error}"))?
}

fn engine(error: ArrowError) -> PipelineError {
    PipelineError::Engine(Box::new(error.into()))
}

/// Journeys that were read, and the names of their groups.
struct Gathered {
    tally: Tally,
    lookback_us: i64,
    by: &'static str,
    groups: HashMap<Option<String>, usize>,
}

impl Gathered {
    fn new(method: Method, lookback_days: Option<u16>, by: &'static str) -> Self {
        let lookback_us = lookback_days.map_or(i64::MAX, |days| i64::from(days) * DAY_US);
        Self { tally: Tally::new(method), lookback_us, by, groups: HashMap::new() }
    }

    /// Takes in the journeys of a batch, all or all but the last; returns the number of rows that were.
    fn add(&mut self, batch: &RecordBatch, is_last: bool) -> Result<usize, ArrowError> {
        let journeys = Journeys::read(batch)?;
        let groups = text(batch, self.by)?;
        let mut spans = journeys.spans();
        let rest = if is_last { None } else { spans.pop() };
        for (first, length) in spans {
            let touches = journeys.touches(first, length).into_iter().enumerate();
            let earliest_us = journeys.converted_at_us(first).saturating_sub(self.lookback_us);
            let visits: Vec<Visit> = touches
                .filter(|(_, touch)| touch.at_us >= earliest_us)
                .map(|(place, touch)| {
                    let row = first + place;
                    Visit { touch, group: self.group(groups.is_valid(row).then(|| groups.value(row))) }
                })
                .collect();
            self.tally.add(&visits, journeys.value(first));
        }
        Ok(rest.map_or(batch.num_rows(), |(first, _)| first))
    }

    fn group(&mut self, name: Option<&str>) -> usize {
        let next = self.groups.len();
        *self.groups.entry(name.map(str::to_owned)).or_insert(next)
    }

    fn finish(self) -> Result<RecordBatch, PipelineError> {
        let Totals { groups, nowhere } = self.tally.finish().map_err(refused)?;
        let mut rows: Vec<(Option<String>, Total)> =
            self.groups.into_iter().map(|(name, group)| (name, groups[group])).collect();
        // Touches without a value and conversions without a touch stand in one row, as where they are stored.
        match rows.iter_mut().find(|(name, _)| name.is_none()) {
            Some((_, total)) => total.merge(nowhere),
            None => rows.push((None, nowhere)),
        }
        rows.retain(|(_, total)| total.touches > 0 || total.credit != 0);
        rows_of(self.by, rows).map_err(engine)
    }
}

fn refused(too_many: TooMany) -> PipelineError {
    let detail = match too_many {
        TooMany::States => format!(
            "the model `markov` takes at most {MAX_STATES} states: a lower `order`, another `by` or a shorter range has fewer"
        ),
        TooMany::Channels => format!(
            "the model `shapley` takes at most {MAX_CHANNELS} values, and {MAX_SET_SIZES} in all distinct sets of them together: another `by` or a shorter range has fewer"
        ),
    };
    PipelineError::BadParameter { name: "by", detail }
}

fn rows_of(by: &str, rows: Vec<(Option<String>, Total)>) -> Result<RecordBatch, ArrowError> {
    let money = DataType::Decimal128(SUM_PRECISION, MONEY_SCALE);
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new(by, DataType::Utf8View, true),
        Field::new(CONVERSIONS, money.clone(), true),
        Field::new(VALUE, money, true),
        Field::new(TOUCHES, DataType::Int64, true),
    ]));
    let decimal =
        |units: Vec<Option<i128>>| Decimal128Array::from(units).with_precision_and_scale(SUM_PRECISION, MONEY_SCALE);
    let names: StringViewArray = rows.iter().map(|(name, _)| name.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(names),
        Arc::new(decimal(rows.iter().map(|(_, total)| Some(total.credit)).collect())?),
        Arc::new(decimal(rows.iter().map(|(_, total)| total.value).collect())?),
        Arc::new(rows.iter().map(|(_, total)| Some(total.touches)).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(schema, columns)
}
