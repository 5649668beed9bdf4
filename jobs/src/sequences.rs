//! Job `sequences`: keeps `sequence_runs` and `sequence_metrics` equal to what a full computation over `events` and
//! `identities` would give.
//!
//! A run is a set of events (`event_sets`), which takes up new ones (`absorb`). Where it is not known what changed, or
//! somebody asks for it, a tenant's runs are computed from all events (`renew`).
//!
//! The metrics follow from the runs alone, in a commit of their own (`metrics`). Whatever cuts a run of the job off between
//! the two, the next one finds in the log how far the metrics have come.

mod absorb;
mod metrics;
mod renew;
mod work;

use async_trait::async_trait;
use touchline_lake::CommitInfo;
use touchline_pipeline::QueryEngine;
use touchline_schemas::tables::Table;

use self::work::{Part, Work};
use crate::derived::Replacement;
use crate::event_sets::How;
use crate::{Job, JobContext, JobError, JobPlan, JobReport, RunRequest};

const NAME: &str = "sequences";

/// The job.
#[derive(Debug, Clone)]
pub struct SequencesJob {
    engine: QueryEngine,
}

impl SequencesJob {
    /// A job over the engine's lake.
    pub fn new(engine: QueryEngine) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl Job for SequencesJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let work = Work::find(&self.engine, request).await?;
        Ok(JobPlan {
            source_version: Some(work.sources.events.version),
            parts: work.tenants.iter().map(|(tenant, todo)| work.sources.plan(*tenant, todo)).collect(),
        })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let work = Work::find(&self.engine, request).await?;
        let mut report = JobReport {
            source_version: Some(work.sources.events.version),
            watermark: work.sources.watermark(),
            ..JobReport::default()
        };
        let mut changed = false;
        if !work.tenants.is_empty() || !work.sources.is_up_to_date(&work.settings) {
            self.update_runs(&work, context, &mut report).await?;
            changed = true;
        }
        changed |= metrics::catch_up(&self.engine, context, &mut report).await?;
        report.unchanged = !changed;
        Ok(report)
    }
}

impl SequencesJob {
    /// Brings the runs up to the events, in one commit.
    async fn update_runs(&self, work: &Work, context: &JobContext, report: &mut JobReport) -> Result<(), JobError> {
        let parts = work.tenants.iter().map(|(tenant, todo)| work.sources.plan(*tenant, todo).rows);
        context.progress.expect(parts.sum());
        let (mut replacement, mut changes) = (Replacement::default(), Vec::new());
        for (tenant, todo) in &work.tenants {
            context.check_cancelled()?;
            let part = Part { engine: &self.engine, sources: &work.sources, tenant: *tenant, context };
            let replaced = match &todo.how {
                How::Renew => part.renew(report).await?,
                How::Absorb(news) => part.absorb(news, report).await?,
            };
            context.progress.advance(work.sources.plan(*tenant, todo).rows);
            replacement.add.extend(replaced.replacement.add);
            replacement.remove.extend(replaced.replacement.remove);
            changes.push(replaced.change);
        }
        report.rows_written += replacement.add.iter().map(|file| file.rows).sum::<u64>();
        report.bytes_written += replacement.add.iter().map(|file| file.size_bytes).sum::<u64>();
        let info = CommitInfo {
            source_version: Some(work.sources.events.version),
            watermark: report.watermark,
            sources: work.sources.versions(),
            settings: work.settings.clone(),
            changes,
            ..CommitInfo::default()
        };
        let table = self.engine.lake().table(Table::SequenceRuns);
        let committed =
            replacement.commit_with(table, NAME, work.sources.stored.version, info, context.clock.now()).await;
        committed.map_err(JobError::failed)?;
        Ok(())
    }
}
