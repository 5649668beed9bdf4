//! What a run has to do: what changed since the versions that the tables stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use touchline_lake::{Changes, CommitInfo, DataFile, FileChanges, Lake, Snapshot};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::attribution::Params;
use touchline_schemas::Tenant;
use touchline_schemas::control::ControlDb;
use touchline_schemas::tables::Table;

use crate::{JobError, PlanPart, RunRequest};

/// Stands for the fingerprint of a tenant whose rows are not those of the versions that a commit names.
pub(super) const NOT_COMPUTED: &str = "";

/// What a run has to do, and on which versions.
pub(super) struct Work {
    pub events: Arc<Snapshot>,
    pub sessions: Arc<Snapshot>,
    pub identities: Arc<Snapshot>,
    /// What is stored.
    pub touchpoints: Arc<Snapshot>,
    pub attribution: Arc<Snapshot>,
    /// Tenants for whom there is something to do.
    pub tenants: BTreeMap<Tenant, Todo>,
    /// Per tenant the fingerprint of the settings that its rows will have been computed with.
    pub settings: BTreeMap<String, String>,
}

/// What a run has to do for one tenant.
pub(super) struct Todo {
    pub reason: &'static str,
    pub params: Params,
    pub how: How,
}

pub(super) enum How {
    /// Compute the conversions of the days that the request names from events.
    Renew(RunRequest),
    /// Compute only what the news have touched.
    Absorb(News),
}

/// What is new of one tenant.
#[derive(Default)]
pub(super) struct News {
    /// Files with events that came.
    pub events: Vec<DataFile>,
    /// Change files of sessions.
    pub sessions: Vec<DataFile>,
    /// Change files of identities.
    pub identities: Vec<DataFile>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.sessions.is_empty() && self.identities.is_empty()
    }
}

impl Work {
    pub(super) async fn find(engine: &QueryEngine, control: &ControlDb, request: RunRequest) -> Result<Self, JobError> {
        let lake = engine.lake();
        let mut work = Self {
            // What is read first is the oldest: sessions then know of every event that is taken from `events`, or will
            // say that they have changed.
            events: snapshot(lake, Table::Events).await?,
            identities: snapshot(lake, Table::Identities).await?,
            sessions: snapshot(lake, Table::Sessions).await?,
            touchpoints: snapshot(lake, Table::Touchpoints).await?,
            attribution: snapshot(lake, Table::Attribution).await?,
            tenants: BTreeMap::new(),
            settings: BTreeMap::new(),
        };
        let mut since = work.since(lake).await?;
        let known = work.done().map(|info| info.settings.clone()).unwrap_or_default();
        for tenant in work.all_tenants() {
            let account = control.account(tenant.account_id).await.map_err(JobError::failed)?;
            let params = Params::of(&account.map(|account| account.settings).unwrap_or_default());
            let fingerprint = params.fingerprint();
            let computed_with = known.get(&tenant.to_string()).map(String::as_str);
            let is_not_computed = computed_with == Some(NOT_COMPUTED);
            let same_settings = computed_with.is_none_or(|known| known == fingerprint);
            work.settings.insert(tenant.to_string(), fingerprint);
            let found = match &mut since {
                None => Err("first run"),
                Some(_) if is_not_computed => Err("failed before"),
                Some(_) if !same_settings => Err("settings changed"),
                Some(since) => since.news(tenant),
            };
            let (reason, how) = match found {
                Err(reason) => (reason, How::Renew(RunRequest::FULL)),
                // With news besides, all days are the simple answer.
                Ok(news) if request.renews(tenant) && (request.all_days() || !news.is_empty()) => {
                    ("asked for", How::Renew(RunRequest::FULL))
                }
                Ok(_) if request.renews(tenant) => ("asked for", How::Renew(request)),
                Ok(news) if news.is_empty() => continue,
                Ok(news) => ("new rows", How::Absorb(news)),
            };
            work.tenants.insert(tenant, Todo { reason, params, how });
        }
        Ok(work)
    }

    /// The versions of the sources, as commits name them.
    pub(super) fn sources(&self) -> BTreeMap<String, i64> {
        let sources =
            [(Table::Events, &self.events), (Table::Sessions, &self.sessions), (Table::Identities, &self.identities)];
        sources.map(|(table, snapshot)| (table.name().to_owned(), snapshot.version)).into()
    }

    /// Whether both tables stand for these versions of the sources.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.done().is_some_and(|info| info.sources == self.sources())
    }

    /// Up to when the tables will be complete: what only some sources have seen is not in them.
    pub(super) fn watermark(&self) -> Option<DateTime<Utc>> {
        let of = |snapshot: &Snapshot| snapshot.info.as_ref().and_then(|info| info.watermark);
        of(&self.events).min(of(&self.sessions)).min(of(&self.identities))
    }

    /// Up to when the tables are complete.
    pub(super) fn known_watermark(&self) -> Option<DateTime<Utc>> {
        self.attribution.info.as_ref().and_then(|info| info.watermark)
    }

    /// What the last run said of what it did, if it wrote both tables.
    fn done(&self) -> Option<&CommitInfo> {
        let (touchpoints, attribution) = (self.touchpoints.info.as_ref()?, self.attribution.info.as_ref()?);
        let whole = touchpoints.sources == attribution.sources && touchpoints.settings == attribution.settings;
        Some(attribution).filter(|info| whole && info.sources.len() == self.sources().len())
    }

    fn all_tenants(&self) -> BTreeSet<Tenant> {
        let tables = [&self.events, &self.sessions, &self.touchpoints, &self.attribution];
        tables.into_iter().flat_map(|snapshot| snapshot.tenants()).collect()
    }

    /// What happened to the sources since the last run; none if nobody can tell.
    async fn since(&self, lake: &Lake) -> Result<Option<Since>, JobError> {
        let Some(done) = self.done() else { return Ok(None) };
        let version = |table: Table| done.sources.get(table.name()).copied().unwrap_or_default();
        let events = lake.table(Table::Events).file_changes(version(Table::Events), self.events.version).await;
        let sessions = lake.table(Table::Sessions).changes(version(Table::Sessions), self.sessions.version).await;
        let identities =
            lake.table(Table::Identities).changes(version(Table::Identities), self.identities.version).await;
        let (events, sessions, identities) = (
            events.map_err(JobError::failed)?,
            sessions.map_err(JobError::failed)?,
            identities.map_err(JobError::failed)?,
        );
        Ok(events.zip(sessions).zip(identities).map(|((events, sessions), identities)| Since {
            events,
            sessions,
            identities,
        }))
    }

    /// What would be read for a tenant, as far as one can say without reading.
    pub(super) fn plan(&self, tenant: Tenant, todo: &Todo) -> PlanPart {
        let events: Vec<&DataFile> = self.events.files(tenant).iter().collect();
        let files: Vec<&DataFile> = match &todo.how {
            How::Renew(request) => {
                let named = events.into_iter().filter(|file| request.names_day(file.date));
                named.chain(self.sessions.files(tenant)).collect()
            }
            How::Absorb(news) => news.events.iter().chain(&news.sessions).chain(&news.identities).collect(),
        };
        let days: BTreeSet<NaiveDate> = match &todo.how {
            How::Renew(request) => {
                let dates = self.events.files(tenant).iter().map(|file| file.date);
                dates.filter(|day| request.names_day(*day)).collect()
            }
            How::Absorb(news) => news.events.iter().map(|file| file.date).collect(),
        };
        PlanPart {
            tenant,
            reason: todo.reason,
            days: days.into_iter().collect(),
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.size_bytes).sum(),
        }
    }
}

/// What happened to the sources since the last run.
struct Since {
    events: FileChanges,
    sessions: Changes,
    identities: Changes,
}

impl Since {
    /// What is new of a tenant, or why all of it has to be computed.
    fn news(&mut self, tenant: Tenant) -> Result<News, &'static str> {
        if self.events.removed.iter().any(|(of, _)| *of == tenant) {
            return Err("events were removed");
        }
        let events = self.events.added.iter().filter(|file| file.tenant == tenant);
        let rows = |changes: &mut Changes, reason| match changes.by_tenant.remove(&tenant) {
            Some(files) => files.ok_or(reason),
            None => Ok(Vec::new()),
        };
        Ok(News {
            events: events.cloned().collect(),
            sessions: rows(&mut self.sessions, "sessions were renewed")?,
            identities: rows(&mut self.identities, "identities were renewed")?,
        })
    }
}

async fn snapshot(lake: &Lake, table: Table) -> Result<Arc<Snapshot>, JobError> {
    lake.table(table).snapshot().await.map_err(JobError::failed)
}
