//! Bringing the index of event ids up to the table's version: after a crash, after another node's commit, or from
//! nothing when the index was lost.

use arrow::array::AsArray;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
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
    let new_files = if index.covers() < 0 { None } else { events.files_added(index.covers(), version).await? };
    let (version, files) = match new_files {
        Some(files) => (version, files),
        None => {
            index.reset(table_id)?;
            let snapshot = events.snapshot().await?;
            (snapshot.version, snapshot.tenants().flat_map(|tenant| snapshot.files(tenant).to_vec()).collect())
        }
    };
    if !files.is_empty() {
        tracing::info!(files = files.len(), version, "reading event ids from the lake");
    }
    let mut ids = Vec::new();
    for file in &files {
        read_ids(events, file, &mut ids).await?;
        if ids.len() >= IDS_PER_RUN {
            index.add(std::mem::take(&mut ids), -1)?;
        }
    }
    index.add(ids, version)?;
    Ok(version)
}

async fn read_ids(events: &LakeTable, file: &DataFile, ids: &mut Vec<IdHash>) -> Result<(), LakeWriterError> {
    let failed = |detail: String| LakeError::File { table: events.table(), path: file.path.clone(), detail };
    let path = StorePath::from(file.path.as_str());
    let stored = events.store().get(&path).await.map_err(|error| failed(error.to_string()))?;
    let bytes = stored.bytes().await.map_err(|error| failed(error.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| failed(error.to_string()))?;
    let only_ids = ProjectionMask::columns(builder.parquet_schema(), [TextField::EventId.column()]);
    let batches = builder.with_projection(only_ids).build().map_err(|error| failed(error.to_string()))?;
    for batch in batches {
        let batch = batch.map_err(|error| failed(error.to_string()))?;
        let column = batch.column(0).as_string_opt::<i32>().ok_or_else(|| failed("event ids are not text".into()))?;
        ids.extend(column.iter().flatten().map(|event_id| IdHash::new(file.tenant, event_id)));
    }
    Ok(())
}
