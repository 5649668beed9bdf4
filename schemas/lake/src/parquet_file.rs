//! One data file: Arrow rows in, a durable Parquet file and its `add` action out.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use deltalake_core::kernel::Add;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::paths::partition_folder;
use touchline_schemas::tables::{
    Table, identities, instant_type, rejected_events, session_revisions, sessions, visitors,
};

use crate::LakeError;
use crate::open::LakeTable;

/// A data file that is on disk but in no version yet.
#[derive(Debug, Clone)]
pub struct NewFile {
    pub(crate) add: Add,
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file.
    pub size_bytes: u64,
}

impl LakeTable {
    /// Writes encoded rows to one file of a partition.
    ///
    /// `stem` must be unique within the table: it names the writer and what it writes.
    pub async fn write_file(
        &self,
        tenant: Tenant,
        date: NaiveDate,
        stem: &str,
        rows: EncodedRows,
        now: DateTime<Utc>,
    ) -> Result<NewFile, LakeError> {
        let table = self.table();
        let path = format!("{}/{stem}.zstd.parquet", partition_folder(table, tenant, date));
        let failed = |detail: String| LakeError::File { table, path: path.clone(), detail };

        let EncodedRows { bytes, row_count, stats } = rows;
        let size_bytes = bytes.len();
        self.store()
            .put(&StorePath::from(path.as_str()), bytes.into())
            .await
            .map_err(|error| failed(error.to_string()))?;

        let [account, environment, day] = table.partition_columns();
        let partition_values = HashMap::from([
            (account.to_owned(), Some(tenant.account_id.to_string())),
            (environment.to_owned(), Some(tenant.environment.to_string())),
            (day.to_owned(), Some(date.to_string())),
        ]);
        Ok(NewFile {
            add: Add {
                path,
                partition_values,
                size: size_bytes as i64,
                modification_time: now.timestamp_millis(),
                data_change: true,
                stats: Some(stats),
                ..Add::default()
            },
            rows: row_count as u64,
            size_bytes: size_bytes as u64,
        })
    }
}

/// Rows as the bytes of a Parquet file.
#[derive(Debug)]
pub struct EncodedRows {
    bytes: Vec<u8>,
    row_count: usize,
    stats: String,
}

impl EncodedRows {
    /// Encodes `rows`, whose columns are those of [`Table::file_schema`]. This is work for a processor: callers that
    /// share their thread with requests run it elsewhere.
    pub fn new(table: Table, rows: &RecordBatch) -> Result<Self, LakeError> {
        let bytes = encode(table, &rows.schema(), std::slice::from_ref(rows))?;
        Ok(Self { bytes, row_count: rows.num_rows(), stats: statistics(table, rows) })
    }
}

/// The bytes of a Parquet file.
pub(crate) fn encode(table: Table, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Vec<u8>, LakeError> {
    let encode = || {
        let row_count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let mut bytes = Vec::with_capacity(row_count * 64);
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(schema), Some(writer_properties(table)))?;
        rows.iter().try_for_each(|rows| writer.write(rows))?;
        writer.close()?;
        Ok(bytes)
    };
    encode().map_err(|error: parquet::errors::ParquetError| LakeError::File {
        table,
        path: "(not yet written)".into(),
        detail: error.to_string(),
    })
}

/// zstd pages; dictionaries except where nearly every value is another; page statistics only where queries prune.
pub fn writer_properties(table: Table) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("touchline ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(table.time_column().into(), EnabledStatistics::Page);
    for column in distinct_columns(table) {
        properties = properties.set_column_dictionary_enabled(column.into(), false);
    }
    properties.build()
}

/// Columns in which nearly every value is another: a dictionary of them would be built for nothing.
fn distinct_columns(table: Table) -> Vec<String> {
    let columns: &[&str] = match table {
        Table::Events => &[TextField::EventId.column()],
        Table::RejectedEvents => &[rejected_events::REJECTED_ID, rejected_events::BODY],
        Table::Sessions => &[
            sessions::SESSION_ID,
            TextField::VisitorId.column(),
            sessions::FIRST_EVENT_ID,
            sessions::LAST_EVENT_ID,
            sessions::UTM_EVENT_ID,
            sessions::ENTRY_EVENT_ID,
            sessions::EXIT_EVENT_ID,
            sessions::USER_EVENT_ID,
            sessions::CLIENT_SESSION_EVENT_ID,
        ],
        Table::Visitors => &[visitors::PERSON_ID, visitors::VISITOR_ID, visitors::USER_SESSION_ID],
        Table::IdentityEdges => &[],
        Table::Identities => &[identities::ID],
        Table::SessionRevisions => &[session_revisions::SESSION_ID, session_revisions::REPLACED_BY],
        Table::Touchpoints | Table::Attribution | Table::TrafficRollups => &[],
    };
    let schema = table.file_schema();
    let instants = schema.fields().iter().filter(|field| field.data_type() == &instant_type());
    let mut columns: Vec<String> =
        columns.iter().map(|name| (*name).to_owned()).chain(instants.map(|field| field.name().clone())).collect();
    if table == Table::Visitors {
        columns.extend(visitors::TOUCHES.map(|touch| format!("{touch}_session_id")));
    }
    columns
}

/// Delta's statistics of a file: the row count and the range of the table's time column.
fn statistics(table: Table, rows: &RecordBatch) -> String {
    let column = table.time_column();
    let mut stats = serde_json::json!({ "numRecords": rows.num_rows() });
    let range = rows.column_by_name(column).and_then(time_range);
    if let Some((earliest, latest)) = range {
        stats["minValues"] = serde_json::json!({ column: earliest });
        stats["maxValues"] = serde_json::json!({ column: latest });
    }
    if let Some(column) = table.end_column()
        && let Some((_, latest)) = rows.column_by_name(column).and_then(time_range)
    {
        stats["maxValues"][column] = serde_json::json!(latest);
    }
    stats.to_string()
}

fn time_range(column: &ArrayRef) -> Option<(String, String)> {
    let times = Arc::clone(column);
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    let text =
        |micros| DateTime::from_timestamp_micros(micros).map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true));
    Some((text(min(times)?)?, text(max(times)?)?))
}
