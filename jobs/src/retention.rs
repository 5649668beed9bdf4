//! Job `retention`: removes the days of `events` and `rejected_events` that are older than the account keeps them.
//!
//! What is derived from events follows by itself: the jobs see that rows of a tenant went and compute its rows anew, as
//! though the older events had never been. A session that spans the first day that is kept goes on from that midnight.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate, Utc};
use touchline_lake::{Commit, CommitInfo, DataFile, Lake, LakeError, LakeTable, Snapshot};
use touchline_schemas::AccountId;
use touchline_schemas::control::ControlDb;
use touchline_schemas::tables::Table;

use crate::{Job, JobContext, JobError, JobPlan, JobReport, PlanPart, RunRequest};

const NAME: &str = "retention";
/// Tables that are cut; the derived ones follow.
const TABLES: [Table; 2] = [Table::Events, Table::RejectedEvents];
/// How often a commit is tried again when ingest was faster.
const MAX_CONFLICTS: usize = 50;

/// The job.
#[derive(Debug, Clone)]
pub struct RetentionJob {
    lake: Lake,
    control: ControlDb,
}

impl RetentionJob {
    /// A job over `lake`; `control` knows how long accounts keep their events.
    pub fn new(lake: Lake, control: ControlDb) -> Self {
        Self { lake, control }
    }

    /// The first day that each account keeps, of those that do not keep everything.
    async fn first_days(&self, now: DateTime<Utc>) -> Result<BTreeMap<AccountId, NaiveDate>, JobError> {
        let accounts = self.control.accounts().await.map_err(JobError::failed)?;
        let first_days = accounts.into_iter().filter_map(|account| {
            let days = account.settings.retention_days?;
            Some((account.id, first_day(now.date_naive(), days)))
        });
        Ok(first_days.collect())
    }
}

/// Whole days of UTC are kept: `days` of them before today, and today.
fn first_day(today: NaiveDate, days: u32) -> NaiveDate {
    today.checked_sub_days(Days::new(u64::from(days.max(1)))).unwrap_or(NaiveDate::MIN)
}

#[async_trait]
impl Job for RetentionJob {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn plan(&self, _: RunRequest, context: &JobContext) -> Result<JobPlan, JobError> {
        let first_days = self.first_days(context.clock.now()).await?;
        let mut plan = JobPlan::default();
        for table in TABLES {
            let snapshot = self.lake.table(table).snapshot().await.map_err(JobError::failed)?;
            plan.source_version = plan.source_version.or(Some(snapshot.version));
            let expired = expired(&snapshot, &first_days);
            for files in expired.chunk_by(|a, b| a.tenant == b.tenant) {
                let Some(tenant) = files.first().map(|file| file.tenant) else { continue };
                let mut days: Vec<_> = files.iter().map(|file| file.date).collect();
                days.dedup();
                plan.parts.push(PlanPart {
                    tenant,
                    reason: "older than the account keeps events",
                    days,
                    rows: files.iter().map(|file| file.rows).sum(),
                    bytes: files.iter().map(|file| file.size_bytes).sum(),
                });
            }
        }
        Ok(plan)
    }

    async fn run(&self, _: RunRequest, context: &JobContext) -> Result<JobReport, JobError> {
        let first_days = self.first_days(context.clock.now()).await?;
        let mut report = JobReport { unchanged: true, ..JobReport::default() };
        for table in TABLES {
            context.check_cancelled()?;
            let table = self.lake.table(table);
            let (version, removed) = remove(table, &first_days, context).await.map_err(JobError::failed)?;
            report.source_version = report.source_version.or(Some(version));
            report.unchanged &= removed == 0;
            if removed > 0 {
                tracing::info!(
                    table = table.table().name(),
                    rows = removed,
                    "rows were older than their accounts keep them"
                );
            }
        }
        Ok(report)
    }
}

/// The files of days before the first that is kept, tenant by tenant.
fn expired(snapshot: &Snapshot, first_days: &BTreeMap<AccountId, NaiveDate>) -> Vec<DataFile> {
    let mut tenants: Vec<_> = snapshot.tenants().collect();
    tenants.sort_unstable();
    let of_tenants = tenants.into_iter().filter_map(|tenant| {
        let first_day = first_days.get(&tenant.account_id)?;
        Some(snapshot.files(tenant).iter().filter(move |file| file.date < *first_day))
    });
    of_tenants.flatten().cloned().collect()
}

/// Takes them out in one commit that says that rows went. Returns the version and the number of rows.
async fn remove(
    table: &LakeTable,
    first_days: &BTreeMap<AccountId, NaiveDate>,
    context: &JobContext,
) -> Result<(i64, u64), LakeError> {
    let mut conflicts = 0;
    loop {
        let snapshot = table.snapshot().await?;
        let remove = expired(&snapshot, first_days);
        if remove.is_empty() {
            return Ok((snapshot.version, 0));
        }
        let rows = remove.iter().map(|file| file.rows).sum();
        let watermark = snapshot.info.as_ref().and_then(|info| info.watermark);
        let commit = Commit {
            remove,
            info: CommitInfo { watermark, ..CommitInfo::default() },
            based_on: snapshot.version,
            ..Commit::default()
        };
        match table.commit(commit, context.clock.now()).await {
            Ok(version) => return Ok((version, rows)),
            Err(LakeError::Conflict { .. }) if conflicts < MAX_CONFLICTS => conflicts += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_are_kept() {
        let check = |today: &str, days: u32, expected: &str| {
            assert_eq!(first_day(today.parse().unwrap(), days), expected.parse::<NaiveDate>().unwrap());
        };
        check("2026-03-10", 1, "2026-03-09");
        check("2026-03-10", 30, "2026-02-08");
        check("2026-03-10", 0, "2026-03-09");
    }
}
