//! Job `messages`: keeps `message_deliveries` and `message_rollups` equal to what a full computation over `events` and
//! `identities` would give.
//!
//! A delivery is a set of events (`event_sets`), which takes up new ones (`absorb`); beside it stand the goals that its
//! person reached, which are computed anew for people of whom anything that bears on them has changed. Where it is not
//! known what changed, or somebody asks for it, a tenant's deliveries are computed from all events (`renew`).
//!
//! Rollups follow from the deliveries alone, in a commit of their own: the days on which anything changed are counted
//! anew (`rollups`). Whatever cuts a run off between the two, the next one finds in the log how far rollups have come.

mod absorb;
mod renew;
mod rollups;
mod work;

use async_trait::async_trait;
use touchline_lake::CommitInfo;
use touchline_pipeline::QueryEngine;
use touchline_schemas::control::ControlDb;
use touchline_schemas::tables::Table;

use self::work::Work;
use crate::derived::Replacement;
use crate::event_sets::How;
use crate::{Job, JobContext, JobError, JobPlan, JobReport, RunRequest};

const NAME: &str = "messages";

/// The job.
#[derive(Debug, Clone)]
pub struct MessagesJob {
    engine: QueryEngine,
    control: ControlDb,
}

impl MessagesJob {
    /// A job over the engine's lake; what messages are sent for stands in the accounts' settings.
    pub fn new(engine: QueryEngine, control: ControlDb) -> Self {
        Self { engine, control }
    }
}

#[async_trait]
impl Job for MessagesJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let work = Work::find(&self.engine, &self.control, request).await?;
        Ok(JobPlan {
            source_version: Some(work.sources.events.version),
            parts: work.tenants.iter().map(|(tenant, (todo, _))| work.sources.plan(*tenant, todo)).collect(),
        })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let work = Work::find(&self.engine, &self.control, request).await?;
        let mut report = JobReport {
            source_version: Some(work.sources.events.version),
            watermark: work.sources.watermark(),
            ..JobReport::default()
        };
        if work.tenants.is_empty() && work.sources.is_up_to_date(&work.settings) {
            // A run that was cut off right after its commit has left this for the next.
            report.unchanged = !rollups::catch_up(&self.engine, request, context, &mut report).await?;
            return Ok(report);
        }

        let parts = work.tenants.iter().map(|(tenant, (todo, _))| work.sources.plan(*tenant, todo).rows);
        context.progress.expect(parts.sum());
        let table = self.engine.lake().table(Table::MessageDeliveries);
        let (mut replacement, mut changes) = (Replacement::default(), Vec::new());
        for (tenant, (todo, goals)) in &work.tenants {
            context.check_cancelled()?;
            let part = work::Part { engine: &self.engine, sources: &work.sources, tenant: *tenant, goals, context };
            let replaced = match &todo.how {
                How::Renew => part.renew(&mut report).await?,
                How::Absorb(news) => part.absorb(news, &mut report).await?,
            };
            context.progress.advance(work.sources.plan(*tenant, todo).rows);
            replacement.add.extend(replaced.replacement.add);
            replacement.remove.extend(replaced.replacement.remove);
            changes.push(replaced.change);
        }
        report.rows_written = replacement.add.iter().map(|file| file.rows).sum();
        report.bytes_written = replacement.add.iter().map(|file| file.size_bytes).sum();
        let info = CommitInfo {
            source_version: Some(work.sources.events.version),
            watermark: report.watermark,
            sources: work.sources.versions(),
            settings: work.settings.clone(),
            changes,
            ..CommitInfo::default()
        };
        let committed =
            replacement.commit_with(table, NAME, work.sources.stored.version, info, context.clock.now()).await;
        committed.map_err(JobError::failed)?;
        rollups::catch_up(&self.engine, request, context, &mut report).await?;
        Ok(report)
    }
}
