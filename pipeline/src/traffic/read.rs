//! From batches of sessions or events to the rows that count.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use datafusion::common::exec_datafusion_err;
use hashbrown::DefaultHashBuilder;
use touchline_schemas::event::{PAGE_VIEW, SOURCE_CONVERSION, TextField};
use touchline_schemas::tables::{Table, events, sessions as column};

use super::tally::{Amounts, Batch, NO_DAY, NOT_COUNTED, Rows, Tally};
use super::{Dimension, Parts, Question};
use crate::PipelineError;
use crate::columns::{amounts, counts, flags, texts, times};
use crate::days::{DayNumber, number_of};
use crate::intern::Values;
use crate::reports::Bots;
use crate::scan::scan_schema;

/// The sessions' measures besides revenue.
const SESSION_MEASURES: [&str; 6] = [
    column::EVENT_COUNT,
    column::PAGE_VIEW_COUNT,
    column::IS_BOUNCE,
    column::IS_ENGAGED,
    column::DURATION_S,
    column::CONVERSION_COUNT,
];

/// The days, or other parts, of a calendar, as far as they are wanted.
#[derive(Debug, Clone)]
struct WantedDays {
    parts: Parts,
    /// All of them without it.
    wanted: Option<Arc<HashSet<DayNumber>>>,
    /// The day that was asked for last, and whether it is wanted.
    known: Option<(DayNumber, bool)>,
}

impl WantedDays {
    /// The day of an instant; [`NO_DAY`] if it is not wanted.
    #[inline]
    fn day_of(&mut self, at_us: i64) -> DayNumber {
        let day = self.parts.part_of(at_us);
        let Some(wanted) = &self.wanted else { return day };
        let is_wanted = match self.known {
            Some((known, is_wanted)) if known == day => is_wanted,
            _ => wanted.contains(&day),
        };
        self.known = Some((day, is_wanted));
        if is_wanted { day } else { NO_DAY }
    }
}

/// Reads batches of one table for one question. Each thread has its own.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    table: Table,
    projection: Arc<Vec<usize>>,
    calendars: Vec<WantedDays>,
    dimensions: Vec<Dimension>,
    amounts: bool,
    from_us: i64,
    /// Excluded.
    to_us: i64,
    bots: Bots,
    conversion_event_types: Arc<[String]>,
    /// The same in all readers of a question, so that their rows can be put together.
    hasher: DefaultHashBuilder,
}

impl Reader {
    pub fn new(question: &Question) -> Result<Self, PipelineError> {
        let wanted = question.days.as_ref().map(|days| Arc::new(days.iter().copied().map(number_of).collect()));
        let calendars = question.calendars.iter().map(|calendar| WantedDays {
            parts: Parts::of(*calendar),
            wanted: wanted.clone(),
            known: None,
        });
        Ok(Self {
            table: question.table,
            projection: Arc::new(projection(question)?),
            calendars: calendars.collect(),
            dimensions: question.dimensions.clone(),
            amounts: question.amounts,
            from_us: question.range.from.map_or(i64::MIN, |from| from.timestamp_micros()),
            to_us: question.range.to.map_or(i64::MAX, |to| to.timestamp_micros()),
            bots: question.bots,
            conversion_event_types: question.conversion_event_types.clone().into(),
            hasher: DefaultHashBuilder::default(),
        })
    }

    /// The columns that are read, by their place in the scan of the table.
    pub fn projection(&self) -> &Vec<usize> {
        &self.projection
    }

    pub fn calendar_count(&self) -> usize {
        self.calendars.len()
    }

    pub fn dimension_count(&self) -> usize {
        self.dimensions.len()
    }

    /// Counts a batch.
    pub fn read(&mut self, batch: &RecordBatch, tally: &mut Tally) -> Result<(), PipelineError> {
        let (kept, days) = self.keep(batch, tally)?;
        let views = match self.table {
            Table::Events => {
                let types = texts(batch, TextField::EventType.column())?;
                let is_view = |row: &u32| types.is_valid(*row as usize) && types.value(*row as usize) == PAGE_VIEW;
                kept.iter().map(is_view).collect()
            }
            _ => Vec::new(),
        };
        let mut values = Vec::with_capacity(self.dimensions.len());
        for (dimension, known) in self.dimensions.iter().zip(&mut tally.values) {
            let Some(name) = dimension.column() else {
                values.push(vec![Values::NULL; kept.len()]);
                continue;
            };
            let mut numbers = known.numbers(texts(batch, name)?, &kept);
            if *dimension == Dimension::Page {
                let of_others = numbers.iter_mut().zip(&views).filter(|(_, is_view)| !**is_view);
                of_others.for_each(|(number, _)| *number = NOT_COUNTED);
            }
            values.push(numbers);
        }
        let amounts = match (self.amounts, self.table) {
            (false, _) => Vec::new(),
            (true, Table::Events) => self.event_amounts(batch, &kept, &views)?,
            (true, _) => session_amounts(batch, &kept)?,
        };
        tally.add(&Batch { rows: Rows { days, values }, amounts });
        Ok(())
    }

    /// The rows of a batch that count in any calendar, and their days in each. Their devices go to the tally.
    fn keep(
        &mut self,
        batch: &RecordBatch,
        tally: &mut Tally,
    ) -> Result<(Vec<u32>, Vec<Vec<DayNumber>>), PipelineError> {
        let at = times(batch, self.table.time_column())?;
        let device = [texts(batch, TextField::VisitorId.column())?, texts(batch, TextField::UserId.column())?];
        let bots = flags(batch, column::IS_BOT)?;
        // What nobody did is in no traffic; a session is somebody's.
        let nobody_counts = self.table == Table::Sessions;
        let mut kept = Vec::with_capacity(batch.num_rows());
        let mut days = vec![Vec::new(); self.calendars.len()];
        for row in 0..batch.num_rows() {
            let at_us = at.value(row);
            let is_bot = bots.is_valid(row) && bots.value(row);
            let of_those = match self.bots {
                Bots::Exclude => !is_bot,
                Bots::Only => is_bot,
                Bots::Include => true,
            };
            if !of_those || at.is_null(row) || at_us < self.from_us || at_us >= self.to_us {
                continue;
            }
            let mut counts = false;
            for (calendar, days) in self.calendars.iter_mut().zip(&mut days) {
                let day = calendar.day_of(at_us);
                counts |= day != NO_DAY;
                days.push(day);
            }
            if counts && tally.devices.push(&self.hasher, device, row, nobody_counts) {
                kept.push(row as u32);
            } else {
                days.iter_mut().for_each(|days| days.truncate(kept.len()));
            }
        }
        Ok((kept, days))
    }

    fn event_amounts(&self, batch: &RecordBatch, kept: &[u32], views: &[bool]) -> Result<Vec<Amounts>, PipelineError> {
        let types = texts(batch, TextField::EventType.column())?;
        let sources = texts(batch, TextField::Source.column())?;
        let revenue = amounts(batch, events::REVENUE)?;
        let of_row = |(row, view): (&u32, &bool)| {
            let row = *row as usize;
            let is_conversion = (sources.is_valid(row) && sources.value(row) == SOURCE_CONVERSION)
                || (types.is_valid(row) && self.conversion_event_types.iter().any(|known| known == types.value(row)));
            Amounts {
                events: 1,
                page_views: i64::from(*view),
                conversions: i64::from(is_conversion),
                revenue_e4: if revenue.is_valid(row) { revenue.value(row) } else { 0 },
                with_revenue: i64::from(revenue.is_valid(row)),
                ..Amounts::default()
            }
        };
        Ok(kept.iter().zip(views).map(of_row).collect())
    }
}

fn session_amounts(batch: &RecordBatch, kept: &[u32]) -> Result<Vec<Amounts>, PipelineError> {
    let [events, views, durations, conversions] =
        [column::EVENT_COUNT, column::PAGE_VIEW_COUNT, column::DURATION_S, column::CONVERSION_COUNT]
            .map(|name| counts(batch, name));
    let (events, views, durations, conversions) = (events?, views?, durations?, conversions?);
    let (bounces, engaged) = (flags(batch, column::IS_BOUNCE)?, flags(batch, column::IS_ENGAGED)?);
    let revenue = amounts(batch, column::REVENUE)?;
    // What is null is nothing to add; its place in the array holds a zero or anything.
    let count = |column: &arrow::array::Int64Array, row| if column.is_valid(row) { column.value(row) } else { 0 };
    let flag = |column: &arrow::array::BooleanArray, row| i64::from(column.is_valid(row) && column.value(row));
    let of_row = |row: &u32| {
        let row = *row as usize;
        Amounts {
            events: count(events, row),
            page_views: count(views, row),
            bounces: flag(bounces, row),
            engaged_sessions: flag(engaged, row),
            duration_s: count(durations, row),
            conversions: count(conversions, row),
            revenue_e4: if revenue.is_valid(row) { revenue.value(row) } else { 0 },
            with_revenue: i64::from(revenue.is_valid(row)),
        }
    };
    Ok(kept.iter().map(of_row).collect())
}

fn projection(question: &Question) -> Result<Vec<usize>, PipelineError> {
    let mut names =
        vec![question.table.time_column(), TextField::VisitorId.column(), TextField::UserId.column(), column::IS_BOT];
    names.extend(question.dimensions.iter().filter_map(|dimension| dimension.column()));
    match question.table {
        Table::Events => {
            names.push(TextField::EventType.column());
            if question.amounts {
                names.extend([TextField::Source.column(), events::REVENUE]);
            }
        }
        _ => {
            if question.amounts {
                names.extend(SESSION_MEASURES);
                names.push(column::REVENUE);
            }
        }
    }
    let schema = scan_schema(question.table);
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let place = schema.index_of(name).map_err(|_| exec_datafusion_err!("{:?} has no `{name}`", question.table))?;
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.sort_unstable();
    Ok(places)
}
