//! What jobs that write derived tables share: rows split by day into files, and a commit that happens once per
//! version of the source.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use chrono::{DateTime, NaiveDate, Utc};
use touchline_lake::{Commit, CommitInfo, DataFile, EncodedRows, LakeError, LakeTable, NewFile, Txn};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;
use uuid::Uuid;

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
    /// Commits on top of the version that was `read`, under the source's version as number: the same version of the
    /// source is never applied twice, and nothing that somebody else wrote meanwhile is taken for ours.
    pub async fn commit(
        self,
        table: &LakeTable,
        job: &str,
        read: i64,
        source_version: i64,
        watermark: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<i64, DerivedError> {
        let commit = Commit {
            add: self.add,
            remove: self.remove,
            txn: Some(Txn { application: application(job), version: source_version }),
            info: CommitInfo { source_version: Some(source_version), watermark, ..CommitInfo::default() },
            based_on: read,
            rewrite: false,
        };
        Ok(table.commit(commit, now).await?)
    }
}

/// Writes one tenant's rows to `table`, a file for each day of its time column, oldest first; days outside `days` are
/// left out.
pub async fn write_days(
    table: &LakeTable,
    tenant: Tenant,
    rows: Vec<RecordBatch>,
    days: &RangeInclusive<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<Vec<NewFile>, DerivedError> {
    let (name, days) = (table.table(), days.clone());
    // Sorting and encoding takes long enough to keep a worker from requests that wait for it.
    let encoded = tokio::task::spawn_blocking(move || encode_days(name, tenant, &rows, &days)).await;
    let mut files = Vec::new();
    for (day, rows) in encoded.map_err(|error| DerivedError::Interrupted { detail: error.to_string() })?? {
        let stem = Uuid::now_v7().simple().to_string();
        files.push(table.write_file(tenant, day, &stem, rows, now).await?);
    }
    Ok(files)
}

fn encode_days(
    table: Table,
    tenant: Tenant,
    rows: &[RecordBatch],
    days: &RangeInclusive<NaiveDate>,
) -> Result<Vec<(NaiveDate, EncodedRows)>, DerivedError> {
    let parts = split_days(table, rows).map_err(|source| DerivedError::Rows { table, tenant, source })?;
    let chosen = parts.into_iter().filter(|(day, _)| days.contains(day));
    chosen.map(|(day, rows)| Ok((day, EncodedRows::new(table, &rows)?))).collect()
}

fn split_days(table: Table, batches: &[RecordBatch]) -> Result<Vec<(NaiveDate, RecordBatch)>, ArrowError> {
    let mut days: BTreeMap<NaiveDate, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let rows = in_time_order(table, &as_stored(table, batch)?)?;
        let times = times(table, &rows)?;
        let mut start = 0;
        while start < times.len() {
            let day = day_of(times[start]);
            let length = times[start..].partition_point(|micros| day_of(*micros) == day);
            days.entry(day).or_default().push(rows.slice(start, length));
            start += length;
        }
    }
    let whole = days
        .into_iter()
        .map(|(day, parts)| Ok((day, in_time_order(table, &concat_batches(&table.file_schema(), &parts)?)?)));
    whole.collect()
}

/// The UTC day of a time.
pub fn day_of(micros: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(micros).map_or(NaiveDate::MIN, |time| time.date_naive())
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
fn as_stored(table: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
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
