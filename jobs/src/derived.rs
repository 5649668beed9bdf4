//! What jobs that write derived tables share: rows split by day into files, and a commit that happens once per
//! version of the source.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use chrono::{DateTime, NaiveDate, Utc};
use futures::StreamExt;
use tokio::task::{JoinError, spawn_blocking};
use touchline_lake::{Commit, CommitInfo, DataFile, EncodedRows, LakeError, LakeTable, NewFile, Txn};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;
use uuid::Uuid;

/// Rows of one file of a derived table. What changes in a day is often its last hours, and then only these files are
/// written anew.
pub const ROWS_PER_FILE: usize = 32_768;
/// Files that are encoded at the same time.
const ENCODERS: usize = 2;

/// Files to add to and to take out of a derived table.
#[derive(Debug, Default)]
pub struct Replacement {
    pub add: Vec<NewFile>,
    pub remove: Vec<DataFile>,
}

/// Why a derived table was not written.
#[derive(Debug, thiserror::Error)]
pub enum DerivedError {
    /// The lake failed, or somebody else committed first.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The work was cut off.
    #[error("writing derived rows was interrupted: {detail}")]
    Interrupted {
        /// The runtime's words.
        detail: String,
    },
    /// Rows could not be arranged.
    #[error("{table:?} of {tenant}: {source}")]
    Rows {
        /// The table.
        table: Table,
        /// Whose rows.
        tenant: Tenant,
        /// The cause.
        #[source]
        source: ArrowError,
    },
}

/// The transaction id of a job.
pub fn application(job: &str) -> String {
    format!("touchline-job-{job}")
}

impl Replacement {
    /// Commits on top of the version that was `read`: whatever somebody else committed to the table meanwhile makes it a
    /// conflict, and nothing is written. The source's version is kept as the job's number. It only says what the rows
    /// stand for: a run that is asked for commits under the same number again.
    pub async fn commit_with(
        self,
        table: &LakeTable,
        job: &str,
        read: i64,
        info: CommitInfo,
        now: DateTime<Utc>,
    ) -> Result<i64, DerivedError> {
        let txn = info.source_version.map(|version| Txn { application: application(job), version });
        let commit = Commit { add: self.add, remove: self.remove, txn, info, based_on: read, rewrite: false };
        Ok(table.commit(commit, now).await?)
    }
}

/// Writes one tenant's rows to `table`, files for each day of its time column, oldest first.
pub async fn write_days(
    table: &LakeTable,
    tenant: Tenant,
    rows: Vec<RecordBatch>,
    now: DateTime<Utc>,
) -> Result<Vec<NewFile>, DerivedError> {
    let mut days: BTreeMap<NaiveDate, Vec<RecordBatch>> = BTreeMap::new();
    // One batch after the other, so that it is not held beside its days for longer than it takes.
    for batch in rows {
        for (day, rows) in split_days(table.table(), tenant, &[batch])? {
            days.entry(day).or_default().push(rows);
        }
    }
    let mut files = Vec::new();
    for (day, rows) in days {
        files.extend(write_day(table, tenant, day, rows, now).await?);
    }
    Ok(files)
}

/// Writes one tenant's rows of one day to `table`, in the order of its time column.
pub async fn write_day(
    table: &LakeTable,
    tenant: Tenant,
    day: NaiveDate,
    rows: Vec<RecordBatch>,
    now: DateTime<Utc>,
) -> Result<Vec<NewFile>, DerivedError> {
    let name = table.table();
    let row_error = |source| DerivedError::Rows { table: name, tenant, source };
    // Sorting and encoding takes long enough to keep a worker from requests that wait for it.
    let sorted = spawn_blocking(move || in_time_order(name, &concat_batches(&name.file_schema(), &rows)?));
    let sorted = sorted.await.map_err(interrupted)?.map_err(row_error)?;
    let starts = (0..sorted.num_rows()).step_by(ROWS_PER_FILE);
    let parts: Vec<_> = starts.map(|start| sorted.slice(start, ROWS_PER_FILE.min(sorted.num_rows() - start))).collect();
    let encoded = parts.into_iter().map(|part| spawn_blocking(move || EncodedRows::new(name, &part)));
    let mut encoded = futures::stream::iter(encoded).buffered(ENCODERS);
    let mut files = Vec::new();
    while let Some(rows) = encoded.next().await {
        let stem = Uuid::now_v7().simple().to_string();
        files.push(table.write_file(tenant, day, &stem, rows.map_err(interrupted)??, now).await?);
    }
    Ok(files)
}

fn interrupted(error: JoinError) -> DerivedError {
    DerivedError::Interrupted { detail: error.to_string() }
}

/// Rows of a table by the UTC day of its time column, in that order, with the columns of its files.
pub fn split_days(
    table: Table,
    tenant: Tenant,
    batches: &[RecordBatch],
) -> Result<BTreeMap<NaiveDate, RecordBatch>, DerivedError> {
    split(table, batches).map_err(|source| DerivedError::Rows { table, tenant, source })
}

fn split(table: Table, batches: &[RecordBatch]) -> Result<BTreeMap<NaiveDate, RecordBatch>, ArrowError> {
    let mut days: BTreeMap<NaiveDate, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        let stored = as_stored(table, batch)?;
        let of_one_day = {
            let times = times(table, &stored)?;
            let day = day_of(times[0]);
            times.iter().all(|micros| day_of(*micros) == day).then_some(day)
        };
        if let Some(day) = of_one_day {
            days.entry(day).or_default().push(stored);
            continue;
        }
        let rows = in_time_order(table, &stored)?;
        let times = times(table, &rows)?;
        let mut start = 0;
        while start < times.len() {
            let day = day_of(times[start]);
            let length = times[start..].partition_point(|micros| day_of(*micros) == day);
            days.entry(day).or_default().push(rows.slice(start, length));
            start += length;
        }
    }
    days.into_iter().map(|(day, parts)| Ok((day, concat_batches(&table.file_schema(), &parts)?))).collect()
}

/// The UTC day of a time.
pub fn day_of(micros: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(micros).map_or(NaiveDate::MIN, |time| time.date_naive())
}

/// The first instant of a day, in microseconds.
pub fn start_us(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()
}

/// The day before.
pub fn before(day: NaiveDate) -> NaiveDate {
    day.pred_opt().unwrap_or(day)
}

fn time_column(table: Table, rows: &RecordBatch) -> Result<&ArrayRef, ArrowError> {
    let column = rows.column_by_name(table.time_column());
    column.ok_or_else(|| ArrowError::SchemaError(format!("no column `{}`", table.time_column())))
}

fn times(table: Table, rows: &RecordBatch) -> Result<&[i64], ArrowError> {
    let times = time_column(table, rows)?.as_primitive_opt::<TimestampMicrosecondType>();
    let times = times.ok_or_else(|| ArrowError::SchemaError(format!("`{}` is no time", table.time_column())))?;
    Ok(times.values())
}

fn in_time_order(table: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    take_record_batch(rows, &sort_to_indices(time_column(table, rows)?, None, None)?)
}

/// The columns of the table's files, in their order and types.
pub fn as_stored(table: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = table.file_schema();
    let columns = schema.fields().iter().map(|field| {
        let column = rows
            .column_by_name(field.name())
            .ok_or_else(|| ArrowError::SchemaError(format!("no column `{}`", field.name())))?;
        cast(column, field.data_type())
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}
