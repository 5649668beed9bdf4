//! The composition: everything that one process of Touchline is made of, put together here and nowhere else.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use touchline_api::AppState;
use touchline_api::exports::InProcess;
use touchline_enrich::Enricher;
use touchline_exports::destination::{ConfiguredPlaces, S3Access};
use touchline_exports::webhook::{Announcer, SystemResolver};
use touchline_exports::{Exporter, Pace, Parts, scheduler};
use touchline_ingest::log::LogOptions;
use touchline_ingest::receive::Limits;
use touchline_ingest::{IngestOptions, IngestProcess};
use touchline_jobs::erase::Eraser;
use touchline_jobs::{
    AttributionJob, CompactionJob, Ended, EnrichmentJob, IdentitiesJob, Job, JobPlan, MessagesJob, Progress,
    RetentionJob, RunError, RunRequest, Runner, SequencesJob, SessionsJob, TrafficJob, VacuumJob, VerifyJob,
    VisitorsJob,
};
use touchline_lake::{Lake, LakeOptions};
use touchline_pipeline::{QueryEngine, QueryOptions};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::{Config, ServerConfig};
use touchline_schemas::control::{
    Account, Actor, ControlDb, ControlError, Export, ExportRun, ExportTrigger, JobRun, Trigger,
};
use touchline_schemas::paths::DataDir;
use uuid::Uuid;

use crate::confine;
use crate::erasure::IngestLog;
use crate::settings::Settings;
use crate::shutdown::Shutdown;
use crate::verifier;

mod beside_the_log;

pub use beside_the_log::ImportSummary;

/// All jobs, in the order in which they need each other.
pub const JOB_NAMES: [&str; 12] = [
    "enrichment",
    "identities",
    "sessions",
    "visitors",
    "attribution",
    "traffic",
    "messages",
    "sequences",
    "compaction",
    "retention",
    "vacuum",
    "verify",
];

/// Jobs that take care of the lake, or compare; the others compute tables.
pub const CARETAKERS: [&str; 5] = ["enrichment", "compaction", "retention", "vacuum", "verify"];

/// An installation, opened. Opening it takes no lock, so it can be done beside a running server.
#[derive(Debug, Clone)]
pub struct App {
    /// The configuration of this process.
    pub config: Arc<Config>,
    /// Where everything is.
    pub data_dir: DataDir,
    /// Accounts, keys, the ledger of jobs.
    pub control: ControlDb,
    /// The time.
    pub clock: SharedClock,
    enricher: Arc<OnceLock<Arc<Enricher>>>,
}

impl App {
    /// Opens the installation, and creates what is missing of it.
    pub async fn open(settings: Settings, clock: SharedClock) -> anyhow::Result<Self> {
        let Settings { config, data_dir, config_file: _ } = settings;
        let control = ControlDb::open(&data_dir.control_database()).await?;
        Ok(Self { config: Arc::new(config), data_dir, control, clock, enricher: Arc::default() })
    }

    /// The same installation, with what is changed in it noted as `actor`'s doing.
    pub fn acting_as(self, actor: Actor) -> Self {
        Self { control: self.control.acting_as(actor), ..self }
    }

    /// The account with this slug.
    pub async fn account(&self, slug: &str) -> anyhow::Result<Account> {
        let account = self.control.account_by_slug(slug).await?;
        account.with_context(|| format!("there is no account `{slug}`: see `touchline account list`"))
    }

    /// Opens the lake; tables that are missing are created.
    pub async fn open_lake(&self) -> anyhow::Result<Lake> {
        Ok(Lake::open(&self.config.lake.root(&self.data_dir), lake_options(&self.config)).await?)
    }

    /// What tells browsers, bots and countries; one for the process, made when it is first needed.
    pub fn enricher(&self) -> anyhow::Result<Arc<Enricher>> {
        if let Some(enricher) = self.enricher.get() {
            return Ok(Arc::clone(enricher));
        }
        let opened = open_enricher(&self.config)?;
        Ok(Arc::clone(self.enricher.get_or_init(|| Arc::new(opened))))
    }

    /// The engine that answers queries over `lake`.
    pub fn query_engine(&self, lake: &Lake) -> anyhow::Result<QueryEngine> {
        let query = &self.config.query;
        let threads = match query.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Ok(QueryEngine::new(lake.clone(), QueryOptions { memory_limit_bytes: query.memory_limit_bytes, threads })?)
    }

    /// Runs the jobs of this installation.
    pub fn runner(&self, engine: QueryEngine) -> anyhow::Result<Runner> {
        let timeout = chrono::Duration::minutes(i64::from(self.config.sessions.timeout_minutes));
        let lake = engine.lake().clone();
        let verifier = verifier::of(&self.config, &self.data_dir, None);
        let target_file_bytes = self.config.lake.target_file_bytes;
        let kept_hours = self.config.lake.vacuum_after_hours;
        let jobs: Vec<Arc<dyn Job>> = vec![
            Arc::new(IdentitiesJob::new(engine.clone())),
            Arc::new(SessionsJob::new(engine.clone(), self.control.clone(), timeout)),
            Arc::new(VisitorsJob::new(engine.clone())),
            Arc::new(AttributionJob::new(engine.clone(), self.control.clone())),
            Arc::new(TrafficJob::new(engine.clone(), self.control.clone())),
            Arc::new(MessagesJob::new(engine.clone(), self.control.clone())),
            Arc::new(SequencesJob::new(engine)),
            Arc::new(EnrichmentJob::new(lake.clone(), self.enricher()?)),
            Arc::new(CompactionJob::new(lake.clone(), target_file_bytes)),
            Arc::new(RetentionJob::new(lake.clone(), self.control.clone())),
            Arc::new(VacuumJob::new(lake.clone(), self.control.clone(), kept_hours)),
            Arc::new(VerifyJob::new(lake, verifier)),
        ];
        Ok(Runner::new(self.control.clone(), self.clock.clone(), jobs, &self.config.jobs, holder())?)
    }

    /// Where exports write.
    pub fn export_places(&self) -> ConfiguredPlaces {
        let exports = &self.config.exports;
        ConfiguredPlaces { root: exports.root(&self.data_dir), s3: S3Access::from(&exports.s3) }
    }

    /// Runs the exports of this installation, asking the API over `state`.
    fn exporter(&self, state: &AppState) -> anyhow::Result<Exporter> {
        let config = &self.config.exports;
        let read = |path: &String| std::fs::read(path).with_context(|| format!("exports.webhook_ca_file {path}"));
        let authorities = config.webhook_ca_file.as_ref().map(read).transpose()?;
        let (resolver, networks) = (Arc::new(SystemResolver), config.webhook_networks.clone());
        let announcer = Announcer::new(resolver, networks, authorities.as_deref(), self.clock.clone())?;
        let jobs = &self.config.jobs;
        Ok(Exporter::new(Parts {
            control: self.control.clone(),
            clock: self.clock.clone(),
            questions: Arc::new(InProcess::new(state.clone())),
            tables: Arc::new(state.engine.lake().clone()),
            places: Arc::new(self.export_places()),
            announcer,
            config: config.clone(),
            pace: Pace {
                poll_interval: Duration::from_secs(jobs.poll_interval_s),
                lease_ttl: Duration::from_secs(jobs.lease_ttl_s),
                is_scheduled: jobs.enabled,
                holder: holder(),
            },
            wake: Arc::clone(&state.export_wake),
        }))
    }

    /// Asks for a run of an export, or takes the one that has not ended, and returns what became of it: the server carries
    /// it out or, without one, this process.
    pub async fn run_export(&self, export: &Export) -> anyhow::Result<ExportRun> {
        const WAIT: Duration = Duration::from_millis(200);
        let now = self.clock.now();
        let asked = self.control.queue_export_run(export.id, ExportTrigger::Manual, now, now).await;
        let run = match asked {
            Ok(run) => run.id,
            Err(ControlError::ExportBusy { run_id }) => run_id,
            Err(error) => return Err(error.into()),
        };
        loop {
            if let Some(ended) = scheduler::ended(&self.control, run).await? {
                return Ok(ended);
            }
            if let Some(lock) = IngestLock::take(&self.data_dir)? {
                let lake = self.open_lake().await?;
                let options = self.ingest_options()?;
                let (control, clock) = (self.control.clone(), self.clock.clone());
                let ingest = IngestProcess::start(&self.data_dir, &lake, control, clock, options).await?;
                let state = self.state(&ingest, &lake, PrometheusBuilder::new().build_recorder().handle())?;
                let ended = self.exporter(&state)?.run_to_end(run).await;
                ingest.stop().await;
                drop(lock);
                return Ok(ended?);
            }
            tokio::time::sleep(WAIT).await;
        }
    }

    /// What the API works with.
    fn state(&self, ingest: &IngestProcess, lake: &Lake, prometheus: PrometheusHandle) -> anyhow::Result<AppState> {
        let engine = self.query_engine(lake)?;
        let runner = self.runner(engine.clone())?;
        Ok(AppState::new(
            Arc::clone(&self.config),
            self.control.clone(),
            self.clock.clone(),
            ingest.ingest().clone(),
            engine,
            runner,
            prometheus,
        ))
    }

    /// Erases people of this installation.
    pub fn eraser(&self, lake: &Lake, runner: Runner) -> Eraser {
        Eraser {
            control: self.control.clone(),
            clock: self.clock.clone(),
            lake: lake.clone(),
            data_dir: self.data_dir.clone(),
            exports: self.config.exports.root(&self.data_dir),
            runner,
            caretakers: &CARETAKERS,
            log: Arc::new(IngestLog::new(self.clone(), lake.clone())),
            random: rand::random,
        }
    }

    /// Runs ingest, scheduled jobs, erasures and the API until `stop`; returns when everything that was acknowledged is in the
    /// lake, or the grace time is over.
    pub async fn serve_http(&self, listener: TcpListener, stop: Shutdown) -> anyhow::Result<()> {
        let prometheus = metrics_recorder()?;
        let lock =
            IngestLock::take(&self.data_dir)?.context("another process is already serving this data directory")?;
        let lake = self.open_lake().await?;
        let ingest = IngestProcess::start(
            &self.data_dir,
            &lake,
            self.control.clone(),
            self.clock.clone(),
            self.ingest_options()?,
        )
        .await?;
        let state = self.state(&ingest, &lake, prometheus.clone())?;
        let runner = state.runner.clone();
        let exporter = self.exporter(&state)?;

        let stop_jobs = CancellationToken::new();
        let jobs = tokio::spawn({
            let (runner, stop) = (runner.clone(), stop_jobs.clone());
            async move { runner.serve(stop).await }
        });
        let exports = tokio::spawn({
            let stop = stop_jobs.clone();
            async move { exporter.serve(stop).await }
        });
        let eraser = tokio::task::spawn_blocking({
            let (eraser, stop, runtime) = (self.eraser(&lake, runner.clone()), stop_jobs.clone(), Handle::current());
            // It reads files to their end, for which requests shall not wait.
            move || runtime.block_on(eraser.serve(stop))
        });
        let watcher = tokio::spawn(runner.watcher(&self.config.alerts)?.serve(stop_jobs.clone()));
        let enricher = self.enricher()?;
        tokio::task::spawn_blocking(move || enricher.warm_up());
        let upkeep = tokio::spawn(metrics_upkeep(prometheus));
        state.sql.warm_up().await;
        let (router, _) = touchline_api::router(state);
        let server = with_room_for_files(&self.config.server);
        let served = touchline_api::serve(listener, router, &server, stop.requested()).await;

        upkeep.abort();
        stop_jobs.cancel();
        let grace = Duration::from_secs(self.config.server.shutdown_grace_s);
        let drained = tokio::time::timeout(grace, ingest.stop()).await;
        if drained.is_err() {
            tracing::warn!("the lake has not taken everything in time; the log keeps it for the next start");
        }
        if jobs.await.is_err() {
            tracing::error!("the scheduler has died");
        }
        if exports.await.is_err() {
            tracing::error!("what runs exports has died");
        }
        if eraser.await.is_err() {
            tracing::error!("whoever erases has died");
        }
        if watcher.await.is_err() {
            tracing::error!("the watcher of jobs has died");
        }
        drop(lock);
        served.context("the server has failed")
    }

    /// Brings what is left in the log to the lake, if no server does that: false beside a running one.
    pub async fn drain_log(&self, lake: &Lake) -> anyhow::Result<bool> {
        let Some(_lock) = IngestLock::take(&self.data_dir)? else { return Ok(false) };
        let options = self.ingest_options()?;
        let ingest =
            IngestProcess::start(&self.data_dir, lake, self.control.clone(), self.clock.clone(), options).await?;
        ingest.stop().await;
        Ok(true)
    }

    /// Runs one of [`JOB_NAMES`] now, waiting for a run of it that is going on, and returns the run's line of the
    /// ledger, whether it succeeded or failed. The run says in `progress`, which must be fresh, how far it has come.
    pub async fn run_job(
        &self,
        job: &'static str,
        request: RunRequest,
        progress: Arc<Progress>,
    ) -> anyhow::Result<JobRun> {
        const WAIT: Duration = Duration::from_millis(200);
        let lake = self.open_lake().await?;
        let runner = self.runner(self.query_engine(&lake)?)?;
        let Ended { run_id, result } = loop {
            match runner.run_now_watched(job, request, Trigger::Manual, Arc::clone(&progress)).await {
                Err(RunError::AlreadyRunning { .. }) => tokio::time::sleep(WAIT).await,
                ended => break ended?,
            }
        };
        // Any other error stands in the ledger.
        if let Err(error @ RunError::Control(_)) = result {
            return Err(error.into());
        }
        let run = self.control.run(run_id).await?;
        run.with_context(|| format!("the ledger has lost the run {run_id} of the job `{job}`"))
    }

    fn ingest_options(&self) -> anyhow::Result<IngestOptions> {
        let config = &self.config;
        Ok(IngestOptions {
            limits: Limits::from(&config.ingest),
            log: LogOptions {
                segment_bytes: config.log.segment_bytes,
                segment_age: Duration::from_millis(config.log.segment_age_ms),
                quota_bytes: config.log.quota_bytes,
            },
            hot_window_events: config.ingest.hot_window_events,
            id_filter_bytes: config.ingest.id_filter_bytes,
            enricher: self.enricher()?,
        })
    }

    /// What a run of one of [`JOB_NAMES`] would read.
    pub async fn plan_job(&self, job: &'static str, request: RunRequest) -> anyhow::Result<JobPlan> {
        let lake = self.open_lake().await?;
        Ok(self.runner(self.query_engine(&lake)?)?.plan(job, request).await?)
    }
}

/// The right to write the log of a data directory: held by one process at a time, and gone with it.
#[derive(Debug)]
struct IngestLock(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

impl IngestLock {
    fn take(data_dir: &DataDir) -> anyhow::Result<Option<Self>> {
        std::fs::create_dir_all(data_dir.root())?;
        let path = data_dir.ingest_lock();
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error).context(format!("cannot lock {}", path.display())),
        }
    }
}

/// Names a runner in leases: no two have the same name.
fn holder() -> String {
    format!("process-{}-{}", std::process::id(), Uuid::now_v7().simple())
}

/// The process's metrics recorder, installed once.
fn metrics_recorder() -> anyhow::Result<PrometheusHandle> {
    let quantiles = [0.5, 0.9, 0.99, 0.999];
    Ok(PrometheusBuilder::new().set_quantiles(&quantiles)?.install_recorder()?)
}

/// Condenses what histograms have gathered, which nobody else does.
async fn metrics_upkeep(prometheus: PrometheusHandle) {
    const EVERY: Duration = Duration::from_secs(5);
    loop {
        tokio::time::sleep(EVERY).await;
        prometheus.run_upkeep();
    }
}

/// With no more connections than leave room for the files of the log, the lake and the control database.
fn with_room_for_files(server: &ServerConfig) -> ServerConfig {
    const OWN_FILES: usize = 256;
    let mut server = server.clone();
    if let Some(files) = confine::open_many_files() {
        let room = files.saturating_sub(OWN_FILES).max(1);
        if room < server.max_connections {
            tracing::warn!(open_files = files, connections = room, "the system allows few open files: see `ulimit -n`");
            server.max_connections = room;
        }
    }
    server
}

/// What tells browsers, bots and countries.
pub fn open_enricher(config: &Config) -> anyhow::Result<Enricher> {
    let country_database = config.ingest.country_database.as_deref().map(Path::new);
    Enricher::open(country_database).context("ingest.country_database")
}

/// How the tables are kept.
pub fn lake_options(config: &Config) -> LakeOptions {
    // The configuration has checked that it is a small number.
    let checkpoint_interval = u32::try_from(config.lake.checkpoint_interval).unwrap_or(u32::MAX);
    LakeOptions { checkpoint_interval }
}
