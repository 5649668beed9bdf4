//! A data file once more, with some of its rows left out or changed; and the texts of any Parquet file.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::files::DataFile;
use crate::merge::{SORTED, SortedFile, batches};
use crate::open::LakeTable;
use crate::{LakeError, NewFile};

impl LakeTable {
    /// Writes what `change` makes of a file's rows to another file of its partition; `None` if no row is left.
    ///
    /// `unique` must be unique within the table. `change` gets batches with the columns of the table's files and gives
    /// the same columns back, in the same order of rows.
    pub async fn rewrite_file(
        &self,
        file: &DataFile,
        unique: &str,
        now: DateTime<Utc>,
        mut change: impl FnMut(RecordBatch) -> Result<RecordBatch, ArrowError> + Send + 'static,
    ) -> Result<Option<NewFile>, LakeError> {
        let table = self.table();
        let bytes = self.read(file).await?;
        let rewritten = tokio::task::spawn_blocking(move || {
            let mut sink = SortedFile::new(table)?;
            for rows in batches(table, bytes)? {
                let rows = change(rows?)?;
                if rows.num_rows() > 0 {
                    sink.push(&rows)?;
                }
            }
            sink.finish()
        });
        let failed = |detail: String| LakeError::File { table, path: file.path.clone(), detail };
        let rows = rewritten
            .await
            .map_err(|error| failed(format!("rewriting was interrupted: {error}")))?
            .map_err(|error: ParquetError| failed(error.to_string()))?;
        if rows.row_count() == 0 {
            return Ok(None);
        }
        let stem = if file.is_sorted() { format!("{SORTED}{unique}") } else { unique.to_owned() };
        self.write_file(file.tenant, file.date, &stem, rows, now).await.map(Some)
    }
}

/// Shows every text of a Parquet file, whatever its columns, until `visit` says that it has seen enough.
pub fn visit_texts(bytes: Bytes, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), ParquetError> {
    for rows in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        for column in rows?.columns() {
            if !visit_column(column, visit) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn visit_column(column: &dyn Array, visit: &mut dyn FnMut(&str) -> bool) -> bool {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().flatten().all(visit),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().flatten().all(visit),
        DataType::Utf8View => column.as_string_view().iter().flatten().all(visit),
        // Of a Delta checkpoint, and of files that are not ours.
        DataType::Struct(_) => column.as_struct().columns().iter().all(|column| visit_column(column, visit)),
        DataType::Map(..) => {
            let entries = column.as_map().entries();
            entries.columns().iter().all(|column| visit_column(column, visit))
        }
        DataType::List(_) => visit_column(column.as_list::<i32>().values(), visit),
        _ => true,
    }
}
