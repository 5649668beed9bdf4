//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;
use touchline_ingest::Ingest;
use touchline_jobs::Runner;
use touchline_pipeline::QueryEngine;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::Config;
use touchline_schemas::control::ControlDb;

use crate::auth::KeyCache;
use crate::http_metrics::HttpMetrics;
use crate::limits::Limits;
use crate::report::KeptAnswers;
use crate::sql::{SqlPool, WorkerProgram};

/// A cheap handle to [`Services`].
#[derive(Clone)]
pub struct AppState(Arc<Services>);

/// The parts that the API puts together.
pub struct Services {
    /// The configuration of this process.
    pub config: Arc<Config>,
    /// Accounts and keys.
    pub control: ControlDb,
    /// The time.
    pub clock: SharedClock,
    /// Takes events in.
    pub ingest: Ingest,
    /// Answers reports.
    pub engine: QueryEngine,
    /// Answers that may be asked for again.
    pub answers: KeptAnswers,
    /// Carries out statements.
    pub sql: SqlPool,
    /// Runs jobs.
    pub runner: Runner,
    /// Keys that were checked lately.
    pub keys: KeyCache,
    /// How much may be asked at a time.
    pub limits: Limits,
    /// Renders `/metrics`.
    pub prometheus: PrometheusHandle,
    /// Counts requests.
    pub http_metrics: HttpMetrics,
    /// Told when a run of an export was asked for.
    pub export_wake: Arc<Notify>,
}

impl AppState {
    /// Puts the parts together. The metrics recorder of `prometheus` must be installed before.
    pub fn new(
        config: Arc<Config>,
        control: ControlDb,
        clock: SharedClock,
        ingest: Ingest,
        engine: QueryEngine,
        runner: Runner,
        prometheus: PrometheusHandle,
    ) -> Self {
        let keys = KeyCache::new(config.auth.cache_ttl_s);
        let limits = Limits::new(&config.limits, clock.clone());
        let answers = KeptAnswers::new(&config.query);
        let http_metrics = HttpMetrics::new();
        let sql = SqlPool::new(config.sql.clone(), engine.lake().root().to_owned(), WorkerProgram::this());
        Self(Arc::new(Services {
            config,
            control,
            clock,
            ingest,
            engine,
            answers,
            sql,
            runner,
            keys,
            limits,
            prometheus,
            http_metrics,
            export_wake: Arc::default(),
        }))
    }
}

impl Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}
