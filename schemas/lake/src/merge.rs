//! Several data files of one partition as one file whose rows are in the order of [`Table::sort_columns`].
//!
//! Files that are in that order already are streamed and merged, so that the memory is that of a batch of each. Others
//! are read whole and put in order first. A row may be a few bytes or megabytes, and its file's size does not say which:
//! so what is held is counted as it is decoded, and when it is enough no further file is taken.

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
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use touchline_schemas::tables::Table;

use crate::files::DataFile;
use crate::open::LakeTable;
use crate::parquet_file::{EncodedRows, Statistics, merged_properties};
use crate::{LakeError, NewFile};

/// Begins the name of a file whose rows are in the table's order.
pub(crate) const SORTED: &str = "sorted-";
/// Rows that are read at once, or fewer if they are large. With the largest events that are taken by default, and all
/// alike, so that their file is small, these are 64 MiB.
const READ_ROWS: usize = 1_024;
/// Rows that are moved and written at once.
const BATCH_ROWS: usize = 8_192;
/// Decoded bytes that are read, moved and written at once, as far as the average row tells.
const BATCH_BYTES: usize = 16 << 20;
/// Decoded bytes from which on no further file is taken into a merge.
const MAX_DECODED_BYTES: usize = 512 << 20;
/// Files that are merged however large their rows are: with fewer there would never be fewer.
const MIN_FILES: usize = 2;

/// Several files as one.
#[derive(Debug)]
pub struct Merged {
    /// The new file.
    pub file: NewFile,
    /// How many of the files, from the first on, it holds: as many as could be held in memory at once.
    pub files: usize,
}

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
    /// Writes the rows of `files`, which lie in one partition, to one new file, in the table's order and packed harder:
    /// of as many of them as can be held in memory, but of two at least.
    ///
    /// `unique` must be unique within the table. The files' bytes are held in memory, and the rows of those that are
    /// not in order yet.
    pub async fn merge_files(&self, files: &[DataFile], unique: &str, now: DateTime<Utc>) -> Result<Merged, LakeError> {
        let table = self.table();
        let Some(first) = files.first() else {
            return Err(LakeError::File { table, path: unique.to_owned(), detail: "there is nothing to merge".into() });
        };
        let mut inputs = Vec::with_capacity(files.len());
        for file in files {
            inputs.push(Input { path: file.path.clone(), is_sorted: file.is_sorted(), bytes: self.read(file).await? });
        }
        // Minutes of a processor for the largest: not on a worker that requests wait for.
        let merged = tokio::task::spawn_blocking(move || merge(table, inputs, MAX_DECODED_BYTES)).await;
        let (rows, files) = merged.map_err(|error| LakeError::File {
            table,
            path: first.path.clone(),
            detail: format!("merging was interrupted: {error}"),
        })??;
        let file = self.write_file(first.tenant, first.date, &format!("{SORTED}{unique}"), rows, now).await?;
        Ok(Merged { file, files })
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
    let reader = reader(bytes)?;
    let schema = table.file_schema();
    Ok(Box::new(reader.map(move |batch| as_stored(&schema, &batch?))))
}

/// Reads few rows at once where they are large.
pub(crate) fn reader(bytes: Bytes) -> Result<ParquetRecordBatchReader, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let row_groups = builder.metadata().row_groups();
    let rows: i64 = row_groups.iter().map(|group| group.num_rows()).sum();
    // What a dictionary says once is counted once; `READ_ROWS` is small enough for that.
    let bytes: i64 = row_groups.iter().map(|group| group.total_byte_size()).sum();
    let row_bytes = usize::try_from(bytes / rows.max(1)).unwrap_or(0).max(1);
    builder.with_batch_size((BATCH_BYTES / row_bytes).clamp(1, READ_ROWS)).build()
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

/// The rows of the inputs, and of how many: from `max_decoded_bytes` on no further one is taken.
fn merge(table: Table, inputs: Vec<Input>, max_decoded_bytes: usize) -> Result<(EncodedRows, usize), LakeError> {
    let order = Order::of(table).map_err(|error| failed(table, "(order)", &error))?;
    let mut sources: Vec<Batches> = Vec::new();
    let mut unsorted = Vec::new();
    let (mut taken, mut decoded_bytes) = (0, 0);
    for input in inputs {
        if taken >= MIN_FILES && decoded_bytes >= max_decoded_bytes {
            break;
        }
        taken += 1;
        let mut rows = batches(table, input.bytes).map_err(|error| failed(table, &input.path, &error))?;
        let at_once = if input.is_sorted { 1 } else { usize::MAX };
        let held = rows.by_ref().take(at_once).collect::<Result<Vec<_>, _>>();
        let held = held.map_err(|error| failed(table, &input.path, &error))?;
        decoded_bytes += held.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        if input.is_sorted {
            sources.push(Box::new(held.into_iter().map(Ok).chain(rows)));
        } else {
            unsorted.extend(held);
        }
    }
    if !unsorted.is_empty() {
        sources.push(order.sorted(unsorted).map_err(|error| failed(table, "(sort)", &error))?);
    }
    let mut sink = SortedFile::new(table).map_err(|error| failed(table, "(new)", &error))?;
    merge_sources(&order, sources, &mut sink).map_err(|error| failed(table, "(merge)", &error))?;
    let rows = sink.finish().map_err(|error| failed(table, "(new)", &error))?;
    Ok((rows, taken))
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
        let row_bytes: Vec<usize> = unsorted.iter().map(row_bytes).collect();
        let mut from = 0;
        Ok(Box::new(std::iter::from_fn(move || {
            let mut room = Room::default();
            let rest = places[from..].iter();
            let count = rest.take_while(|(slot, _)| room.take(row_bytes[*slot])).count();
            let chunk = &places[from..from + count];
            from += count;
            (!chunk.is_empty()).then(|| gather(&unsorted, chunk))
        })))
    }
}

/// How large a row of a batch is on average, decoded.
fn row_bytes(rows: &RecordBatch) -> usize {
    rows.get_array_memory_size() / rows.num_rows().max(1)
}

/// What is in a batch that is being gathered.
#[derive(Debug, Default)]
struct Room {
    rows: usize,
    bytes: usize,
}

impl Room {
    fn is_full(&self) -> bool {
        self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Adds a row, if there is room for it.
    fn take(&mut self, bytes: usize) -> bool {
        let has_room = !self.is_full();
        if has_room {
            self.rows += 1;
            self.bytes += bytes;
        }
        has_room
    }
}

/// A source's place in the merge.
struct Cursor {
    rest: Batches,
    rows: RecordBatch,
    row_bytes: usize,
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
                self.row_bytes = row_bytes(&rows);
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
        let mut cursor = Cursor { rest, keys: order.keys(&empty)?, rows: empty, row_bytes: 0, at: 0, slot: 0 };
        if cursor.next_batch(order)? {
            cursors.push(cursor);
        }
    }
    let mut held = hold(&mut cursors);
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
    let mut room = Room::default();
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
            room.take(cursor.row_bytes);
            cursor.at += 1;
            let is_at_end = cursor.at == cursor.rows.num_rows();
            let goes_on = if is_at_end { cursor.next_batch(order)? } else { true };
            if is_at_end && goes_on {
                cursor.slot = held.len();
                held.push(cursor.rows.clone());
            }
            if room.is_full() {
                sink.push(&gather(&held, &places)?)?;
                places.clear();
                room = Room::default();
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

#[cfg(test)]
mod tests {
    use arrow::array::{StringArray, TimestampMicrosecondArray};
    use touchline_schemas::event::TextField;
    use touchline_schemas::tables::events;

    use super::*;
    use crate::parquet_file::encode;

    const PROPERTIES_BYTES: usize = 50 << 10;

    /// Events with properties that are large and all alike, so that their files are small.
    fn events(count: usize, first_us: i64) -> RecordBatch {
        let schema = Table::Events.file_schema();
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            if field.name() == TextField::Properties.column() {
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n("x".repeat(PROPERTIES_BYTES), count)))
            } else if field.name() == events::OCCURRED_AT {
                let times = (0..count as i64).rev().map(|row| first_us + row);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            } else {
                new_null_array(field.data_type(), count)
            }
        });
        let columns = columns.collect();
        RecordBatch::try_new(schema, columns).unwrap()
    }

    fn input(number: usize, is_sorted: bool) -> Input {
        let rows = events(100, number as i64 * 1_000);
        let bytes = encode(Table::Events, &rows.schema(), &[rows]).unwrap();
        assert!(bytes.len() < PROPERTIES_BYTES);
        Input { path: number.to_string(), is_sorted, bytes: bytes.into() }
    }

    #[test]
    fn no_more_files_are_taken_than_can_be_held_decoded() {
        let check = |is_sorted: bool, max_decoded_bytes: usize, expected: usize| {
            let inputs = (0..5).map(|number| input(number, is_sorted)).collect();
            let (rows, taken) = merge(Table::Events, inputs, max_decoded_bytes).unwrap();
            assert_eq!((taken, rows.row_count()), (expected, expected * 100), "{is_sorted}, {max_decoded_bytes}");
        };
        check(false, 1 << 20, 2);
        check(false, usize::MAX, 5);
        // Of these a batch each.
        check(true, 1 << 20, 2);
    }

    #[test]
    fn large_rows_are_moved_a_few_at_a_time() {
        let order = Order::of(Table::Events).unwrap();
        let sorted = order.sorted(vec![events(1_000, 0), events(1_000, 500)]).unwrap();
        let batches = sorted.collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2_000);
        let largest = batches.iter().map(RecordBatch::get_array_memory_size).max().unwrap();
        assert!(largest < 2 * BATCH_BYTES, "{largest} bytes");
    }

    #[test]
    fn rows_that_weigh_much_in_their_file_are_read_a_few_at_a_time() {
        let rows = events(1_000, 0);
        let properties = (0..1_000).map(|row| format!("{row}{}", "x".repeat(PROPERTIES_BYTES)));
        let properties: ArrayRef = Arc::new(StringArray::from_iter_values(properties));
        let place = rows.schema().index_of(TextField::Properties.column()).unwrap();
        let columns =
            rows.columns().iter().enumerate().map(|(at, column)| if at == place { &properties } else { column });
        let rows = RecordBatch::try_new(rows.schema(), columns.cloned().collect()).unwrap();
        let bytes = encode(Table::Events, &rows.schema(), &[rows]).unwrap();
        let largest = batches(Table::Events, bytes.into()).unwrap().map(|rows| rows.unwrap().num_rows()).max();
        assert!(largest.unwrap() < 400, "{largest:?} rows");
    }
}
