//! Job `vacuum`: deletes files that no version of the last days names: replaced ones, leftovers of writers that died, and
//! change files that nobody can ask for any more.
//!
//! Since when a file is not named is what the job finds out itself and keeps beside the table: the first run that does
//! not find a file in the newest version notes the time, and the first run that comes long enough after it deletes it.
//! So neither a clock of the file system nor what the log still remembers decides, and a file that a slow writer has
//! named meanwhile is safe.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use touchline_lake::{LOG_KEPT, Lake, LakeError, LakeTable, Strays};
use touchline_schemas::control::{ControlDb, RunStatus};
use touchline_schemas::tables::Table;

use crate::{Job, JobContext, JobError, JobPlan, JobReport, RunRequest};

const NAME: &str = "vacuum";
/// Runs of the ledger among which the running ones are looked for.
const RUNS_LOOKED_AT: u64 = 1_000;

/// The job.
#[derive(Debug, Clone)]
pub struct VacuumJob {
    lake: Lake,
    control: ControlDb,
    kept: Duration,
}

impl VacuumJob {
    /// A job over `lake` that deletes what has not been named for `kept_hours`.
    pub fn new(lake: Lake, control: ControlDb, kept_hours: u64) -> Self {
        let kept = i64::try_from(kept_hours).ok().and_then(Duration::try_hours).unwrap_or(Duration::MAX);
        Self { lake, control, kept }
    }

    /// Nothing that was still named at this time is deleted: neither what is kept by the setting, nor what a run that is
    /// going on may be reading.
    async fn horizon(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, JobError> {
        let runs = self.control.runs(None, RUNS_LOOKED_AT).await.map_err(JobError::failed)?;
        let running = runs.iter().filter(|run| run.status == RunStatus::Running && run.job != NAME);
        let earliest = running.map(|run| run.started_at).min();
        let by_setting = now.checked_sub_signed(self.kept).unwrap_or(DateTime::<Utc>::MIN_UTC);
        Ok(earliest.map_or(by_setting, |earliest| earliest.min(by_setting)))
    }
}

#[async_trait]
impl Job for VacuumJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, _: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        // It reads folders, no rows.
        Ok(JobPlan::default())
    }

    async fn run(&self, _: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let now = context.clock.now();
        let horizon = self.horizon(now).await?;
        let mut report = JobReport { unchanged: true, ..JobReport::default() };
        for table in Table::ALL {
            context.check_cancelled()?;
            let table = self.lake.table(table);
            let swept = sweep(table, horizon, now).await.map_err(JobError::failed)?;
            report.unchanged &= swept.files == 0;
            if swept.files > 0 {
                let (name, files, bytes) = (table.table().name(), swept.files, swept.bytes);
                tracing::info!(table = name, files, bytes, "files that no version names were deleted");
            }
            metrics::counter!("touchline_vacuum_deleted_files_total").increment(swept.files);
            metrics::counter!("touchline_vacuum_deleted_bytes_total").increment(swept.bytes);
        }
        Ok(report)
    }
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Swept {
    files: u64,
    bytes: u64,
}

async fn sweep(table: &LakeTable, horizon: DateTime<Utc>, now: DateTime<Utc>) -> Result<Swept, LakeError> {
    table.expire_log(now - LOG_KEPT, now).await?;
    // In this order: a file that is committed between the two looks is named by the second.
    let stored = table.stored_files().await?;
    let named = table.named_files().await?;
    let before = table.strays().await?;
    let mut swept = Swept::default();
    let (mut since, mut gone) = (BTreeMap::new(), Vec::new());
    for file in stored.into_iter().filter(|file| !named.contains(&file.path)) {
        let first_seen = before.since.get(&file.path).copied().unwrap_or(now).min(now);
        if first_seen <= horizon {
            swept.files += 1;
            swept.bytes += file.size_bytes;
            gone.push(file.path);
        } else {
            since.insert(file.path, first_seen);
        }
    }
    table.delete_files(&gone).await?;
    let strays = Strays { since };
    if strays != before {
        table.keep_strays(&strays).await?;
    }
    Ok(swept)
}
