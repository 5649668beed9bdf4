//! The handle that the API holds: a request in, a durable receipt out.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use touchline_enrich::Enricher;
use touchline_schemas::Tenant;
use touchline_schemas::clock::SharedClock;
use touchline_schemas::tables::rejected_events::RefusedEvent;

use crate::batch::Batch;
use crate::body::{self, BodyError};
use crate::erased::ErasedIds;
use crate::event_ids::HotWindow;
use crate::log::{LogOptions, LogWriter, SegmentFile};
use crate::receive::{self, Endpoint, Limits, Receipt, ReceiveError, RequestContext};
use crate::replay::{Changes, Replay, ReplayedEvent, Terms};

/// How ingest is set up.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Limits of requests.
    pub limits: Limits,
    /// Sizes and ages of the log.
    pub log: LogOptions,
    /// Ids that are known to be duplicates at once.
    pub hot_window_events: usize,
    /// Memory for the filters of the index of all event ids.
    pub id_filter_bytes: u64,
    /// Tells browsers, bots and countries.
    pub enricher: Arc<Enricher>,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Whose events.
    pub tenant: Tenant,
    /// Whether the client is the visitor's own device: then its address and user agent are the visitor's.
    pub is_device: bool,
    /// Whether addresses are masked before they are stored.
    pub mask_ip: bool,
    /// The client's address.
    pub peer_ip: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// Whether the visitor's browser asks for Global Privacy Control (`Sec-GPC: 1`), and the account honours that. A key
    /// that is not publishable belongs to a server, whose headers say nothing of visitors.
    pub global_privacy_control: bool,
    /// `Idempotency-Key` or `X-Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// Ingest: cheap to clone, shared by all requests.
#[derive(Debug, Clone)]
pub struct Ingest {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    enricher: Arc<Enricher>,
    log: Arc<LogWriter>,
    hot: Mutex<HotWindow>,
    erased: ErasedIds,
    clock: SharedClock,
}

impl Ingest {
    /// Opens the log in `folder`. Closed segments go to `sealed`, where a lake writer takes them; new ones are numbered
    /// above `last_committed`.
    pub fn open(
        folder: &Path,
        options: IngestOptions,
        last_committed: Option<i64>,
        sealed: mpsc::UnboundedSender<SegmentFile>,
        clock: SharedClock,
    ) -> std::io::Result<Self> {
        let log = Arc::new(LogWriter::open(folder, options.log, last_committed, sealed)?);
        let hot = Mutex::new(HotWindow::new(options.hot_window_events));
        let erased = ErasedIds::default();
        let inner = Inner { limits: options.limits, enricher: options.enricher, log, hot, erased, clock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The log, for the lake writer.
    pub fn log(&self) -> &Arc<LogWriter> {
        &self.inner.log
    }

    /// The people whose events are refused; whoever starts ingest keeps it fresh.
    pub fn erased(&self) -> &ErasedIds {
        &self.inner.erased
    }

    /// Writes what waits and takes no more.
    pub fn close(&self) {
        self.inner.log.close();
    }

    /// Whether the log can be written.
    pub fn health(&self) -> Result<(), ReceiveError> {
        self.inner.log.health().map_err(ReceiveError::from)
    }

    /// Inflates a body by its `Content-Encoding`, no further than `ingest.max_body_bytes`.
    pub fn decode_body(&self, encodings: Option<&str>, body: Bytes) -> Result<Bytes, BodyError> {
        body::decode(encodings, body, self.inner.limits.max_body_bytes)
    }

    /// Undoes what a dialect packs its bodies in, no further than `ingest.max_body_bytes`.
    pub fn unpack_body(&self, endpoint: Endpoint, body: Bytes) -> Result<Bytes, BodyError> {
        endpoint.unpack(body, self.inner.limits.max_body_bytes)
    }

    /// Checks a request and makes what it carries durable; when this returns, the receipt may be sent.
    pub async fn receive(&self, origin: &Origin, endpoint: Endpoint, body: Bytes) -> Result<Receipt, ReceiveError> {
        let batch = self.inner.read(origin, endpoint, &body)?;
        drop(body);
        self.append(batch).await
    }

    /// Changes refused events of a tenant, and checks them again.
    /// Those of a trial are shown.
    pub fn check_again(
        &self,
        tenant: Tenant,
        mask_ip: bool,
        events: &[RefusedEvent],
        changes: &Changes,
        is_trial: bool,
    ) -> Replay {
        let inner = &self.inner;
        let erased = inner.erased.current();
        let (limits, enricher) = (&inner.limits, &*inner.enricher);
        let now = inner.clock.now();
        let terms = Terms { tenant, now, mask_ip, limits, enricher, erased: &erased, shows_bodies: is_trial };
        Replay::check(events, changes, terms)
    }

    /// Makes those refused events durable that pass the check now; returns what became of each.
    pub async fn replay(&self, replay: Replay) -> Result<Vec<ReplayedEvent>, ReceiveError> {
        if replay.passed() == 0 {
            return Ok(replay.refused());
        }
        let (batch, outcome) = replay.into_parts();
        let receipt = self.append(batch).await?;
        Ok(outcome.accepted(&receipt))
    }

    async fn append(&self, batch: Batch) -> Result<Receipt, ReceiveError> {
        // Inside the log's order: an event is a duplicate of what stands before it there.
        let appended = self.inner.log.append(|generation, out| {
            let mut hot = self.inner.hot.lock();
            batch.put(|id| hot.insert(generation, id), out)
        })?;
        Ok(appended.durable().await?)
    }
}

impl Inner {
    fn read(&self, origin: &Origin, endpoint: Endpoint, body: &[u8]) -> Result<Batch, ReceiveError> {
        let max_chars = self.limits.max_id_chars;
        if origin.idempotency_key.as_ref().is_some_and(|key| key.len() > max_chars) {
            let detail = format!("`Idempotency-Key` may have {max_chars} characters (`ingest.max_id_chars`)");
            return Err(ReceiveError::WrongType { pointer: String::new(), detail });
        }
        let received_at = self.clock.now();
        let mut entropy = rand::random::<[u8; 10]>;
        let device = origin.peer_ip.filter(|_| origin.is_device).map(|ip| (ip, origin.user_agent.as_deref()));
        let erased = self.erased.current();
        let mut context = RequestContext {
            tenant: origin.tenant,
            received_at,
            arrived_at: received_at,
            mask_ip: origin.mask_ip,
            device,
            global_privacy_control: origin.global_privacy_control,
            idempotency_key: origin.idempotency_key.as_deref(),
            limits: &self.limits,
            enricher: &self.enricher,
            erased: &erased,
            entropy: &mut entropy,
        };
        let anew = OnceCell::new();
        let items = receive::read(endpoint, body, &anew, &mut context)?;
        let mut batch = Batch::new(origin.tenant, received_at, items.len(), self.limits.max_event_bytes);
        for item in items {
            batch.push(item, &mut entropy);
        }
        Ok(batch)
    }
}
