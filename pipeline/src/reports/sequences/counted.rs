//! Runs of a range, counted by what a report is grouped by.

use std::collections::HashMap;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use chrono::{DateTime, NaiveTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, SessionContext, col};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, sequence_metrics, sequence_runs as column};

use super::grouping::{Grouping, column_of};
use crate::days::{DAY_US, DayNumber};
use crate::gather::{Gathered, blocking, gather};
use crate::reports::{AnswerMeta, TimeRange, instant, rows_in};
use crate::sequences::{DEFINITION, MetricRow, Metrics, Run, Scope, StoredRuns, metrics_batch, run_columns};
use crate::{PipelineError, QueryEngine};

/// Which runs are counted, and how.
pub(super) struct Question {
    /// This sequence only.
    pub sequence_id: Option<String>,
    pub range: TimeRange,
    pub calendar: &'static str,
    pub grouping: Grouping,
}

/// What was found.
pub(super) struct Counted {
    /// The columns of the table; in the calendar of events all days are those of the range.
    rows: RecordBatch,
    /// The attempts of the steps, by delivery id. Of several steps that name a delivery it belongs to the first: of the run
    /// that began first, ties by run id.
    pub attempts: HashMap<String, Attempt>,
    /// How far each step is from the entry, on average: the steps before it.
    pub places: HashMap<String, f64>,
    pub meta: AnswerMeta,
}

/// The run and the step that a message was sent for, as far as rows are grouped by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub began_at_us: i64,
    run_id: String,
    place: usize,
    pub sequence_id: Option<String>,
    pub sequence_version: Option<i64>,
    pub step_id: Option<String>,
    pub arm: Option<String>,
    pub channel: Option<String>,
}

impl Attempt {
    /// Which of several it is.
    fn order(&self) -> (i64, &str, usize) {
        (self.began_at_us, &self.run_id, self.place)
    }
}

/// Bytes of an attempt and of its ids, about.
const ATTEMPT_BYTES: usize = 384;

impl Counted {
    /// The rows of whole runs.
    pub fn rows_of_runs(&self) -> Result<RecordBatch, DataFusionError> {
        self.rows_with(|steps, row| steps.is_null(row))
    }

    /// The rows of steps.
    pub fn rows_of_steps(&self) -> Result<RecordBatch, DataFusionError> {
        self.rows_with(|steps, row| steps.is_valid(row))
    }

    fn rows_with(&self, keep: fn(&dyn Array, usize) -> bool) -> Result<RecordBatch, DataFusionError> {
        let steps = column_of(&self.rows, sequence_metrics::STEP_ID)?;
        let kept: BooleanArray = (0..self.rows.num_rows()).map(|row| Some(keep(&steps, row))).collect();
        Ok(filter_record_batch(&self.rows, &kept)?)
    }
}

/// Counts the runs that are asked about.
pub(super) async fn count(
    engine: &QueryEngine,
    tenant: Tenant,
    question: &Question,
) -> Result<Gathered<Counted>, PipelineError> {
    let days = days(question)?;
    let (context, frame, meta) = runs(engine, tenant, question).await?;
    let as_of_us = meta.watermark.map_or(0, |at| at.timestamp_micros());
    let scope = Scope { is_one_cohort: !question.grouping.has_day(), ..Scope::all(as_of_us) };
    let gathering = Gathering { metrics: Metrics::new(scope), ..Gathering::of(question.grouping.clone()) };
    let gathered = gather(&context, frame, "sequences", gathering, Gathering::read, Gathering::size_bytes).await?;
    let calendar = question.calendar;
    let counted = move |Gathering { metrics, attempts, places, .. }: Gathering| {
        let mut rows = metrics.finish();
        let is_asked = |row: &MetricRow| days.is_none_or(|(from, to)| (from..to).contains(&row.day));
        rows.retain(|row| row.calendar == calendar && is_asked(row));
        let places = places.into_iter().map(|(step, (sum, runs))| (step, sum as f64 / runs as f64)).collect();
        Ok::<_, DataFusionError>(Counted { rows: metrics_batch(&rows)?, attempts, places, meta })
    };
    blocking(move || gathered.try_map(counted)).await?.map_err(PipelineError::from)
}

/// The runs that are asked about.
pub(super) async fn runs(
    engine: &QueryEngine,
    tenant: Tenant,
    question: &Question,
) -> Result<(SessionContext, DataFrame, AnswerMeta), PipelineError> {
    let by_event = question.calendar == sequence_metrics::CALENDAR_EVENT;
    // What happens on a day happens in runs that go on then or later, and by clocks that disagree before the entry too.
    let began = if by_event { TimeRange::default() } else { question.range };
    let (context, mut frame, meta) = rows_in(engine, Table::SequenceRuns, tenant, began, DEFINITION).await?;
    if let Some(from) = question.range.from.filter(|_| by_event) {
        frame = frame.filter(col(column::UNDER_WAY_UNTIL).gt_eq(instant(from)))?;
    }
    if let Some(sequence_id) = &question.sequence_id {
        frame = frame.filter(col(column::SEQUENCE_ID).eq(lit(sequence_id.as_str())))?;
    }
    Ok((context, frame.select_columns(&run_columns())?, meta))
}

/// The days of the calendar of events that are asked about; none in the other one, which knows the instant of each entry.
fn days(question: &Question) -> Result<Option<(DayNumber, DayNumber)>, PipelineError> {
    if question.calendar != sequence_metrics::CALENDAR_EVENT {
        return Ok(None);
    }
    let day = |name: &'static str, at: Option<DateTime<Utc>>, open: DayNumber| match at {
        None => Ok(open),
        Some(at) if at.time() == NaiveTime::MIN => Ok(at.timestamp_micros().div_euclid(DAY_US) as DayNumber),
        Some(_) => {
            let detail = "the calendar `event` counts whole days of UTC: the time must be 00:00:00Z".to_owned();
            Err(PipelineError::BadParameter { name, detail })
        }
    };
    let from = day("from", question.range.from, DayNumber::MIN)?;
    Ok(Some((from, day("to", question.range.to, DayNumber::MAX)?)))
}

/// What is taken from runs while they are read.
struct Gathering {
    grouping: Grouping,
    metrics: Metrics,
    attempts: HashMap<String, Attempt>,
    /// Of each step: the sum of its places, and the runs that reached it.
    places: HashMap<String, (u64, u64)>,
}

impl Gathering {
    fn of(grouping: Grouping) -> Self {
        let metrics = Metrics::new(Scope::default());
        Self { grouping, metrics, attempts: HashMap::new(), places: HashMap::new() }
    }

    fn read(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        for (mut run, person_id) in StoredRuns::read(batch)?.iter() {
            self.note_steps(&run);
            self.grouping.apply(&mut run);
            self.metrics.add(&run, person_id);
        }
        Ok(())
    }

    fn note_steps(&mut self, run: &Run<'_>) {
        let kept = |name, text: Option<&str>| text.filter(|_| self.grouping.has(name)).map(str::to_owned);
        for (place, step) in run.steps.iter().enumerate() {
            if let Some(delivery_id) = step.delivery_id.filter(|_| run.entered_at_us.is_some()) {
                let by_version = self.grouping.has(sequence_metrics::SEQUENCE_VERSION);
                let attempt = Attempt {
                    began_at_us: run.began_at_us,
                    run_id: run.run_id.to_string(),
                    place,
                    sequence_id: kept(sequence_metrics::SEQUENCE_ID, run.sequence_id),
                    sequence_version: run.sequence_version.filter(|_| by_version),
                    step_id: kept(sequence_metrics::STEP_ID, Some(step.step_id)),
                    arm: kept(sequence_metrics::ARM, run.arm),
                    channel: kept(sequence_metrics::CHANNEL, step.channel),
                };
                match self.attempts.get_mut(delivery_id) {
                    Some(known) if known.order() <= attempt.order() => {}
                    Some(known) => *known = attempt,
                    None => {
                        self.attempts.insert(delivery_id.to_owned(), attempt);
                    }
                }
            }
            let (sum, runs) = match self.places.get_mut(step.step_id) {
                Some(known) => known,
                None => self.places.entry(step.step_id.to_owned()).or_default(),
            };
            *sum += place as u64;
            *runs += 1;
        }
    }

    fn size_bytes(&self) -> usize {
        self.metrics.size_bytes() + self.attempts.len() * ATTEMPT_BYTES
    }
}
