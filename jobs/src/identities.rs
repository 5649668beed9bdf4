//! Job `identities`: keeps `identity_edges` equal to what all events say, and `identities` to what all edges say.
//!
//! Of the events only the new ones are read. Edges are few, so that people are computed from all of a tenant's edges
//! whenever one of them changed, and only the rows that differ are named as changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use async_trait::async_trait;
use chrono::NaiveDate;
use tokio::task::spawn_blocking;
use touchline_lake::{Change, ChangeKind, CommitInfo, DataFile, FileChanges};
use touchline_pipeline::identities::{Identity, edges, merge_edges, people};
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::{PipelineError, QueryEngine};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;
use uuid::Uuid;

use crate::derived::{Replacement, split_days, write_days};
use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "identities";

/// The job.
#[derive(Debug, Clone)]
pub struct IdentitiesJob {
    engine: QueryEngine,
}

impl IdentitiesJob {
    /// A job over the engine's lake.
    pub fn new(engine: QueryEngine) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl Job for IdentitiesJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let events = self.engine.lake().table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let parts = self.new_files(request).await?.into_iter().map(|(tenant, todo)| PlanPart {
            tenant,
            reason: if todo.renew { "asked for, or events were removed" } else { "new events" },
            days: todo.files.iter().map(|file| file.date).collect::<BTreeSet<_>>().into_iter().collect(),
            rows: todo.files.iter().map(|file| file.rows).sum(),
            bytes: todo.files.iter().map(|file| file.size_bytes).sum(),
        });
        Ok(JobPlan { source_version: Some(events.version), parts: parts.collect() })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let lake = self.engine.lake();
        let events = lake.table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let mut report = JobReport {
            source_version: Some(events.version),
            watermark: events.info.as_ref().and_then(|info| info.watermark),
            ..JobReport::default()
        };
        let edges_changed = self.update_edges(request, context, &mut report).await?;
        let people_changed = self.update_people(request, context, &mut report).await?;
        report.unchanged = !edges_changed && !people_changed;
        Ok(report)
    }
}

/// The events to read of one tenant.
struct Todo {
    /// Whether its edges are computed from all events.
    renew: bool,
    files: Vec<DataFile>,
}

impl IdentitiesJob {
    async fn new_files(&self, request: RunRequest) -> Result<BTreeMap<Tenant, Todo>, JobError> {
        let lake = self.engine.lake();
        let events_table = lake.table(Table::Events);
        let events = events_table.snapshot().await.map_err(JobError::failed)?;
        let edges = lake.table(Table::IdentityEdges).snapshot().await.map_err(JobError::failed)?;
        let done = edges.info.as_ref().and_then(|info| info.source_version);
        let news = match done {
            Some(done) => events_table.file_changes(done, events.version).await.map_err(JobError::failed)?,
            None => None,
        };
        let mut todo: BTreeMap<Tenant, Todo> = BTreeMap::new();
        let everything = news.is_none();
        let FileChanges { added, removed } = news.unwrap_or_default();
        for file in added {
            todo.entry(file.tenant).or_insert_with(|| Todo { renew: false, files: Vec::new() }).files.push(file);
        }
        let gone: BTreeSet<Tenant> = removed.into_iter().map(|(tenant, _)| tenant).collect();
        for tenant in events.tenants().chain(edges.tenants()).collect::<BTreeSet<_>>() {
            if everything || request.renews(tenant) || gone.contains(&tenant) {
                todo.insert(tenant, Todo { renew: true, files: events.files(tenant).to_vec() });
            }
        }
        Ok(todo)
    }

    /// Brings the edges up to the events; whether anything was committed.
    async fn update_edges(
        &self,
        request: RunRequest,
        context: &JobContext,
        report: &mut JobReport,
    ) -> Result<bool, JobError> {
        let lake = self.engine.lake();
        let table = lake.table(Table::IdentityEdges);
        let events = lake.table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let stored = table.snapshot().await.map_err(JobError::failed)?;
        if stored.info.as_ref().and_then(|info| info.source_version) == Some(events.version) && !is_asked(request) {
            return Ok(false);
        }
        let mut replacement = Replacement::default();
        for (tenant, todo) in self.new_files(request).await? {
            context.check_cancelled()?;
            report.rows_read += todo.files.iter().map(|file| file.rows).sum::<u64>();
            report.bytes_read += todo.files.iter().map(|file| file.size_bytes).sum::<u64>();
            let fresh = self.edges_of(todo.files).await.map_err(JobError::failed)?;
            let fresh = split_days(Table::IdentityEdges, tenant, &fresh).map_err(JobError::failed)?;
            let touched: Vec<DataFile> = stored
                .files(tenant)
                .iter()
                .filter(|file| todo.renew || fresh.contains_key(&file.date))
                .cloned()
                .collect();
            if fresh.is_empty() && touched.is_empty() {
                continue;
            }
            let known = if todo.renew { Vec::new() } else { touched.clone() };
            let merged = self.merged(known, fresh).await.map_err(JobError::failed)?;
            let files = write_days(table, tenant, merged, context.clock.now()).await;
            replacement.add.extend(files.map_err(JobError::failed)?);
            replacement.remove.extend(touched);
        }
        report.rows_written += replacement.add.iter().map(|file| file.rows).sum::<u64>();
        report.bytes_written += replacement.add.iter().map(|file| file.size_bytes).sum::<u64>();
        let info =
            CommitInfo { source_version: Some(events.version), watermark: report.watermark, ..CommitInfo::default() };
        let commit = replacement.commit_with(table, NAME, stored.version, info, context.clock.now());
        commit.await.map_err(JobError::failed)?;
        Ok(true)
    }

    /// Brings the people up to the edges; whether anything was committed.
    async fn update_people(
        &self,
        request: RunRequest,
        context: &JobContext,
        report: &mut JobReport,
    ) -> Result<bool, JobError> {
        let lake = self.engine.lake();
        let edges_table = lake.table(Table::IdentityEdges);
        let table = lake.table(Table::Identities);
        let edges = edges_table.snapshot().await.map_err(JobError::failed)?;
        let stored = table.snapshot().await.map_err(JobError::failed)?;
        let done = stored.info.as_ref().and_then(|info| info.sources.get(Table::IdentityEdges.name())).copied();
        if done == Some(edges.version) && !is_asked(request) {
            return Ok(false);
        }
        let news = match done {
            Some(done) => edges_table.file_changes(done, edges.version).await.map_err(JobError::failed)?,
            None => None,
        };
        let all = || edges.tenants().chain(stored.tenants()).collect::<BTreeSet<_>>();
        let mut affected = match news {
            Some(FileChanges { added, removed }) => {
                added.iter().map(|file| file.tenant).chain(removed.iter().map(|(tenant, _)| *tenant)).collect()
            }
            None => all(),
        };
        affected.extend(all().into_iter().filter(|tenant| request.renews(*tenant)));
        let mut replacement = Replacement::default();
        let mut changes = Vec::new();
        for tenant in affected {
            context.check_cancelled()?;
            let files = edges.files(tenant).to_vec();
            let batches = self.rows(Table::IdentityEdges, files).await.map_err(JobError::failed)?;
            // Many edges keep a worker from requests that wait for it.
            let rows = spawn_blocking(move || Ok::<_, ArrowError>(people(&batches)?.into_iter().collect()));
            let rows: BTreeSet<Identity> = rows.await.map_err(JobError::failed)?.map_err(JobError::failed)?;
            let known = self.rows(Table::Identities, stored.files(tenant).to_vec()).await.map_err(JobError::failed)?;
            let known = Identity::read(&known).map_err(JobError::failed)?;
            if rows == known {
                continue;
            }
            let difference = |a: &BTreeSet<Identity>, b| Identity::batch(&a.difference(b).cloned().collect::<Vec<_>>());
            let changed = [
                (ChangeKind::Delete, difference(&known, &rows).map_err(JobError::failed)?),
                (ChangeKind::Insert, difference(&rows, &known).map_err(JobError::failed)?),
            ];
            let file = table.write_changes(&Uuid::now_v7().simple().to_string(), &changed).await;
            changes.push(Change { tenant, files: Some(vec![file.map_err(JobError::failed)?]) });
            let batch = Identity::batch(&rows.into_iter().collect::<Vec<_>>()).map_err(JobError::failed)?;
            let files = write_days(table, tenant, vec![batch], context.clock.now()).await;
            replacement.add.extend(files.map_err(JobError::failed)?);
            replacement.remove.extend_from_slice(stored.files(tenant));
        }
        report.rows_written += replacement.add.iter().map(|file| file.rows).sum::<u64>();
        report.bytes_written += replacement.add.iter().map(|file| file.size_bytes).sum::<u64>();
        let info = CommitInfo {
            source_version: edges.info.as_ref().and_then(|info| info.source_version),
            watermark: edges.info.as_ref().and_then(|info| info.watermark),
            sources: BTreeMap::from([(Table::IdentityEdges.name().to_owned(), edges.version)]),
            changes,
            ..CommitInfo::default()
        };
        let commit = replacement.commit_with(table, NAME, stored.version, info, context.clock.now());
        commit.await.map_err(JobError::failed)?;
        Ok(true)
    }

    async fn edges_of(&self, files: Vec<DataFile>) -> Result<Vec<RecordBatch>, PipelineError> {
        let scan = Arc::new(LakeScan::new(Table::Events, files));
        Ok(edges(&self.engine.context(), scan).await?.collect().await?)
    }

    async fn merged(
        &self,
        known: Vec<DataFile>,
        fresh: BTreeMap<NaiveDate, RecordBatch>,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        let mut rows = self.rows(Table::IdentityEdges, known).await?;
        rows.extend(fresh.into_values());
        Ok(merge_edges(&self.engine.context(), rows).await?.collect().await?)
    }

    async fn rows(&self, table: Table, files: Vec<DataFile>) -> Result<Vec<RecordBatch>, PipelineError> {
        let scan = Arc::new(LakeScan::new(table, files));
        Ok(self.engine.context().read_table(scan)?.collect().await?)
    }
}

fn is_asked(request: RunRequest) -> bool {
    request != RunRequest::default()
}
