//! Job `sessions`: keeps the table `sessions` equal to what a full computation over `events` would give.
//!
//! It finds the days that new events fall on, and recomputes the sessions that start on those days and their
//! neighbours, from these days' events and a day more on either side; a session that runs out of that range widens it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use async_trait::async_trait;
use chrono::{Days, Duration, NaiveDate};
use touchline_lake::{DataFile, Snapshot};
use touchline_pipeline::sessions::{SessionParams, SessionRules, sessions};
use touchline_pipeline::{PipelineError, QueryEngine};
use touchline_schemas::Tenant;
use touchline_schemas::control::{AccountSettings, ControlDb};
use touchline_schemas::tables::{Table, sessions as column};

use crate::derived::{Replacement, application, day_of, write_days};
use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "sessions";

/// The job.
#[derive(Debug, Clone)]
pub struct SessionsJob {
    engine: QueryEngine,
    control: ControlDb,
    default_timeout: Duration,
}

impl SessionsJob {
    /// A job over the engine's lake; accounts that set no timeout have `default_timeout`.
    pub fn new(engine: QueryEngine, control: ControlDb, default_timeout: Duration) -> Self {
        Self { engine, control, default_timeout }
    }
}

#[async_trait]
impl Job for SessionsJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let lake = self.engine.lake();
        let events = lake.table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let table = lake.table(Table::Sessions);
        let done = table.last_txn(&application(NAME)).await.map_err(JobError::failed)?.filter(|_| !request.full);
        let affected =
            if done == Some(events.version) { BTreeMap::new() } else { self.affected(&events, done).await? };
        let parts = affected.into_iter().map(|(tenant, days)| {
            let files = || events.files(tenant).iter().filter(|file| days.contains(&file.date));
            PlanPart {
                tenant,
                reason: "new rows",
                rows: files().map(|file| file.rows).sum(),
                bytes: files().map(|file| file.size_bytes).sum(),
                days: days.iter().copied().collect(),
            }
        });
        Ok(JobPlan { source_version: Some(events.version), parts: parts.collect() })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let lake = self.engine.lake();
        let events = lake.table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let table = lake.table(Table::Sessions);
        let existing = table.snapshot().await.map_err(JobError::failed)?;
        let done = table.last_txn(&application(NAME)).await.map_err(JobError::failed)?.filter(|_| !request.full);
        let mut report = JobReport {
            source_version: Some(events.version),
            watermark: events.info.as_ref().and_then(|info| info.watermark),
            ..JobReport::default()
        };
        if done == Some(events.version) {
            report.unchanged = true;
            return Ok(report);
        }

        let mut replacement = Replacement::default();
        for (tenant, days) in self.affected(&events, done).await? {
            let params = self.params(tenant).await?;
            // From the youngest range on, because ranges widen into the past: one that reaches the range before it takes
            // that in instead of replacing its days a second time.
            let mut ranges = ranges(&days);
            while let Some(changed) = ranges.pop() {
                let written = replacement.add.len();
                let mut replaced = before(*changed.start())..=after(*changed.end());
                let mut chunks = chunks(events.files(tenant), &replaced);
                while let Some(days) = chunks.pop() {
                    context.check_cancelled()?;
                    let cut = self.cut_days(&events, tenant, &days, &params).await?;
                    report.rows_read += cut.rows_read;
                    report.bytes_read += cut.bytes_read;
                    if chunks.is_empty()
                        && let Some(start) = starts_before(&cut.sessions, &changed, &replaced)
                    {
                        // A session that holds a changed day began before what is replaced.
                        chunks.push(start..=before(*replaced.start()));
                        replaced = start..=*replaced.end();
                    }
                    let now = context.clock.now();
                    let files = write_days(table, tenant, cut.sessions, &days, now).await;
                    replacement.add.extend(files.map_err(JobError::failed)?);
                }
                match ranges.last_mut() {
                    Some(earlier) if *replaced.start() <= after(after(*earlier.end())) => {
                        *earlier = *earlier.start()..=*changed.end();
                        replacement.add.truncate(written);
                    }
                    _ => {
                        let files = existing.files(tenant).iter().filter(|file| replaced.contains(&file.date));
                        replacement.remove.extend(files.cloned());
                    }
                }
            }
        }
        report.rows_written = replacement.add.iter().map(|file| file.rows).sum();
        report.bytes_written = replacement.add.iter().map(|file| file.size_bytes).sum();
        replacement
            .commit(table, NAME, existing.version, events.version, report.watermark, context.clock.now())
            .await
            .map_err(JobError::failed)?;
        Ok(report)
    }
}

struct Cut {
    sessions: Vec<RecordBatch>,
    rows_read: u64,
    bytes_read: u64,
}

impl SessionsJob {
    /// The days on which events are new since version `done`, or all days.
    async fn affected(
        &self,
        events: &Snapshot,
        done: Option<i64>,
    ) -> Result<BTreeMap<Tenant, BTreeSet<NaiveDate>>, JobError> {
        let added = match done {
            Some(done) => {
                let events_table = self.engine.lake().table(Table::Events);
                events_table.files_added(done, events.version).await.map_err(JobError::failed)?
            }
            None => None,
        };
        let files = match added {
            Some(added) => added,
            None => events.tenants().flat_map(|tenant| events.files(tenant).to_vec()).collect(),
        };
        let mut affected: BTreeMap<Tenant, BTreeSet<NaiveDate>> = BTreeMap::new();
        for file in files {
            affected.entry(file.tenant).or_default().insert(file.date);
        }
        Ok(affected)
    }

    async fn params(&self, tenant: Tenant) -> Result<SessionParams, JobError> {
        let account = self.control.account(tenant.account_id).await.map_err(JobError::failed)?;
        let settings: AccountSettings = account.map(|account| account.settings).unwrap_or_default();
        let rules = SessionRules::of(&settings, self.default_timeout).map_err(JobError::failed)?;
        let mut params = SessionParams { rules, ..SessionParams::default() };
        if let Some(types) = settings.conversion_event_types {
            params.conversion_event_types = types;
        }
        Ok(params)
    }

    /// The sessions that start on `days`, whole, and others that were cut on the way.
    ///
    /// The day before tells which sessions began earlier; as many days after are read as the sessions run on.
    async fn cut_days(
        &self,
        events: &Snapshot,
        tenant: Tenant,
        days: &DayRange,
        params: &SessionParams,
    ) -> Result<Cut, JobError> {
        let files = events.files(tenant);
        let mut read = before(*days.start())..=after(*days.end());
        let mut step_days = 1;
        loop {
            let chosen: Vec<_> = files.iter().filter(|file| read.contains(&file.date)).cloned().collect();
            let rows_read = chosen.iter().map(|file| file.rows).sum();
            let bytes_read = chosen.iter().map(|file| file.size_bytes).sum();
            let sessions = self.cut(chosen, params).await.map_err(JobError::failed)?;
            let goes_on =
                sessions.iter().flat_map(spans).any(|(start, end)| days.contains(&start) && end >= *read.end());
            if !goes_on || !files.iter().any(|file| file.date > *read.end()) {
                return Ok(Cut { sessions, rows_read, bytes_read });
            }
            // A session without an end is found in few steps, however long it is.
            read = *read.start()..=after_by(*read.end(), step_days);
            step_days *= 2;
        }
    }

    async fn cut(&self, files: Vec<DataFile>, params: &SessionParams) -> Result<Vec<RecordBatch>, PipelineError> {
        let scan = touchline_pipeline::scan::LakeScan::new(Table::Events, files);
        let context = self.engine.context();
        Ok(sessions(&context, Arc::new(scan), params.clone())?.collect().await?)
    }
}

type DayRange = RangeInclusive<NaiveDate>;

/// First and last day of each session.
fn spans(sessions: &RecordBatch) -> Vec<(NaiveDate, NaiveDate)> {
    let days = |name: &str| {
        let times =
            sessions.column_by_name(name).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        times.map(|times| times.values().iter().map(|micros| day_of(*micros)))
    };
    match (days(column::STARTED_AT), days(column::ENDED_AT)) {
        (Some(starts), Some(ends)) => starts.zip(ends).collect(),
        (None, _) | (_, None) => Vec::new(),
    }
}

/// The day before the first session that holds a changed day although it starts before what is replaced.
fn starts_before(sessions: &[RecordBatch], changed: &DayRange, replaced: &DayRange) -> Option<NaiveDate> {
    let spans = sessions.iter().flat_map(spans);
    let earlier = spans.filter(|(start, end)| start < replaced.start() && end >= changed.start());
    earlier.map(|(start, _)| before(start)).min()
}

/// A range of days in parts that hold few enough events to be cut at once, oldest first.
fn chunks(files: &[DataFile], days: &DayRange) -> Vec<DayRange> {
    const MAX_ROWS: u64 = 4_000_000;
    let mut chunks: Vec<DayRange> = Vec::new();
    let mut rows = 0;
    for day in days.start().iter_days().take_while(|day| day <= days.end()) {
        let of_day: u64 = files.iter().filter(|file| file.date == day).map(|file| file.rows).sum();
        rows += of_day;
        match chunks.last_mut() {
            Some(chunk) if rows <= MAX_ROWS => *chunk = *chunk.start()..=day,
            _ => {
                rows = of_day;
                chunks.push(day..=day);
            }
        }
    }
    chunks
}

/// Consecutive days as ranges; days whose neighbourhoods touch are one range.
fn ranges(days: &BTreeSet<NaiveDate>) -> Vec<DayRange> {
    const REACH_DAYS: i64 = 4;
    let mut ranges: Vec<DayRange> = Vec::new();
    for &day in days {
        match ranges.last_mut() {
            Some(range) if (day - *range.end()).num_days() <= REACH_DAYS => *range = *range.start()..=day,
            _ => ranges.push(day..=day),
        }
    }
    ranges
}

fn before(day: NaiveDate) -> NaiveDate {
    day.checked_sub_days(Days::new(1)).unwrap_or(day)
}

fn after(day: NaiveDate) -> NaiveDate {
    after_by(day, 1)
}

fn after_by(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_add_days(Days::new(days)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn days_whose_neighbourhoods_touch_are_one_range() {
        let days = ["2026-01-01", "2026-01-02", "2026-01-05", "2026-01-20"].map(day).into_iter().collect();
        let expected = [day("2026-01-01")..=day("2026-01-05"), day("2026-01-20")..=day("2026-01-20")];
        assert_eq!(ranges(&days), expected);
    }
}
