//! Group commit: one thread writes and syncs whatever requests have gathered meanwhile, then answers them all.
//!
//! A failed write or sync fails everything that waited, also what was appended while it ran: those requests may have
//! been told apart as duplicates of events that are now lost. The segment is closed at its last synced byte and never
//! written again, because after a failed sync nobody knows what the disk holds.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{mpsc, oneshot};

use crate::process::AbortOnPanic;

use super::segment::{
    FILE_HEADER_BYTES, SEAL_MAGIC, SegmentFile, file_header, list_segments, put_record, record_header, segment_path,
};

/// Sizes and ages of the log.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// A segment is closed when it is at least this large.
    pub segment_bytes: u64,
    /// A segment is closed when its oldest record is this old.
    pub segment_age: Duration,
    /// The log takes no more than this.
    pub quota_bytes: u64,
}

const LENGTH_BYTES: usize = 4;
/// What may wait in memory for a disk that does not answer.
const MAX_PENDING_BYTES: usize = 64 << 20;
/// How often a log that failed is tried again while nobody writes.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Why a request is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The lake has not taken what is in the log, and the log may not grow.
    #[error("the write-ahead log holds {used_bytes} bytes, its quota `log.quota_bytes` is {quota_bytes}")]
    Full {
        /// Bytes in the log.
        used_bytes: u64,
        /// The quota.
        quota_bytes: u64,
    },
    /// A write or sync failed.
    #[error("the write-ahead log cannot be written: {detail}")]
    Failed {
        /// The system's words.
        detail: String,
    },
    /// The process is stopping.
    #[error("the write-ahead log is closed")]
    Closed,
}

/// A request that is in the queue for the disk.
#[derive(Debug)]
#[must_use = "nothing may be acknowledged before it is durable"]
pub struct Appended<T> {
    /// What the appending closure decided.
    pub decided: T,
    durable: oneshot::Receiver<Result<(), LogError>>,
}

impl<T> Appended<T> {
    /// Waits until the request is on disk.
    pub async fn durable(self) -> Result<T, LogError> {
        self.durable.await.map_err(|_| LogError::Closed)??;
        Ok(self.decided)
    }
}

/// The log's writing end.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    options: LogOptions,
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Debug)]
struct Queue {
    /// Payloads one after the other, each after its length.
    pending: Vec<u8>,
    waiters: Vec<oneshot::Sender<Result<(), LogError>>>,
    /// Grows with every failure: decisions made under an older number must be forgotten.
    generation: u64,
    /// Bytes in all segments, whether closed or not.
    used_bytes: u64,
    last_failure: Option<LogError>,
    closing: bool,
}

impl Queue {
    fn set_used_bytes(&mut self, used_bytes: u64) {
        self.used_bytes = used_bytes;
        metrics::gauge!("touchline_log_pending_bytes").set(used_bytes as f64);
    }
}

impl LogWriter {
    /// Opens the log in `folder`.
    ///
    /// Segments that an earlier process left are handed to `sealed` first, oldest first; new ones are numbered from
    /// above them and above `last_committed`.
    pub fn open(
        folder: &Path,
        options: LogOptions,
        last_committed: Option<i64>,
        sealed: mpsc::UnboundedSender<SegmentFile>,
    ) -> io::Result<Self> {
        touchline_lake::create_folders(folder)?;
        let left = list_segments(folder)?;
        let used_bytes = left.iter().map(|segment| segment.size_bytes).sum();
        let next = left.iter().map(|segment| segment.sequence).chain(last_committed).max().map_or(1, |last| last + 1);
        for segment in left {
            // The receiver outlives the log; a failure here means that the process is stopping.
            let _ = sealed.send(segment);
        }
        let mut queue = Queue {
            pending: Vec::new(),
            waiters: Vec::new(),
            generation: 0,
            used_bytes: 0,
            last_failure: None,
            closing: false,
        };
        queue.set_used_bytes(used_bytes);
        let shared = Arc::new(Shared { options, queue: Mutex::new(queue), work: Condvar::new() });
        let worker =
            Worker { shared: Arc::clone(&shared), folder: folder.to_owned(), next_sequence: next, open: None, sealed };
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            let _guard = AbortOnPanic("log");
            worker.run();
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends one record.
    ///
    /// `write` runs while nobody else appends: what it decides (such as which events are new) is decided in the order
    /// of the log. It is given the log's generation and a buffer, and puts the record's payload at the buffer's end.
    pub fn append<T>(&self, write: impl FnOnce(u64, &mut Vec<u8>) -> T) -> Result<Appended<T>, LogError> {
        let mut guard = self.shared.queue.lock();
        let queue = &mut *guard;
        if queue.closing {
            return Err(LogError::Closed);
        }
        let quota_bytes = self.shared.options.quota_bytes;
        if queue.used_bytes + queue.pending.len() as u64 >= quota_bytes {
            return Err(LogError::Full { used_bytes: queue.used_bytes, quota_bytes });
        }
        if queue.pending.len() >= MAX_PENDING_BYTES {
            return Err(LogError::Failed { detail: format!("the disk is {MAX_PENDING_BYTES} bytes behind") });
        }
        let start = queue.pending.len();
        queue.pending.extend_from_slice(&[0; LENGTH_BYTES]);
        let decided = write(queue.generation, &mut queue.pending);
        let length = (queue.pending.len() - start - LENGTH_BYTES) as u32;
        queue.pending[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        let (answer, durable) = oneshot::channel();
        queue.waiters.push(answer);
        if queue.waiters.len() == 1 {
            self.shared.work.notify_one();
        }
        Ok(Appended { decided, durable })
    }

    /// Says that a closed segment was deleted.
    pub fn trimmed(&self, size_bytes: u64) {
        let mut queue = self.shared.queue.lock();
        let left = queue.used_bytes.saturating_sub(size_bytes);
        queue.set_used_bytes(left);
    }

    /// Bytes in the log that are not in the lake.
    pub fn used_bytes(&self) -> u64 {
        self.shared.queue.lock().used_bytes
    }

    /// Whether the last write reached the disk and the quota leaves room.
    pub fn health(&self) -> Result<(), LogError> {
        let queue = self.shared.queue.lock();
        if queue.closing {
            return Err(LogError::Closed);
        }
        if let Some(failure) = &queue.last_failure {
            return Err(failure.clone());
        }
        let quota_bytes = self.shared.options.quota_bytes;
        if queue.used_bytes >= quota_bytes {
            return Err(LogError::Full { used_bytes: queue.used_bytes, quota_bytes });
        }
        Ok(())
    }

    /// Writes what waits, closes the open segment and stops. Further appends are refused.
    pub fn close(&self) {
        self.shared.queue.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

/// The segment that is being written.
#[derive(Debug)]
struct OpenSegment {
    file: File,
    path: PathBuf,
    sequence: i64,
    size_bytes: u64,
    /// What its payloads take in memory: a segment is read as a whole.
    payload_bytes: u64,
    first_record_at: Instant,
}

struct Worker {
    shared: Arc<Shared>,
    folder: PathBuf,
    next_sequence: i64,
    open: Option<OpenSegment>,
    sealed: mpsc::UnboundedSender<SegmentFile>,
}

impl Worker {
    fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            let (waiters, closing) = self.wait(&mut batch);
            // An empty batch is written to see whether a log that failed has healed.
            if !batch.is_empty() || self.shared.queue.lock().last_failure.is_some() {
                self.write_batch(&batch, waiters);
                batch.clear();
            }
            if self.is_full_or_old() || closing {
                self.seal();
            }
            if closing && self.shared.queue.lock().pending.is_empty() {
                return;
            }
        }
    }

    /// Waits for records, for the open segment's age, or for the end; takes the records.
    fn wait(&self, batch: &mut Vec<u8>) -> (Vec<oneshot::Sender<Result<(), LogError>>>, bool) {
        let mut queue = self.shared.queue.lock();
        while queue.pending.is_empty() && !queue.closing {
            let deadline = match (&self.open, &queue.last_failure) {
                (_, Some(_)) => Instant::now() + PROBE_EVERY,
                (Some(open), None) => open.first_record_at + self.shared.options.segment_age,
                (None, None) => {
                    self.shared.work.wait(&mut queue);
                    continue;
                }
            };
            if self.shared.work.wait_until(&mut queue, deadline).timed_out() {
                break;
            }
        }
        std::mem::swap(batch, &mut queue.pending);
        (std::mem::take(&mut queue.waiters), queue.closing)
    }

    fn write_batch(&mut self, batch: &[u8], waiters: Vec<oneshot::Sender<Result<(), LogError>>>) {
        let started = Instant::now();
        let written = self.write_and_sync(batch);
        metrics::histogram!("touchline_log_sync_seconds").record(started.elapsed().as_secs_f64());
        match written {
            Ok(new_bytes) => {
                let mut queue = self.shared.queue.lock();
                let used_bytes = queue.used_bytes + new_bytes;
                queue.set_used_bytes(used_bytes);
                queue.last_failure = None;
                drop(queue);
                metrics::histogram!("touchline_log_group_requests").record(waiters.len() as f64);
                for waiter in waiters {
                    let _ = waiter.send(Ok(()));
                }
            }
            Err(error) => self.fail(&error, waiters),
        }
    }

    fn write_and_sync(&mut self, batch: &[u8]) -> io::Result<u64> {
        let records = records(batch);
        let mut new_bytes = records.len() as u64;
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                // A number is used once, even if its file could not be made.
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                let opened = create(&self.folder, sequence)?;
                new_bytes += opened.size_bytes;
                closed.insert(opened)
            }
        };
        open.file.write_all(&records)?;
        open.file.sync_data()?;
        open.size_bytes += records.len() as u64;
        open.payload_bytes += batch.len() as u64;
        Ok(new_bytes)
    }

    fn fail(&mut self, error: &io::Error, waiters: Vec<oneshot::Sender<Result<(), LogError>>>) {
        tracing::error!(%error, "the write-ahead log cannot be written");
        metrics::counter!("touchline_log_failures_total").increment(1);
        let failure = LogError::Failed { detail: error.to_string() };
        let also = {
            let mut queue = self.shared.queue.lock();
            queue.generation += 1;
            queue.pending.clear();
            queue.last_failure = Some(failure.clone());
            std::mem::take(&mut queue.waiters)
        };
        self.abandon();
        for waiter in waiters.into_iter().chain(also) {
            let _ = waiter.send(Err(failure.clone()));
        }
    }

    /// Gives the open segment to the lake writer as far as it was synced.
    fn abandon(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Err(error) = open.file.set_len(open.size_bytes) {
            tracing::warn!(%error, path = %open.path.display(), "a failed segment keeps its unsynced end");
        }
        self.hand_over(open);
    }

    fn is_full_or_old(&self) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.payload_bytes >= self.shared.options.segment_bytes
                || open.first_record_at.elapsed() >= self.shared.options.segment_age
        })
    }

    fn seal(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let seal = record_header(SEAL_MAGIC, b"");
        match open.file.write_all(&seal).and_then(|()| open.file.sync_data()) {
            Ok(()) => {
                open.size_bytes += seal.len() as u64;
                let mut queue = self.shared.queue.lock();
                let used_bytes = queue.used_bytes + seal.len() as u64;
                queue.set_used_bytes(used_bytes);
            }
            // Every record is synced already; without its seal the segment reads as one that a crash left.
            Err(error) => tracing::warn!(%error, path = %open.path.display(), "a segment stays without its seal"),
        }
        self.hand_over(open);
    }

    fn hand_over(&self, open: OpenSegment) {
        let _ = self.sealed.send(SegmentFile { sequence: open.sequence, path: open.path, size_bytes: open.size_bytes });
    }
}

/// Queued payloads as records.
fn records(mut queued: &[u8]) -> Vec<u8> {
    let mut records = Vec::with_capacity(queued.len() / 4);
    while let Some((length, rest)) = queued.split_first_chunk::<LENGTH_BYTES>() {
        let (payload, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        put_record(&mut records, payload);
        queued = rest;
    }
    records
}

fn create(folder: &Path, sequence: i64) -> io::Result<OpenSegment> {
    let path = segment_path(folder, sequence);
    let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
    let begun = file.write_all(&file_header(sequence)).and_then(|()| File::open(folder)?.sync_all());
    if let Err(error) = begun {
        // What is left behind is a segment without records at worst.
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok(OpenSegment {
        file,
        path,
        sequence,
        size_bytes: FILE_HEADER_BYTES as u64,
        payload_bytes: 0,
        first_record_at: Instant::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::segment::Segment;
    use super::*;

    fn options(segment_bytes: u64, quota_bytes: u64) -> LogOptions {
        LogOptions { segment_bytes, segment_age: Duration::from_secs(3600), quota_bytes }
    }

    fn append(log: &LogWriter, payload: &[u8]) -> Result<Appended<()>, LogError> {
        log.append(|_, buffer| buffer.extend_from_slice(payload))
    }

    #[tokio::test]
    async fn what_is_durable_reads_back_in_order_across_segments() {
        let folder = tempfile::tempdir().unwrap();
        let (sealed, mut segments) = mpsc::unbounded_channel();
        let log = LogWriter::open(folder.path(), options(64, u64::MAX), Some(4), sealed).unwrap();
        let sent: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; 10 + usize::from(n)]).collect();
        for payload in &sent {
            append(&log, payload).unwrap().durable().await.unwrap();
        }
        log.close();
        let mut read = Vec::new();
        let mut sequences = Vec::new();
        while let Ok(file) = segments.try_recv() {
            let segment = Segment::read(&file).unwrap();
            assert!(segment.damage.is_empty());
            sequences.push(segment.sequence);
            read.extend(segment.payloads().map(<[u8]>::to_vec));
        }
        assert_eq!(read, sent);
        assert!(sequences.len() > 1 && sequences[0] == 5 && sequences.is_sorted());
    }

    #[tokio::test]
    async fn a_full_log_refuses_and_a_trimmed_one_takes_again() {
        let folder = tempfile::tempdir().unwrap();
        let (sealed, mut segments) = mpsc::unbounded_channel();
        let log = LogWriter::open(folder.path(), options(1, 100), None, sealed).unwrap();
        append(&log, &[1; 90]).unwrap().durable().await.unwrap();
        assert!(matches!(append(&log, b"x"), Err(LogError::Full { quota_bytes: 100, .. })));
        assert!(log.health().is_err());
        let segment = segments.recv().await.unwrap();
        log.trimmed(segment.size_bytes);
        append(&log, b"x").unwrap().durable().await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_fails_acknowledges_nothing_and_starts_a_new_generation() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("log");
        let (sealed, _segments) = mpsc::unbounded_channel();
        let log = LogWriter::open(&inner, options(1, u64::MAX), None, sealed).unwrap();
        std::fs::remove_dir_all(&inner).unwrap();
        let failed = append(&log, b"lost").unwrap().durable().await;
        assert!(matches!(failed, Err(LogError::Failed { .. })));
        assert!(log.health().is_err());
        std::fs::create_dir_all(&inner).unwrap();
        let generation = log.append(|generation, _| generation).unwrap().durable().await.unwrap();
        assert_eq!(generation, 1);
        assert!(log.health().is_ok());
    }

    #[tokio::test]
    async fn segments_left_by_a_crash_are_handed_over_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(segment_path(folder.path(), 7), file_header(7)).unwrap();
        let (sealed, mut segments) = mpsc::unbounded_channel();
        let log = LogWriter::open(folder.path(), options(1, u64::MAX), None, sealed).unwrap();
        append(&log, b"new").unwrap().durable().await.unwrap();
        assert_eq!(segments.recv().await.unwrap().sequence, 7);
        assert_eq!(segments.recv().await.unwrap().sequence, 8);
    }
}
