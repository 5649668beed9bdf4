//! Job `visitors`: keeps the table `visitors` equal to what `sessions` says, tenant by tenant.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::NaiveDate;
use touchline_lake::Snapshot;
use touchline_pipeline::visitors::visitors;
use touchline_pipeline::{PipelineError, QueryEngine};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::derived::{Replacement, application, write_days};
use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "visitors";

/// The job.
#[derive(Debug, Clone)]
pub struct VisitorsJob {
    engine: QueryEngine,
}

impl VisitorsJob {
    /// A job over the engine's lake.
    pub fn new(engine: QueryEngine) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl Job for VisitorsJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let lake = self.engine.lake();
        let sessions = lake.table(Table::Sessions).snapshot().await.map_err(JobError::failed)?;
        let table = lake.table(Table::Visitors);
        let done = table.last_txn(&application(NAME)).await.map_err(JobError::failed)?.filter(|_| !request.full);
        let affected =
            if done == Some(sessions.version) { BTreeSet::new() } else { self.affected(&sessions, done).await? };
        let parts = affected.into_iter().map(|tenant| PlanPart {
            tenant,
            reason: "new rows",
            days: Vec::new(),
            rows: sessions.files(tenant).iter().map(|file| file.rows).sum(),
            bytes: sessions.files(tenant).iter().map(|file| file.size_bytes).sum(),
        });
        Ok(JobPlan { source_version: Some(sessions.version), parts: parts.collect() })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let lake = self.engine.lake();
        let sessions = lake.table(Table::Sessions).snapshot().await.map_err(JobError::failed)?;
        let table = lake.table(Table::Visitors);
        let existing = table.snapshot().await.map_err(JobError::failed)?;
        let done = table.last_txn(&application(NAME)).await.map_err(JobError::failed)?.filter(|_| !request.full);
        let mut report = JobReport {
            source_version: Some(sessions.version),
            watermark: sessions.info.as_ref().and_then(|info| info.watermark),
            ..JobReport::default()
        };
        if done == Some(sessions.version) {
            report.unchanged = true;
            return Ok(report);
        }

        let mut replacement = Replacement::default();
        for tenant in self.affected(&sessions, done).await? {
            context.check_cancelled()?;
            let files = sessions.files(tenant);
            report.rows_read += files.iter().map(|file| file.rows).sum::<u64>();
            report.bytes_read += files.iter().map(|file| file.size_bytes).sum::<u64>();
            let rows = self.compute(files.to_vec()).await.map_err(JobError::failed)?;
            let all_days = NaiveDate::MIN..=NaiveDate::MAX;
            let written = write_days(table, tenant, rows, &all_days, context.clock.now()).await;
            replacement.add.extend(written.map_err(JobError::failed)?);
            replacement.remove.extend_from_slice(existing.files(tenant));
        }
        report.rows_written = replacement.add.iter().map(|file| file.rows).sum();
        report.bytes_written = replacement.add.iter().map(|file| file.size_bytes).sum();
        replacement
            .commit(table, NAME, existing.version, sessions.version, report.watermark, context.clock.now())
            .await
            .map_err(JobError::failed)?;
        Ok(report)
    }
}

impl VisitorsJob {
    /// Tenants whose sessions changed since version `done`, or all.
    async fn affected(&self, sessions: &Snapshot, done: Option<i64>) -> Result<BTreeSet<Tenant>, JobError> {
        let table = self.engine.lake().table(Table::Sessions);
        let added = match done {
            Some(done) => table.files_added(done, sessions.version).await.map_err(JobError::failed)?,
            None => None,
        };
        Ok(match added {
            Some(files) => files.into_iter().map(|file| file.tenant).collect(),
            None => sessions.tenants().collect(),
        })
    }

    async fn compute(
        &self,
        files: Vec<touchline_lake::DataFile>,
    ) -> Result<Vec<arrow::array::RecordBatch>, PipelineError> {
        let scan = touchline_pipeline::scan::LakeScan::new(Table::Sessions, files);
        let context = self.engine.context();
        Ok(visitors(&context, Arc::new(scan)).await?.collect().await?)
    }
}
