//! Opening the lake: one Delta table each, created when missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType as ArrowType;
use deltalake_core::kernel::{ArrayType, DataType, PrimitiveType, StructField};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::table::config::TableProperty;
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use object_store::ObjectStore;
use tokio::sync::Mutex;
use touchline_schemas::config::LOG_KEPT_HOURS;
use touchline_schemas::tables::{MONEY_PRECISION, MONEY_SCALE, Table};
use url::Url;

use crate::LakeError;
use crate::durable::{DurableFileSystem, create_folders, sync_folder};
use crate::files::Snapshot;

/// How the lake's tables are kept.
#[derive(Debug, Clone, Copy)]
pub struct LakeOptions {
    /// Commits between two checkpoints of a table's log.
    pub checkpoint_interval: u32,
}

/// The Delta tables under one root.
#[derive(Debug, Clone)]
pub struct Lake {
    root: PathBuf,
    tables: Arc<[LakeTable]>,
}

impl Lake {
    /// Opens the lake in the directory `root`; tables that are missing are created.
    pub async fn open(root: &Path, options: LakeOptions) -> Result<Self, LakeError> {
        let failed =
            |error: std::io::Error| LakeError::Root { root: root.display().to_string(), detail: error.to_string() };
        create_folders(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        let mut tables = Vec::with_capacity(Table::ALL.len());
        for table in Table::ALL {
            tables.push(LakeTable::open(&root, table, options).await?);
        }
        Ok(Self { root, tables: tables.into() })
    }

    /// The directory of the lake.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// One table.
    pub fn table(&self, table: Table) -> &LakeTable {
        // `Table::ALL` is in the order of the variants, and so is `tables`.
        &self.tables[table as usize]
    }
}

/// One Delta table, shared by its readers and writers in this process.
#[derive(Debug, Clone)]
pub struct LakeTable {
    table: Table,
    pub(crate) folder: PathBuf,
    log_store: LogStoreRef,
    pub(crate) state: Arc<Mutex<DeltaTable>>,
    pub(crate) listed: Arc<Mutex<Option<Arc<Snapshot>>>>,
}

impl LakeTable {
    async fn open(root: &Path, table: Table, options: LakeOptions) -> Result<Self, LakeError> {
        let folder = root.join(table.name());
        let named = folder.display().to_string();
        let outside = |error: std::io::Error| LakeError::Root { root: named.clone(), detail: error.to_string() };
        create_folders(&folder).map_err(outside)?;
        let url = Url::from_directory_path(&folder).map_err(|()| LakeError::Root {
            root: folder.display().to_string(),
            detail: "not an absolute path".into(),
        })?;
        let mut delta = DeltaTableBuilder::from_url(url.clone())
            .and_then(|builder| builder.with_storage_backend(Arc::new(DurableFileSystem::default()), url).build())
            .map_err(LakeError::delta(table))?;
        match delta.load().await {
            Ok(()) => {}
            Err(DeltaTableError::NotATable(_)) => delta = create(delta, table, options).await?,
            Err(error) => return Err(LakeError::delta(table)(error)),
        }
        let log_store = delta.log_store();
        let opened =
            Self { table, folder, log_store, state: Arc::new(Mutex::new(delta)), listed: Arc::new(Mutex::new(None)) };
        Ok(opened)
    }

    /// Which table it is.
    pub fn table(&self) -> Table {
        self.table
    }

    /// The store, rooted at the table's folder.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.log_store.object_store(None)
    }

    pub(crate) fn log_store(&self) -> &LogStoreRef {
        &self.log_store
    }

    /// Makes the names of all commits so far survive a power cut, also those that another process gave.
    pub async fn sync_log(&self) -> Result<(), LakeError> {
        let folder = self.folder.join(LOG_FOLDER);
        sync_folder(folder).await.map_err(|error| LakeError::File {
            table: self.table,
            path: LOG_FOLDER.to_owned(),
            detail: error.to_string(),
        })
    }
}

pub(crate) const LOG_FOLDER: &str = "_delta_log";
/// How long entries of the log are kept.
pub const LOG_KEPT: chrono::Duration = chrono::Duration::hours(LOG_KEPT_HOURS as i64);
/// How long checkpoints mention files that were taken out. Nobody reads that: `vacuum` knows by itself since when a file
/// is a stray, and every checkpoint would carry the small files of a week.
const REMOVED_FILES_MENTIONED: &str = "interval 1 hours";

async fn create(delta: DeltaTable, table: Table, options: LakeOptions) -> Result<DeltaTable, LakeError> {
    let columns = table.schema().fields().iter().map(|field| delta_field(field)).collect::<Vec<_>>();
    deltalake_core::operations::create::CreateBuilder::new()
        .with_log_store(delta.log_store())
        .with_table_name(table.name())
        .with_columns(columns)
        .with_partition_columns(table.partition_columns())
        .with_configuration_property(TableProperty::CheckpointInterval, Some(options.checkpoint_interval.to_string()))
        .with_configuration_property(
            TableProperty::LogRetentionDuration,
            Some(format!("interval {LOG_KEPT_HOURS} hours")),
        )
        .with_configuration_property(TableProperty::DeletedFileRetentionDuration, Some(REMOVED_FILES_MENTIONED))
        .await
        .map_err(LakeError::delta(table))
}

fn delta_field(field: &arrow::datatypes::Field) -> StructField {
    StructField::nullable(field.name(), delta_type(field.data_type()))
}

fn delta_type(arrow: &ArrowType) -> DataType {
    DataType::Primitive(match arrow {
        ArrowType::Int64 => PrimitiveType::Long,
        ArrowType::Float64 => PrimitiveType::Double,
        ArrowType::Boolean => PrimitiveType::Boolean,
        ArrowType::Date32 => PrimitiveType::Date,
        ArrowType::Timestamp(..) => PrimitiveType::Timestamp,
        ArrowType::Decimal128(..) => {
            return DataType::decimal(MONEY_PRECISION, MONEY_SCALE as u8).unwrap_or(DataType::DOUBLE);
        }
        ArrowType::List(values) => return ArrayType::new(delta_type(values.data_type()), true).into(),
        _ => PrimitiveType::String,
    })
}
