//! Events that do not come through the log: imports and replays, with a server on the same data directory or without.

use std::path::PathBuf;

use futures::TryStreamExt;
use serde::Serialize;
use tokio::sync::mpsc::Receiver;
use touchline_ingest::event_ids::EventIdIndex;
use touchline_ingest::import::Importer;
use touchline_ingest::import::ndjson::ImportedLine;
use touchline_ingest::lake_writer::LakeWriter;
use touchline_ingest::receive::Limits;
use touchline_ingest::replay::{Changes, ReplayedEvent, Replayer};
use touchline_pipeline::reports::rejected::chosen::Chosen;
use touchline_schemas::Tenant;
use touchline_schemas::control::{ControlDb, Replayed};
use touchline_schemas::paths::DataDir;
use uuid::Uuid;

use super::{App, IngestLock};
use crate::begun_import;

/// What an import came to. Every line that it took is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// Events that are in the lake and were not before.
    pub stored: u64,
    /// Events that were there before.
    pub duplicates: u64,
    /// Lines and events that were refused, and kept as such.
    pub rejected: u64,
    /// The first line that was taken, from 1, over all files and without blank ones; none if there was none.
    pub first_line: Option<u64>,
    /// The last one.
    pub last_line: Option<u64>,
}

impl App {
    /// An import that commits as `node`: a new one or, if the node has committed before, one that goes on.
    pub async fn import(&self, tenant: Tenant, node: String) -> anyhow::Result<Import> {
        let BesideTheLog { writer, mask_ip, limits, guards } = self.beside_the_log(tenant, node).await?;
        let commit_bytes = self.config.log.segment_bytes as usize;
        let (clock, enricher) = (self.clock.clone(), self.enricher()?);
        let importer = Importer::open(writer, tenant, clock, limits, enricher, mask_ip, commit_bytes).await?;
        importer.erased().refresh(&self.control).await?;
        Ok(Import { importer, control: self.control.clone(), _guards: guards })
    }

    /// Sends refused events again, with changes, and returns when those that pass are in the lake; a trial sends nothing.
    /// It works beside a server as an import does.
    pub async fn replay(
        &self,
        tenant: Tenant,
        mut chosen: Chosen,
        changes: &Changes,
        is_trial: bool,
    ) -> anyhow::Result<Vec<ReplayedEvent>> {
        let BesideTheLog { writer, mask_ip, limits, guards: _guards } =
            self.beside_the_log(tenant, format!("replay-{}", Uuid::now_v7().simple())).await?;
        let max_events = limits.max_events_per_request;
        let mut replayer = Replayer::new(writer, tenant, self.clock.clone(), limits, self.enricher()?, mask_ip);
        let mut all = Vec::new();
        while let Some(events) = chosen.try_next().await? {
            for events in events.chunks(max_events) {
                replayer.erased().refresh(&self.control).await?;
                let replay = replayer.check(events, changes, is_trial);
                if is_trial {
                    all.extend(replay.tried());
                    continue;
                }
                if replay.passed() > 0 {
                    let noted =
                        Replayed { events: replay.passed(), set: changes.set_paths(), unset: changes.unset_paths() };
                    self.control.note_replay(tenant, &noted, self.clock.now()).await?;
                }
                all.extend(replayer.store(replay).await?);
            }
        }
        Ok(all)
    }

    /// A writer of events that do not come through the log: as `node`, which commits nothing else.
    ///
    /// Without a server on the same data directory it uses the server's index of event ids; beside one it reads the ids
    /// from the lake into an index of its own, and the server learns of its commits from the log of the table.
    async fn beside_the_log(&self, tenant: Tenant, node: String) -> anyhow::Result<BesideTheLog> {
        let lock = IngestLock::take(&self.data_dir)?;
        let lake = self.open_lake().await?;
        let own_index = OwnIndex::new(&self.data_dir, &node)?;
        let folder = if lock.is_some() { self.data_dir.event_ids() } else { own_index.0.clone() };
        let index = EventIdIndex::open(&folder, self.config.ingest.id_filter_bytes)?;
        let writer = LakeWriter::new(lake, self.control.clone(), self.clock.clone(), node, index);
        let account = self.control.account(tenant.account_id).await?;
        let mask_ip = account.and_then(|account| account.settings.mask_ip).unwrap_or(self.config.ingest.mask_ip);
        Ok(BesideTheLog { writer, mask_ip, limits: Limits::from(&self.config.ingest), guards: (lock, own_index) })
    }
}

/// An import that has begun.
pub struct Import {
    importer: Importer,
    control: ControlDb,
    _guards: Guards,
}

impl Import {
    /// How many lines of its files are in the lake already.
    pub fn taken(&self) -> u64 {
        self.importer.lines()
    }

    /// Takes the lines as they come, and returns when all of them are in the lake.
    pub async fn run(mut self, mut batches: Receiver<Vec<ImportedLine>>) -> anyhow::Result<ImportSummary> {
        let taken = self.taken();
        let refreshing = tokio::spawn(self.importer.erased().clone().keep_fresh(self.control));
        while let Some(lines) = batches.recv().await {
            self.importer.push(lines).await?;
        }
        refreshing.abort();
        let last_line = Some(self.importer.lines()).filter(|last| *last > taken);
        let tally = self.importer.finish().await?;
        Ok(ImportSummary {
            stored: tally.stored,
            duplicates: tally.duplicates,
            rejected: tally.rejected,
            first_line: last_line.map(|_| taken + 1),
            last_line,
        })
    }
}

/// What must be there as long as somebody writes beside the log: the right to its index, or another index.
type Guards = (Option<IngestLock>, OwnIndex);

/// The folder of an index of event ids that is used once. One that a crash has left goes when its import goes on.
#[derive(Debug)]
struct OwnIndex(PathBuf);

impl OwnIndex {
    fn new(data_dir: &DataDir, node: &str) -> anyhow::Result<Self> {
        let folder = begun_import::index_folder(&data_dir.imports(), node);
        begun_import::remove_index(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for OwnIndex {
    fn drop(&mut self) {
        if let Err(error) = begun_import::remove_index(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "an index that is no longer needed cannot be removed");
        }
    }
}

/// What writes events that do not come through the log.
struct BesideTheLog {
    writer: LakeWriter,
    mask_ip: bool,
    limits: Limits,
    guards: Guards,
}
