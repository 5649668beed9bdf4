//! Times the job `compaction` over a lake as ingest leaves it: `DATA_DIR --events N` writes one if there is none, merges
//! it, and ends with one line of JSON. See `tests/bench/README.md`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use tokio_util::sync::CancellationToken;
use touchline_ingest::record::decode;
use touchline_jobs::{CompactionJob, Job, JobContext, RunRequest};
use touchline_lake::Lake;
use touchline_schemas::SystemClock;
use touchline_schemas::tables::Table;
use touchline_tests::bench::tenant;
use touchline_tests::installation::Installation;
use touchline_tests::memory::peak_memory_mb;
use touchline_tests::shop::Shop;

/// What a segment of the default size holds: at 100,000 events a second one is written every second.
const EVENTS_PER_SEGMENT: usize = 95_000;
const TARGET_FILE_BYTES: u64 = 128 << 20;

#[derive(Parser)]
struct Arguments {
    /// Where the lake is, or will be.
    data_dir: PathBuf,
    /// About how many events, all of one day.
    #[arg(long, default_value_t = 3_000_000)]
    events: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut installation = Installation::open(&arguments.data_dir, Arc::new(SystemClock), 1).await?;
    let lake = installation.engine.lake().clone();
    if size(&lake).await?.0 == 0 {
        generate(&mut installation, arguments.events).await?;
    }
    let (events, bytes_before, files_before) = size(&lake).await?;
    let context =
        JobContext { clock: Arc::new(SystemClock), cancellation: CancellationToken::new(), progress: Arc::default() };
    let (begun, cpu_begun) = (Instant::now(), cpu_seconds()?);
    let report = CompactionJob::new(lake.clone(), TARGET_FILE_BYTES).run(RunRequest::default(), &context).await?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu_begun);
    let (_, bytes_after, files_after) = size(&lake).await?;
    let line = serde_json::json!({
        "events": events,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "events_per_second": events as f64 / seconds,
        "events_per_cpu_second": events as f64 / cpu,
        "files": [files_before, files_after],
        "bytes_per_event": [bytes_before as f64 / events as f64, bytes_after as f64 / events as f64],
        "written_times": report.rows_written as f64 / events as f64,
        "max_rss_mb": peak_memory_mb()?,
    });
    print(&line.to_string());
    Ok(())
}

async fn generate(installation: &mut Installation, events: usize) -> anyhow::Result<()> {
    let segments = events.div_ceil(EVENTS_PER_SEGMENT);
    let mut shop = Shop::new(1, tenant(), (events / 28).max(1) as u32, "2026-01-01T00:00:00Z".parse()?, 1);
    for segment in 0..segments {
        // Visits run on for an hour or so: away from midnight, so that all lies in one day.
        let part = |segment: usize| segment as f64 / segments as f64 * 0.9;
        let (payload, _) = shop.request(events / segments, part(segment), part(segment + 1));
        installation.writer.store(segment as i64 + 1, &[decode(&payload)?]).await?;
    }
    Ok(())
}

/// Events, bytes and files of the table.
async fn size(lake: &Lake) -> anyhow::Result<(u64, u64, usize)> {
    let snapshot = lake.table(Table::Events).snapshot().await?;
    let files = snapshot.files(tenant());
    let events = files.iter().map(|file| file.rows).sum();
    Ok((events, files.iter().map(|file| file.size_bytes).sum(), files.len()))
}

/// What this process has had of processors, from `/proc/self/stat`.
fn cpu_seconds() -> anyhow::Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().context("no name")?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}

#[expect(clippy::print_stdout, reason = "the benchmark's answer")]
fn print(line: &str) {
    println!("{line}");
}
