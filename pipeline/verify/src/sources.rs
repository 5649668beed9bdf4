//! Which versions of its sources a derived table was computed from: its commits say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use touchline_lake::{CommitInfo, Lake, Snapshot};
use touchline_schemas::tables::Table;

use crate::VerifyError;

/// Versions of tables by name, as a commit gives them.
pub type Versions = BTreeMap<Table, i64>;

/// The lake as a verification reads it: each version is looked up once.
pub struct Sources<'a> {
    lake: &'a Lake,
    snapshots: BTreeMap<(Table, i64), Arc<Snapshot>>,
    origins: BTreeMap<(Table, i64), Option<Versions>>,
}

impl<'a> Sources<'a> {
    /// Reads `lake`.
    pub fn new(lake: &'a Lake) -> Self {
        Self { lake, snapshots: BTreeMap::new(), origins: BTreeMap::new() }
    }

    /// The newest version of a table.
    pub async fn newest(&mut self, table: Table) -> Result<i64, VerifyError> {
        let snapshot = self.lake.table(table).snapshot().await?;
        let version = snapshot.version;
        self.snapshots.insert((table, version), snapshot);
        Ok(version)
    }

    /// The files of a version.
    pub async fn files(&mut self, table: Table, version: i64) -> Result<Arc<Snapshot>, VerifyError> {
        if let Some(known) = self.snapshots.get(&(table, version)) {
            return Ok(Arc::clone(known));
        }
        let snapshot = Arc::new(self.lake.table(table).snapshot_at(version).await?);
        self.snapshots.insert((table, version), Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// The versions that a version of a derived table was computed from; none if no commit of a job tells.
    ///
    /// A commit that only laid the same rows into other files, or took some of them out, names no source: then the one
    /// before it tells.
    pub async fn made_from(&mut self, table: Table, version: i64) -> Result<Option<Versions>, VerifyError> {
        if let Some(known) = self.origins.get(&(table, version)) {
            return Ok(known.clone());
        }
        let mut found = None;
        for earlier in (0..=version).rev() {
            let info = self.lake.table(table).commit_info(earlier).await?.unwrap_or_default();
            let versions = named(table, &info);
            if !versions.is_empty() {
                found = Some(versions);
                break;
            }
        }
        self.origins.insert((table, version), found.clone());
        Ok(found)
    }

    /// The newest version that has the same rows: files that were laid together since may no longer be there singly.
    async fn newest_alike(&self, table: Table, version: i64) -> Result<i64, VerifyError> {
        let lake_table = self.lake.table(table);
        let newest = lake_table.snapshot().await?.version;
        let mut alike = version;
        while alike < newest {
            let changes = lake_table.file_changes(alike, alike + 1).await?;
            if !changes.is_some_and(|changes| changes.added.is_empty() && changes.removed.is_empty()) {
                break;
            }
            alike += 1;
        }
        Ok(alike)
    }

    /// The version of `events` behind a version of a table, by way of the tables in between.
    pub async fn events_behind(&mut self, table: Table, version: i64) -> Result<Option<i64>, VerifyError> {
        let (mut table, mut version) = (table, version);
        loop {
            let Some(sources) = self.made_from(table, version).await? else { return Ok(None) };
            if let Some(events) = sources.get(&Table::Events) {
                return self.newest_alike(Table::Events, *events).await.map(Some);
            }
            // Each table follows from one that stands before it in the chain, so that this ends.
            let Some((next, at)) = sources.into_iter().find(|(source, _)| *source != table) else { return Ok(None) };
            (table, version) = (next, at);
        }
    }
}

fn named(table: Table, info: &CommitInfo) -> Versions {
    let by_name = info
        .sources
        .iter()
        .filter_map(|(name, version)| Some((Table::ALL.into_iter().find(|table| table.name() == name)?, *version)));
    let mut versions: Versions = by_name.collect();
    if let (Some(source), Some(version)) = (main_source(table), info.source_version) {
        versions.entry(source).or_insert(version);
    }
    versions
}

/// The table whose version a commit calls its source's.
const fn main_source(table: Table) -> Option<Table> {
    match table {
        Table::Sessions
        | Table::IdentityEdges
        | Table::Identities
        | Table::MessageDeliveries
        | Table::MessageRollups
        | Table::SequenceRuns => Some(Table::Events),
        Table::SequenceMetrics => Some(Table::SequenceRuns),
        Table::Visitors | Table::TrafficRollups | Table::Touchpoints | Table::Attribution => Some(Table::Sessions),
        Table::Events | Table::RejectedEvents | Table::SessionRevisions => None,
    }
}
