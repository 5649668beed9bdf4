//! Job `enrichment`: judges stored events once more, by the present lists of user agents and the present database of
//! countries, and brings their paths into the present form.
//!
//! Only files in which a value differs are written anew. The commit says that rows went and came, so that the jobs compute
//! anew what follows from them. What is lost cannot be judged: an event without a user agent or address keeps what it has.
//! It does only what it is asked for, since it has to read every event.

mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use touchline_enrich::Enricher;
use touchline_lake::{Commit, CommitInfo, DataFile, Lake, LakeError, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::rewriting::{Changed, Rewriting, Task, rewrite_files};
use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "enrichment";

/// The job.
#[derive(Debug, Clone)]
pub struct EnrichmentJob {
    lake: Lake,
    enricher: Arc<Enricher>,
}

impl EnrichmentJob {
    /// A job over `lake` that judges by `enricher`.
    pub fn new(lake: Lake, enricher: Arc<Enricher>) -> Self {
        Self { lake, enricher }
    }

    /// What a commit says: how far the table is, by what its rows were judged, and how many rows were written anew.
    fn info(&self, snapshot: &Snapshot, rewriting: &Rewriting) -> CommitInfo {
        let rows: u64 = rewriting.removed().iter().map(|file| file.rows).sum();
        let judged_by = self.enricher.versions();
        CommitInfo {
            counts: serde_json::json!({NAME: {"judged_by": judged_by, "rows_in_rewritten_files": rows}}),
            ..snapshot.info.as_ref().map(CommitInfo::carried_on).unwrap_or_default()
        }
    }
}

#[async_trait]
impl Job for EnrichmentJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let snapshot = self.lake.table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let parts = tenants(&snapshot, request).into_iter().map(|tenant| {
            let files: Vec<_> = snapshot.files(tenant).iter().filter(|file| request.names_day(file.date)).collect();
            let mut days: Vec<_> = files.iter().map(|file| file.date).collect();
            days.dedup();
            PlanPart {
                tenant,
                reason: "asked for",
                days,
                rows: files.iter().map(|file| file.rows).sum(),
                bytes: files.iter().map(|file| file.size_bytes).sum(),
            }
        });
        Ok(JobPlan { source_version: Some(snapshot.version), parts: parts.collect() })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let table = self.lake.table(Table::Events);
        let snapshot = table.snapshot().await.map_err(JobError::failed)?;
        let mut report = JobReport { source_version: Some(snapshot.version), unchanged: true, ..JobReport::default() };
        let is_meant = |file: &DataFile| request.names_day(file.date);
        let tenants = tenants(&snapshot, request);
        let files = || tenants.iter().flat_map(|tenant| snapshot.files(*tenant)).filter(|file| is_meant(file));
        context.progress.expect(files().map(|file| file.rows).sum());
        report.rows_read = files().map(|file| file.rows).sum();
        report.bytes_read = files().map(|file| file.size_bytes).sum();
        for tenant in &tenants {
            let (looking, changing) = (Arc::clone(&self.enricher), Arc::clone(&self.enricher));
            let task = Task {
                tenant: *tenant,
                is_meant: &is_meant,
                is_touched: move |rows: &_| Ok(rows::judged(&looking, rows)?.is_some()),
                change: move |rows| Ok(rows::judged(&changing, &rows)?.unwrap_or(rows)),
                commit: &|snapshot, rewriting| Commit { info: self.info(snapshot, rewriting), ..Commit::default() },
            };
            let before_file = |file: &DataFile| -> Result<(), Stopped> {
                context.check_cancelled()?;
                context.progress.advance(file.rows);
                Ok(())
            };
            let Changed { files, .. } = rewrite_files(table, &context.clock, &task, &before_file).await?;
            for new in files.added() {
                report.unchanged = false;
                report.rows_written += new.rows;
                report.bytes_written += new.size_bytes;
            }
        }
        Ok(report)
    }
}

/// Why a run ends early.
struct Stopped(JobError);

impl From<JobError> for Stopped {
    fn from(error: JobError) -> Self {
        Self(error)
    }
}

impl From<LakeError> for Stopped {
    fn from(error: LakeError) -> Self {
        Self(JobError::failed(error))
    }
}

impl From<Stopped> for JobError {
    fn from(Stopped(error): Stopped) -> Self {
        error
    }
}

/// Those whose events are to be judged.
fn tenants(snapshot: &Snapshot, request: RunRequest) -> Vec<Tenant> {
    let mut tenants: Vec<Tenant> = snapshot.tenants().filter(|tenant| request.renews(*tenant)).collect();
    tenants.sort_unstable();
    tenants
}
