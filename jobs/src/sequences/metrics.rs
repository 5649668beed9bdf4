//! The metrics, brought up to the stored runs.
//!
//! Runs that go on are looked at as of the time up to which the runs are complete. As that time moves, their cohorts and
//! the last day change, even where no event came: those are always computed anew. Of the rest, what changed runs name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use chrono::{DateTime, NaiveDate};
use touchline_lake::{CHANGE_TYPE, ChangeKind, CommitInfo, DataFile, Snapshot};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::days::{date_of, number_of};
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::sequences::{
    Changed, DEFINITION, Scope, StoredRuns, changed, metric_rows, metrics_batch, run_columns,
};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, sequence_metrics as column};

use super::NAME;
use crate::derived::{Replacement, as_stored, day_of, split_days, start_us, write_day};
use crate::{JobContext, JobError, JobReport};

/// Brings the metrics up to the newest version of the runs; whether anything was committed.
pub(super) async fn catch_up(
    engine: &QueryEngine,
    context: &JobContext,
    report: &mut JobReport,
) -> Result<bool, JobError> {
    let snapshot = async |table| engine.lake().table(table).snapshot().await.map_err(JobError::failed);
    let stored = snapshot(Table::SequenceMetrics).await?;
    let runs = snapshot(Table::SequenceRuns).await?;
    let known = stored.info.clone().unwrap_or_default();
    let done = known.sources.get(Table::SequenceRuns.name()).copied();
    if done == Some(runs.version) || (done.is_none() && runs.info.as_ref().is_none_or(|info| info.sources.is_empty())) {
        return Ok(false);
    }
    let mut changes = match done {
        Some(done) => engine.lake().table(Table::SequenceRuns).changes(done, runs.version).await,
        None => Ok(None),
    }
    .map_err(JobError::failed)?;
    let watermark = runs.info.as_ref().and_then(|info| info.watermark);
    let part = Part { engine, stored: &stored, runs: &runs, as_of: [known.watermark, watermark].map(micros), context };
    let mut replacement = Replacement::default();
    let mut settings = BTreeMap::new();
    for tenant in runs.tenants().chain(stored.tenants()).collect::<BTreeSet<_>>() {
        context.check_cancelled()?;
        let same_definition = known.settings.get(&tenant.to_string()).is_none_or(|known| known == DEFINITION);
        settings.insert(tenant.to_string(), DEFINITION.to_owned());
        let of_tenant = changes.as_mut().filter(|_| same_definition).map(|changes| changes.by_tenant.remove(&tenant));
        let change_files = match of_tenant {
            // No run of it is another than before.
            Some(None) => Some(Vec::new()),
            Some(Some(files)) => files,
            None => None,
        };
        let scope = match change_files {
            Some(files) => part.scope(tenant, files, report).await?,
            None => Scope::all(part.as_of[1]),
        };
        part.replace(tenant, scope, &mut replacement, report).await?;
    }
    report.rows_written += replacement.add.iter().map(|file| file.rows).sum::<u64>();
    report.bytes_written += replacement.add.iter().map(|file| file.size_bytes).sum::<u64>();
    let info = CommitInfo {
        source_version: Some(runs.version),
        watermark,
        sources: BTreeMap::from([(Table::SequenceRuns.name().to_owned(), runs.version)]),
        settings,
        ..CommitInfo::default()
    };
    let table = engine.lake().table(Table::SequenceMetrics);
    let committed = replacement.commit_with(table, NAME, stored.version, info, context.clock.now()).await;
    committed.map_err(JobError::failed)?;
    Ok(true)
}

fn micros(watermark: Option<DateTime<chrono::Utc>>) -> i64 {
    watermark.map_or(0, |watermark| watermark.timestamp_micros())
}

struct Part<'a> {
    engine: &'a QueryEngine,
    stored: &'a Snapshot,
    runs: &'a Snapshot,
    /// As of when runs were looked at, and are looked at now.
    as_of: [i64; 2],
    context: &'a JobContext,
}

/// A run before and after, by the number of its batch and its row there.
#[derive(Default)]
struct Exchanged {
    was: Option<(usize, usize)>,
    is: Option<(usize, usize)>,
}

impl Part<'_> {
    /// Which rows may be others since the stored ones were computed.
    async fn scope(&self, tenant: Tenant, changes: Vec<DataFile>, report: &mut JobReport) -> Result<Scope, JobError> {
        let [as_of_before_us, as_of_us] = self.as_of;
        // The time up to which runs are complete may go back, where segments of several writers come to the lake.
        let unmoved_us = as_of_us.min(as_of_before_us);
        let mut others = Changed { events_from: Some(number_of(day_of(unmoved_us))), ..Changed::default() };
        others.extend(self.changed(changes, report).await?);
        let going_on = self.runs.files(tenant).iter().filter(|file| ends_after(file, unmoved_us));
        others.cohorts.extend(going_on.map(|file| number_of(file.date)));
        let (cohorts, events_from) = (Some(others.cohorts), others.events_from);
        Ok(Scope { cohorts, events_from, ..Scope::all(as_of_us) })
    }

    async fn changed(&self, changes: Vec<DataFile>, report: &mut JobReport) -> Result<Changed, JobError> {
        let mut batches = Vec::new();
        let mut runs: HashMap<String, Exchanged> = HashMap::new();
        // Oldest first: of several changes of a run, what was before the first and what is after the last counts.
        for file in changes {
            report.rows_read += file.rows;
            report.bytes_read += file.size_bytes;
            let scan = Arc::new(LakeScan::changes(Table::SequenceRuns, vec![file]));
            let frame = self.engine.context().read_table(scan).map_err(JobError::failed)?;
            let columns: Vec<&str> = run_columns().into_iter().chain([CHANGE_TYPE]).collect();
            let frame = frame.select_columns(&columns).map_err(JobError::failed)?;
            let mut rows = Vec::new();
            for batch in frame.collect().await.map_err(JobError::failed)? {
                let kinds = batch.column_by_name(CHANGE_TYPE).and_then(|kinds| kinds.as_string_view_opt());
                let went: Vec<bool> =
                    kinds.into_iter().flatten().map(|kind| kind == Some(ChangeKind::Delete.as_str())).collect();
                rows.push((StoredRuns::read(&batch).map_err(JobError::failed)?, went));
            }
            // What a file takes out, it takes out before it puts something in, in whatever order its rows are read.
            let first = batches.len();
            for goes in [true, false] {
                for (number, (stored, went)) in rows.iter().enumerate() {
                    for (row, ((run, _), _)) in
                        stored.iter().zip(went).enumerate().filter(|(_, (_, went))| **went == goes)
                    {
                        let place = Some((first + number, row));
                        let is_new = !runs.contains_key(run.run_id.as_ref());
                        let exchanged = runs.entry(run.run_id.into_owned()).or_default();
                        match goes {
                            true if is_new => exchanged.was = place,
                            true => exchanged.is = None,
                            false => exchanged.is = place,
                        }
                    }
                }
            }
            batches.extend(rows.into_iter().map(|(stored, _)| stored));
        }
        let mut others = Changed::default();
        for Exchanged { was, is } in runs.values() {
            let [was, is] = [was, is].map(|place| place.map(|(batch, row): (usize, usize)| batches[batch].get(row)));
            let [before_us, now_us] = self.as_of;
            let was = was.as_ref().map(|(run, person)| (run, *person, before_us));
            let is = is.as_ref().map(|(run, person)| (run, *person, now_us));
            others.extend(changed(was, is));
        }
        Ok(others)
    }

    /// Computes the rows of a scope, and puts them in the place of what is stored, on the days that are others than before.
    async fn replace(
        &self,
        tenant: Tenant,
        scope: Scope,
        replacement: &mut Replacement,
        report: &mut JobReport,
    ) -> Result<(), JobError> {
        let table = self.engine.lake().table(Table::SequenceMetrics);
        let events_from_us = scope.events_from.map(|day| start_us(date_of(day)));
        let is_cohort = |day: NaiveDate| scope.cohorts.as_ref().is_none_or(|days| days.contains(&number_of(day)));
        let has_events = |day: NaiveDate| scope.events_from.is_none_or(|from| number_of(day) >= from);
        let runs = self.runs.files(tenant).iter();
        let runs: Vec<DataFile> = runs
            .filter(|file| is_cohort(file.date) || events_from_us.is_none_or(|from_us| ends_after(file, from_us)))
            .cloned()
            .collect();
        report.rows_read += runs.iter().map(|file| file.rows).sum::<u64>();
        report.bytes_read += runs.iter().map(|file| file.size_bytes).sum::<u64>();
        let scan = LakeScan::new(Table::SequenceRuns, runs);
        let rows = metric_rows(self.engine, scan, scope.clone()).await.map_err(JobError::failed)?;
        let rows = metrics_batch(&rows).map_err(JobError::failed)?;
        let mut days = split_days(Table::SequenceMetrics, tenant, &[rows]).map_err(JobError::failed)?;
        let mut old_files: BTreeMap<NaiveDate, Vec<&DataFile>> = BTreeMap::new();
        for file in self.stored.files(tenant).iter().filter(|file| is_cohort(file.date) || has_events(file.date)) {
            old_files.entry(file.date).or_default().push(file);
        }
        for day in days.keys().chain(old_files.keys()).copied().collect::<BTreeSet<_>>() {
            let mut old = Vec::new();
            let files = old_files.remove(&day).unwrap_or_default();
            for file in &files {
                for batch in table.rows(file).await.map_err(JobError::failed)? {
                    old.push(as_stored(Table::SequenceMetrics, &batch).map_err(JobError::failed)?);
                }
            }
            let mut new: Vec<RecordBatch> = days.remove(&day).into_iter().collect();
            for batch in &old {
                new.push(kept(batch, is_cohort(day), has_events(day)).map_err(JobError::failed)?);
            }
            new.retain(|batch| batch.num_rows() > 0);
            if in_order(&old).map_err(JobError::failed)? == in_order(&new).map_err(JobError::failed)? {
                continue;
            }
            replacement.remove.extend(files.into_iter().cloned());
            if !new.is_empty() {
                let written = write_day(table, tenant, day, new, self.context.clock.now()).await;
                replacement.add.extend(written.map_err(JobError::failed)?);
            }
        }
        Ok(())
    }
}

/// Whether a run in a file may go on at an instant or later.
fn ends_after(file: &DataFile, at_us: i64) -> bool {
    file.latest_end.is_none_or(|end| end.timestamp_micros() >= at_us)
}

/// Of stored rows of a day, those of a calendar that is not computed anew.
fn kept(rows: &RecordBatch, cohort: bool, events: bool) -> Result<RecordBatch, ArrowError> {
    let calendars = rows.column_by_name(column::CALENDAR).and_then(|calendars| calendars.as_string_opt::<i32>());
    let calendars =
        calendars.ok_or_else(|| ArrowError::SchemaError(format!("there are no texts `{}`", column::CALENDAR)))?;
    let is_kept = |calendar: Option<&str>| if calendar == Some(column::CALENDAR_COHORT) { !cohort } else { !events };
    filter_record_batch(rows, &calendars.iter().map(|calendar| Some(is_kept(calendar))).collect::<BooleanArray>())
}

/// Rows to be compared, in an order that does not depend on how they are stored.
fn in_order(batches: &[RecordBatch]) -> Result<Vec<OwnedRow>, ArrowError> {
    let schema = Table::SequenceMetrics.file_schema();
    let converter =
        RowConverter::new(schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect())?;
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(converter.convert_columns(batch.columns())?.iter().map(|row| row.owned()));
    }
    rows.sort_unstable();
    Ok(rows)
}
