//! A few workers, who gets one, and that there is always another.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::sql::{Greeting, Limit, Limits, Request, SqlError, files_of};
use touchline_schemas::Tenant;
use touchline_schemas::config::SqlConfig;

use super::answer::SqlAnswer;
use super::conversation::{self, Ended, Part, Parts};
use super::failure::SqlFailure;
use super::process::{Process, WorkerProgram};

/// Parts of an answer that lie between worker and reader.
const PARTS_BETWEEN: usize = 2;
/// Threads of a statement at most, where the operator has not chosen: each has a large stack, and other statements and
/// requests need cores too.
const MAX_AUTOMATIC_THREADS: usize = 8;

/// The workers of this process. A cheap handle.
#[derive(Debug, Clone)]
pub struct SqlPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: SqlConfig,
    program: WorkerProgram,
    greeting: Greeting,
    permits: Arc<Semaphore>,
    queued: AtomicUsize,
    idle: Mutex<Vec<Process>>,
}

/// A statement and the values for its placeholders.
#[derive(Debug, Clone, PartialEq)]
pub struct SqlQuery {
    /// The statement.
    pub sql: String,
    /// An array for `$1`, `$2`, …, an object for `$name`, null for none.
    pub params: Value,
}

impl SqlPool {
    /// Workers over the lake in the folder `lake`. They are started when they are needed.
    pub fn new(config: SqlConfig, lake: PathBuf, program: WorkerProgram) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads(config.threads, cores);
        let greeting = Greeting { lake, threads, process_memory_bytes: config.process_memory_bytes };
        let permits = Arc::new(Semaphore::new(config.workers));
        let (queued, idle) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { config, program, greeting, permits, queued, idle }))
    }

    /// Starts a worker before anybody asks.
    pub async fn warm_up(&self) {
        self.start_another().await;
    }

    /// Carries out a statement over the rows of `tenant`.
    pub async fn query(&self, engine: &QueryEngine, tenant: Tenant, query: SqlQuery) -> Result<SqlAnswer, SqlFailure> {
        let answered = self.answer(engine, tenant, query).await;
        let outcome = answered.as_ref().map_or_else(SqlFailure::outcome, |_| "answered");
        metrics::counter!("touchline_sql_statements_total", "outcome" => outcome).increment(1);
        answered
    }

    async fn answer(&self, engine: &QueryEngine, tenant: Tenant, query: SqlQuery) -> Result<SqlAnswer, SqlFailure> {
        let config = &self.0.config;
        // The worker would say the same; but it need not be sent megabytes for it.
        if query.sql.len() > config.max_statement_bytes {
            return Err(SqlError::over(Limit::StatementBytes, config.max_statement_bytes).into());
        }
        let permit = self.admit().await?;
        let tables = files_of(engine, tenant, &query.sql).await?;
        let versions = tables.iter().map(|files| (files.table.clone(), files.version)).collect();
        let request = Request { tenant, sql: query.sql, params: query.params, tables, limits: limits(config) };
        let request = serde_json::to_vec(&request).map_err(|error| SqlFailure::broken(&error))?;
        let (parts, coming) = mpsc::channel(PARTS_BETWEEN);
        // A task of its own, so that time runs also while nobody reads.
        tokio::spawn(self.clone().attend(request, parts, permit));
        SqlAnswer::begin(coming, versions).await
    }

    /// Waits for a turn.
    async fn admit(&self) -> Result<OwnedSemaphorePermit, SqlFailure> {
        let permits = &self.0.permits;
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(permit);
        }
        let place = Place::take(&self.0);
        if place.number > self.0.config.max_queued {
            return Err(SqlFailure::Busy);
        }
        let waiting = Arc::clone(permits).acquire_owned();
        match timeout(Duration::from_secs(self.0.config.queue_timeout_s), waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(SqlFailure::Busy),
        }
    }

    /// A worker that has waited for this, if there is one that lives.
    fn take_idle(&self) -> Option<Process> {
        loop {
            let mut process = self.0.idle.lock().pop()?;
            if process.is_alive() {
                return Some(process);
            }
        }
    }

    /// Lets a worker wait for the next statement, unless enough do: those that died while they waited are replaced one by
    /// one.
    fn keep(&self, process: Process) {
        let mut idle = self.0.idle.lock();
        idle.retain_mut(Process::is_alive);
        if idle.len() <= self.0.permits.available_permits() {
            idle.push(process);
        }
    }

    async fn start(&self) -> Result<Process, SqlFailure> {
        let process = Process::start(&self.0.program, &self.0.greeting).await.map_err(SqlFailure::NotStarted)?;
        metrics::counter!("touchline_sql_workers_started_total").increment(1);
        Ok(process)
    }

    /// Sees a statement through, and to it that the next one finds a worker.
    async fn attend(self, request: Vec<u8>, parts: Parts, permit: OwnedSemaphorePermit) {
        let deadline = Instant::now() + Duration::from_secs(self.0.config.timeout_s);
        let last = match self.take_idle() {
            Some(process) => match self.hold(process, &request, &parts, deadline).await {
                // What died before it took this statement up did not die of it.
                Err(Broken { failure: SqlFailure::Died { .. }, begun: false }) => {
                    self.hold_anew(&request, &parts, deadline).await
                }
                last => last,
            },
            None => self.hold_anew(&request, &parts, deadline).await,
        };
        drop(permit);
        // Whoever has stopped listening needs no end.
        let _ = parts.send(last.map(|()| Part::End).map_err(|broken| broken.failure)).await;
    }

    async fn hold_anew(&self, request: &[u8], parts: &Parts, deadline: Instant) -> Result<(), Broken> {
        let process = self.start().await.map_err(Broken::from)?;
        self.hold(process, request, parts, deadline).await
    }

    /// Holds a conversation. Afterwards this worker is idle, or another one is.
    async fn hold(&self, mut process: Process, request: &[u8], parts: &Parts, deadline: Instant) -> Result<(), Broken> {
        let config = &self.0.config;
        let ended = conversation::hold(&mut process, request, parts, config.max_row_bytes, deadline).await;
        let failure = match ended {
            Ended::Complete => {
                self.keep(process);
                return Ok(());
            }
            Ended::Told(error) => {
                self.keep(process);
                return Err(SqlFailure::from(error).into());
            }
            Ended::Silent { begun } => {
                let (status, said) = process.end().await;
                Broken { failure: SqlFailure::of_death(status, &said, config), begun }
            }
            Ended::Confused(failure) => {
                drop(process);
                failure.into()
            }
            Ended::TooLate => {
                drop(process);
                conversation::too_late(config.timeout_s).into()
            }
            Ended::Abandoned => {
                drop(process);
                SqlFailure::Abandoned.into()
            }
        };
        self.start_another().await;
        Err(failure)
    }

    async fn start_another(&self) {
        match self.start().await {
            Ok(process) => self.keep(process),
            // The next statement tries again, and is told.
            Err(error) => tracing::error!(%error, "a worker for statements cannot be started"),
        }
    }
}

/// A conversation without a good end.
struct Broken {
    failure: SqlFailure,
    /// Whether the worker had taken up the statement, and rows may have been passed on.
    begun: bool,
}

impl From<SqlFailure> for Broken {
    fn from(failure: SqlFailure) -> Self {
        Self { failure, begun: true }
    }
}

/// A place among those who wait.
struct Place<'a> {
    shared: &'a Shared,
    number: usize,
}

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Self {
        Self { shared, number: shared.queued.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Threads of a statement: as many as are configured, and 0 stands for one for each core, within reason.
fn threads(configured: usize, cores: usize) -> usize {
    match configured {
        0 => cores.min(MAX_AUTOMATIC_THREADS),
        threads => threads,
    }
}

fn limits(config: &SqlConfig) -> Limits {
    Limits {
        statement_bytes: config.max_statement_bytes,
        tokens: config.max_tokens,
        depth: config.max_depth,
        memory_bytes: config.memory_limit_bytes,
        rows: config.max_rows,
        row_bytes: config.max_row_bytes,
        answer_bytes: config.max_answer_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_the_cores_up_to_a_bound_or_what_the_operator_says() {
        for (configured, cores, expected) in [(0, 1, 1), (0, 4, 4), (0, 8, 8), (0, 192, 8), (1, 192, 1), (64, 4, 64)] {
            assert_eq!(threads(configured, cores), expected, "{configured} {cores}");
        }
    }
}
