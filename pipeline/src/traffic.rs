//! Traffic: sessions and events counted by day and by one of their columns, with distinct visitors.
//!
//! Definition, version 1. Humans only. A row for each calendar, day, dimension and value that occurs; null is a value.
//! Days are those of UTC and those of the account's time zone. Sessions count on the day on which they began, with all
//! that happened in them; the dimensions `page` and `event_type` count events on the day of the event instead, and
//! leave empty what only sessions have. `visitors` are distinct devices (`visitor_id`, else `user_id`): one who comes
//! twice on a day is one, so the visitors of days and values must not be added up.
//!
//! # How it is counted
//!
//! One pass over the rows counts for all calendars and dimensions at once. Values become small numbers as they are
//! read, sums go to flat lists of groups, and what remains of a row is its device, days and values. Put in the order of
//! day and device, these say how many visitors a group has: it saw a visitor before exactly if the last one that it saw
//! is the same. There is a reader for each partition of the scan; a day that two of them saw is brought together in one
//! of them before visitors are counted, so each visitor counts once, wherever the rows lay.

mod calendar;
mod count;
mod devices;
mod output;
mod read;
mod tally;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::catalog::TableProvider;
use datafusion::common::exec_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::prelude::{Expr, SessionContext};
use futures::TryStreamExt;
use futures::future::try_join_all;
use touchline_lake::DataFile;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, sessions as column};

pub use calendar::{Calendar, Parts};
pub use output::DayRollup;
pub use tally::Amounts;

use crate::columns::times;
use crate::days::{Days, date_of};
use crate::gather::blocking;
use crate::reports::{Bots, TimeRange};
use crate::scan::LakeScan;
use crate::{PipelineError, QueryEngine};
use read::Reader;
use tally::Tally;

/// Names this definition in answers.
pub const DEFINITION: &str = "traffic/1";

/// What sessions or events are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Nothing: all of a day together.
    Total,
    /// The session's channel.
    Channel,
    /// The session's campaign source.
    UtmSource,
    /// The session's campaign medium.
    UtmMedium,
    /// The session's campaign name.
    UtmCampaign,
    /// The session's campaign content.
    UtmContent,
    /// The session's campaign term.
    UtmTerm,
    /// The host that referred the session.
    ReferrerHost,
    /// The path of the session's first page view.
    LandingPage,
    /// The path of the session's last page view; not in the rollups.
    ExitPage,
    /// The session's country.
    Country,
    /// The session's kind of device.
    DeviceType,
    /// The session's browser.
    Browser,
    /// The session's operating system.
    Os,
    /// The path of a page view.
    Page,
    /// The type of an event.
    EventType,
}

impl Dimension {
    /// The dimensions of sessions in the rollups, in the order of their rows.
    pub const OF_SESSIONS: [Self; 13] = [
        Self::Total,
        Self::Channel,
        Self::UtmSource,
        Self::UtmMedium,
        Self::UtmCampaign,
        Self::UtmContent,
        Self::UtmTerm,
        Self::ReferrerHost,
        Self::LandingPage,
        Self::Country,
        Self::DeviceType,
        Self::Browser,
        Self::Os,
    ];

    /// The dimensions of events in the rollups.
    pub const OF_EVENTS: [Self; 2] = [Self::Page, Self::EventType];

    /// The word in the column `dimension`, and in parameters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::LandingPage => "landing_page",
            Self::Page => "page",
            Self::Channel
            | Self::UtmSource
            | Self::UtmMedium
            | Self::UtmCampaign
            | Self::UtmContent
            | Self::UtmTerm
            | Self::ReferrerHost
            | Self::ExitPage
            | Self::Country
            | Self::DeviceType
            | Self::Browser
            | Self::Os
            | Self::EventType => match self.column() {
                Some(column) => column,
                None => "",
            },
        }
    }

    /// The column of `sessions` or `events` that has its values.
    const fn column(self) -> Option<&'static str> {
        Some(match self {
            Self::Total => return None,
            Self::Channel => column::CHANNEL,
            Self::UtmSource => TextField::UtmSource.column(),
            Self::UtmMedium => TextField::UtmMedium.column(),
            Self::UtmCampaign => TextField::UtmCampaign.column(),
            Self::UtmContent => TextField::UtmContent.column(),
            Self::UtmTerm => TextField::UtmTerm.column(),
            Self::ReferrerHost => TextField::ReferrerHost.column(),
            Self::LandingPage => column::ENTRY_PAGE,
            Self::ExitPage => column::EXIT_PAGE,
            Self::Country => TextField::Country.column(),
            Self::DeviceType => TextField::DeviceType.column(),
            Self::Browser => TextField::Browser.column(),
            Self::Os => TextField::Os.column(),
            Self::Page => TextField::Path.column(),
            Self::EventType => TextField::EventType.column(),
        })
    }
}

/// What is to be counted.
#[derive(Debug, Clone)]
pub struct Question {
    /// The table of the rows: [`Table::Sessions`], or [`Table::Events`] for the dimensions of events.
    pub table: Table,
    /// Every row counts once in each of these.
    pub calendars: Vec<Calendar>,
    /// Every row counts once in each of these; all of them are dimensions of the table.
    pub dimensions: Vec<Dimension>,
    /// Whether [`Group::amounts`] are wanted besides rows and visitors.
    pub amounts: bool,
    /// Rows of this time only.
    pub range: TimeRange,
    /// By who made them.
    pub bots: Bots,
    /// Days that are wanted; all of them without it.
    pub days: Option<BTreeSet<NaiveDate>>,
    /// What holds for the rows besides.
    pub filters: Vec<Expr>,
    /// Event types that are conversions; for events only, as sessions know theirs.
    pub conversion_event_types: Vec<String>,
}

/// What one part of a calendar, dimension and value came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which of the question's calendars.
    pub calendar: usize,
    /// The part of the calendar, by its number; none if that is [`Calendar::Whole`].
    pub part: Option<i32>,
    /// The dimension.
    pub dimension: Dimension,
    /// The value; none is one, too.
    pub value: Option<String>,
    /// Distinct devices.
    pub visitors: i64,
    /// Sessions, or events.
    pub rows: i64,
    /// What happened in them.
    pub amounts: Amounts,
}

/// Counts the rows of `scan`, in no order.
pub async fn groups(engine: &QueryEngine, scan: LakeScan, question: &Question) -> Result<Vec<Group>, PipelineError> {
    let reader = Reader::new(question)?;
    let context = engine.context();
    let filters = crate::reports::range_filters(question.table, question.range);
    // Without filters the scan needs no plan around it, but for those who want to see what is asked.
    let plan = if question.filters.is_empty() && !engine.is_explained() {
        scan.scan(&context.state(), Some(reader.projection()), &filters, None).await?
    } else {
        filtered(&context, scan, &reader, filters.into_iter().chain(question.filters.clone())).await?
    };
    let tasks =
        execute_stream_partitioned(plan, context.task_ctx())?.into_iter().enumerate().map(|(part, mut rows)| {
            let mut reader = reader.clone();
            let memory = MemoryConsumer::new(format!("traffic[{part}]")).register(&context.runtime_env().memory_pool);
            let tallied = SpawnedTask::spawn(async move {
                let mut tally = Tally::new(reader.calendar_count(), reader.dimension_count());
                while let Some(batch) = rows.try_next().await? {
                    reader.read(&batch, &mut tally)?;
                    memory.try_resize(tally.size_bytes())?;
                }
                Ok::<_, PipelineError>((tally, memory))
            });
            async { tallied.join().await.map_err(|error| exec_datafusion_err!("counting traffic: {error}"))? }
        });
    let (mut tallies, _memory): (Vec<_>, Vec<_>) = try_join_all(tasks).await?.into_iter().unzip();

    let tallies = blocking(move || {
        count::bring_together(&mut tallies);
        tallies
    });
    let counted = tallies.await?.into_iter().map(|mut tally| {
        blocking(move || {
            count::count_visitors(&mut tally);
            tally
        })
    });
    let mut groups = Vec::new();
    for tally in try_join_all(counted).await? {
        output::push_groups(&tally, question, &mut groups);
    }
    Ok(groups)
}

/// The columns that the reader wants, of those rows for which all filters hold.
async fn filtered(
    context: &SessionContext,
    scan: LakeScan,
    reader: &Reader,
    filters: impl Iterator<Item = Expr>,
) -> Result<Arc<dyn ExecutionPlan>, PipelineError> {
    let schema = scan.schema();
    let names: Vec<&str> = reader.projection().iter().map(|place| schema.field(*place).name().as_str()).collect();
    let mut frame = scan.frame(context)?;
    for filter in filters {
        frame = frame.filter(filter)?;
    }
    Ok(frame.select_columns(&names)?.create_physical_plan().await?)
}

/// The days of UTC on which rows of `files` lie by their table's time.
pub async fn days_of_rows(
    engine: &QueryEngine,
    table: Table,
    files: Vec<DataFile>,
) -> Result<BTreeSet<NaiveDate>, PipelineError> {
    let frame = LakeScan::new(table, files).frame(&engine.context())?;
    let mut batches = frame.select_columns(&[table.time_column()])?.execute_stream().await?;
    let mut utc = Days::new(Tz::UTC);
    let mut days = BTreeSet::new();
    while let Some(batch) = batches.try_next().await? {
        days.extend(times(&batch, table.time_column())?.iter().flatten().map(|at_us| utc.day_of(at_us)));
    }
    Ok(days.into_iter().map(date_of).collect())
}

/// What the rollups of some days depend on besides rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupParams {
    /// The account's time zone.
    pub time_zone: Tz,
    /// Days of both calendars that are wanted.
    pub days: BTreeSet<NaiveDate>,
    /// Event types that are conversions, besides events posted as conversions.
    pub conversion_event_types: Vec<String>,
}

/// The rows of `traffic_rollups` for some days, from the sessions and events of one tenant. The scans must hold every
/// day of UTC that shares an hour with a wanted day. Days without rows are left out.
pub async fn rollup(
    engine: &QueryEngine,
    sessions: LakeScan,
    events: LakeScan,
    params: &RollupParams,
) -> Result<Vec<DayRollup>, PipelineError> {
    let calendars = match params.time_zone {
        Tz::UTC => vec![Calendar::Days(Tz::UTC)],
        zone => vec![Calendar::Days(Tz::UTC), Calendar::Days(zone)],
    };
    let of_sessions = Question {
        table: Table::Sessions,
        calendars,
        dimensions: Dimension::OF_SESSIONS.to_vec(),
        amounts: true,
        range: TimeRange::default(),
        bots: Bots::Exclude,
        days: Some(params.days.clone()),
        filters: Vec::new(),
        conversion_event_types: params.conversion_event_types.clone(),
    };
    let of_events = Question { table: Table::Events, dimensions: Dimension::OF_EVENTS.to_vec(), ..of_sessions.clone() };
    let (mut rows, events) =
        futures::future::try_join(groups(engine, sessions, &of_sessions), groups(engine, events, &of_events)).await?;
    rows.extend(events);
    let zone = params.time_zone;
    Ok(blocking(move || output::by_day(rows, zone)).await??)
}
