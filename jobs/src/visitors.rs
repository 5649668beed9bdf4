//! Job `visitors`: keeps the table `visitors` equal to what `sessions` and `identities` say.
//!
//! Sessions that went and came are taken back from and added to the stored rows of their people. People whose ids
//! changed hands, and those whose touches cannot be told from the stored row, are computed from all of their sessions.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use async_trait::async_trait;
use chrono::NaiveDate;
use touchline_lake::{Changes, CommitInfo, DataFile, Snapshot};
use touchline_pipeline::identities::{Identity, People, USER_PREFIX, VISITOR_PREFIX};
use touchline_pipeline::scan::{LakeScan, scan_schema};
use touchline_pipeline::visitors::{SessionChanges, Updated, Who, of_changes, person_ids, split, update, visitors};
use touchline_pipeline::{PipelineError, QueryEngine};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, identities as identity};

use crate::derived::{Replacement, split_days, write_days};
use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "visitors";

/// Sessions whose people are computed at once.
const SESSIONS_PER_PART: u64 = 1_000_000;

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
        let watermarks = [&work.sessions, &work.identities].map(|source| source.info.as_ref()?.watermark);
        // What only one of the two has seen is not in the visitors.
        let watermark = match watermarks {
            [Some(sessions), Some(identities)] => Some(sessions.min(identities)),
            [sessions, _] => sessions,
        };
        let mut report = JobReport { source_version: Some(work.sessions.version), watermark, ..JobReport::default() };
        if work.tenants.is_empty() && work.is_done() {
            report.unchanged = true;
            return Ok(report);
        }

        let mut replacement = Replacement::default();
        for (tenant, news) in &work.tenants {
            context.check_cancelled()?;
            let people = Arc::new(self.people(work.identities.files(*tenant)).await.map_err(JobError::failed)?);
            let rows = match news {
                None => {
                    replacement.remove.extend_from_slice(work.stored.files(*tenant));
                    self.renew(&work, *tenant, &people, context, &mut report, &mut replacement).await?;
                    continue;
                }
                Some(news) => {
                    self.update(&work, *tenant, news, &people, &mut report).await.map_err(JobError::failed)?
                }
            };
            // Days none of whose rows changed keep their files.
            let mut days = split_days(Table::Visitors, *tenant, &[rows.unchanged]).map_err(JobError::failed)?;
            let changed = split_days(Table::Visitors, *tenant, &[rows.came]).map_err(JobError::failed)?;
            let touched: BTreeSet<NaiveDate> = changed.keys().copied().chain(rows.days_of_gone).collect();
            days.retain(|day, _| touched.contains(day));
            let batches: Vec<RecordBatch> = days.into_values().chain(changed.into_values()).collect();
            let written = write_days(table, *tenant, batches, context.clock.now()).await;
            replacement.add.extend(written.map_err(JobError::failed)?);
            let old = work.stored.files(*tenant).iter().filter(|file| touched.contains(&file.date));
            replacement.remove.extend(old.cloned());
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

/// A tenant's rows after an update.
struct Rows {
    /// As they were.
    unchanged: RecordBatch,
    /// New or other than before.
    came: RecordBatch,
    /// Where rows went that are not `unchanged`.
    days_of_gone: Vec<NaiveDate>,
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

    /// Computes a tenant's people from all sessions, some at a time, and writes them.
    async fn renew(
        &self,
        work: &Work,
        tenant: Tenant,
        people: &Arc<People>,
        context: &JobContext,
        report: &mut JobReport,
        replacement: &mut Replacement,
    ) -> Result<(), JobError> {
        let files = work.sessions.files(tenant);
        let session_count: u64 = files.iter().map(|file| file.rows).sum();
        let of = session_count.div_ceil(SESSIONS_PER_PART).max(1);
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

    async fn update(
        &self,
        work: &Work,
        tenant: Tenant,
        news: &News,
        people: &Arc<People>,
        report: &mut JobReport,
    ) -> Result<Rows, JobError> {
        let schema = scan_schema(Table::Visitors);
        let one = |batches: Vec<RecordBatch>| concat_batches(&schema, &batches);
        let read = [news.sessions.as_slice(), &news.identities, work.stored.files(tenant)].concat();
        report.rows_read += read.iter().map(|file| file.rows).sum::<u64>();
        report.bytes_read += read.iter().map(|file| file.size_bytes).sum::<u64>();

        // Everybody one of whose ids changed hands, before or now.
        let changed =
            self.read(LakeScan::changes(Table::Identities, news.identities.clone())).await.map_err(JobError::failed)?;
        let mut anew: HashSet<String> = changed.iter().flat_map(people_of).collect();
        let mut changes = SessionChanges::default();
        for file in &news.sessions {
            let rows = self.read(LakeScan::changes(Table::Sessions, vec![file.clone()])).await;
            changes.push(&rows.map_err(JobError::failed)?).map_err(JobError::failed)?;
        }
        let (went, came) = changes.finish().map_err(JobError::failed)?;
        let of_others = |sessions: &RecordBatch| -> Result<RecordBatch, JobError> {
            let visitors = of_changes(sessions, people).map_err(JobError::failed)?;
            Ok(split(&visitors, |person| anew.contains(person)).map_err(JobError::failed)?.1)
        };
        let went = went.iter().map(of_others).collect::<Result<Vec<_>, _>>()?;
        let came = came.iter().map(of_others).collect::<Result<Vec<_>, _>>()?;
        let (went, came) = (one(went).map_err(JobError::failed)?, one(came).map_err(JobError::failed)?);
        let touched: HashSet<String> = [&went, &came]
            .into_iter()
            .map(person_ids)
            .collect::<Result<Vec<_>, _>>()
            .map_err(JobError::failed)?
            .into_iter()
            .flatten()
            .flatten()
            .map(str::to_owned)
            .collect();

        let stored = one(self
            .read(LakeScan::new(Table::Visitors, work.stored.files(tenant).to_vec()))
            .await
            .map_err(JobError::failed)?)
        .map_err(JobError::failed)?;
        let (renewed, stored) = split(&stored, |person| anew.contains(person)).map_err(JobError::failed)?;
        let (old, unchanged) = split(&stored, |person| touched.contains(person)).map_err(JobError::failed)?;
        let Updated { rows, unknown } = update(&old, &went, &came).map_err(JobError::failed)?;
        anew.extend(unknown);
        let mut new_rows = vec![rows];
        if !anew.is_empty() {
            let who = Who::People(Arc::new(anew));
            new_rows.extend(
                self.compute(work.sessions.files(tenant), people, &who, report).await.map_err(JobError::failed)?,
            );
        }
        let mut days_of_gone = Vec::new();
        for rows in [&renewed, &old] {
            let days = split_days(Table::Visitors, tenant, std::slice::from_ref(rows));
            days_of_gone.extend(days.map_err(JobError::failed)?.into_keys());
        }
        Ok(Rows { unchanged, came: one(new_rows).map_err(JobError::failed)?, days_of_gone })
    }
}

/// The people that rows of `identities` name, and whom their ids stand for by themselves.
fn people_of(identities: &RecordBatch) -> Vec<String> {
    let column = |name: &str| identities.column_by_name(name).and_then(|values| values.as_string_view_opt());
    let (Some(people), Some(types), Some(ids)) =
        (column(identity::PERSON_ID), column(identity::ID_TYPE), column(identity::ID))
    else {
        return Vec::new();
    };
    let mut named = Vec::with_capacity(2 * identities.num_rows());
    for row in 0..identities.num_rows() {
        let is_user = types.value(row) == touchline_schemas::tables::identity_edges::TYPE_USER;
        let prefix = if is_user { USER_PREFIX } else { VISITOR_PREFIX };
        named.push(format!("{prefix}{}", ids.value(row)));
        named.push(people.value(row).to_owned());
    }
    named
}
