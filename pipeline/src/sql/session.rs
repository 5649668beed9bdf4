//! The engine of one statement: made for it, with its tenant's tables only, and gone with it.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use touchline_schemas::tables::Table;

use super::stores::TableStores;
use super::{Request, SqlError, check, params};
use crate::scan::LakeScan;

/// Functions that speak of the machine and its files.
const INDISCREET_FUNCTIONS: [&str; 3] = ["version", "input_file_name", "file_row_index"];

/// Checks, plans and starts the statement of `request`.
pub(super) async fn start(
    request: Request,
    stores: &Arc<TableStores>,
    threads: usize,
) -> Result<SendableRecordBatchStream, SqlError> {
    let memory_bytes = request.limits.memory_bytes;
    let statement = check::check(&request.sql, &request.limits)?;
    let params = params::values(&request.params)?;
    let failed = |error: DataFusionError| SqlError::of_engine(&error, memory_bytes);
    let context = context(stores, threads, memory_bytes).map_err(failed)?;
    for files in request.tables {
        let Some(table) = Table::ALL.into_iter().find(|table| table.name() == files.table) else { continue };
        let scan = LakeScan::new(table, files.into_data_files(request.tenant));
        context.register_table(table.name(), Arc::new(scan)).map_err(failed)?;
    }
    let statement = Statement::Statement(Box::new(statement));
    let mut plan = context.state().statement_to_plan(statement).await.map_err(failed)?;
    only_queries().verify_plan(&plan).map_err(failed)?;
    if let Some(params) = params {
        plan = plan.with_param_values(params).map_err(failed)?;
    }
    let frame = context.execute_logical_plan(plan).await.map_err(failed)?;
    frame.execute_stream().await.map_err(failed)
}

/// What [`check`] has made sure of, once more, of the plan.
fn only_queries() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

fn context(stores: &Arc<TableStores>, threads: usize, memory_bytes: usize) -> Result<SessionContext, DataFusionError> {
    // What does not fit into memory is refused and not laid out on the disk, which belongs to the lake and the log.
    let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes)))
        .with_disk_manager_builder(no_disk)
        .with_object_store_registry(Arc::<TableStores>::clone(stores))
        .build_arc()?;
    let config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_information_schema(false)
        .set_bool("datafusion.execution.parquet.pushdown_filters", false);
    let context = SessionContext::new_with_config_rt(config, runtime);
    for function in INDISCREET_FUNCTIONS {
        context.deregister_udf(function);
    }
    Ok(context)
}
