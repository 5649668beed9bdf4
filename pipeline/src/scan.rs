//! A table of the lake as DataFusion sees it: the files that the Delta log names, for one tenant, read by DataFusion's
//! own Parquet source.
//!
//! The file list comes from a snapshot, so a folder that holds more (a crashed writer's leftovers, compacted files) is
//! never read twice. Filters on the table's time column leave out files by their statistics before anything is opened.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue, ToDFSchema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::source::ParquetSource;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::provider_as_source;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, LogicalPlanBuilder, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::{DataFrame, SessionContext};
use touchline_lake::DataFile;
use touchline_schemas::tables::Table;

use crate::engine::store_url;

/// Some files of one table.
#[derive(Debug, Clone)]
pub struct LakeScan {
    table: Table,
    schema: SchemaRef,
    files: Vec<DataFile>,
    planned: Arc<Planned>,
    version: i64,
}

impl LakeScan {
    /// The rows of `files`, which belong to `table`.
    pub fn new(table: Table, files: Vec<DataFile>) -> Self {
        Self { table, schema: scan_schema(table), files, planned: Arc::default(), version: 0 }
    }

    /// The rows of change files of `table`: its columns, and whether a row went or came.
    pub fn changes(table: Table, files: Vec<DataFile>) -> Self {
        Self { schema: with_views(&touchline_lake::change_schema(table)), ..Self::new(table, files) }
    }

    /// The same rows, as those of this version of the table; the files that are planned to be read are noted in `planned`.
    pub(crate) fn counted(self, planned: Arc<Planned>, version: i64) -> Self {
        Self { planned, version, ..self }
    }

    /// The same rows; nobody notes what is planned to be read of them.
    pub(crate) fn uncounted(self) -> Self {
        Self { planned: Arc::default(), ..self }
    }

    /// A query for all rows, over the table by its name.
    pub(crate) fn frame(self, context: &SessionContext) -> Result<DataFrame> {
        let name = self.table.name();
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(self)), None)?.build()?;
        Ok(DataFrame::new(context.state(), plan))
    }

    /// The same table, with those of its files that `keep` accepts.
    pub fn filter_files(mut self, keep: impl Fn(&DataFile) -> bool) -> Self {
        self.files.retain(keep);
        self
    }

    /// Files that would be read.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }
}

/// What queries planned to read: files that the range of time leaves, whole, though only the columns that are needed are
/// read of them.
#[derive(Debug, Default)]
pub(crate) struct Planned {
    bytes: AtomicU64,
    files: Mutex<BTreeSet<PlannedFile>>,
    are_files_noted: bool,
}

/// A file that was planned to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedFile {
    /// Its table, by name.
    pub table: &'static str,
    /// The version that names it.
    pub version: i64,
    /// Path relative to the table's folder.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

impl Planned {
    /// Notes which files they are, and not only how large.
    pub fn with_files() -> Self {
        Self { are_files_noted: true, ..Self::default() }
    }

    /// Bytes of all files, those twice that were read twice.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The files, each once, in the order of tables and paths.
    pub fn files(&self) -> Vec<PlannedFile> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn note(&self, table: Table, version: i64, files: &[&DataFile]) {
        self.bytes.fetch_add(files.iter().map(|file| file.size_bytes).sum(), Ordering::Relaxed);
        if self.are_files_noted {
            let planned = |file: &&DataFile| PlannedFile {
                table: table.name(),
                version,
                path: file.path.clone(),
                rows: file.rows,
                bytes: file.size_bytes,
            };
            self.files.lock().unwrap_or_else(PoisonError::into_inner).extend(files.iter().map(planned));
        }
    }
}

/// The columns of the files, with text as views: they are cheap to filter, sort and take.
pub fn scan_schema(table: Table) -> SchemaRef {
    with_views(&table.file_schema())
}

fn with_views(files: &Schema) -> SchemaRef {
    let fields = files.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, field.is_nullable()),
        _ => field.as_ref().clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for LakeScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let range = TimeBounds::of(filters, self.table.time_column());
        let files: Vec<&DataFile> = self.files.iter().filter(|file| range.may_hold(file)).collect();
        self.planned.note(self.table, self.version, &files);
        if files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut source = ParquetSource::new(Arc::clone(&self.schema));
        if let Some(filter) = conjunction(filters.to_vec()) {
            let schema = Arc::clone(&self.schema).to_dfschema()?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let config = FileScanConfigBuilder::new(store_url(self.table)?, Arc::new(source))
            .with_file_groups(groups(&files, state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Shares files out so that each group has about the same bytes, and days stay in order inside a group.
fn groups(files: &[&DataFile], count: usize) -> Vec<FileGroup> {
    let total: u64 = files.iter().map(|file| file.size_bytes).sum();
    let share = total.div_ceil(count.max(1) as u64).max(1);
    let mut groups = vec![Vec::new(); count.max(1)];
    let mut before = 0;
    for file in files {
        let group = ((before / share) as usize).min(groups.len() - 1);
        groups[group].push(PartitionedFile::new(file.path.clone(), file.size_bytes));
        before += file.size_bytes;
    }
    groups.retain(|group| !group.is_empty());
    groups.into_iter().map(FileGroup::new).collect()
}

/// What filters say about the time column.
#[derive(Debug, Default)]
struct TimeBounds {
    at_least: Option<DateTime<Utc>>,
    at_most: Option<DateTime<Utc>>,
}

impl TimeBounds {
    fn of(filters: &[Expr], column: &str) -> Self {
        let mut bounds = Self::default();
        for filter in filters {
            let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { continue };
            let (Expr::Column(name), Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), _), _)) =
                (left.as_ref(), right.as_ref())
            else {
                continue;
            };
            let Some(time) = DateTime::from_timestamp_micros(*micros).filter(|_| name.name == column) else { continue };
            match op {
                Operator::GtEq | Operator::Gt => bounds.at_least = bounds.at_least.max(Some(time)),
                Operator::LtEq | Operator::Lt => {
                    bounds.at_most = Some(bounds.at_most.map_or(time, |known| known.min(time)));
                }
                _ => {}
            }
        }
        bounds
    }

    fn may_hold(&self, file: &DataFile) -> bool {
        let Some((earliest, latest)) = file.time_range else { return true };
        self.at_least.is_none_or(|bound| latest >= bound) && self.at_most.is_none_or(|bound| earliest <= bound)
    }
}
