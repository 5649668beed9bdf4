//! Times durable ingest against a handler of the same server that only parses the same bodies and answers.
//!
//! The server is a process of its own, the load generator is this one; both handlers are asked in turns with the same
//! bodies over the same connections. See `tests/bench/README.md`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use chrono::{SecondsFormat, Utc};
use clap::{Parser, Subcommand};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use touchline_api::AppState;
use touchline_ingest::log::LogOptions;
use touchline_ingest::receive::Limits;
use touchline_ingest::{IngestOptions, IngestProcess};
use touchline_jobs::Runner;
use touchline_lake::{Lake, LakeOptions};
use touchline_pipeline::{QueryEngine, QueryOptions};
use touchline_schemas::Environment;
use touchline_schemas::clock::{Clock, SystemClock};
use touchline_schemas::config::Config;
use touchline_schemas::control::{ControlDb, KeyKind, NewKey, Scope, Scopes};
use touchline_schemas::paths::DataDir;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Role>,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Turns of each handler.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of the sustained run.
    #[arg(long, default_value_t = 30)]
    sustained_seconds: u64,
    /// Connections that post batches of 100 events.
    #[arg(long, default_value_t = 16)]
    batch_connections: usize,
    /// Connections that post single events.
    #[arg(long, default_value_t = 128)]
    single_connections: usize,
}

#[derive(Subcommand)]
enum Role {
    /// The server; started by the benchmark itself.
    Server {
        /// An empty directory.
        data_dir: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    match &arguments.command {
        Some(Role::Server { data_dir }) => runtime.block_on(serve(data_dir)),
        None => runtime.block_on(measure(&arguments)),
    }
}

// ---- the server ------------------------------------------------------------------------------------------------

async fn serve(data_dir: &Path) -> anyhow::Result<()> {
    let config = Arc::new(Config::default());
    let clock = Arc::new(SystemClock);
    let data_dir = DataDir::new(data_dir);
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    let control = ControlDb::open(&data_dir.control_database()).await?;
    let account = control.create_account("bench", "Benchmark", clock.now()).await?;
    let scopes = Scopes::new([Scope::Ingest])?;
    let new =
        NewKey { account_id: account.id, environment: Environment::Live, kind: KeyKind::Secret, scopes, name: None };
    let (_, key) = control.create_key(new, rand::random(), clock.now()).await?;
    let lake = Lake::open(&data_dir.lake(), LakeOptions { checkpoint_interval: 20 }).await?;
    let engine = QueryEngine::new(lake.clone(), QueryOptions { memory_limit_bytes: 64 << 20, threads: 2 })?;
    let options = options(&config);
    let process = IngestProcess::start(&data_dir, &lake, control.clone(), clock.clone(), options).await?;
    let runner = Runner::new(control.clone(), clock.clone(), Vec::new(), &config.jobs, "bench".to_owned())?;
    let ingest = process.ingest().clone();
    let state = AppState::new(config.clone(), control, clock, ingest, engine, runner, prometheus);
    let (router, _) = touchline_api::router(state);
    let router = router.route("/bench/parse", post(parse_only));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("{} {}", listener.local_addr()?, key.expose()));
    touchline_api::serve(listener, router, &config.server, std::future::pending()).await?;
    Ok(())
}

fn options(config: &Config) -> IngestOptions {
    let (ingest, log) = (&config.ingest, &config.log);
    IngestOptions {
        limits: Limits::from(ingest),
        log: LogOptions {
            segment_bytes: log.segment_bytes,
            segment_age: Duration::from_millis(log.segment_age_ms),
            quota_bytes: log.quota_bytes,
        },
        hot_window_events: ingest.hot_window_events,
        id_filter_bytes: ingest.id_filter_bytes,
        enricher: Arc::default(),
    }
}

#[derive(Deserialize)]
struct ParsedBody<'a> {
    #[serde(borrow)]
    events: Vec<ParsedEvent<'a>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsing is all that the handler does")]
struct ParsedEvent<'a> {
    event_id: &'a str,
    event_type: &'a str,
    visitor_id: &'a str,
    timestamp: &'a str,
    ip: &'a str,
    user_agent: &'a str,
    #[serde(borrow)]
    properties: &'a RawValue,
}

/// What ingest is compared with: the same bodies, parsed without a copy, and a short answer.
async fn parse_only(body: Bytes) -> (StatusCode, String) {
    match serde_json::from_slice::<ParsedBody<'_>>(&body) {
        Ok(parsed) => (StatusCode::ACCEPTED, format!("{{\"accepted\":{}}}", parsed.events.len())),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

// ---- the load generator ----------------------------------------------------------------------------------------

struct Server {
    child: Child,
    address: String,
    key: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
        let mut child =
            Command::new(std::env::current_exe()?).arg("server").arg(folder.path()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        let (address, key) = line.trim().split_once(' ').context("the server did not start")?;
        Ok(Self { address: address.to_owned(), key: key.to_owned(), child, _folder: folder })
    }

    fn peak_memory_mb(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
    }

    /// A figure of `/metrics`.
    async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let request = "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.with_context(|| format!("no metric {name}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request whose event ids can be changed in place.
#[derive(Clone)]
struct Template {
    bytes: Vec<u8>,
    ids_at: Vec<usize>,
}

const ID_PLACE: &str = "@@@@@@@@@@@@@@@@";
const USER_AGENT: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
const PATHS: [&str; 5] = ["/", "/lamps/oak-42", "/chairs", "/cart", "/blog/how-to-oil-oak"];

/// In whose words the events are sent.
#[derive(Clone, Copy)]
enum Dialect {
    Native,
    Segment,
}

impl Dialect {
    fn body(self, events: usize, connection: usize) -> String {
        let list = match self {
            Self::Native => "events",
            Self::Segment => "batch",
        };
        let events = (0..events).map(|place| self.event(connection * 1_000 + place));
        format!("{{\"{list}\":[{}]}}", events.collect::<Vec<_>>().join(","))
    }

    /// A page view; in both dialects the same one.
    fn event(self, number: usize) -> String {
        let visitor = format!("{:032x}", (number as u128 / 7 + 1) * 0x9e37_79b9_7f4a_7c15_f39c);
        let path = PATHS[number % PATHS.len()];
        #[expect(clippy::disallowed_methods, reason = "events of now")]
        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let query =
            if number.is_multiple_of(4) { "?utm_source=google&utm_medium=cpc&utm_campaign=spring_sale" } else { "" };
        let properties = format!(
            r#"{{"url":"https://shop.example{path}{query}","referrer":"https://www.google.com/","title":"Lumen and Oak","plan":"pro","ab_test":"b","items_in_cart":3}}"#
        );
        match self {
            Self::Native => format!(
                r#"{{"event_id":"bench-{ID_PLACE}","event_type":"page_view","visitor_id":"{visitor}","timestamp":"{timestamp}","ip":"203.0.113.7","user_agent":"{USER_AGENT}","properties":{properties}}}"#
            ),
            Self::Segment => format!(
                r#"{{"messageId":"bench-{ID_PLACE}","type":"page","anonymousId":"{visitor}","userId":null,"timestamp":"{timestamp}","integrations":{{}},"context":{{"ip":"203.0.113.7","userAgent":"{USER_AGENT}","library":{{"name":"analytics-python","version":"2.4.0"}}}},"properties":{properties}}}"#
            ),
        }
    }
}

impl Template {
    fn new(path: &str, dialect: Dialect, key: &str, events: usize, connection: usize) -> Self {
        let body = dialect.body(events, connection);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.into_bytes(), body.into_bytes()].concat();
        let text = String::from_utf8_lossy(&bytes);
        let ids_at = text.match_indices(ID_PLACE).map(|(place, _)| place).collect();
        Self { bytes, ids_at }
    }

    fn renew(&mut self, ids: &AtomicU64) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let first = ids.fetch_add(self.ids_at.len() as u64, Ordering::Relaxed);
        for (id, at) in (first..).zip(&self.ids_at) {
            for (digit, byte) in self.bytes[*at..at + ID_PLACE.len()].iter_mut().enumerate() {
                *byte = HEX[(id >> (60 - 4 * digit)) as usize & 15];
            }
        }
    }
}

const PARSE: (&str, Dialect) = ("/bench/parse", Dialect::Native);
const NATIVE: (&str, Dialect) = ("/api/v1/events", Dialect::Native);
const SEGMENT: (&str, Dialect) = ("/v1/batch", Dialect::Segment);

struct Turn {
    events_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Posts from `connections` at once for a time; every answer must be 200 or 202.
async fn post_for(
    server: &Server,
    (path, dialect): (&str, Dialect),
    events: usize,
    connections: usize,
    time: Duration,
    ids: &Arc<AtomicU64>,
) -> anyhow::Result<Turn> {
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|connection| {
            let template = Template::new(path, dialect, &server.key, events, connection);
            let (address, stop, ids) = (server.address.clone(), Arc::clone(&stop), Arc::clone(ids));
            tokio::spawn(async move { post_until(&address, template, &stop, &ids).await })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let elapsed_s = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Ok(Turn { events_per_s: (latencies.len() * events) as f64 / elapsed_s, p50_ms: at(0.5), p99_ms: at(0.99) })
}

async fn post_until(
    address: &str,
    mut template: Template,
    stop: &AtomicBool,
    ids: &AtomicU64,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let mut answer = Vec::with_capacity(32 << 10);
    while !stop.load(Ordering::Relaxed) {
        template.renew(ids);
        let begun = Instant::now();
        stream.write_all(&template.bytes).await?;
        read_answer(&mut stream, &mut answer).await?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            bail!("the server hung up: {}", String::from_utf8_lossy(answer));
        }
        let Some(head_bytes) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..head_bytes]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 202") && !head.starts_with("http/1.1 200") {
            bail!("{}", String::from_utf8_lossy(answer));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let wanted = head_bytes + 4 + length.context("an answer without a length")?;
        while answer.len() < wanted {
            if stream.read_buf(answer).await? == 0 {
                bail!("the server hung up");
            }
        }
        return Ok(());
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let ids = Arc::new(AtomicU64::new(1));
    let time = Duration::from_secs(arguments.seconds);
    for (name, events, connections, aim) in [
        ("batches of 100", 100, arguments.batch_connections, 0.25),
        ("single events", 1, arguments.single_connections, 0.4),
    ] {
        let server = Server::start()?;
        let (mut parsed, mut durable) = (Vec::new(), Vec::new());
        for _ in 0..arguments.rounds {
            parsed.push(post_for(&server, PARSE, events, connections, time, &ids).await?);
            durable.push(post_for(&server, NATIVE, events, connections, time, &ids).await?);
            // The next turn of the parser shall not share the machine with what this one left to write.
            drain(&server).await?;
        }
        let (parse_rate, durable_rate) = (median(&parsed), median(&durable));
        say(&format!(
            "{name}: durable {durable_rate:.0} events/s, parsed {parse_rate:.0} events/s, ratio {:.2} (aim {aim}); acknowledged in p50 {:.1} ms, p99 {:.1} ms; peak memory {} MB",
            durable_rate / parse_rate,
            durable[0].p50_ms,
            durable[0].p99_ms,
            server.peak_memory_mb()?,
        ));
    }
    dialects(arguments, &ids).await?;
    sustained(arguments, &ids).await
}

/// Segment's batches against native ones.
async fn dialects(arguments: &Arguments, ids: &Arc<AtomicU64>) -> anyhow::Result<()> {
    let server = Server::start()?;
    let time = Duration::from_secs(arguments.seconds);
    let (mut native, mut segment) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        for (endpoint, turns) in [(NATIVE, &mut native), (SEGMENT, &mut segment)] {
            turns.push(post_for(&server, endpoint, 100, arguments.batch_connections, time, ids).await?);
            drain(&server).await?;
        }
    }
    let (native_rate, segment_rate) = (median(&native), median(&segment));
    say(&format!(
        "Segment's batches of 100: {segment_rate:.0} events/s, native ones {native_rate:.0} events/s, ratio {:.2} (aim 0.8)",
        segment_rate / native_rate,
    ));
    Ok(())
}

async fn sustained(arguments: &Arguments, ids: &Arc<AtomicU64>) -> anyhow::Result<()> {
    let server = Server::start()?;
    let begun = Instant::now();
    let time = Duration::from_secs(arguments.sustained_seconds);
    let turn = post_for(&server, NATIVE, 100, arguments.batch_connections, time, ids).await?;
    let posted_s = begun.elapsed().as_secs_f64();
    drain(&server).await?;
    let all_s = begun.elapsed().as_secs_f64();
    let events = turn.events_per_s * posted_s;
    let stored = server.metric("touchline_events_stored_total").await?;
    say(&format!(
        "sustained: {events:.0} events in {posted_s:.1} s, in the lake after {all_s:.1} s ({stored:.0} stored): {:.0} events/s (aim 150000); acknowledged in p50 {:.1} ms, p99 {:.1} ms; peak memory {} MB (aim 600)",
        events / all_s,
        turn.p50_ms,
        turn.p99_ms,
        server.peak_memory_mb()?,
    ));
    Ok(())
}

async fn drain(server: &Server) -> anyhow::Result<()> {
    while server.metric("touchline_log_pending_bytes").await? > 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn median(turns: &[Turn]) -> f64 {
    let mut rates: Vec<f64> = turns.iter().map(|turn| turn.events_per_s).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the benchmark's answer")]
fn say(line: &str) {
    println!("{line}");
}
