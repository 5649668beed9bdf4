//! What a commit to a derived table changed, row by row, for the jobs that read that table.
//!
//! A derived table is rewritten file by file, but few rows of a rewritten file are new. So a job may leave beside its
//! files small ones that hold only the rows that went and those that came. They lie in a folder that readers of the
//! table skip, because its name begins with an underscore, and are named in the commit: they become visible with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use deltalake_core::kernel::Action;
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use serde::{Deserialize, Serialize};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::LakeError;
use crate::files::DataFile;
use crate::open::LakeTable;
use crate::parquet_file::encode;

/// The column that says whether a row of a change file came or went; the others are those of the table's files.
pub const CHANGE_TYPE: &str = "_change_type";

/// The folder of the change files inside a table's folder.
pub(crate) const FOLDER: &str = "_changes";

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was in the table before.
    Delete,
    /// It is in the table since.
    Insert,
}

impl ChangeKind {
    /// The word in [`CHANGE_TYPE`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Insert => "insert",
        }
    }
}

/// What a commit changed of one tenant's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose rows.
    pub tenant: Tenant,
    /// The change files, or none if any row may have changed.
    pub files: Option<Vec<ChangeFile>>,
}

/// A change file as a commit names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeFile {
    /// Path relative to the table.
    pub path: String,
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file.
    pub size_bytes: u64,
}

/// What several commits together changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Per tenant the change files, oldest first; none if any row may have changed.
    pub by_tenant: BTreeMap<Tenant, Option<Vec<DataFile>>>,
}

/// The columns of a table's change files.
pub fn change_schema(table: Table) -> SchemaRef {
    let mut fields = vec![Field::new(CHANGE_TYPE, DataType::Utf8, false)];
    fields.extend(table.file_schema().fields().iter().map(|field| field.as_ref().clone()));
    Arc::new(Schema::new(fields))
}

impl LakeTable {
    /// Writes rows that went and rows that came, each with the columns of [`Table::file_schema`] in their order, to a change file.
    ///
    /// `stem` must be unique within the table.
    pub async fn write_changes(&self, stem: &str, rows: &[(ChangeKind, RecordBatch)]) -> Result<ChangeFile, LakeError> {
        let table = self.table();
        let path = format!("{FOLDER}/{stem}.zstd.parquet");
        let failed = |detail: String| LakeError::File { table, path: path.clone(), detail };
        let schema = change_schema(table);
        let batches = rows.iter().map(|(kind, rows)| {
            let kinds = StringArray::from_iter_values(std::iter::repeat_n(kind.as_str(), rows.num_rows()));
            let mut columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(kinds)];
            for (field, column) in schema.fields().iter().skip(1).zip(rows.columns()) {
                columns.push(cast(column, field.data_type())?);
            }
            RecordBatch::try_new(Arc::clone(&schema), columns)
        });
        let batches = batches.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))?;
        let bytes = encode(table, &schema, &batches)?;
        let size_bytes = bytes.len() as u64;
        let put = self.store().put(&StorePath::from(path.as_str()), bytes.into()).await;
        put.map_err(|error| failed(error.to_string()))?;
        Ok(ChangeFile { path, rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(), size_bytes })
    }

    /// What versions `after + 1 ..= through` changed; `None` when an entry of that range is no longer in the log, so
    /// that anything may have changed.
    pub async fn changes(&self, after: i64, through: i64) -> Result<Option<Changes>, LakeError> {
        let mut changes = Changes::default();
        for version in after + 1..=through {
            let Some(actions) = self.actions(version).await? else { return Ok(None) };
            let info = self.commit_info(version).await?.unwrap_or_default();
            for action in actions {
                let (data_change, partition_values) = match &action {
                    Action::Add(add) => (add.data_change, Some(&add.partition_values)),
                    Action::Remove(remove) => (remove.data_change, remove.partition_values.as_ref()),
                    _ => continue,
                };
                let Some(tenant) = partition_values.map(|values| self.tenant(version, values)).transpose()? else {
                    return Ok(None);
                };
                // Rows came or went, and the commit does not say which.
                if data_change && !info.changes.iter().any(|change| change.tenant == tenant) {
                    changes.by_tenant.insert(tenant, None);
                }
            }
            for mut change in info.changes {
                // An erasure deletes what named the person.
                for path in change.files.iter().flatten().map(|file| StorePath::from(file.path.as_str())) {
                    if matches!(self.store().head(&path).await, Err(object_store::Error::NotFound { .. })) {
                        change.files = None;
                        break;
                    }
                }
                let known = changes.by_tenant.entry(change.tenant).or_insert_with(|| Some(Vec::new()));
                *known = match (known.take(), change.files) {
                    (Some(mut known), Some(files)) => {
                        known.extend(files.into_iter().map(|file| file.data_file(change.tenant)));
                        Some(known)
                    }
                    _ => None,
                };
            }
        }
        Ok(Some(changes))
    }
}

impl ChangeFile {
    fn data_file(self, tenant: Tenant) -> DataFile {
        let Self { path, rows, size_bytes } = self;
        DataFile {
            path,
            tenant,
            date: NaiveDate::MIN,
            size_bytes,
            rows,
            time_range: None,
            latest_end: None,
            earliest_begin: None,
        }
    }
}
