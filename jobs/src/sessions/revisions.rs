//! Session ids that are no longer used: written down from the rows that a commit to `sessions` says went and came.

use std::sync::Arc;

use touchline_lake::{CommitInfo, DataFile, LakeError};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::sessions::revisions::revisions;
use touchline_pipeline::sessions::rules::Identity;
use touchline_schemas::Tenant;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::tables::Table;

use super::{NAME, SessionsJob};
use crate::JobError;
use crate::derived::{DerivedError, Replacement, write_days};

/// Writes down what the versions of `sessions` since the last time did to ids, version by version.
///
/// A version that renewed a tenant as a whole says nothing of single ids, and none are written for it.
pub(super) async fn catch_up(job: &SessionsJob, clock: &SharedClock) -> Result<(), JobError> {
    let engine = &job.engine;
    let sessions = engine.lake().table(Table::Sessions);
    let table = engine.lake().table(Table::SessionRevisions);
    let through = sessions.version().await.map_err(JobError::failed)?;
    let known = table.snapshot().await.map_err(JobError::failed)?;
    let done = known.info.as_ref().and_then(|info| info.source_version).unwrap_or(0);
    let mut replacement = Replacement::default();
    let mut read_any = false;
    for version in done + 1..=through {
        let Some(changes) = sessions.changes(version - 1, version).await.map_err(JobError::failed)? else { continue };
        for (tenant, files) in changes.by_tenant {
            let Some(files) = files.filter(|files| !files.is_empty()) else { continue };
            read_any = true;
            // Where the rules have changed since, everything was renewed, and no ids are written for that.
            let identity = job.params(tenant).await?.rules.identity;
            let written = of_version(engine, tenant, files, identity, clock).await.map_err(JobError::failed)?;
            replacement.add.extend(written);
        }
    }
    // What was read once is not read again by every run that finds nothing to do.
    if !read_any && through - done < VERSIONS_UNTIL_NOTED {
        return Ok(());
    }
    let info = CommitInfo { source_version: Some(through), ..CommitInfo::default() };
    match replacement.commit_with(table, NAME, known.version, info, clock.now()).await {
        // Somebody else has just done the same.
        Ok(_) | Err(DerivedError::Lake(LakeError::Conflict { .. })) => Ok(()),
        Err(error) => Err(JobError::failed(error)),
    }
}

/// Versions that name no change files, after which it is written down that they were looked at.
const VERSIONS_UNTIL_NOTED: i64 = 100;

async fn of_version(
    engine: &QueryEngine,
    tenant: Tenant,
    files: Vec<DataFile>,
    identity: Identity,
    clock: &SharedClock,
) -> Result<Vec<touchline_lake::NewFile>, Box<dyn std::error::Error + Send + Sync>> {
    let scan = touchline_pipeline::scan::LakeScan::changes(Table::Sessions, files);
    let rows = revisions(&engine.context(), Arc::new(scan), identity, clock.now()).await?.collect().await?;
    Ok(write_days(engine.lake().table(Table::SessionRevisions), tenant, rows, clock.now()).await?)
}
