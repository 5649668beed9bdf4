//! The query engine: one bounded memory pool for all queries, a fresh context for each.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use touchline_lake::{Lake, LakeError, LakeTable, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::PipelineError;
use crate::explain::Recorder;
use crate::scan::LakeScan;
use crate::view::View;

/// How queries run.
#[derive(Debug, Clone, Copy)]
pub struct QueryOptions {
    /// Memory of all queries together.
    pub memory_limit_bytes: usize,
    /// Threads of one query.
    pub threads: usize,
}

/// Runs queries over the lake.
#[derive(Debug, Clone)]
pub struct QueryEngine {
    lake: Lake,
    runtime: Arc<RuntimeEnv>,
    memory_limit_bytes: usize,
    threads: usize,
    view: Option<Arc<View>>,
}

impl QueryEngine {
    /// An engine over `lake`, whose tables' stores are the only ones that its queries can reach.
    pub fn new(lake: Lake, options: QueryOptions) -> Result<Self, PipelineError> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(options.memory_limit_bytes)))
            .build_arc()?;
        for table in Table::ALL {
            let table = lake.table(table);
            runtime.register_object_store(store_url(table.table())?.as_ref(), table.store());
        }
        let threads = options.threads.max(1);
        Ok(Self { lake, runtime, memory_limit_bytes: options.memory_limit_bytes, threads, view: None })
    }

    /// The same engine, whose queries see the versions of `view`.
    pub fn viewing(&self, view: &Arc<View>) -> Self {
        Self { view: Some(Arc::clone(view)), ..self.clone() }
    }

    /// The lake.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Memory of all queries together.
    pub fn memory_limit_bytes(&self) -> usize {
        self.memory_limit_bytes
    }

    /// Whether what is asked is noted.
    pub(crate) fn is_explained(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.is_explained())
    }

    /// A context without any table.
    pub fn context(&self) -> SessionContext {
        let config = SessionConfig::new()
            .with_target_partitions(self.threads)
            .with_information_schema(false)
            .set_bool("datafusion.execution.parquet.pushdown_filters", false);
        match self.view.as_ref().filter(|_| self.is_explained()) {
            None => SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime)),
            Some(view) => SessionContext::new_with_state(
                SessionStateBuilder::new()
                    .with_config(config)
                    .with_runtime_env(Arc::clone(&self.runtime))
                    .with_default_features()
                    .with_analyzer_rules(Recorder::before_the_usual(view))
                    .build(),
            ),
        }
    }

    /// The version of a table that queries of `tenant` see: that of the view, else the newest.
    pub async fn snapshot(&self, table: Table, tenant: Tenant) -> Result<Arc<Snapshot>, PipelineError> {
        let table: &LakeTable = self.lake.table(table);
        Ok(match &self.view {
            Some(view) => view.snapshot(table, tenant).await?,
            None => table.snapshot().await?,
        })
    }

    /// One tenant's rows of the version of a table that queries see, and that version.
    pub async fn scan(&self, table: Table, tenant: Tenant) -> Result<(LakeScan, Arc<Snapshot>), PipelineError> {
        let snapshot = self.snapshot(table, tenant).await?;
        let scan = LakeScan::new(table, snapshot.files(tenant).to_vec());
        Ok((self.counted(scan, snapshot.version), snapshot))
    }

    /// One tenant's rows of a table in the version that another table was computed from; in the version that queries see,
    /// if that other one can no longer be read.
    pub async fn scan_source(&self, table: Table, tenant: Tenant, version: i64) -> Result<LakeScan, PipelineError> {
        let found = match self.lake.table(table).readable_snapshot(version, tenant).await {
            Err(LakeError::VersionGone { .. } | LakeError::NoVersion { .. }) => self.snapshot(table, tenant).await?,
            found => found?,
        };
        Ok(self.counted(LakeScan::new(table, found.files(tenant).to_vec()), found.version))
    }

    fn counted(&self, scan: LakeScan, version: i64) -> LakeScan {
        self.view.iter().fold(scan, |scan, view| scan.counted(view.planned(), version))
    }
}

/// The address under which a table's store is registered.
pub(crate) fn store_url(table: Table) -> Result<ObjectStoreUrl, DataFusionError> {
    ObjectStoreUrl::parse(format!("touchline://{}", table.name().replace('_', "-")))
}
