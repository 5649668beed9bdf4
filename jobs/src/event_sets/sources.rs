//! What tables of sets follow from, `events` and `identities`: on which versions a run works, and what came to them since
//! the versions that the stored rows stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use touchline_lake::{Changes, DataFile, FileChanges, Lake, Snapshot};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::identities::{Identity, People};
use touchline_pipeline::scan::LakeScan;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::{JobError, JobReport, PlanPart, RunRequest};

/// The versions on which a run works.
pub struct Sources {
    pub events: Arc<Snapshot>,
    pub identities: Arc<Snapshot>,
    /// The rows as they are stored.
    pub stored: Arc<Snapshot>,
}

/// What a run has to do for one tenant, and why.
pub struct Todo {
    pub reason: &'static str,
    pub how: How,
}

pub enum How {
    /// Compute all rows from events.
    Renew,
    /// Compute only what the news have touched.
    Absorb(News),
}

/// What is new of one tenant.
#[derive(Default)]
pub struct News {
    /// Files with events that came.
    pub events: Vec<DataFile>,
    /// Change files of identities.
    pub identities: Vec<DataFile>,
}

impl Sources {
    /// The newest versions, for rows of `table`.
    pub async fn of(lake: &Lake, table: Table) -> Result<Self, JobError> {
        let snapshot = async |table| lake.table(table).snapshot().await.map_err(JobError::failed);
        Ok(Self {
            // The table itself first: whoever commits to it from now on makes our own commit fail.
            stored: snapshot(table).await?,
            events: snapshot(Table::Events).await?,
            identities: snapshot(Table::Identities).await?,
        })
    }

    /// Everybody who has events or rows.
    pub fn tenants(&self) -> BTreeSet<Tenant> {
        self.events.tenants().chain(self.stored.tenants()).collect()
    }

    /// The versions of the sources, as commits name them.
    pub fn versions(&self) -> BTreeMap<String, i64> {
        let sources = [(Table::Events, &self.events), (Table::Identities, &self.identities)];
        sources.map(|(table, snapshot)| (table.name().to_owned(), snapshot.version)).into()
    }

    /// Whether the rows stand for these versions, and for these `settings` of all tenants.
    pub fn is_up_to_date(&self, settings: &BTreeMap<String, String>) -> bool {
        let done = self.stored.info.as_ref();
        done.is_some_and(|info| info.sources == self.versions() && info.settings == *settings)
    }

    /// Whether a tenant's rows were made with `fingerprint`. Who has none yet has none that were made otherwise.
    pub fn is_made_with(&self, tenant: Tenant, fingerprint: &str) -> bool {
        let known = self.stored.info.as_ref().and_then(|info| info.settings.get(&tenant.to_string()));
        known.is_none_or(|known| known == fingerprint)
    }

    /// Up to when the rows will be complete.
    pub fn watermark(&self) -> Option<DateTime<Utc>> {
        let of = |snapshot: &Snapshot| snapshot.info.as_ref().and_then(|info| info.watermark);
        // What only one of the two has seen is not in the rows.
        of(&self.events).zip(of(&self.identities)).map(|(events, identities)| events.min(identities))
    }

    /// What came since the last run.
    pub async fn since(&self, lake: &Lake) -> Result<Since, JobError> {
        let sources = self.stored.info.as_ref().map(|info| &info.sources);
        let version = |table: Table| sources.and_then(|sources| sources.get(table.name()).copied());
        let (Some(events), Some(identities)) = (version(Table::Events), version(Table::Identities)) else {
            return Ok(Since(None));
        };
        let events = lake.table(Table::Events).file_changes(events, self.events.version).await;
        let identities = lake.table(Table::Identities).changes(identities, self.identities.version).await;
        let (events, identities) = (events.map_err(JobError::failed)?, identities.map_err(JobError::failed)?);
        Ok(Since(events.zip(identities)))
    }

    /// What would be read for a tenant, as far as one can say without reading.
    pub fn plan(&self, tenant: Tenant, todo: &Todo) -> PlanPart {
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

    /// A tenant's people.
    pub async fn people(&self, engine: &QueryEngine, tenant: Tenant) -> Result<Arc<People>, JobError> {
        let scan = LakeScan::new(Table::Identities, self.identities.files(tenant).to_vec());
        let rows = engine.context().read_table(Arc::new(scan)).map_err(JobError::failed)?;
        let rows = rows.collect().await.map_err(JobError::failed)?;
        Ok(Arc::new(People::new(Identity::read(&rows).map_err(JobError::failed)?)))
    }
}

/// A scan of some files of events, which are counted as read.
pub fn scan_events(files: &[DataFile], report: &mut JobReport) -> LakeScan {
    report.rows_read += files.iter().map(|file| file.rows).sum::<u64>();
    report.bytes_read += files.iter().map(|file| file.size_bytes).sum::<u64>();
    LakeScan::new(Table::Events, files.to_vec())
}

/// What happened to the sources since the last run; nothing in it if nobody can tell.
pub struct Since(Option<(FileChanges, Changes)>);

impl Since {
    /// What there is to do for a tenant, if anything; once for each. `made_otherwise` says why its rows are none of those
    /// that this run would make, if they are not.
    pub fn todo(&mut self, tenant: Tenant, made_otherwise: Option<&'static str>, request: RunRequest) -> Option<Todo> {
        let is_asked_for = request.renews(tenant).then_some("asked for");
        let found = match (&mut self.0, made_otherwise.or(is_asked_for)) {
            (None, _) => Err("first run"),
            (Some(_), Some(reason)) => Err(reason),
            (Some((events, identities)), None) => news(tenant, events, identities),
        };
        match found {
            Err(reason) => Some(Todo { reason, how: How::Renew }),
            Ok(news) if news.events.is_empty() && news.identities.is_empty() => None,
            Ok(news) => Some(Todo { reason: "new rows", how: How::Absorb(news) }),
        }
    }
}

/// What is new of a tenant, or why all of it has to be computed.
fn news(tenant: Tenant, events: &FileChanges, identities: &mut Changes) -> Result<News, &'static str> {
    if events.removed.iter().any(|(of, _)| *of == tenant) {
        return Err("events were removed");
    }
    let events = events.added.iter().filter(|file| file.tenant == tenant);
    let identities = match identities.by_tenant.remove(&tenant) {
        Some(files) => files.ok_or("identities were renewed")?,
        None => Vec::new(),
    };
    Ok(News { events: events.cloned().collect(), identities })
}
