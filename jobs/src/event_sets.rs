//! Rows that are sets of events, in a table: finding those that news concern, and putting others in their place.
//!
//! A job over such a table takes three steps. It reads the new events (`touchline_pipeline::event_sets::read`), finds
//! the stored rows of their keys ([`find`]) and adds their sets, and computes the rows anew, which [`replace`] then
//! writes: only files in which a row changed, and of each day the small ones with them. What is new, [`Sources`] tell.

mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use chrono::NaiveDate;
use touchline_lake::{Change, ChangeKind, DataFile, LakeTable};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::scan::{LakeScan, scan_schema};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;
use uuid::Uuid;

pub use self::sources::{How, News, Sources, Todo, scan_events};
use crate::derived::{Replacement, as_stored, split_days, write_day};
use crate::{JobContext, JobError, JobReport};

/// A file with fewer rows is laid together with new rows of its day, so that a day does not come to lie in as many
/// files as there were runs.
const SMALL_FILE_ROWS: u64 = 8_192;

/// Rows of a file that somebody wants.
#[derive(Debug)]
pub struct Found {
    pub file: DataFile,
    /// The rows, with the columns of a scan of the table.
    pub rows: RecordBatch,
}

/// The rows that `wants` says yes to, which looks at `columns` only; files without any are not read further.
pub async fn find(
    engine: &QueryEngine,
    table: Table,
    files: &[DataFile],
    columns: &[&str],
    mut wants: impl FnMut(&RecordBatch) -> Result<BooleanArray, ArrowError>,
    report: &mut JobReport,
) -> Result<Vec<Found>, JobError> {
    let mut found = Vec::new();
    for file in files {
        let scan = Arc::new(LakeScan::new(table, vec![file.clone()]));
        let frame = engine.context().read_table(Arc::<LakeScan>::clone(&scan)).map_err(JobError::failed)?;
        let narrow = frame.select_columns(columns).map_err(JobError::failed)?;
        let narrow = narrow.collect().await.map_err(JobError::failed)?;
        report.rows_read += file.rows;
        let mut any = false;
        for batch in &narrow {
            any |= wants(batch).map_err(JobError::failed)?.true_count() > 0;
        }
        if !any {
            continue;
        }
        report.bytes_read += file.size_bytes;
        let all = engine.context().read_table(scan).map_err(JobError::failed)?;
        let mut parts = Vec::new();
        for batch in all.collect().await.map_err(JobError::failed)? {
            let wanted = wants(&batch).map_err(JobError::failed)?;
            parts.push(filter_record_batch(&batch, &wanted).map_err(JobError::failed)?);
        }
        let rows = concat_batches(&scan_schema(table), &parts).map_err(JobError::failed)?;
        found.push(Found { file: file.clone(), rows });
    }
    Ok(found)
}

/// What became of a tenant's rows.
#[derive(Debug)]
pub struct Replaced {
    pub replacement: Replacement,
    pub change: Change,
}

/// Puts `came` in the place of the rows that were found. Each of these has a successor of its key among `came`; where it
/// is the same row, nothing is written.
pub async fn replace(
    table: &LakeTable,
    tenant: Tenant,
    stored: &[DataFile],
    found: Vec<Found>,
    came: &RecordBatch,
    key: &str,
    context: &JobContext,
) -> Result<Replaced, JobError> {
    let Exchange { changed_files, gone, went, came } =
        exchange(table.table(), found, came, key).map_err(JobError::failed)?;
    let mut replacement = Replacement::default();
    let new_rows = split_days(table.table(), tenant, std::slice::from_ref(&came)).map_err(JobError::failed)?;
    let mut old_files: BTreeMap<NaiveDate, Vec<&DataFile>> = BTreeMap::new();
    for file in stored {
        let is_small = file.rows < SMALL_FILE_ROWS && new_rows.contains_key(&file.date);
        if is_small || changed_files.contains(&file.path) {
            old_files.entry(file.date).or_default().push(file);
        }
    }
    let days: BTreeSet<NaiveDate> = old_files.keys().chain(new_rows.keys()).copied().collect();
    for day in days {
        context.check_cancelled()?;
        let mut rows: Vec<RecordBatch> = new_rows.get(&day).cloned().into_iter().collect();
        for file in old_files.remove(&day).unwrap_or_default() {
            for batch in table.rows(file).await.map_err(JobError::failed)? {
                rows.push(without(&batch, key, &gone).map_err(JobError::failed)?);
            }
            replacement.remove.push(file.clone());
        }
        rows.retain(|rows| rows.num_rows() > 0);
        if !rows.is_empty() {
            let written = write_day(table, tenant, day, rows, context.clock.now()).await;
            replacement.add.extend(written.map_err(JobError::failed)?);
        }
    }
    let changes = [(ChangeKind::Delete, went), (ChangeKind::Insert, came)];
    let mut files = Vec::new();
    if changes.iter().any(|(_, rows)| rows.num_rows() > 0) {
        let stem = Uuid::now_v7().simple().to_string();
        files.push(table.write_changes(&stem, &changes).await.map_err(JobError::failed)?);
    }
    Ok(Replaced { replacement, change: Change { tenant, files: Some(files) } })
}

/// Which rows go and which come, of those that are not the same.
struct Exchange {
    /// Files in which a row goes.
    changed_files: HashSet<String>,
    /// Keys of the rows that go.
    gone: HashSet<String>,
    went: RecordBatch,
    came: RecordBatch,
}

fn exchange(table: Table, found: Vec<Found>, came: &RecordBatch, key: &str) -> Result<Exchange, ArrowError> {
    let schema = table.file_schema();
    let converter =
        RowConverter::new(schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect())?;
    let came = as_stored(table, came)?;
    let new: HashMap<String, OwnedRow> = {
        let rows = converter.convert_columns(came.columns())?;
        keys(&came, key)?.into_iter().zip(rows.iter()).map(|(key, row)| (key, row.owned())).collect()
    };
    let (mut changed_files, mut gone, mut same) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut went = Vec::new();
    for Found { file, rows } in found {
        let old = as_stored(table, &rows)?;
        let converted = converter.convert_columns(old.columns())?;
        let mut goes = Vec::with_capacity(old.num_rows());
        for (key, row) in keys(&old, key)?.into_iter().zip(converted.iter()) {
            let is_same = new.get(&key).is_some_and(|new| new.row() == row);
            goes.push(!is_same);
            if is_same {
                same.insert(key);
            } else {
                changed_files.insert(file.path.clone());
                gone.insert(key);
            }
        }
        went.push(filter_record_batch(&old, &BooleanArray::from(goes))?);
    }
    let came = without(&came, key, &same)?;
    Ok(Exchange { changed_files, gone, went: concat_batches(&schema, &went)?, came })
}

fn without(rows: &RecordBatch, key: &str, left_out: &HashSet<String>) -> Result<RecordBatch, ArrowError> {
    let kept = keys(rows, key)?.iter().map(|key| Some(!left_out.contains(key))).collect::<BooleanArray>();
    filter_record_batch(rows, &kept)
}

fn keys(rows: &RecordBatch, key: &str) -> Result<Vec<String>, ArrowError> {
    let keys = rows.column_by_name(key).and_then(|keys| keys.as_string_opt::<i32>());
    let keys = keys.ok_or_else(|| ArrowError::SchemaError(format!("no text column `{key}`")))?;
    Ok((0..keys.len()).map(|row| keys.value(row).to_owned()).collect())
}
