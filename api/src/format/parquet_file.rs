//! Rows as a Parquet file, written through row group by row group.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::FormatError;
use super::typed::TypedBatches;

/// Most bytes of a row group, which is held until it is whole: with the columns' dictionaries about twice as much.
const ROW_GROUP_BYTES: usize = 8 << 20;
/// Most rows of a row group.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Writes rows as a file.
pub struct ParquetRows {
    writer: ArrowWriter<Vec<u8>>,
    batches: TypedBatches,
}

impl ParquetRows {
    /// For rows of a schema.
    pub fn new(rows: &Schema) -> Result<Self, FormatError> {
        let batches = TypedBatches::new(rows);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("touchline ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), SchemaRef::clone(batches.schema()), Some(properties))?;
        Ok(Self { writer, batches })
    }

    /// Takes rows in.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        self.batches.push(batch)?;
        self.write_batches()
    }

    /// Writes the last row group and what stands behind it.
    pub fn finish(&mut self) -> Result<(), FormatError> {
        self.batches.close()?;
        self.write_batches()?;
        self.writer.finish()?;
        Ok(())
    }

    /// What was written since this was asked last. The writer counts its bytes by itself.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.inner_mut())
    }

    fn write_batches(&mut self) -> Result<(), FormatError> {
        while let Some(batch) = self.batches.next_batch() {
            self.writer.write(&batch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn row_groups_leave_as_soon_as_they_are_whole() {
        // Numbers that no encoding makes much smaller.
        let numbers = |from: i64| -> RecordBatch {
            let mixed = (from..from + 8_192).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64));
            let columns = (0..16).map(|place| {
                let column: ArrayRef = Arc::new(Int64Array::from_iter_values(mixed.clone().map(|mixed| mixed ^ place)));
                (format!("c{place}"), column)
            });
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let mut rows = ParquetRows::new(numbers(0).schema_ref()).unwrap();
        let (mut file, mut most_held) = (Vec::new(), 0);
        for part in 0..40 {
            rows.write(&numbers(part * 8_192)).unwrap();
            most_held = most_held.max(rows.writer.memory_size());
            file.append(&mut rows.take());
        }
        assert!(file.len() > 20 << 20 && most_held < 3 * ROW_GROUP_BYTES, "{} {most_held}", file.len());
        rows.finish().unwrap();
        file.append(&mut rows.take());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
        assert!(reader.metadata().num_row_groups() > 3);
        let read: usize = reader.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(read, 40 * 8_192);
    }
}
