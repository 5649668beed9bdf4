//! A whole API over an in-memory control database, for tests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusBuilder;
use tempfile::TempDir;
use tokio::sync::Notify;
use touchline_ingest::Ingest;
use touchline_ingest::IngestOptions;
use touchline_ingest::log::LogOptions;
use touchline_ingest::receive::Limits;
use touchline_jobs::{Job, JobContext, JobError, JobPlan, JobReport, RunRequest, Runner};
use touchline_lake::{Lake, LakeOptions};
use touchline_pipeline::{QueryEngine, QueryOptions};
use touchline_schemas::clock::SharedClock;
use touchline_schemas::config::Config;
use touchline_schemas::control::{Account, ControlDb, KeyKind, NewKey, Scopes};
use touchline_schemas::{AccountId, Environment, MockClock};
use tower::ServiceExt;

use crate::peer::Peer;
use crate::{AppState, router};

/// 2026-01-01T00:00:00Z.
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

/// An ingest with a log of its own. Closed segments go nowhere: these tests end at the acknowledgement.
fn ingest(folder: &Path, config: &Config, clock: SharedClock) -> Ingest {
    let limits = Limits {
        max_body_bytes: config.ingest.max_body_bytes,
        max_events_per_request: config.ingest.max_events_per_request,
        max_event_bytes: config.ingest.max_event_bytes,
        max_properties_bytes: config.ingest.max_properties_bytes,
        max_depth: config.ingest.max_depth,
        max_id_chars: config.ingest.max_id_chars,
        max_url_chars: config.ingest.max_url_chars,
        max_future_s: i64::try_from(config.ingest.max_future_s).unwrap(),
        min_timestamp: config.ingest.min_timestamp,
    };
    let log = LogOptions {
        segment_bytes: config.log.segment_bytes,
        segment_age: Duration::from_millis(config.log.segment_age_ms),
        quota_bytes: config.log.quota_bytes,
    };
    let options = IngestOptions {
        limits,
        log,
        hot_window_events: config.ingest.hot_window_events,
        id_filter_bytes: 1 << 20,
        enricher: Arc::default(),
    };
    let (sealed, _) = tokio::sync::mpsc::unbounded_channel();
    Ingest::open(folder, options, None, sealed, clock).unwrap()
}

async fn engine(folder: &Path) -> QueryEngine {
    let lake = Lake::open(&folder.join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    QueryEngine::new(lake, QueryOptions { memory_limit_bytes: 64 << 20, threads: 1 }).unwrap()
}

/// A job that does nothing, for as long as the test wants.
#[derive(Default)]
pub struct TestJob {
    pub waits: AtomicBool,
    pub go_on: Notify,
}

#[async_trait]
impl Job for TestJob {
    fn name(&self) -> &'static str {
        "sessions"
    }

    async fn plan(&self, _: RunRequest, _: &JobContext) -> Result<JobPlan, JobError> {
        Ok(JobPlan::default())
    }

    async fn run(&self, _: RunRequest, _: &JobContext) -> Result<JobReport, JobError> {
        if self.waits.load(Ordering::Relaxed) {
            self.go_on.notified().await;
        }
        Ok(JobReport::default())
    }
}

/// An API, its clock and its first account.
pub struct TestApi {
    pub state: AppState,
    pub clock: Arc<MockClock>,
    pub account: Account,
    pub job: Arc<TestJob>,
    router: Router,
    _folder: TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    /// The same as text.
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl TestApi {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme <Shop>", start()).await.unwrap();
        let clock = Arc::new(MockClock::at(start()));
        let folder = tempfile::tempdir().unwrap();
        let ingest = ingest(&folder.path().join("log"), &config, clock.clone());
        let engine = engine(folder.path()).await;
        let prometheus = PrometheusBuilder::new().build_recorder().handle();
        let job = Arc::<TestJob>::default();
        let jobs: Vec<Arc<dyn Job>> = vec![job.clone()];
        let runner = Runner::new(control.clone(), clock.clone(), jobs, &config.jobs, "test".to_owned()).unwrap();
        let state = AppState::new(Arc::new(config), control, clock.clone(), ingest, engine, runner, prometheus);
        let (router, _) = router(state.clone());
        Self { state, clock, account, job, router, _folder: folder }
    }

    /// A new secret live key of the account.
    pub async fn key(&self, scopes: &str) -> String {
        self.key_of(KeyKind::Secret, scopes).await
    }

    pub async fn key_of_another_account(&self, scopes: &str) -> String {
        let other = self.state.control.create_account("other", "Other", start()).await.unwrap();
        self.new_key(other.id, KeyKind::Secret, scopes).await
    }

    pub async fn key_of(&self, kind: KeyKind, scopes: &str) -> String {
        self.new_key(self.account.id, kind, scopes).await
    }

    pub async fn new_key(&self, account_id: AccountId, kind: KeyKind, scopes: &str) -> String {
        let scopes: Scopes = scopes.parse().unwrap();
        let new = NewKey { account_id, environment: Environment::Live, kind, scopes, name: None };
        let random = uuid::Uuid::new_v4().into_bytes();
        let (_, plain) = self.state.control.create_key(new, random, start()).await.unwrap();
        plain.expose().to_owned()
    }

    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        if request.extensions().get::<ConnectInfo<Peer>>().is_none() {
            request.extensions_mut().insert(ConnectInfo(Peer::at(([127, 0, 0, 1], 1).into())));
        }
        let user_agent = HeaderValue::from_static("test");
        request.headers_mut().entry(header::USER_AGENT).or_insert(user_agent);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: head.status, headers: head.headers, bytes, body }
    }

    pub async fn get(&self, address: &str, key: &str) -> Answer {
        let request = Request::get(address).header("authorization", format!("Bearer {key}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, address: &str, key: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(address).header("authorization", format!("Bearer {key}"));
        self.send(request.header("content-type", "application/json").body(body.into()).unwrap()).await
    }
}
