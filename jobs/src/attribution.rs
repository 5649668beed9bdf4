//! Job `attribution`: keeps `touchpoints` and `attribution` equal to what a full computation over `events`, `sessions`
//! and `identities` would give.
//!
//! News touch few conversions: new ones, those within the look-back of a session that came or went, and those of people
//! whose ids changed hands. These are computed anew, and the days that they fall on written (`absorb`). Where it is not
//! known what changed, or somebody asks for it, whole days are computed from events (`renew`).
//!
//! A tenant that fails keeps its rows, stops no other, and is computed anew by the next run.
//!
//! Two tables are two commits. Both say which versions of the sources they stand for; where they differ, a run was cut
//! off between them, and the next one computes everything.

mod absorb;
mod part;
mod renew;
mod work;

use async_trait::async_trait;
use touchline_lake::CommitInfo;
use touchline_pipeline::QueryEngine;
use touchline_schemas::Tenant;
use touchline_schemas::control::ControlDb;
use touchline_schemas::tables::Table;

use self::part::{Part, Written};
use self::work::{How, NOT_COMPUTED, Work};
use crate::{Job, JobContext, JobError, JobPlan, JobReport, RunRequest};

const NAME: &str = "attribution";

/// The job.
#[derive(Debug, Clone)]
pub struct AttributionJob {
    engine: QueryEngine,
    control: ControlDb,
}

impl AttributionJob {
    /// A job over the engine's lake; what counts as a conversion stands in the accounts' settings.
    pub fn new(engine: QueryEngine, control: ControlDb) -> Self {
        Self { engine, control }
    }
}

#[async_trait]
impl Job for AttributionJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let work = Work::find(&self.engine, &self.control, request).await?;
        Ok(JobPlan {
            source_version: Some(work.events.version),
            parts: work.tenants.iter().map(|(tenant, todo)| work.plan(*tenant, todo)).collect(),
        })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let work = Work::find(&self.engine, &self.control, request).await?;
        let mut report = JobReport {
            source_version: Some(work.events.version),
            watermark: work.watermark(),
            ..JobReport::default()
        };
        if work.tenants.is_empty() && work.is_up_to_date() {
            report.unchanged = true;
            return Ok(report);
        }

        let parts = || work.tenants.iter().map(|(tenant, todo)| work.plan(*tenant, todo));
        context.progress.expect(parts().map(|part| part.rows).sum());
        let (mut written, mut settings, mut failed) = (Written::default(), work.settings.clone(), Vec::new());
        for (tenant, todo) in &work.tenants {
            context.check_cancelled()?;
            let part = Part { engine: &self.engine, work: &work, tenant: *tenant, params: &todo.params, context };
            let mut of_tenant = Written::default();
            let computed = match &todo.how {
                How::Renew(request) => part.renew(*request, &mut of_tenant, &mut report).await,
                How::Absorb(news) => part.absorb(news, &mut of_tenant, &mut report).await,
            };
            match computed {
                Ok(()) => written.extend(of_tenant),
                Err(JobError::Cancelled) => return Err(JobError::Cancelled),
                Err(error) => {
                    settings.insert(tenant.to_string(), NOT_COMPUTED.to_owned());
                    failed.push((*tenant, error));
                }
            }
        }
        if !failed.is_empty() {
            report.watermark = work.known_watermark();
        }

        let info = CommitInfo {
            source_version: Some(work.events.version),
            watermark: report.watermark,
            sources: work.sources(),
            settings,
            ..CommitInfo::default()
        };
        for (table, replacement, stored) in [
            (Table::Touchpoints, written.touchpoints, &work.touchpoints),
            (Table::Attribution, written.attribution, &work.attribution),
        ] {
            report.rows_written += replacement.add.iter().map(|file| file.rows).sum::<u64>();
            report.bytes_written += replacement.add.iter().map(|file| file.size_bytes).sum::<u64>();
            let table = self.engine.lake().table(table);
            let committed =
                replacement.commit_with(table, NAME, stored.version, info.clone(), context.clock.now()).await;
            committed.map_err(JobError::failed)?;
        }
        if failed.is_empty() { Ok(report) } else { Err(JobError::failed(TenantsFailed(failed))) }
    }
}

/// Tenants whose rows could not be computed and are those of before.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|(tenant, error)| format!("{tenant}: {error}")).collect::<Vec<_>>().join("; "))]
struct TenantsFailed(Vec<(Tenant, JobError)>);
