//! Job `visitors`: keeps the table `visitors` equal to what `sessions` and `identities` say.
//!
//! Sessions that went and came are taken back from and added to the stored rows of their people (`absorb`). People whose
//! ids changed hands, and those whose touches cannot be told from the stored row, are computed from all of their
//! sessions; everybody is, where it is not known what changed or somebody asks for it.

mod absorb;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use touchline_lake::{Changes, CommitInfo, DataFile, Snapshot};
use touchline_pipeline::identities::{Identity, People};
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::visitors::{Who, people_estimate, visitors};
use touchline_pipeline::{PipelineError, QueryEngine};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::derived::{Replacement, write_days};
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
        let work = self.work(request).await?;
        let parts = work.tenants.iter().map(|(tenant, news)| {
            let files = match news {
                Some(news) => [news.sessions.as_slice(), work.stored.files(*tenant)].concat(),
                None => work.sessions.files(*tenant).to_vec(),
            };
            PlanPart {
                tenant: *tenant,
                reason: if news.is_some() {
                    "new sessions or identities"
                } else {
                    "asked for, or sessions were cut anew"
                },
                days: Vec::new(),
                rows: files.iter().map(|file| file.rows).sum(),
                bytes: files.iter().map(|file| file.size_bytes).sum(),
            }
        });
        Ok(JobPlan { source_version: Some(work.sessions.version), parts: parts.collect() })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let work = self.work(request).await?;
        let table = self.engine.lake().table(Table::Visitors);
        let [of_sessions, of_identities] =
            [&work.sessions, &work.identities].map(|source| source.info.as_ref()?.watermark);
        // What only one of the two has seen is not in the visitors; without a word of one, nothing can be claimed.
        let watermark = of_sessions.min(of_identities);
        let mut report = JobReport { source_version: Some(work.sessions.version), watermark, ..JobReport::default() };
        if work.tenants.is_empty() && work.is_done() {
            report.unchanged = true;
            return Ok(report);
        }

        let mut replacement = Replacement::default();
        for (tenant, news) in &work.tenants {
            context.check_cancelled()?;
            let people = Arc::new(self.people(work.identities.files(*tenant)).await.map_err(JobError::failed)?);
            match news {
                None => self.renew(&work, *tenant, &people, context, &mut report, &mut replacement).await?,
                Some(news) => {
                    self.absorb(&work, *tenant, news, &people, context, &mut report, &mut replacement).await?;
                }
            }
        }
        report.rows_written = replacement.add.iter().map(|file| file.rows).sum();
        report.bytes_written = replacement.add.iter().map(|file| file.size_bytes).sum();
        let info = CommitInfo {
            source_version: Some(work.sessions.version),
            watermark: report.watermark,
            sources: work.sources(),
            ..CommitInfo::default()
        };
        replacement
            .commit_with(table, NAME, work.stored.version, info, context.clock.now())
            .await
            .map_err(JobError::failed)?;
        Ok(report)
    }
}

/// What a run has to do: per tenant what is new, or nothing if everything is computed anew.
struct Work {
    sessions: Arc<Snapshot>,
    identities: Arc<Snapshot>,
    stored: Arc<Snapshot>,
    tenants: BTreeMap<Tenant, Option<News>>,
}

/// Change files, oldest first.
#[derive(Debug, Default)]
struct News {
    sessions: Vec<DataFile>,
    identities: Vec<DataFile>,
}

impl Work {
    fn sources(&self) -> BTreeMap<String, i64> {
        let of = |table: Table, snapshot: &Snapshot| (table.name().to_owned(), snapshot.version);
        BTreeMap::from([of(Table::Sessions, &self.sessions), of(Table::Identities, &self.identities)])
    }

    fn is_done(&self) -> bool {
        self.stored.info.as_ref().is_some_and(|info| info.sources == self.sources())
    }
}

impl VisitorsJob {
    async fn work(&self, request: RunRequest) -> Result<Work, JobError> {
        let lake = self.engine.lake();
        let sessions = lake.table(Table::Sessions).snapshot().await.map_err(JobError::failed)?;
        let identities = lake.table(Table::Identities).snapshot().await.map_err(JobError::failed)?;
        let stored = lake.table(Table::Visitors).snapshot().await.map_err(JobError::failed)?;
        let new_sessions = self.changes(Table::Sessions, &stored, sessions.version).await?;
        let new_identities = self.changes(Table::Identities, &stored, identities.version).await?;
        let all: BTreeSet<Tenant> = sessions.tenants().chain(stored.tenants()).collect();
        let mut tenants = BTreeMap::new();
        for tenant in all {
            let news = |changes: &Option<Changes>| match changes {
                Some(changes) => changes.by_tenant.get(&tenant).cloned().unwrap_or(Some(Vec::new())),
                None => None,
            };
            let whole = request.renews(tenant);
            match (news(&new_sessions), news(&new_identities)) {
                (Some(sessions), Some(identities)) if !whole => {
                    if !sessions.is_empty() || !identities.is_empty() {
                        tenants.insert(tenant, Some(News { sessions, identities }));
                    }
                }
                _ => {
                    tenants.insert(tenant, None);
                }
            }
        }
        Ok(Work { sessions, identities, stored, tenants })
    }

    async fn changes(&self, source: Table, stored: &Snapshot, through: i64) -> Result<Option<Changes>, JobError> {
        let done = stored.info.as_ref().and_then(|info| info.sources.get(source.name()));
        match done {
            Some(done) => self.engine.lake().table(source).changes(*done, through).await.map_err(JobError::failed),
            None => Ok(None),
        }
    }

    async fn people_estimate(&self, sessions: &[DataFile]) -> Result<u64, JobError> {
        let scan = Arc::new(LakeScan::new(Table::Sessions, sessions.to_vec()));
        people_estimate(&self.engine.context(), scan).await.map_err(JobError::failed)
    }

    /// Computes a tenant's people from all sessions, some of them at a time, and writes them.
    async fn renew(
        &self,
        work: &Work,
        tenant: Tenant,
        people: &Arc<People>,
        context: &JobContext,
        report: &mut JobReport,
        replacement: &mut Replacement,
    ) -> Result<(), JobError> {
        replacement.remove.extend_from_slice(work.stored.files(tenant));
        let files = work.sessions.files(tenant);
        let session_count: u64 = files.iter().map(|file| file.rows).sum();
        let at_once = Who::at_once(self.engine.memory_limit_bytes());
        // Each part reads all sessions, and needs memory for its people.
        let people_count = if session_count > at_once { self.people_estimate(files).await? } else { session_count };
        let of = people_count.div_ceil(at_once).max(1);
        context.progress.expect(session_count * of);
        for number in 0..of {
            context.check_cancelled()?;
            let who = Who::Part { number, of };
            let rows = self.compute(files, people, &who, report).await.map_err(JobError::failed)?;
            let table = self.engine.lake().table(Table::Visitors);
            let written = write_days(table, tenant, rows, context.clock.now()).await;
            replacement.add.extend(written.map_err(JobError::failed)?);
            context.progress.advance(session_count);
        }
        Ok(())
    }

    async fn compute(
        &self,
        sessions: &[DataFile],
        people: &Arc<People>,
        who: &Who,
        report: &mut JobReport,
    ) -> Result<Vec<RecordBatch>, PipelineError> {
        report.rows_read += sessions.iter().map(|file| file.rows).sum::<u64>();
        report.bytes_read += sessions.iter().map(|file| file.size_bytes).sum::<u64>();
        let scan = Arc::new(LakeScan::new(Table::Sessions, sessions.to_vec()));
        Ok(visitors(&self.engine.context(), scan, people, who).await?)
    }

    async fn people(&self, identities: &[DataFile]) -> Result<People, PipelineError> {
        let rows = self.read(LakeScan::new(Table::Identities, identities.to_vec())).await?;
        Ok(People::new(Identity::read(&rows).map_err(PipelineError::from)?))
    }

    async fn read(&self, scan: LakeScan) -> Result<Vec<RecordBatch>, PipelineError> {
        Ok(self.engine.context().read_table(Arc::new(scan))?.collect().await?)
    }
}
