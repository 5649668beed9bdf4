//! Job `compaction`: makes few, large, sorted files of the many small ones that ingest writes, and the job `sessions` of
//! ids that went out of use.
//!
//! Rows only come to lie in other files, so its commits say that no data changed: incremental readers leave them out.
//! Which files are merged is decided in `compaction/plan.rs`, how in `touchline-lake`.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{Days, NaiveDate};
use touchline_lake::{Commit, CommitInfo, DataFile, LOG_KEPT, Lake, LakeError, LakeTable, Merged, NewFile, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;
use uuid::Uuid;

use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

mod plan;

use plan::{Eagerness, Limits, merges};

const NAME: &str = "compaction";
/// Tables whose files are merged: those that only grow. Elsewhere a job replaces its files whole.
const TABLES: [Table; 3] = [Table::Events, Table::RejectedEvents, Table::SessionRevisions];
/// How often a commit is tried again when ingest was faster. It commits every second or so, and a try takes
/// milliseconds: more than a few in a row mean that something else is wrong.
const MAX_CONFLICTS: usize = 50;
/// Days whose files may still grow: those of today and, around midnight, of yesterday.
const OPEN_DAYS: u64 = 1;

/// The job.
#[derive(Debug, Clone)]
pub struct CompactionJob {
    lake: Lake,
    limits: Limits,
}

impl CompactionJob {
    /// A job over `lake` that makes files of about `target_file_bytes`.
    pub fn new(lake: Lake, target_file_bytes: u64) -> Self {
        Self { lake, limits: Limits::of(target_file_bytes) }
    }
}

#[async_trait]
impl Job for CompactionJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, request: RunRequest, context: &JobContext) -> Result<JobPlan, JobError> {
        let mut plan = JobPlan::default();
        for table in TABLES {
            let snapshot = self.lake.table(table).snapshot().await.map_err(JobError::failed)?;
            plan.source_version = plan.source_version.or(Some(snapshot.version));
            for merge in self.round(&snapshot, request, context) {
                plan.parts.push(PlanPart {
                    tenant: merge.tenant,
                    reason: "small files",
                    days: vec![merge.day],
                    rows: merge.files.iter().map(|file| file.rows).sum(),
                    bytes: merge.files.iter().map(|file| file.size_bytes).sum(),
                });
            }
        }
        Ok(plan)
    }

    async fn run(&self, request: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let mut report = JobReport { unchanged: true, ..JobReport::default() };
        for table in TABLES {
            let table = self.lake.table(table);
            let version = self.compact(table, request, context, &mut report).await?;
            report.source_version = report.source_version.or(Some(version));
            // Ingest makes entries of the log faster than anybody, and this job runs often.
            let now = context.clock.now();
            table.expire_log(now - LOG_KEPT, now).await.map_err(JobError::failed)?;
        }
        Ok(report)
    }
}

/// Files of one tenant and day that become one.
struct Merge {
    tenant: Tenant,
    day: NaiveDate,
    files: Vec<DataFile>,
}

impl CompactionJob {
    /// Merges until nothing is worth it: what one round has made may be merged further in the next.
    async fn compact(
        &self,
        table: &LakeTable,
        request: RunRequest,
        context: &JobContext,
        report: &mut JobReport,
    ) -> Result<i64, JobError> {
        loop {
            let snapshot = table.snapshot().await.map_err(JobError::failed)?;
            let round = self.round(&snapshot, request, context);
            if round.is_empty() {
                return Ok(snapshot.version);
            }
            let mut merged_any = false;
            for merge in round {
                context.check_cancelled()?;
                merged_any |= merge_once(table, &merge.files, context, report).await?;
            }
            // Somebody else takes files away as fast as we merge them: the next run will see.
            if !merged_any {
                return Ok(snapshot.version);
            }
        }
    }

    fn round(&self, snapshot: &Arc<Snapshot>, request: RunRequest, context: &JobContext) -> Vec<Merge> {
        let today = context.clock.now().date_naive();
        let open_from = today.checked_sub_days(Days::new(OPEN_DAYS)).unwrap_or(today);
        let mut round = Vec::new();
        let mut tenants: Vec<Tenant> = snapshot.tenants().collect();
        tenants.sort_unstable();
        for tenant in tenants {
            for files in snapshot.files(tenant).chunk_by(|a, b| a.date == b.date) {
                let Some(day) = files.first().map(|file| file.date) else { continue };
                let eagerness = match (request.full, day < open_from) {
                    (true, _) => Eagerness::All,
                    (false, true) => Eagerness::Closed,
                    (false, false) => Eagerness::Open,
                };
                round.extend(merges(files, &self.limits, eagerness).into_iter().map(|files| Merge {
                    tenant,
                    day,
                    files,
                }));
            }
        }
        round
    }
}

/// Merges these files and commits that, unless one of them is gone by then. Says whether it was done.
async fn merge_once(
    table: &LakeTable,
    files: &[DataFile],
    context: &JobContext,
    report: &mut JobReport,
) -> Result<bool, JobError> {
    let unique = Uuid::now_v7().simple().to_string();
    let started = context.clock.now();
    context.progress.expect(files.iter().map(|file| file.rows).sum());
    let Merged { file: merged, files: taken } =
        table.merge_files(files, &unique, started).await.map_err(JobError::failed)?;
    // The rest is for the next round.
    let files = &files[..taken];
    let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    if merged.rows != rows {
        // What is taken out must be what is put in.
        let detail = format!("{} rows were read as {}", rows, merged.rows);
        let path = files.first().map(|file| file.path.clone()).unwrap_or_default();
        return Err(JobError::failed(LakeError::File { table: table.table(), path, detail }));
    }
    context.progress.advance(rows);
    let committed = commit(table, files, &merged, context).await.map_err(JobError::failed)?;
    if committed {
        report.unchanged = false;
        report.rows_read += rows;
        report.bytes_read += bytes;
        report.rows_written += merged.rows;
        report.bytes_written += merged.size_bytes;
    }
    Ok(committed)
}

/// Puts `merged` in the place of `files`. Ingest commits all the time and adds files of its own: that does not touch
/// ours, so the commit is tried again on the new version. False if one of the files is gone.
async fn commit(
    table: &LakeTable,
    files: &[DataFile],
    merged: &NewFile,
    context: &JobContext,
) -> Result<bool, LakeError> {
    let mut conflicts = 0;
    loop {
        let snapshot = table.snapshot().await?;
        let Some(tenant) = files.first().map(|file| file.tenant) else { return Ok(false) };
        let present = snapshot.files(tenant);
        if !files.iter().all(|file| present.contains(file)) {
            return Ok(false);
        }
        let commit = Commit {
            add: vec![merged.clone()],
            remove: files.to_vec(),
            info: snapshot.info.as_ref().map(CommitInfo::carried_on).unwrap_or_default(),
            based_on: snapshot.version,
            rewrite: true,
            ..Commit::default()
        };
        match table.commit(commit, context.clock.now()).await {
            Ok(_) => return Ok(true),
            Err(LakeError::Conflict { .. }) if conflicts < MAX_CONFLICTS => conflicts += 1,
            Err(error) => return Err(error),
        }
    }
}
