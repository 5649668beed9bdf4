//! A data file once more, with some of its rows left out or changed; and the texts of any Parquet file.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parquet::errors::ParquetError;

use crate::files::DataFile;
use crate::merge::{SORTED, SortedFile, batches, reader};
use crate::open::LakeTable;
use crate::{LakeError, NewFile};

/// What became of a file.
#[derive(Debug)]
pub enum Rewritten {
    /// No row of it is touched: it stays.
    Untouched,
    /// Its rows are in another file now.
    Replaced(Box<NewFile>),
    /// No row is left.
    Emptied,
}

impl LakeTable {
    /// Writes what `change` makes of a file's rows to another file of its partition, if it touches any.
    ///
    /// `unique` must be unique within the table. `is_touched` says whether `change` would make something else of a batch;
    /// both get the columns of the table's files, and `change` gives them back in the same order of rows.
    pub async fn rewrite_file(
        &self,
        file: &DataFile,
        unique: &str,
        now: DateTime<Utc>,
        mut is_touched: impl FnMut(&RecordBatch) -> Result<bool, ArrowError> + Send + 'static,
        mut change: impl FnMut(RecordBatch) -> Result<RecordBatch, ArrowError> + Send + 'static,
    ) -> Result<Rewritten, LakeError> {
        let table = self.table();
        let bytes = self.read(file).await?;
        let rewriting = tokio::task::spawn_blocking(move || {
            // Most files are not touched, and writing costs more than reading.
            let mut touched = false;
            for rows in batches(table, bytes.clone())? {
                touched = is_touched(&rows?)?;
                if touched {
                    break;
                }
            }
            if !touched {
                return Ok(None);
            }
            let mut sink = SortedFile::new(table)?;
            for rows in batches(table, bytes)? {
                let rows = change(rows?)?;
                if rows.num_rows() > 0 {
                    sink.push(&rows)?;
                }
            }
            sink.finish().map(Some)
        });
        let failed = |detail: String| LakeError::File { table, path: file.path.clone(), detail };
        let rewritten = rewriting
            .await
            .map_err(|error| failed(format!("rewriting was interrupted: {error}")))?
            .map_err(|error: ParquetError| failed(error.to_string()))?;
        match rewritten {
            None => Ok(Rewritten::Untouched),
            Some(rows) if rows.row_count() == 0 => Ok(Rewritten::Emptied),
            Some(rows) => {
                let stem = if file.is_sorted() { format!("{SORTED}{unique}") } else { unique.to_owned() };
                self.write_file(file.tenant, file.date, &stem, rows, now)
                    .await
                    .map(|file| Rewritten::Replaced(Box::new(file)))
            }
        }
    }
}

impl LakeTable {
    /// The rows of a data file, with the columns of the table's files: for tables that are small enough to be read whole.
    pub async fn rows(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        let (table, bytes) = (self.table(), self.read(file).await?);
        let failed = |detail: String| LakeError::File { table, path: file.path.clone(), detail };
        let rows = batches(table, bytes).map_err(|error| failed(error.to_string()))?;
        rows.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))
    }
}

/// Shows every text of a Parquet file, whatever its columns, until `visit` says that it has seen enough.
pub fn visit_texts(bytes: Bytes, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), ParquetError> {
    for rows in reader(bytes)? {
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
