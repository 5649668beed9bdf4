//! Rollups follow from deliveries: the days on which anything of a delivery that changed counts are counted anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::NaiveDate;
use touchline_lake::{CommitInfo, DataFile, EncodedRows, NewFile, Snapshot};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::messages::rollup::{DEFINITION, DayRollup, rollups};
use touchline_pipeline::scan::LakeScan;
use touchline_schemas::Tenant;
use touchline_schemas::tables::message_deliveries::{COHORT_AT, CONVERSION_OCCURRED_AT};
use touchline_schemas::tables::{Table, event_sets};
use uuid::Uuid;

use super::NAME;
use super::work::blocking;
use crate::derived::{Replacement, day_of};
use crate::{JobContext, JobError, JobReport, RunRequest};

/// Deliveries that are counted at once, unless a single day has more.
const MAX_ROWS: u64 = 4_000_000;

/// Brings the rollups to the newest version of the deliveries. False if they are there already.
pub(super) async fn catch_up(
    engine: &QueryEngine,
    request: RunRequest,
    context: &JobContext,
    report: &mut JobReport,
) -> Result<bool, JobError> {
    let lake = engine.lake();
    let stored = lake.table(Table::MessageRollups).snapshot().await.map_err(JobError::failed)?;
    let deliveries = lake.table(Table::MessageDeliveries).snapshot().await.map_err(JobError::failed)?;
    let work = affected(engine, &deliveries, &stored, request).await?;
    let Some(origin) = deliveries.info.clone() else { return Ok(false) };
    let mut sources = origin.sources.clone();
    sources.insert(Table::MessageDeliveries.name().to_owned(), deliveries.version);
    let tenants = deliveries.tenants().chain(stored.tenants());
    let settings: BTreeMap<String, String> =
        tenants.map(|tenant| (tenant.to_string(), DEFINITION.to_owned())).collect();
    let known = stored.info.as_ref().map(|info| (&info.sources, &info.settings));
    if work.is_empty() && known == Some((&sources, &settings)) {
        return Ok(false);
    }
    let mut replacement = Replacement::default();
    for (tenant, days) in work {
        for (days, files) in chunks(deliveries.files(tenant), &days) {
            context.check_cancelled()?;
            report.rows_read += files.iter().map(|file| file.rows).sum::<u64>();
            report.bytes_read += files.iter().map(|file| file.size_bytes).sum::<u64>();
            let scan = LakeScan::new(Table::MessageDeliveries, files);
            let counted = rollups(engine, scan, Some(Arc::new(days))).await.map_err(JobError::failed)?;
            let failed: u64 = counted.iter().map(|day| day.failed).sum();
            if failed > 0 {
                tracing::warn!(%tenant, rows = failed, "rollups of messages that do not add up are marked as such");
            }
            replacement.add.extend(write(engine, tenant, counted, context).await?);
        }
        let replaced = stored.files(tenant).iter().filter(|file| days.contains(&file.date));
        replacement.remove.extend(replaced.cloned());
    }
    report.rows_written += replacement.add.iter().map(|file| file.rows).sum::<u64>();
    report.bytes_written += replacement.add.iter().map(|file| file.size_bytes).sum::<u64>();
    let info = CommitInfo {
        source_version: origin.source_version,
        watermark: origin.watermark,
        sources,
        settings,
        ..CommitInfo::default()
    };
    let table = lake.table(Table::MessageRollups);
    let committed = replacement.commit_with(table, NAME, stored.version, info, context.clock.now()).await;
    committed.map_err(JobError::failed)?;
    Ok(true)
}

/// Per tenant the days that are to be counted anew.
async fn affected(
    engine: &QueryEngine,
    deliveries: &Snapshot,
    stored: &Snapshot,
    request: RunRequest,
) -> Result<BTreeMap<Tenant, BTreeSet<NaiveDate>>, JobError> {
    let done = stored.info.as_ref().and_then(|info| info.sources.get(Table::MessageDeliveries.name()).copied());
    let changes = match done {
        Some(done) => {
            let table = engine.lake().table(Table::MessageDeliveries);
            table.changes(done, deliveries.version).await.map_err(JobError::failed)?
        }
        None => None,
    };
    let tenants: BTreeSet<Tenant> = deliveries.tenants().chain(stored.tenants()).collect();
    let mut affected = BTreeMap::new();
    for tenant in tenants {
        let known = stored.info.as_ref().and_then(|info| info.settings.get(&tenant.to_string()));
        // A tenant without rows yet is not known either, and has nothing that was counted otherwise.
        let is_same = known.is_none_or(|known| known == DEFINITION);
        let news = changes.as_ref().map(|changes| changes.by_tenant.get(&tenant).cloned().unwrap_or(Some(Vec::new())));
        let days = match news {
            Some(Some(files)) if is_same && !request.renews(tenant) => days_of(engine, files).await?,
            _ => every_day(deliveries.files(tenant), stored.files(tenant)),
        };
        if !days.is_empty() {
            affected.insert(tenant, days);
        }
    }
    Ok(affected)
}

/// The days on which something of these deliveries counts.
async fn days_of(engine: &QueryEngine, change_files: Vec<DataFile>) -> Result<BTreeSet<NaiveDate>, JobError> {
    let scan = Arc::new(LakeScan::changes(Table::MessageDeliveries, change_files));
    let frame = engine.context().read_table(scan).map_err(JobError::failed)?;
    let frame = frame.select_columns(&[COHORT_AT, event_sets::OCCURRED_AT, CONVERSION_OCCURRED_AT]);
    let mut days = BTreeSet::new();
    for batch in frame.map_err(JobError::failed)?.collect().await.map_err(JobError::failed)? {
        for column in batch.columns() {
            let values = match column.as_list_opt::<i32>() {
                Some(lists) => Arc::clone(lists.values()),
                None => Arc::clone(column),
            };
            if let Some(times) = values.as_primitive_opt::<TimestampMicrosecondType>() {
                days.extend(times.iter().flatten().map(day_of));
            }
        }
    }
    Ok(days)
}

/// Every day on which anything of some deliveries may count, or has been counted.
fn every_day(deliveries: &[DataFile], stored: &[DataFile]) -> BTreeSet<NaiveDate> {
    let mut days: BTreeSet<NaiveDate> = stored.iter().map(|file| file.date).collect();
    for (from, to) in deliveries.iter().filter_map(span) {
        days.extend(from.iter_days().take_while(|day| *day <= to));
    }
    days
}

/// The first and the last day of a file's deliveries; none if it does not say so.
fn span(file: &DataFile) -> Option<(NaiveDate, NaiveDate)> {
    Some((file.earliest_begin?.date_naive(), file.latest_end?.date_naive()))
}

/// Days in their order, in parts, with the files of all deliveries of which anything counts on them.
fn chunks(files: &[DataFile], days: &BTreeSet<NaiveDate>) -> Vec<(BTreeSet<NaiveDate>, Vec<DataFile>)> {
    let during = |days: &BTreeSet<NaiveDate>| -> Vec<DataFile> {
        let on = |file: &&DataFile| span(file).is_none_or(|(from, to)| days.range(from..=to).next().is_some());
        files.iter().filter(on).cloned().collect()
    };
    let mut chunks: Vec<(BTreeSet<NaiveDate>, Vec<DataFile>)> = Vec::new();
    for day in days {
        if let Some((known, read)) = chunks.last_mut() {
            known.insert(*day);
            let wider = during(known);
            if wider.iter().map(|file| file.rows).sum::<u64>() <= MAX_ROWS {
                *read = wider;
                continue;
            }
            known.remove(day);
        }
        let alone = BTreeSet::from([*day]);
        let read = during(&alone);
        chunks.push((alone, read));
    }
    chunks.retain(|(_, files)| !files.is_empty());
    chunks
}

/// Writes each day's rows to a file of its own.
async fn write(
    engine: &QueryEngine,
    tenant: Tenant,
    counted: Vec<DayRollup>,
    context: &JobContext,
) -> Result<Vec<NewFile>, JobError> {
    let table = engine.lake().table(Table::MessageRollups);
    let encoded = blocking(move || {
        let encoded = counted.iter().map(|DayRollup { day, rows, .. }| {
            Ok::<_, touchline_lake::LakeError>((*day, EncodedRows::new(Table::MessageRollups, rows)?))
        });
        encoded.collect::<Result<Vec<_>, _>>()
    });
    let mut files = Vec::new();
    for (day, rows) in encoded.await? {
        let stem = Uuid::now_v7().simple().to_string();
        let written = table.write_file(tenant, day, &stem, rows, context.clock.now()).await;
        files.push(written.map_err(JobError::failed)?);
    }
    Ok(files)
}
