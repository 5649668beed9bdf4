//! Ingest as it runs in a server: the log, and the lake writer behind it on a thread of its own.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use touchline_enrich::country::Countries;
use touchline_lake::{Lake, LakeError};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::{ControlDb, ControlError};
use touchline_schemas::paths::DataDir;
use touchline_schemas::tables::Table;
use uuid::Uuid;

use crate::event_ids::{EventIdIndex, IndexError};
use crate::lake_writer::LakeWriter;
use crate::{Ingest, IngestOptions};

/// Why ingest does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log's folder cannot be used.
    #[error("write-ahead log: {0}")]
    Log(#[from] io::Error),
    /// The lake cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The index of event ids cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Who was erased cannot be read.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Running ingest. The caller owns the data directory: one process at a time.
#[derive(Debug)]
pub struct IngestProcess {
    ingest: Ingest,
    drained: oneshot::Receiver<()>,
    refreshing: [tokio::task::JoinHandle<()>; 2],
}

impl IngestProcess {
    /// Starts ingest over `data_dir`. Segments that a crash left go to the lake first; requests are taken at once.
    pub async fn start(
        data_dir: &DataDir,
        lake: &Lake,
        control: ControlDb,
        clock: SharedClock,
        options: IngestOptions,
    ) -> Result<Self, StartError> {
        let folder = data_dir.log();
        let (events, rejected) = (lake.table(Table::Events), lake.table(Table::RejectedEvents));
        let node = node_name(&folder, &events.id().await?)?;
        let index = EventIdIndex::open(&data_dir.event_ids(), options.id_filter_bytes)?;
        let application = LakeWriter::application(&node);
        let last_committed = events.last_txn(&application).await?.max(rejected.last_txn(&application).await?);
        let (sealed, segments) = mpsc::unbounded_channel();
        let enricher = Arc::clone(&options.enricher);
        let ingest = Ingest::open(&folder, options, last_committed, sealed, Arc::clone(&clock))?;
        ingest.erased().refresh(&control).await?;
        let refreshing = [
            tokio::spawn(ingest.erased().clone().keep_fresh(control.clone())),
            tokio::spawn(Countries::keep_fresh(enricher)),
        ];
        let writer = LakeWriter::new(lake.clone(), control, clock, node, index);
        let (done, drained) = oneshot::channel();
        let (log, runtime) = (Arc::clone(ingest.log()), tokio::runtime::Handle::current());
        // A thread of its own: decoding and sorting a segment must not keep requests waiting for a worker.
        std::thread::Builder::new().name("lake-writer".into()).spawn(move || {
            let _guard = AbortOnPanic("lake-writer");
            yield_to_requests();
            runtime.block_on(writer.run(segments, log));
            // Nobody waits any more if the grace time is over.
            let _ = done.send(());
        })?;
        Ok(Self { ingest, drained, refreshing })
    }

    /// The handle that receives requests.
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Closes the log and waits until the lake has all of it.
    pub async fn stop(self) {
        self.refreshing.iter().for_each(tokio::task::JoinHandle::abort);
        let ingest = self.ingest;
        if tokio::task::spawn_blocking(move || ingest.close()).await.is_err() {
            tracing::error!("the log was not closed");
        }
        if self.drained.await.is_err() {
            tracing::error!("the lake writer has died; the log keeps what it had not written");
        }
    }
}

/// Lets this thread, and what it starts, wait for a processor while requests want it: an acknowledgement is due now,
/// the lake within seconds, and the log holds what it has not taken.
#[expect(unsafe_code, reason = "`nice` has no safe wrapper among our dependencies; it takes and returns a number")]
fn yield_to_requests() {
    const NICENESS: i32 = 5;
    // On Linux this is the thread's own; a refusal changes nothing but the order of work.
    unsafe { libc::nice(NICENESS) };
}

/// Ends the process when a thread dies that everything else waits for: a restart recovers, a half-dead server would
/// acknowledge until its log is full.
pub(crate) struct AbortOnPanic(pub(crate) &'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(thread = self.0, "a thread that ingest needs has died; the process ends");
            std::process::abort();
        }
    }
}

/// The name under which this installation commits to one lake, made once and kept beside the log. A lake that was made
/// anew is committed to under a new name, because numbers begin anew with it.
fn node_name(folder: &Path, lake_id: &str) -> io::Result<String> {
    let path = folder.join("node");
    let known = match std::fs::read_to_string(&path) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    match known.trim().split_once(' ') {
        Some((name, of_lake)) if of_lake == lake_id => Ok(name.to_owned()),
        Some(_) | None => {
            let name = format!("node-{}", Uuid::now_v7().simple());
            touchline_lake::create_folders(folder)?;
            let unfinished = folder.join("node.new");
            let mut file = File::create(&unfinished)?;
            write!(file, "{name} {lake_id}")?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            File::open(folder)?.sync_all()?;
            Ok(name)
        }
    }
}
