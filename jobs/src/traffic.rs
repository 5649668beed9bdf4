//! Job `traffic`: keeps the table `traffic_rollups` equal to what a full computation over `sessions` and `events` would
//! give.
//!
//! It finds the days of UTC on which sessions or events came or went, and computes the days of both calendars that
//! share an hour with them anew, some at a time; all of it becomes visible in one commit.

mod affected;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::NaiveDate;
use touchline_lake::{Commit, CommitInfo, DataFile, EncodedRows, LakeTable, NewFile, Snapshot, Txn};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::days::{DayNumber, Days, date_of, number_of};
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::traffic::{DayRollup, RollupParams, rollup};
use touchline_schemas::Tenant;
use touchline_schemas::control::ControlDb;
use touchline_schemas::tables::Table;
use uuid::Uuid;

use crate::derived::application;
use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};
use affected::Affected;

const NAME: &str = "traffic";

/// Rows that are counted at once, unless a single day has more.
const MAX_ROWS: u64 = 8_000_000;

/// The job.
#[derive(Debug, Clone)]
pub struct TrafficJob {
    engine: QueryEngine,
    control: ControlDb,
}

/// The versions that a run reads, and the one that it replaces.
struct Versions {
    sessions: Arc<Snapshot>,
    events: Arc<Snapshot>,
    existing: Arc<Snapshot>,
}

impl Versions {
    /// The versions of the sources by name, as a commit keeps them.
    fn sources(&self) -> BTreeMap<String, i64> {
        let named = [(Table::Sessions, self.sessions.version), (Table::Events, self.events.version)];
        named.into_iter().map(|(table, version)| (table.name().to_owned(), version)).collect()
    }

    /// The version of a source that the newest commit was computed from.
    fn done(&self, source: Table) -> Option<i64> {
        self.existing.info.as_ref().and_then(|info| info.sources.get(source.name()).copied())
    }

    /// The files of both sources that hold a day's rows.
    fn files_during(&self, tenant: Tenant, days: &BTreeSet<NaiveDate>) -> [Vec<DataFile>; 2] {
        [&self.sessions, &self.events]
            .map(|source| source.files(tenant).iter().filter(|file| days.contains(&file.date)).cloned().collect())
    }
}

impl TrafficJob {
    /// A job over the engine's lake; accounts' time zones and conversions are those of `control`.
    pub fn new(engine: QueryEngine, control: ControlDb) -> Self {
        Self { engine, control }
    }

    async fn versions(&self) -> Result<Versions, JobError> {
        let snapshot = async |table| self.engine.lake().table(table).snapshot().await.map_err(JobError::failed);
        // The table itself first: whoever commits to it from now on makes our own commit fail.
        let existing = snapshot(Table::TrafficRollups).await?;
        Ok(Versions { sessions: snapshot(Table::Sessions).await?, events: snapshot(Table::Events).await?, existing })
    }
}

#[async_trait]
impl Job for TrafficJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        let versions = self.versions().await?;
        let parts = self.affected(&versions, request).await?.into_iter().filter(|(_, part)| !part.days.is_empty());
        let parts = parts.map(|(tenant, part)| {
            let chunks = chunks(&versions, tenant, &part);
            let files = || chunks.iter().flat_map(|chunk| chunk.files.iter().flatten());
            PlanPart {
                tenant,
                reason: part.reason,
                rows: files().map(|file| file.rows).sum(),
                bytes: files().map(|file| file.size_bytes).sum(),
                days: part.days.into_iter().collect(),
            }
        });
        Ok(JobPlan { source_version: Some(versions.sessions.version), parts: parts.collect() })
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let versions = self.versions().await?;
        let mut report = JobReport {
            source_version: Some(versions.sessions.version),
            watermark: versions.sessions.info.as_ref().and_then(|info| info.watermark),
            ..JobReport::default()
        };
        let affected = self.affected(&versions, request).await?;
        let settings: BTreeMap<_, _> =
            affected.iter().map(|(tenant, part)| (tenant.to_string(), part.settings.fingerprint())).collect();
        let known = versions.existing.info.as_ref().map(|info| (&info.sources, &info.settings));
        let nothing_asked = affected.values().all(|part| part.days.is_empty());
        if nothing_asked && known == Some((&versions.sources(), &settings)) {
            report.unchanged = true;
            return Ok(report);
        }

        let table = self.engine.lake().table(Table::TrafficRollups);
        let mut commit = Commit {
            txn: Some(Txn { application: application(NAME), version: versions.sessions.version }),
            info: CommitInfo {
                source_version: Some(versions.sessions.version),
                watermark: report.watermark,
                sources: versions.sources(),
                settings,
                ..CommitInfo::default()
            },
            based_on: versions.existing.version,
            ..Commit::default()
        };
        for (tenant, part) in &affected {
            let chunks = chunks(&versions, *tenant, part);
            context.progress.expect(chunks.iter().map(Chunk::rows).sum());
            for chunk in chunks {
                context.check_cancelled()?;
                let rows = chunk.rows();
                report.rows_read += rows;
                report.bytes_read += chunk.files.iter().flatten().map(|file| file.size_bytes).sum::<u64>();
                let rollups = self.compute(chunk, part).await?;
                commit.add.extend(write(table, *tenant, rollups, context).await?);
                context.progress.advance(rows);
            }
            let replaced = versions.existing.files(*tenant).iter().filter(|file| part.days.contains(&file.date));
            commit.remove.extend(replaced.cloned());
        }
        report.rows_written = commit.add.iter().map(|file| file.rows).sum();
        report.bytes_written = commit.add.iter().map(|file| file.size_bytes).sum();
        table.commit(commit, context.clock.now()).await.map_err(JobError::failed)?;
        Ok(report)
    }
}

impl TrafficJob {
    async fn compute(&self, chunk: Chunk, part: &Affected) -> Result<Vec<DayRollup>, JobError> {
        let [sessions, events] = chunk.files;
        let params = RollupParams {
            time_zone: part.settings.time_zone,
            days: chunk.days,
            conversion_event_types: part.settings.conversion_event_types.clone(),
        };
        let (sessions, events) = (LakeScan::new(Table::Sessions, sessions), LakeScan::new(Table::Events, events));
        rollup(&self.engine, sessions, events, &params).await.map_err(JobError::failed)
    }
}

/// Days that are counted together, and the files that hold what happened on them.
struct Chunk {
    days: BTreeSet<NaiveDate>,
    /// Of sessions, and of events.
    files: [Vec<DataFile>; 2],
}

impl Chunk {
    fn rows(&self) -> u64 {
        self.files.iter().flatten().map(|file| file.rows).sum()
    }
}

/// The days of a part in their order, with what is read for each; days that nothing happened on are left out.
fn chunks(versions: &Versions, tenant: Tenant, part: &Affected) -> Vec<Chunk> {
    let mut of_account = Days::new(part.settings.time_zone);
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut read = BTreeSet::new();
    for day in &part.days {
        let number: DayNumber = number_of(*day);
        let during =
            of_account.utc_days_during(number).into_iter().chain([number]).map(date_of).collect::<BTreeSet<_>>();
        let together = &read | &during;
        let wider = chunks.last().map(|_| versions.files_during(tenant, &together));
        match (chunks.last_mut(), wider) {
            (Some(chunk), Some(files)) if files.iter().flatten().map(|file| file.rows).sum::<u64>() <= MAX_ROWS => {
                chunk.files = files;
                chunk.days.insert(*day);
                read = together;
            }
            _ => {
                chunks.push(Chunk { files: versions.files_during(tenant, &during), days: BTreeSet::from([*day]) });
                read = during;
            }
        }
    }
    chunks.retain(|chunk| chunk.rows() > 0);
    chunks
}

/// Writes each day's rows to a file of its own.
async fn write(
    table: &LakeTable,
    tenant: Tenant,
    rollups: Vec<DayRollup>,
    context: &JobContext,
) -> Result<Vec<NewFile>, JobError> {
    // Encoding takes long enough to keep a worker from requests that wait for it.
    let encoded = tokio::task::spawn_blocking(move || {
        let encoded = rollups.iter().map(|DayRollup { day, rows }| {
            Ok::<_, touchline_lake::LakeError>((*day, EncodedRows::new(Table::TrafficRollups, rows)?))
        });
        encoded.collect::<Result<Vec<_>, _>>()
    });
    let mut files = Vec::new();
    for (day, rows) in encoded.await.map_err(JobError::failed)?.map_err(JobError::failed)? {
        let stem = Uuid::now_v7().simple().to_string();
        let written = table.write_file(tenant, day, &stem, rows, context.clock.now()).await;
        files.push(written.map_err(JobError::failed)?);
    }
    Ok(files)
}
