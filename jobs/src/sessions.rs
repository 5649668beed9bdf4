//! Job `sessions`: keeps the table `sessions` equal to what a full computation over `events` would give.
//!
//! New events are merged into the stored sessions of their devices (`absorb`). Where that is not possible, or somebody
//! asks for it, sessions are cut from events alone (`renew`). Either way the result is one commit, under the version of
//! `events` that it stands for.

mod absorb;
mod chunks;
mod renew;
mod revisions;
mod shelf;

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use async_trait::async_trait;
use chrono::Duration;
use touchline_lake::{Change, CommitInfo, DataFile, Snapshot};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::channels::RuleSet;
use touchline_pipeline::sessions::{SessionParams, SessionRules};
use touchline_schemas::Tenant;
use touchline_schemas::control::{AccountSettings, ControlDb};
use touchline_schemas::tables::{Table, sessions as column};
use uuid::Uuid;

use self::absorb::absorb;
use self::renew::renew;
use crate::derived::{Replacement, application};
use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "sessions";

/// The job.
#[derive(Debug, Clone)]
pub struct SessionsJob {
    engine: QueryEngine,
    control: ControlDb,
    default_timeout: Duration,
}

impl SessionsJob {
    /// A job over the engine's lake; accounts that set no timeout have `default_timeout`.
    pub fn new(engine: QueryEngine, control: ControlDb, default_timeout: Duration) -> Self {
        Self { engine, control, default_timeout }
    }
}

#[async_trait]
impl Job for SessionsJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let work = self.work(request).await?;
        Ok(JobPlan {
            source_version: Some(work.events.version),
            parts: work.tenants.iter().map(|(tenant, todo)| todo.plan(*tenant)).collect(),
        })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let Work { events, stored, tenants, settings } = self.work(request).await?;
        let table = self.engine.lake().table(Table::Sessions);
        let mut report = JobReport {
            source_version: Some(events.version),
            watermark: events.info.as_ref().and_then(|info| info.watermark),
            ..JobReport::default()
        };
        if tenants.is_empty() && done(&stored) == Some(events.version) {
            // A run that was cut off right after its commit has left this for the next.
            revisions::catch_up(self, &context.clock).await?;
            report.unchanged = true;
            return Ok(report);
        }

        context.progress.expect(tenants.values().flat_map(|todo| &todo.events).map(|file| file.rows).sum());
        let mut replacement = Replacement::default();
        let mut changes = Vec::new();
        for (tenant, todo) in tenants {
            let files = stored.files(tenant);
            match todo.how {
                How::Renew(request) => {
                    let named = files.iter().filter(|file| request.names_day(file.date));
                    replacement.remove.extend(named.cloned());
                    let added = renew(
                        &self.engine,
                        table,
                        tenant,
                        events.files(tenant),
                        &todo.params,
                        request,
                        context,
                        &mut report,
                    );
                    replacement.add.extend(added.await?);
                    changes.push(Change { tenant, files: None });
                }
                How::Absorb => {
                    let absorbed =
                        absorb(&self.engine, table, tenant, todo.events, files, &todo.params, context, &mut report);
                    let absorbed = absorbed.await?;
                    replacement.add.extend(absorbed.added);
                    replacement.remove.extend(absorbed.removed);
                    let mut written = Vec::new();
                    if !absorbed.changes.is_empty() {
                        let stem = Uuid::now_v7().simple().to_string();
                        let file = table.write_changes(&stem, &absorbed.changes).await;
                        written.push(file.map_err(JobError::failed)?);
                    }
                    changes.push(Change { tenant, files: Some(written) });
                }
            }
        }
        report.rows_written = replacement.add.iter().map(|file| file.rows).sum();
        report.bytes_written = replacement.add.iter().map(|file| file.size_bytes).sum();
        let info = CommitInfo {
            source_version: Some(events.version),
            watermark: report.watermark,
            settings,
            changes,
            ..CommitInfo::default()
        };
        replacement
            .commit_with(table, NAME, stored.version, info, context.clock.now())
            .await
            .map_err(JobError::failed)?;
        revisions::catch_up(self, &context.clock).await?;
        Ok(report)
    }
}

/// What a run has to do.
struct Work {
    events: std::sync::Arc<Snapshot>,
    stored: std::sync::Arc<Snapshot>,
    tenants: BTreeMap<Tenant, Todo>,
    /// Per tenant the fingerprint of the settings that its sessions will have been cut with.
    settings: BTreeMap<String, String>,
}

/// What a run has to do for one tenant.
struct Todo {
    how: How,
    reason: &'static str,
    params: SessionParams,
    /// The files that will be read.
    events: Vec<DataFile>,
}

enum How {
    /// Merge the new events into stored sessions.
    Absorb,
    /// Cut the sessions of the days that the request names from events.
    Renew(RunRequest),
}

impl Todo {
    fn plan(&self, tenant: Tenant) -> PlanPart {
        let mut days: Vec<_> = self.events.iter().map(|file| file.date).collect();
        days.sort_unstable();
        days.dedup();
        PlanPart {
            tenant,
            reason: self.reason,
            days,
            rows: self.events.iter().map(|file| file.rows).sum(),
            bytes: self.events.iter().map(|file| file.size_bytes).sum(),
        }
    }
}

fn done(stored: &Snapshot) -> Option<i64> {
    stored.info.as_ref().and_then(|info| info.source_version)
}

impl SessionsJob {
    async fn work(&self, request: RunRequest) -> Result<Work, JobError> {
        let lake = self.engine.lake();
        let events = lake.table(Table::Events).snapshot().await.map_err(JobError::failed)?;
        let stored = lake.table(Table::Sessions).snapshot().await.map_err(JobError::failed)?;
        let last = lake.table(Table::Sessions).last_txn(&application(NAME)).await.map_err(JobError::failed)?;
        let news = match done(&stored).or(last) {
            Some(done) => {
                lake.table(Table::Events).file_changes(done, events.version).await.map_err(JobError::failed)?
            }
            None => None,
        };
        let mut new_files: BTreeMap<Tenant, Vec<DataFile>> = BTreeMap::new();
        let mut rows_went = Vec::new();
        let everything = news.is_none();
        if let Some(news) = news {
            rows_went.extend(news.removed.into_iter().map(|(tenant, _)| tenant));
            for file in news.added {
                new_files.entry(file.tenant).or_default().push(file);
            }
        }
        let fingerprints = stored.info.as_ref().map(|info| info.settings.clone()).unwrap_or_default();
        let mut work = Work { tenants: BTreeMap::new(), settings: BTreeMap::new(), events, stored };
        let all: Vec<Tenant> = work.events.tenants().chain(work.stored.tenants()).collect();
        for tenant in all {
            if work.settings.contains_key(&tenant.to_string()) {
                continue;
            }
            let params = self.params(tenant).await?;
            let fingerprint = params.fingerprint();
            let new_events = new_files.remove(&tenant).unwrap_or_default();
            let known = fingerprints.get(&tenant.to_string());
            let whole = RunRequest::FULL;
            let (reason, how) = if everything {
                ("first run", How::Renew(whole))
            } else if rows_went.contains(&tenant) {
                ("events were removed", How::Renew(whole))
            } else if known.is_some_and(|known| *known != fingerprint) {
                ("settings changed", How::Renew(whole))
            } else if request.renews(tenant) && (request.all_days() || !new_events.is_empty() || !params.is_mergeable())
            {
                // With events that are new besides, all days are the simple answer; and where order decides, what
                // happened before the days that are named has a say in how they are cut.
                ("asked for", How::Renew(whole))
            } else if request.renews(tenant) {
                ("asked for", How::Renew(request))
            } else if new_events.is_empty() {
                work.settings.insert(tenant.to_string(), fingerprint);
                continue;
            } else if !params.is_mergeable() {
                ("new events", How::Renew(whole))
            } else {
                ("new events", How::Absorb)
            };
            let events = match &how {
                How::Absorb => new_events,
                How::Renew(request) => {
                    let files = work.events.files(tenant).iter();
                    files.filter(|file| request.names_day(file.date)).cloned().collect()
                }
            };
            work.settings.insert(tenant.to_string(), fingerprint);
            work.tenants.insert(tenant, Todo { how, reason, params, events });
        }
        Ok(work)
    }

    async fn params(&self, tenant: Tenant) -> Result<SessionParams, JobError> {
        let account = self.control.account(tenant.account_id).await.map_err(JobError::failed)?;
        let settings: AccountSettings = account.map(|account| account.settings).unwrap_or_default();
        let rules = SessionRules::of(&settings, self.default_timeout).map_err(JobError::failed)?;
        let mut params = SessionParams {
            rules,
            channel_rules: match settings.channel_rules.as_deref() {
                Some(name) => RuleSet::by_name(name).map_err(JobError::failed)?,
                None => RuleSet::default(),
            },
            own_domains: settings.own_domains,
            ..SessionParams::default()
        };
        if let Some(types) = settings.conversion_event_types {
            params.conversion_event_types = types;
        }
        Ok(params)
    }
}

/// When sessions begin.
fn starts_us(sessions: &RecordBatch) -> impl Iterator<Item = i64> + '_ {
    let times = sessions.column_by_name(column::STARTED_AT);
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    times.into_iter().flat_map(|times| times.values().iter().copied())
}
