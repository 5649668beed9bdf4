//! What a run of the job has to do: what changed since the versions that the stored runs stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use touchline_lake::{Changes, DataFile, FileChanges, Lake, Snapshot};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::identities::{Identity, People};
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::sequences::DEFINITION;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::{JobContext, JobError, JobReport, PlanPart, RunRequest};

/// What is to be done, and on which versions.
pub(super) struct Work {
    pub events: Arc<Snapshot>,
    pub identities: Arc<Snapshot>,
    /// The runs as they are stored.
    pub stored: Arc<Snapshot>,
    /// Tenants for whom there is something to do.
    pub tenants: BTreeMap<Tenant, Todo>,
    /// Per tenant what its rows will have been computed by: the definition, as no setting of an account bears on them.
    pub settings: BTreeMap<String, String>,
}

/// What is to be done for one tenant.
pub(super) struct Todo {
    pub reason: &'static str,
    pub how: How,
}

pub(super) enum How {
    /// Compute all runs from events.
    Renew,
    /// Compute only what the news have touched.
    Absorb(News),
}

/// What is new of one tenant.
pub(super) struct News {
    /// Files with events that came.
    pub events: Vec<DataFile>,
    /// Change files of identities.
    pub identities: Vec<DataFile>,
}

impl Work {
    pub(super) async fn find(engine: &QueryEngine, request: RunRequest) -> Result<Self, JobError> {
        let lake = engine.lake();
        let mut work = Self {
            // The table itself first: whoever commits to it from now on makes our own commit fail.
            stored: snapshot(lake, Table::SequenceRuns).await?,
            events: snapshot(lake, Table::Events).await?,
            identities: snapshot(lake, Table::Identities).await?,
            tenants: BTreeMap::new(),
            settings: BTreeMap::new(),
        };
        let mut since = work.since(lake).await?;
        let tenants: BTreeSet<Tenant> = work.events.tenants().chain(work.stored.tenants()).collect();
        for tenant in tenants {
            work.settings.insert(tenant.to_string(), DEFINITION.to_owned());
            let (reason, how) = match &mut since {
                None => ("first run", How::Renew),
                Some(_) if !work.is_of_this_definition(tenant) => ("the definition changed", How::Renew),
                // A run may go on over any number of days, so that days cannot be computed for themselves.
                Some(_) if request.renews(tenant) => ("asked for", How::Renew),
                Some(since) => match since.news(tenant) {
                    Err(reason) => (reason, How::Renew),
                    Ok(news) if news.events.is_empty() && news.identities.is_empty() => continue,
                    Ok(news) => ("new rows", How::Absorb(news)),
                },
            };
            work.tenants.insert(tenant, Todo { reason, how });
        }
        Ok(work)
    }

    /// The versions of the sources, as commits name them.
    pub(super) fn sources(&self) -> BTreeMap<String, i64> {
        let sources = [(Table::Events, &self.events), (Table::Identities, &self.identities)];
        sources.map(|(table, snapshot)| (table.name().to_owned(), snapshot.version)).into()
    }

    pub(super) fn is_up_to_date(&self) -> bool {
        self.stored.info.as_ref().is_some_and(|info| info.sources == self.sources() && info.settings == self.settings)
    }

    /// Up to when the runs will be complete.
    pub(super) fn watermark(&self) -> Option<DateTime<Utc>> {
        let of = |snapshot: &Snapshot| snapshot.info.as_ref().and_then(|info| info.watermark);
        // What only one of the two has seen is not in the runs.
        of(&self.events).zip(of(&self.identities)).map(|(events, identities)| events.min(identities))
    }

    /// A tenant that has no rows yet has none of another definition.
    fn is_of_this_definition(&self, tenant: Tenant) -> bool {
        let known = self.stored.info.as_ref().and_then(|info| info.settings.get(&tenant.to_string()));
        known.is_none_or(|known| known == DEFINITION)
    }

    /// What happened to the sources since the last run; none if nobody can tell.
    async fn since(&self, lake: &Lake) -> Result<Option<Since>, JobError> {
        let sources = self.stored.info.as_ref().map(|info| &info.sources);
        let version = |table: Table| sources.and_then(|sources| sources.get(table.name()).copied());
        let (Some(events), Some(identities)) = (version(Table::Events), version(Table::Identities)) else {
            return Ok(None);
        };
        let events = lake.table(Table::Events).file_changes(events, self.events.version).await;
        let identities = lake.table(Table::Identities).changes(identities, self.identities.version).await;
        let (events, identities) = (events.map_err(JobError::failed)?, identities.map_err(JobError::failed)?);
        Ok(events.zip(identities).map(|(events, identities)| Since { events, identities }))
    }

    /// What would be read for a tenant, as far as one can say without reading.
    pub(super) fn plan(&self, tenant: Tenant, todo: &Todo) -> PlanPart {
        let (events, identities) = match &todo.how {
            How::Renew => (self.events.files(tenant), &[][..]),
            How::Absorb(news) => (news.events.as_slice(), news.identities.as_slice()),
        };
        let files = || events.iter().chain(identities);
        let days: BTreeSet<NaiveDate> = events.iter().map(|file| file.date).collect();
        PlanPart {
            tenant,
            reason: todo.reason,
            days: days.into_iter().collect(),
            rows: files().map(|file| file.rows).sum(),
            bytes: files().map(|file| file.size_bytes).sum(),
        }
    }
}

/// What happened to the sources since the last run.
struct Since {
    events: FileChanges,
    identities: Changes,
}

impl Since {
    /// What is new of a tenant, or why all of it has to be computed.
    fn news(&mut self, tenant: Tenant) -> Result<News, &'static str> {
        if self.events.removed.iter().any(|(of, _)| *of == tenant) {
            return Err("events were removed");
        }
        let events = self.events.added.iter().filter(|file| file.tenant == tenant);
        let identities = match self.identities.by_tenant.remove(&tenant) {
            Some(files) => files.ok_or("identities were renewed")?,
            None => Vec::new(),
        };
        Ok(News { events: events.cloned().collect(), identities })
    }
}

async fn snapshot(lake: &Lake, table: Table) -> Result<Arc<Snapshot>, JobError> {
    lake.table(table).snapshot().await.map_err(JobError::failed)
}

/// One tenant's part of a run of the job.
pub(super) struct Part<'a> {
    pub engine: &'a QueryEngine,
    pub work: &'a Work,
    pub tenant: Tenant,
    pub context: &'a JobContext,
}

impl Part<'_> {
    /// The tenant's people.
    pub(super) async fn people(&self) -> Result<Arc<People>, JobError> {
        let scan = LakeScan::new(Table::Identities, self.work.identities.files(self.tenant).to_vec());
        let rows = self.engine.context().read_table(Arc::new(scan)).map_err(JobError::failed)?;
        let rows = rows.collect().await.map_err(JobError::failed)?;
        Ok(Arc::new(People::new(Identity::read(&rows).map_err(JobError::failed)?)))
    }

    /// Some files of events, which are counted as read.
    pub(super) fn events(&self, files: &[DataFile], report: &mut JobReport) -> LakeScan {
        report.rows_read += files.iter().map(|file| file.rows).sum::<u64>();
        report.bytes_read += files.iter().map(|file| file.size_bytes).sum::<u64>();
        LakeScan::new(Table::Events, files.to_vec())
    }
}
