//! Bringing the index of event ids up to the table's version: after a crash, after another node's commit, or from
//! nothing when the index was lost.

use arrow::array::AsArray;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use touchline_lake::{DataFile, LakeError, LakeTable};
use touchline_schemas::event::TextField;

use super::LakeWriterError;
use crate::event_ids::{EventIdIndex, IdHash};

/// Ids that are held in memory before they become a run.
const IDS_PER_RUN: usize = 4_000_000;

/// Makes `index` cover the version of `events` that this process sees, and returns that version.
pub async fn catch_up(index: &mut EventIdIndex, events: &LakeTable) -> Result<i64, LakeWriterError> {
    let table_id = events.id().await?;
    let version = events.version().await?;
    // An index of another table, or of a later state than a restored one, would call new events duplicates.
    if index.table_id() != table_id || index.covers() > version {
        index.reset(table_id.clone())?;
    }
    if index.covers() == version {
        return Ok(version);
    }
    // Files that were only merged bring no new ids, and are not among these.
    let new_files = if index.covers() < 0 { None } else { events.files_added(index.covers(), version).await? };
    if let Some(files) = new_files
        && add_ids(index, events, &files, version).await?
    {
        return Ok(version);
    }
    index.reset(table_id)?;
    let snapshot = events.snapshot().await?;
    let files: Vec<_> = snapshot.tenants().flat_map(|tenant| snapshot.files(tenant).to_vec()).collect();
    if add_ids(index, events, &files, snapshot.version).await? {
        return Ok(snapshot.version);
    }
    // Taken out and deleted while it was read: the next attempt sees the version that did so.
    let detail = "a file of the version that is read is gone".to_owned();
    Err(LakeError::Malformed { table: events.table(), version: snapshot.version, detail }.into())
}

/// Adds the ids of `files` to the index, which then covers `version`. False if one of them is not there any more: it was
/// merged or rewritten since, and deleted, so that its ids stand in files that these do not name.
async fn add_ids(
    index: &mut EventIdIndex,
    events: &LakeTable,
    files: &[DataFile],
    version: i64,
) -> Result<bool, LakeWriterError> {
    if !files.is_empty() {
        tracing::info!(files = files.len(), version, "reading event ids from the lake");
    }
    let mut ids = Vec::new();
    for file in files {
        if !read_ids(events, file, &mut ids).await? {
            return Ok(false);
        }
        if ids.len() >= IDS_PER_RUN {
            index.add(std::mem::take(&mut ids), -1)?;
        }
    }
    index.add(ids, version)?;
    Ok(true)
}

/// False if the file is not there.
async fn read_ids(events: &LakeTable, file: &DataFile, ids: &mut Vec<IdHash>) -> Result<bool, LakeWriterError> {
    let failed = |detail: String| LakeError::File { table: events.table(), path: file.path.clone(), detail };
    let Some(bytes) = events.read_stored(&file.path).await? else { return Ok(false) };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| failed(error.to_string()))?;
    let only_ids = ProjectionMask::columns(builder.parquet_schema(), [TextField::EventId.column()]);
    let batches = builder.with_projection(only_ids).build().map_err(|error| failed(error.to_string()))?;
    for batch in batches {
        let batch = batch.map_err(|error| failed(error.to_string()))?;
        let column = batch.column(0).as_string_opt::<i32>().ok_or_else(|| failed("event ids are not text".into()))?;
        ids.extend(column.iter().flatten().map(|event_id| IdHash::new(file.tenant, event_id)));
    }
    Ok(true)
}
