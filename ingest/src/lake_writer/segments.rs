//! One segment at a time, in order: decode, leave out what the lake has, write, commit, read back, trim.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use tokio::sync::mpsc;
use touchline_lake::{Commit, CommitInfo, EncodedRows, Lake, LakeError, LakeTable, NewFile, Txn};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::{ControlDb, ControlError, Erasures};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{IdType, Tenant};

use super::catch_up::catch_up;
use super::counts::{Counter, LateCounts, SegmentCounts, Tally};
use super::rows::{self, EventRow};
use crate::event_ids::{EventIdIndex, IdHash, IndexError};
use crate::log::{LogWriter, Segment, SegmentFile};
use crate::record::{LoggedEvent, LoggedRequest, Rejected, decode};

/// How far back the log of `events` is searched for the commit of a segment that was not trimmed.
const MAX_VERSIONS_BACK: i64 = 1_000;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Why a segment is not in the lake yet. All of these are tried again.
#[derive(Debug, thiserror::Error)]
pub enum LakeWriterError {
    /// The lake refused or could not be reached.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The index of event ids could not be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The control database could not take the counts.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The segment could not be read or deleted.
    #[error("log segment {path}: {source}")]
    Segment {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Rows could not be built.
    #[error("rows of segment {segment}: {source}")]
    Rows {
        /// The segment.
        segment: i64,
        /// The cause.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The version that was just committed does not say what was committed.
    #[error("events version {version} does not carry segment {segment} of node {node}")]
    NotReadBack {
        /// The version.
        version: i64,
        /// The segment.
        segment: i64,
        /// The node.
        node: String,
    },
}

/// What became of some requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The version of `events` that has them.
    pub version: i64,
    /// Their counts.
    pub tally: Tally,
    /// The events of them that were new.
    pub stored: Vec<IdHash>,
}

/// Moves segments into the lake.
pub struct LakeWriter {
    lake: Lake,
    control: ControlDb,
    clock: SharedClock,
    node: String,
    index: EventIdIndex,
    moves_watermark: bool,
}

impl LakeWriter {
    /// A writer for the segments of `node`.
    pub fn new(lake: Lake, control: ControlDb, clock: SharedClock, node: String, index: EventIdIndex) -> Self {
        Self { lake, control, clock, node, index, moves_watermark: true }
    }

    /// A writer whose commits say nothing of how far the log has been written: an import's.
    pub fn beside_the_log(mut self) -> Self {
        self.moves_watermark = false;
        self
    }

    /// The transaction id under which `node` commits its segments.
    pub fn application(node: &str) -> String {
        format!("touchline-ingest-{node}")
    }

    /// Takes segments until there will be no more.
    pub async fn run(mut self, mut segments: mpsc::UnboundedReceiver<SegmentFile>, log: Arc<LogWriter>) {
        while let Some(file) = segments.recv().await {
            let mut pause = RETRY_FIRST;
            while let Err(error) = self.take(&file, &log).await {
                tracing::error!(%error, segment = file.sequence, retry_in_s = pause.as_secs_f64(), "the lake has not taken a segment");
                metrics::counter!("touchline_lake_writer_failures_total").increment(1);
                tokio::time::sleep(pause).await;
                self.look_again().await;
                pause = (pause * 2).min(RETRY_LAST);
            }
        }
    }

    /// What failed may have happened all the same: the next attempt begins from what the tables say.
    async fn look_again(&self) {
        for table in [Table::Events, Table::RejectedEvents] {
            if let Err(error) = self.lake.table(table).refresh().await {
                tracing::warn!(%error, "the table cannot be read");
            }
        }
    }

    async fn take(&mut self, file: &SegmentFile, log: &LogWriter) -> Result<(), LakeWriterError> {
        let failed = |source| LakeWriterError::Segment { path: file.path.clone(), source };
        let started = self.clock.now();
        let segment = Segment::read(file).map_err(failed)?;
        self.keep_damage(file, &segment).map_err(failed)?;
        let requests = self.requests(file, &segment).map_err(failed)?;

        let committed = self.lake.table(Table::Events).last_txn(&Self::application(&self.node)).await?;
        if committed.is_none_or(|last| last < file.sequence) {
            self.store(file.sequence, &requests).await?;
        } else if let Some(version) = self.version_of(file.sequence).await? {
            self.record(version, file.sequence).await?;
        }
        // Only what survives a power cut in the lake may go from the log, also if another process committed it.
        self.lake.table(Table::RejectedEvents).sync_log().await?;
        self.lake.table(Table::Events).sync_log().await?;
        std::fs::remove_file(&file.path).map_err(failed)?;
        log.trimmed(file.size_bytes);
        metrics::counter!("touchline_lake_segments_total").increment(1);
        let elapsed = (self.clock.now() - started).num_microseconds().unwrap_or(0);
        metrics::histogram!("touchline_lake_commit_seconds").record(elapsed as f64 / 1e6);
        Ok(())
    }

    /// The last number that this node has committed, if any. Its counts are in the ledger when this returns, also if
    /// whoever committed it died before they were entered.
    pub async fn last_number(&self) -> Result<Option<i64>, LakeWriterError> {
        let last = self.lake.table(Table::Events).last_txn(&Self::application(&self.node)).await?;
        if let Some(number) = last
            && let Some(version) = self.version_of(number).await?
        {
            self.record(version, number).await?;
        }
        Ok(last)
    }

    /// Writes, commits and records requests under a number that was not used before: a segment's, or one of an import.
    pub async fn store(&mut self, number: i64, requests: &[LoggedRequest<'_>]) -> Result<Written, LakeWriterError> {
        let written = self.write(number, requests).await?;
        self.record(written.version, number).await?;
        Ok(written)
    }

    /// Enters into the ledger what the log of `events` says was committed: proof that the version holds the segment.
    async fn record(&self, version: i64, number: i64) -> Result<(), LakeWriterError> {
        let info = self.lake.table(Table::Events).commit_info(version).await?;
        let counts = info.and_then(|info| self.counts_of(info)).filter(|counts| counts.segment == number);
        let counts =
            counts.ok_or_else(|| LakeWriterError::NotReadBack { version, segment: number, node: self.node.clone() })?;
        self.control.record_ingest(&self.node, number, &counts.ledger_rows(), &counts.late_rows()).await?;
        Ok(())
    }

    async fn write(&mut self, number: i64, requests: &[LoggedRequest<'_>]) -> Result<Written, LakeWriterError> {
        self.write_rejected(number, requests).await?;
        let events = self.lake.table(Table::Events).clone();
        let mut based_on = catch_up(&mut self.index, &events).await?;
        // Also what was logged before somebody was erased must not come to the lake afterwards.
        let mut erasures = self.control.erasures().await?;
        let mut fresh = self.leave_out_known(requests, &erasures)?;
        let mut files = self.write_events(number, &mut fresh.rows).await?;
        loop {
            let commit = self.commit(number, &fresh, files.clone(), based_on).await?;
            match events.commit(commit, self.clock.now()).await {
                Ok(version) => {
                    let tally = fresh.counter.total();
                    self.index.add(fresh.ids.clone(), version)?;
                    metrics::counter!("touchline_events_stored_total").increment(tally.stored);
                    metrics::counter!("touchline_events_duplicate_total").increment(tally.duplicates);
                    metrics::counter!("touchline_events_rejected_total").increment(tally.rejected);
                    return Ok(Written { version, tally, stored: fresh.ids });
                }
                Err(LakeError::Conflict { .. }) => events.refresh().await?,
                Err(other) => return Err(other.into()),
            };
            // The commit that was in the way may be our own, whose answer was lost.
            if let Some(version) = self.committed_as(number).await? {
                return Ok(Written { version, tally: fresh.counter.total(), stored: fresh.ids });
            }
            based_on = catch_up(&mut self.index, &events).await?;
            // Another writer may have brought events of ours, or taken out somebody who was erased: then it has to be decided
            // anew what is new.
            let erasures_now = self.control.erasures().await?;
            let is_erased_since = erasures_now != erasures;
            erasures = erasures_now;
            if is_erased_since || self.knows_any(&fresh.ids)? {
                fresh = self.leave_out_known(requests, &erasures)?;
                files = self.write_events(number, &mut fresh.rows).await?;
            }
        }
    }

    async fn commit(
        &self,
        number: i64,
        fresh: &Fresh<'_>,
        files: Vec<NewFile>,
        based_on: i64,
    ) -> Result<Commit, LakeWriterError> {
        let watermark = if self.moves_watermark {
            fresh.watermark_us.and_then(DateTime::from_timestamp_micros)
        } else {
            let before = self.lake.table(Table::Events).commit_info(based_on).await?;
            before.and_then(|info| info.watermark)
        };
        let counts = fresh.counter.counts(&self.node, number, fresh.late());
        let counts = serde_json::to_value(counts).unwrap_or_default();
        Ok(Commit {
            add: files,
            remove: Vec::new(),
            txn: Some(Txn { application: Self::application(&self.node), version: number }),
            info: CommitInfo { watermark, counts, ..CommitInfo::default() },
            based_on,
            rewrite: false,
        })
    }

    /// The version under which a number is committed already.
    async fn committed_as(&self, number: i64) -> Result<Option<i64>, LakeWriterError> {
        let last = self.lake.table(Table::Events).last_txn(&Self::application(&self.node)).await?;
        if last.is_some_and(|last| last >= number) { self.version_of(number).await } else { Ok(None) }
    }

    fn knows_any(&self, ids: &[IdHash]) -> Result<bool, LakeWriterError> {
        for id in ids {
            if self.index.contains(*id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn leave_out_known<'r>(
        &self,
        requests: &'r [LoggedRequest<'r>],
        erasures: &Erasures,
    ) -> Result<Fresh<'r>, LakeWriterError> {
        let now_us = self.clock.now().timestamp_micros();
        let total = requests.iter().map(|request| request.events.len()).sum();
        let mut fresh = Fresh {
            rows: BTreeMap::new(),
            ids: Vec::with_capacity(total),
            counter: Counter::default(),
            watermark_us: None,
        };
        let mut seen = HashSet::with_capacity(total);
        for request in requests {
            let head = &request.head;
            let tally = fresh.counter.tally(head.tenant, head.received_at_us);
            tally.received += u64::from(head.duplicates) + u64::from(head.events) + u64::from(head.rejected);
            tally.duplicates += u64::from(head.duplicates);
            tally.rejected += u64::from(head.rejected);
            tally.max_lag_ms = tally.max_lag_ms.max((now_us - head.received_at_us).max(0) as u64 / 1_000);
            fresh.watermark_us = fresh.watermark_us.max(Some(head.received_at_us));
            for event in &request.events {
                if is_erased(event, head.tenant, erasures) {
                    tally.rejected += 1;
                    continue;
                }
                if !seen.insert(event.hash) || self.index.contains(event.hash)? {
                    tally.duplicates += 1;
                    continue;
                }
                tally.stored += 1;
                fresh.ids.push(event.hash);
                let row = EventRow { received_at_us: head.received_at_us, event };
                fresh.rows.entry((head.tenant, date_of(event.occurred_at_us))).or_default().push(row);
            }
        }
        Ok(fresh)
    }

    async fn write_events(
        &self,
        number: i64,
        partitions: &mut BTreeMap<(Tenant, NaiveDate), Vec<EventRow<'_>>>,
    ) -> Result<Vec<NewFile>, LakeWriterError> {
        let events = self.lake.table(Table::Events);
        let mut files = Vec::with_capacity(partitions.len());
        for (&(tenant, date), rows) in partitions {
            // A visitor's events lie together: smaller files, and readers that want one visitor skip pages.
            rows.sort_by_cached_key(|row| (row.event.device_key(), row.event.occurred_at_us));
            let batch = rows::events(rows).map_err(|source| LakeWriterError::Rows { segment: number, source })?;
            let rows = EncodedRows::new(Table::Events, &batch)?;
            files.push(events.write_file(tenant, date, &self.stem(number), rows, self.clock.now()).await?);
        }
        Ok(files)
    }

    async fn write_rejected(&self, number: i64, requests: &[LoggedRequest<'_>]) -> Result<(), LakeWriterError> {
        let table = self.lake.table(Table::RejectedEvents);
        let application = Self::application(&self.node);
        let mut partitions: BTreeMap<(Tenant, NaiveDate), Vec<(i64, &Rejected<'_>)>> = BTreeMap::new();
        for request in requests {
            let head = &request.head;
            for rejected in &request.rejected {
                let partition = (head.tenant, date_of(head.received_at_us));
                partitions.entry(partition).or_default().push((head.received_at_us, rejected));
            }
        }
        if partitions.is_empty() || table.last_txn(&application).await?.is_some_and(|last| last >= number) {
            return Ok(());
        }
        let mut add = Vec::new();
        for (&(tenant, date), rows) in &partitions {
            let batch = rows::rejected(rows).map_err(|source| LakeWriterError::Rows { segment: number, source })?;
            let rows = EncodedRows::new(Table::RejectedEvents, &batch)?;
            add.push(table.write_file(tenant, date, &self.stem(number), rows, self.clock.now()).await?);
        }
        loop {
            let commit = Commit {
                add: add.clone(),
                txn: Some(Txn { application: application.clone(), version: number }),
                based_on: table.version().await?,
                ..Commit::default()
            };
            match table.commit(commit, self.clock.now()).await {
                Ok(_) => return Ok(()),
                Err(LakeError::Conflict { .. }) => table.refresh().await?,
                Err(other) => return Err(other.into()),
            };
            if table.last_txn(&application).await?.is_some_and(|last| last >= number) {
                return Ok(());
            }
        }
    }

    /// The name of a number's files. What a crash left of it is written over, so that folders hold no strays; whether
    /// the number is committed has been looked up before anything is written under it.
    fn stem(&self, number: i64) -> String {
        format!("{}-{number:012}", self.node)
    }

    /// The version that carries an already committed segment, if the log of `events` still tells.
    async fn version_of(&self, segment: i64) -> Result<Option<i64>, LakeWriterError> {
        let events: &LakeTable = self.lake.table(Table::Events);
        let newest = events.version().await?;
        for version in (newest.saturating_sub(MAX_VERSIONS_BACK).max(0)..=newest).rev() {
            let Some(info) = events.commit_info(version).await? else { continue };
            if self.counts_of(info).is_some_and(|counts| counts.segment == segment) {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    fn counts_of(&self, info: CommitInfo) -> Option<SegmentCounts> {
        serde_json::from_value::<SegmentCounts>(info.counts).ok().filter(|counts| counts.node == self.node)
    }

    fn requests<'s>(&self, file: &SegmentFile, segment: &'s Segment) -> std::io::Result<Vec<LoggedRequest<'s>>> {
        let mut requests = Vec::new();
        for (place, payload) in segment.payloads().enumerate() {
            match decode(payload) {
                Ok(request) => requests.push(request),
                Err(error) => {
                    tracing::error!(%error, segment = file.sequence, record = place, "a log record cannot be understood; it is kept aside");
                    keep_aside(file, &format!("record-{place}"), payload)?;
                }
            }
        }
        Ok(requests)
    }

    fn keep_damage(&self, file: &SegmentFile, segment: &Segment) -> std::io::Result<()> {
        for damage in &segment.damage {
            let (start, bytes) = (damage.bytes.start, damage.bytes.len());
            if damage.is_torn_tail {
                tracing::info!(segment = file.sequence, bytes, "the log ends in a record that was never acknowledged");
            } else {
                tracing::error!(segment = file.sequence, start, bytes, "the log is damaged; the bytes are kept aside");
                metrics::counter!("touchline_log_damaged_bytes_total").increment(bytes as u64);
            }
            keep_aside(file, &format!("bytes-{start}"), segment.damaged(damage))?;
        }
        Ok(())
    }
}

/// Events that the lake does not have, by partition, and what became of all.
struct Fresh<'r> {
    rows: BTreeMap<(Tenant, NaiveDate), Vec<EventRow<'r>>>,
    ids: Vec<IdHash>,
    counter: Counter,
    watermark_us: Option<i64>,
}

impl Fresh<'_> {
    /// How many of them came when the day on which they happened was over.
    fn late(&self) -> Vec<LateCounts> {
        let late = self.rows.iter().map(|(&(tenant, day), rows)| {
            let is_late = |row: &&EventRow<'_>| date_of(row.received_at_us) > day;
            LateCounts { tenant, day, events: rows.iter().filter(is_late).count() as u64 }
        });
        late.filter(|counts| counts.events > 0).collect()
    }
}

fn is_erased(event: &LoggedEvent<'_>, tenant: Tenant, erasures: &Erasures) -> bool {
    const IDS: [(usize, IdType); 2] =
        [(TextField::VisitorId.index(), IdType::Visitor), (TextField::UserId.index(), IdType::User)];
    let is_found = |field: usize, id: &str| {
        let id_type = IDS.into_iter().find(|(of_type, _)| *of_type == field).map(|(_, id_type)| id_type);
        id_type.is_some_and(|id_type| erasures.find(tenant.account_id, id_type, id).is_some())
    };
    erasures.any_of(tenant.account_id) && event.texts().any(|(field, id)| is_found(field, id))
}

fn date_of(micros: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(micros).map_or(NaiveDate::MIN, |time| time.date_naive())
}

fn keep_aside(file: &SegmentFile, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.path.parent().map(|log| log.join("damaged")).unwrap_or_default();
    touchline_lake::create_folders(&folder)?;
    let mut kept = File::create(folder.join(format!("{:020}-{name}.bin", file.sequence)))?;
    kept.write_all(bytes)?;
    kept.sync_all()?;
    File::open(folder)?.sync_all()
}
