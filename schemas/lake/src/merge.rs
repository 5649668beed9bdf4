//! Several data files of one partition as one file whose rows are in the order of [`Table::sort_columns`].
//!
//! Files that are in that order already are streamed and merged, so that the memory is that of a batch of each. Others
//! are read whole and put in order first: callers bound how many rows they give of those.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{cast, interleave};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use touchline_schemas::tables::Table;

use crate::files::DataFile;
use crate::open::LakeTable;
use crate::parquet_file::{EncodedRows, Statistics, merged_properties};
use crate::{LakeError, NewFile};

/// Begins the name of a file whose rows are in the table's order.
pub(crate) const SORTED: &str = "sorted-";
/// Rows that are read, moved and written at once.
const BATCH_ROWS: usize = 8_192;

impl DataFile {
    /// Whether its rows are in the order of [`Table::sort_columns`].
    pub fn is_sorted(&self) -> bool {
        is_sorted(&self.path)
    }
}

/// Whether the name of a file says that its rows are in order.
pub(crate) fn is_sorted(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(SORTED))
}

impl LakeTable {
    /// Writes the rows of `files`, which lie in one partition, to one new file, in the table's order and packed harder.
    ///
    /// `unique` must be unique within the table. The files' bytes are held in memory, and the rows of those that are
    /// not in order yet.
    pub async fn merge_files(
        &self,
        files: &[DataFile],
        unique: &str,
        now: DateTime<Utc>,
    ) -> Result<NewFile, LakeError> {
        let table = self.table();
        let Some(first) = files.first() else {
            return Err(LakeError::File { table, path: unique.to_owned(), detail: "there is nothing to merge".into() });
        };
        let mut inputs = Vec::with_capacity(files.len());
        for file in files {
            inputs.push(Input { path: file.path.clone(), is_sorted: file.is_sorted(), bytes: self.read(file).await? });
        }
        // Minutes of a processor for the largest: not on a worker that requests wait for.
        let merged = tokio::task::spawn_blocking(move || merge(table, inputs)).await;
        let merged = merged.map_err(|error| LakeError::File {
            table,
            path: first.path.clone(),
            detail: format!("merging was interrupted: {error}"),
        })??;
        self.write_file(first.tenant, first.date, &format!("{SORTED}{unique}"), merged, now).await
    }

    /// The bytes of a data file.
    pub async fn read(&self, file: &DataFile) -> Result<Bytes, LakeError> {
        let failed = |detail: String| LakeError::File { table: self.table(), path: file.path.clone(), detail };
        let path = StorePath::from(file.path.as_str());
        let stored = self.store().get(&path).await.map_err(|error| failed(error.to_string()))?;
        stored.bytes().await.map_err(|error| failed(error.to_string()))
    }
}

struct Input {
    path: String,
    is_sorted: bool,
    bytes: Bytes,
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// The rows of a file's bytes, with the columns of [`Table::file_schema`].
pub(crate) fn batches(table: Table, bytes: Bytes) -> Result<Batches, ParquetError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(BATCH_ROWS).build()?;
    let schema = table.file_schema();
    Ok(Box::new(reader.map(move |batch| as_stored(&schema, &batch?))))
}

/// The columns that the table has, in their order and types; what a file lacks is null.
fn as_stored(schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>, _>>()?)
}

fn merge(table: Table, inputs: Vec<Input>) -> Result<EncodedRows, LakeError> {
    let order = Order::of(table).map_err(|error| failed(table, "(order)", &error))?;
    let mut sources: Vec<Batches> = Vec::new();
    let mut unsorted = Vec::new();
    for input in inputs {
        let rows = batches(table, input.bytes).map_err(|error| failed(table, &input.path, &error))?;
        if input.is_sorted {
            sources.push(rows);
        } else {
            let rows = rows.collect::<Result<Vec<_>, _>>().map_err(|error| failed(table, &input.path, &error))?;
            unsorted.extend(rows);
        }
    }
    if !unsorted.is_empty() {
        sources.push(order.sorted(unsorted).map_err(|error| failed(table, "(sort)", &error))?);
    }
    let mut sink = SortedFile::new(table).map_err(|error| failed(table, "(new)", &error))?;
    merge_sources(&order, sources, &mut sink).map_err(|error| failed(table, "(merge)", &error))?;
    sink.finish().map_err(|error| failed(table, "(new)", &error))
}

fn failed(table: Table, path: &str, error: &dyn std::error::Error) -> LakeError {
    LakeError::File { table, path: path.to_owned(), detail: error.to_string() }
}

/// The bytes of a file whose rows come in the table's order.
pub(crate) struct SortedFile {
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    statistics: Statistics,
}

impl SortedFile {
    pub(crate) fn new(table: Table) -> Result<Self, ParquetError> {
        // Arrow's own schema says nothing that the Parquet types do not, and in a small file it weighs as much as the rows.
        let options =
            ArrowWriterOptions::new().with_properties(merged_properties(table)).with_skip_arrow_metadata(true);
        let schema = table.file_schema();
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options)?;
        Ok(Self { schema, writer, statistics: Statistics::of(table) })
    }

    pub(crate) fn push(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        self.statistics.add(rows);
        self.writer.write(rows)
    }

    pub(crate) fn finish(self) -> Result<EncodedRows, ParquetError> {
        let bytes = self.writer.into_inner()?;
        Ok(EncodedRows::encoded(bytes, &self.statistics))
    }
}

/// Compares rows by the table's columns; nulls come first.
struct Order {
    columns: &'static [&'static str],
    converter: RowConverter,
}

impl Order {
    fn of(table: Table) -> Result<Self, ArrowError> {
        let schema = table.file_schema();
        let columns = table.sort_columns();
        let fields = columns.iter().map(|name| Ok(SortField::new(schema.field_with_name(name)?.data_type().clone())));
        Ok(Self { columns, converter: RowConverter::new(fields.collect::<Result<_, ArrowError>>()?)? })
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Rows, ArrowError> {
        self.converter.convert_columns(&self.key_columns(rows))
    }

    fn key_columns(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.columns.iter().filter_map(|name| rows.column_by_name(name).cloned()).collect()
    }

    /// The same rows in order, batch by batch.
    fn sorted(&self, unsorted: Vec<RecordBatch>) -> Result<Batches, ArrowError> {
        let row_count = unsorted.iter().map(RecordBatch::num_rows).sum();
        let mut keys = self.converter.empty_rows(row_count, 0);
        let mut places = Vec::with_capacity(row_count);
        for (slot, rows) in unsorted.iter().enumerate() {
            self.converter.append(&mut keys, &self.key_columns(rows))?;
            places.extend((0..rows.num_rows()).map(|row| (slot, row)));
        }
        let mut order: Vec<u32> = (0..row_count as u32).collect();
        order.sort_unstable_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        let places: Vec<(usize, usize)> = order.into_iter().map(|row| places[row as usize]).collect();
        let mut from = 0;
        Ok(Box::new(std::iter::from_fn(move || {
            let to = (from + BATCH_ROWS).min(places.len());
            let chunk = &places[from..to];
            from = to;
            (!chunk.is_empty()).then(|| gather(&unsorted, chunk))
        })))
    }
}

/// A source's place in the merge.
struct Cursor {
    rest: Batches,
    rows: RecordBatch,
    keys: Rows,
    at: usize,
    /// Where `rows` stands among the batches that the next output is gathered from.
    slot: usize,
}

impl Cursor {
    /// Goes to the first row of the next batch that has any; false at the end.
    fn next_batch(&mut self, order: &Order) -> Result<bool, ArrowError> {
        for rows in self.rest.by_ref() {
            let rows = rows?;
            if rows.num_rows() > 0 {
                self.keys = order.keys(&rows)?;
                self.rows = rows;
                self.at = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn merge_sources(order: &Order, sources: Vec<Batches>, sink: &mut SortedFile) -> Result<(), ParquetError> {
    let mut cursors: Vec<Cursor> = Vec::with_capacity(sources.len());
    for rest in sources {
        let empty = RecordBatch::new_empty(Arc::clone(&sink.schema));
        let mut cursor = Cursor { rest, keys: order.keys(&empty)?, rows: empty, at: 0, slot: 0 };
        if cursor.next_batch(order)? {
            cursors.push(cursor);
        }
    }
    let mut held = hold(&mut cursors);
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
    let mut heap: BinaryHeap<Reverse<(OwnedRow, usize)>> =
        cursors.iter().enumerate().map(|(source, cursor)| Reverse((cursor.keys.row(0).owned(), source))).collect();
    while let Some(Reverse((_, source))) = heap.pop() {
        let next = heap.peek().map(|Reverse((key, _))| key);
        // As long as this source has the smallest row, which for a visitor's events is a while.
        loop {
            let cursor = &mut cursors[source];
            if next.is_some_and(|next| cursor.keys.row(cursor.at) > next.row()) {
                let key = cursor.keys.row(cursor.at).owned();
                heap.push(Reverse((key, source)));
                break;
            }
            places.push((cursor.slot, cursor.at));
            cursor.at += 1;
            let is_at_end = cursor.at == cursor.rows.num_rows();
            let goes_on = if is_at_end { cursor.next_batch(order)? } else { true };
            if is_at_end && goes_on {
                cursor.slot = held.len();
                held.push(cursor.rows.clone());
            }
            if places.len() == BATCH_ROWS {
                sink.push(&gather(&held, &places)?)?;
                places.clear();
                held = hold(&mut cursors);
            }
            if !goes_on {
                break;
            }
        }
    }
    if !places.is_empty() {
        sink.push(&gather(&held, &places)?)?;
    }
    Ok(())
}

/// Every source's batch, each at the place that its cursor then knows.
fn hold(cursors: &mut [Cursor]) -> Vec<RecordBatch> {
    let numbered = cursors.iter_mut().enumerate().map(|(slot, cursor)| {
        cursor.slot = slot;
        cursor.rows.clone()
    });
    numbered.collect()
}

/// The rows at these places, each a batch and a row in it.
fn gather(batches: &[RecordBatch], places: &[(usize, usize)]) -> Result<RecordBatch, ArrowError> {
    let schema =
        batches.first().map(RecordBatch::schema).unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
    let columns = (0..schema.fields().len()).map(|column| {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        // Most columns of most events are empty.
        if parts.iter().all(|part| part.null_count() == part.len()) {
            return Ok(new_null_array(schema.field(column).data_type(), places.len()));
        }
        interleave(&parts, places)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema, columns)
}
