//! One tenant's part of a run: reading sources, computing journeys and credits, and writing both tables.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
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

/// Rows of both tables.
#[derive(Default)]
pub(super) struct Rows {
    pub touchpoints: Vec<RecordBatch>,
    pub attribution: Vec<RecordBatch>,
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

    /// The rows of both tables for conversions, of whose people the sessions within the look-back are read.
    pub(super) async fn rows(&self, conversions: Vec<RecordBatch>, report: &mut JobReport) -> Result<Rows, JobError> {
        let days = days_of(&conversions, sessions::STARTED_AT);
        let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(Rows::default()) };
        let from = first.checked_sub_days(Days::new(self.params.lookback_days.into())).unwrap_or(NaiveDate::MIN);
        let window = from..=*last;
        let sessions = self.scan(Table::Sessions, on_days(&self.work.sessions, self.tenant, &window), report);

        let context = self.engine.context();
        let conversions = context.read_batches(conversions).map_err(JobError::failed)?;
        let touchpoints = touchpoints(&context, conversions, sessions, self.identities(), self.params);
        let touchpoints = touchpoints.await.map_err(JobError::failed)?.collect().await.map_err(JobError::failed)?;
        // Many journeys keep a worker from requests that wait for it.
        let computed = tokio::task::spawn_blocking(move || {
            let Some(first) = touchpoints.first() else { return Ok(Rows::default()) };
            let touchpoints = concat_batches(&first.schema(), &touchpoints)?;
            let attribution = credits(&touchpoints)?;
            Ok(Rows { touchpoints: vec![touchpoints], attribution: vec![attribution] })
        });
        computed.await.map_err(JobError::failed)?.map_err(|error: arrow::error::ArrowError| JobError::failed(error))
    }

    /// Writes rows of both tables in place of some files.
    pub(super) async fn write(
        &self,
        rows: Rows,
        replaced: [Vec<DataFile>; 2],
        written: &mut Written,
    ) -> Result<(), JobError> {
        let [old_touchpoints, old_attribution] = replaced;
        for (table, rows, old, replacement) in [
            (Table::Touchpoints, rows.touchpoints, old_touchpoints, &mut written.touchpoints),
            (Table::Attribution, rows.attribution, old_attribution, &mut written.attribution),
        ] {
            let table = self.engine.lake().table(table);
            let files = write_days(table, self.tenant, rows, self.context.clock.now()).await;
            replacement.add.extend(files.map_err(JobError::failed)?);
            replacement.remove.extend(old);
        }
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
