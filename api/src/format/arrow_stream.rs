//! Rows as an Arrow IPC stream.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::StreamWriter;

use super::FormatError;
use super::typed::TypedBatches;

/// Writes rows as messages of a stream.
pub struct ArrowRows {
    writer: StreamWriter<Vec<u8>>,
    batches: TypedBatches,
}

impl ArrowRows {
    /// For rows of a schema, which is the first message.
    pub fn new(rows: &Schema) -> Result<Self, FormatError> {
        let batches = TypedBatches::new(rows);
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), batches.schema())?, batches })
    }

    /// Takes rows in.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        self.batches.push(batch)?;
        self.write_batches()
    }

    /// Ends the stream.
    pub fn finish(&mut self) -> Result<(), FormatError> {
        self.batches.close()?;
        self.write_batches()?;
        Ok(self.writer.finish()?)
    }

    /// What was written since this was asked last.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }

    fn write_batches(&mut self) -> Result<(), FormatError> {
        while let Some(batch) = self.batches.next_batch() {
            self.writer.write(&batch)?;
        }
        Ok(())
    }
}
