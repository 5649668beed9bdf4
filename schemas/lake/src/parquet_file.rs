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
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::paths::partition_folder;
use touchline_schemas::tables::{
    Table, event_sets, events, identities, instant_type, message_deliveries, rejected_events, sequence_runs,
    session_revisions, sessions, visitors,
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
        let mut statistics = Statistics::of(table);
        statistics.add(rows);
        Ok(Self::encoded(bytes, &statistics))
    }

    /// Rows that are encoded already, and what was gathered of them.
    pub(crate) fn encoded(bytes: Vec<u8>, statistics: &Statistics) -> Self {
        Self { bytes, row_count: statistics.row_count, stats: statistics.to_json() }
    }

    /// How many rows.
    pub fn row_count(&self) -> usize {
        self.row_count
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
    // Of lists, the column is that of their values.
    for list in [event_sets::EVENT_ID, event_sets::OCCURRED_AT] {
        let path = ColumnPath::new(vec![list.to_owned(), "list".to_owned(), "element".to_owned()]);
        properties = properties.set_column_dictionary_enabled(path, false);
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
            sessions::REFERRER_EVENT_ID,
            sessions::ENTRY_EVENT_ID,
            sessions::EXIT_EVENT_ID,
            sessions::USER_EVENT_ID,
            sessions::CLIENT_SESSION_EVENT_ID,
        ],
        Table::Visitors => &[visitors::PERSON_ID, visitors::VISITOR_ID, visitors::USER_SESSION_ID],
        Table::IdentityEdges => &[],
        Table::Identities => &[identities::ID],
        Table::SessionRevisions => &[session_revisions::SESSION_ID, session_revisions::REPLACED_BY],
        Table::MessageDeliveries => &[message_deliveries::ATTEMPT_ID],
        Table::SequenceRuns => &[sequence_runs::RUN_ID],
        Table::Touchpoints
        | Table::Attribution
        | Table::TrafficRollups
        | Table::MessageRollups
        | Table::SequenceMetrics => &[],
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

/// How merged files are written: they are read often and written rarely, so they are packed harder.
///
/// Measured on the demo's traffic and on an access log, in bytes per event. zstd 6 instead of 1 saves about 1, except on
/// ids of random digits, in which higher levels find matches that cost more than the digits: those stay at 1. Ids are
/// sorted or random, so that a dictionary only adds to them, and lengths apart from the digits save another 1 to 2.
/// Delta encodings of times save nothing once zstd has seen them plain, but for the time of arrival.
pub(crate) fn merged_properties(table: Table) -> WriterProperties {
    const LEVEL: i32 = 6;
    const RANDOM_LEVEL: i32 = 1;
    /// A dictionary of all addresses of a site is worth more than the memory it takes.
    const DICTIONARY_BYTES: usize = 4 << 20;
    let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("touchline ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(zstd(LEVEL))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_statistics_enabled(table.time_column().into(), EnabledStatistics::Page);
    let mut without_dictionary = |column: &str, encoding: Encoding| {
        let builder = std::mem::take(&mut properties);
        properties =
            builder.set_column_dictionary_enabled(column.into(), false).set_column_encoding(column.into(), encoding);
    };
    match table {
        Table::Events => {
            without_dictionary(events::OCCURRED_AT, Encoding::PLAIN);
            without_dictionary(events::RECEIVED_AT, Encoding::DELTA_BINARY_PACKED);
            for field in
                [TextField::EventId, TextField::VisitorId, TextField::UserId, TextField::SessionId, TextField::Ip]
            {
                without_dictionary(field.column(), Encoding::DELTA_LENGTH_BYTE_ARRAY);
            }
            properties = properties
                .set_column_compression(TextField::EventId.column().into(), zstd(RANDOM_LEVEL))
                .set_column_statistics_enabled(TextField::VisitorId.column().into(), EnabledStatistics::Page)
                .set_column_statistics_enabled(TextField::UserId.column().into(), EnabledStatistics::Chunk);
        }
        Table::RejectedEvents => {
            without_dictionary(rejected_events::REJECTED_ID, Encoding::DELTA_LENGTH_BYTE_ARRAY);
            without_dictionary(rejected_events::BODY, Encoding::PLAIN);
            without_dictionary(rejected_events::RECEIVED_AT, Encoding::DELTA_BINARY_PACKED);
        }
        Table::Sessions
        | Table::Visitors
        | Table::IdentityEdges
        | Table::Identities
        | Table::SessionRevisions
        | Table::Touchpoints
        | Table::Attribution
        | Table::TrafficRollups
        | Table::MessageDeliveries
        | Table::MessageRollups
        | Table::SequenceRuns
        | Table::SequenceMetrics => {}
    }
    properties.build()
}

/// Delta's statistics of a file, gathered batch by batch: the row count, the range of the table's time column, the
/// latest end and the earliest begin.
#[derive(Debug)]
pub(crate) struct Statistics {
    table: Table,
    row_count: usize,
    range_us: Option<(i64, i64)>,
    latest_end_us: Option<i64>,
    earliest_begin_us: Option<i64>,
}

impl Statistics {
    pub(crate) fn of(table: Table) -> Self {
        Self { table, row_count: 0, range_us: None, latest_end_us: None, earliest_begin_us: None }
    }

    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        self.row_count += rows.num_rows();
        if let Some((earliest, latest)) = rows.column_by_name(self.table.time_column()).and_then(range_us) {
            let (before, after) = self.range_us.unwrap_or((earliest, latest));
            self.range_us = Some((before.min(earliest), after.max(latest)));
        }
        let ends = self.table.end_column().and_then(|column| rows.column_by_name(column)).and_then(range_us);
        self.latest_end_us = self.latest_end_us.max(ends.map(|(_, latest)| latest));
        let begins = self.table.begin_column().and_then(|column| rows.column_by_name(column)).and_then(range_us);
        self.earliest_begin_us = self.earliest_begin_us.into_iter().chain(begins.map(|(earliest, _)| earliest)).min();
    }

    fn to_json(&self) -> String {
        let column = self.table.time_column();
        let mut stats = serde_json::json!({ "numRecords": self.row_count });
        if let Some((Some(earliest), Some(latest))) = self.range_us.map(|(from, to)| (text_of(from), text_of(to))) {
            stats["minValues"] = serde_json::json!({ column: earliest });
            stats["maxValues"] = serde_json::json!({ column: latest });
        }
        if let (Some(column), Some(latest)) = (self.table.end_column(), self.latest_end_us.and_then(text_of)) {
            stats["maxValues"][column] = serde_json::json!(latest);
        }
        if let (Some(column), Some(earliest)) = (self.table.begin_column(), self.earliest_begin_us.and_then(text_of)) {
            stats["minValues"][column] = serde_json::json!(earliest);
        }
        stats.to_string()
    }
}

fn range_us(column: &ArrayRef) -> Option<(i64, i64)> {
    let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some((min(times)?, max(times)?))
}

fn text_of(micros: i64) -> Option<String> {
    DateTime::from_timestamp_micros(micros).map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}
