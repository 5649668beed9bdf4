//! One tenant's part of a run: reading sources, computing journeys and credits, and writing both tables.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{Days, NaiveDate};
use touchline_lake::{DataFile, Snapshot};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::attribution::{Params, credits, touchpoints};
use touchline_pipeline::scan::LakeScan;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, sessions};

use super::work::Work;
use crate::derived::{Replacement, day_of, write_days};
use crate::{JobContext, JobError, JobReport};

/// Touchpoints that are computed and written at once: a conversion may have a thousand.
const ROWS_PER_PART: usize = 250_000;

/// One tenant's part of a run.
pub(super) struct Part<'a> {
    pub engine: &'a QueryEngine,
    pub work: &'a Work,
    pub tenant: Tenant,
    pub params: &'a Params,
    pub context: &'a JobContext,
}

/// What a run takes out of the tables and puts in.
#[derive(Default)]
pub(super) struct Written {
    pub touchpoints: Replacement,
    pub attribution: Replacement,
}

impl Written {
    /// Adds what was written for another tenant.
    pub(super) fn extend(&mut self, other: Self) {
        for (ours, theirs) in [(&mut self.touchpoints, other.touchpoints), (&mut self.attribution, other.attribution)] {
            ours.add.extend(theirs.add);
            ours.remove.extend(theirs.remove);
        }
    }
}

impl Part<'_> {
    /// A scan of some files of a table, which are counted as read.
    pub(super) fn scan(&self, table: Table, files: Vec<DataFile>, report: &mut JobReport) -> Arc<LakeScan> {
        count(&files, report);
        Arc::new(LakeScan::new(table, files))
    }

    /// A scan of change files, which are counted as read.
    pub(super) fn scan_changes(&self, table: Table, files: &[DataFile], report: &mut JobReport) -> Arc<LakeScan> {
        count(files, report);
        Arc::new(LakeScan::changes(table, files.to_vec()))
    }

    /// All identities of the tenant.
    pub(super) fn identities(&self) -> Arc<LakeScan> {
        Arc::new(LakeScan::new(Table::Identities, self.work.identities.files(self.tenant).to_vec()))
    }

    /// Computes the rows of both tables for conversions, of whose people the sessions within the look-back are read, and
    /// writes them, some at a time.
    pub(super) async fn compute(
        &self,
        conversions: Vec<RecordBatch>,
        written: &mut Written,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        let days = days_of(&conversions, sessions::STARTED_AT);
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(()) };
        let from = first.checked_sub_days(Days::new(self.params.lookback_days.into())).unwrap_or(NaiveDate::MIN);
        let window = from..=*last;
        let sessions = self.scan(Table::Sessions, on_days(&self.work.sessions, self.tenant, &window), report);

        let context = self.engine.context();
        let conversions = context.read_batches(conversions).map_err(JobError::failed)?;
        let touchpoints = touchpoints(&context, conversions, sessions, self.identities(), self.params);
        let mut touchpoints = touchpoints.await.map_err(JobError::failed)?;
        loop {
            self.context.check_cancelled()?;
            // Many journeys keep a worker from requests that wait for it.
            let computed = tokio::task::spawn_blocking(move || {
                let part = touchpoints.next_part(ROWS_PER_PART).map_err(JobError::failed)?;
                let credits = part.as_ref().map(credits).transpose().map_err(JobError::failed)?;
                Ok::<_, JobError>((touchpoints, part.zip(credits)))
            });
            let (rest, rows) = computed.await.map_err(JobError::failed)??;
            let Some((journeys, credits)) = rows else { return Ok(()) };
            touchpoints = rest;
            self.write(Table::Touchpoints, vec![journeys], &mut written.touchpoints).await?;
            self.write(Table::Attribution, vec![credits], &mut written.attribution).await?;
        }
    }

    /// Writes rows of a table to files of their own.
    pub(super) async fn write(
        &self,
        table: Table,
        rows: Vec<RecordBatch>,
        replacement: &mut Replacement,
    ) -> Result<(), JobError> {
        let table = self.engine.lake().table(table);
        let files = write_days(table, self.tenant, rows, self.context.clock.now()).await;
        replacement.add.extend(files.map_err(JobError::failed)?);
        Ok(())
    }
}

fn count(files: &[DataFile], report: &mut JobReport) {
    report.rows_read += files.iter().map(|file| file.rows).sum::<u64>();
    report.bytes_read += files.iter().map(|file| file.size_bytes).sum::<u64>();
}

/// A tenant's files with the rows of some days.
pub(super) fn on_days(snapshot: &Snapshot, tenant: Tenant, days: &RangeInclusive<NaiveDate>) -> Vec<DataFile> {
    snapshot.files(tenant).iter().filter(|file| days.contains(&file.date)).cloned().collect()
}

/// The days of a time column.
pub(super) fn days_of(rows: &[RecordBatch], time_column: &str) -> BTreeSet<NaiveDate> {
    let times = rows.iter().filter_map(|rows| {
        let times = rows.column_by_name(time_column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        Some(times.values().iter().copied())
    });
    times.flatten().map(day_of).collect()
}
