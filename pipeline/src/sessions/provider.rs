//! Sessions as a table whose rows are computed when it is read.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::repartition::RepartitionExec;
use touchline_schemas::tables::Table;

use super::SessionParams;
use super::exec::{Phase, SessionExec};
use super::fragment::Shape;
use crate::scan::scan_schema;

/// The sessions of an events table.
#[derive(Debug)]
pub struct SessionsTable {
    events: Arc<dyn TableProvider>,
    params: Arc<SessionParams>,
    schema: SchemaRef,
}

impl SessionsTable {
    /// The sessions of `events`, whose columns are those of the scan of the table `events`.
    pub fn new(events: Arc<dyn TableProvider>, params: SessionParams) -> Self {
        Self { events, params: Arc::new(params), schema: scan_schema(Table::Sessions) }
    }
}

#[async_trait]
impl TableProvider for SessionsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted: SchemaRef = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let shape = Shape::new(&names(&wanted), &self.params.rules);
        let fragments = Arc::clone(&shape.fragments);
        let scan = self.events.scan(state, Some(&shape.events), &[], None).await?;
        let params = || Arc::clone(&self.params);
        let partial = SessionExec::new(Phase::Partial, scan, params(), Arc::clone(&fragments), Arc::clone(&fragments));
        let by_visitor = SessionExec::by_visitor(&fragments, state.config().target_partitions())?;
        let shuffled = RepartitionExec::try_new(Arc::new(partial), by_visitor)?;
        Ok(Arc::new(SessionExec::new(Phase::Final, Arc::new(shuffled), params(), fragments, wanted)))
    }
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}
