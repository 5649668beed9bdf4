//! Times incremental runs against full ones: `DATA_DIR --events N` writes a lake of 30 days with one account, runs all
//! jobs in full, brings 1 % new events on the last day, runs the jobs, brings 0.1 % late events over all days, runs them
//! again, and ends with one line of JSON. See `tests/bench/README.md`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use touchline_ingest::record::decode;
use touchline_jobs::JobReport;
use touchline_schemas::SystemClock;
use touchline_tests::bench::tenant;
use touchline_tests::installation::Installation;
use touchline_tests::memory::peak_memory_mb;
use touchline_tests::shop::Shop;

const THREADS: usize = 2;
const DAYS: u32 = 30;
const EVENTS_PER_COMMIT: usize = 500_000;

#[derive(Parser)]
struct Arguments {
    /// Where; must not hold a lake.
    data_dir: PathBuf,
    /// About how many events.
    #[arg(long, default_value_t = 10_000_000)]
    events: usize,
    /// Only the first, full run.
    #[arg(long)]
    full_only: bool,
    /// Take the events that an earlier run left in the directory.
    #[arg(long)]
    stored: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { data_dir, events, full_only, stored } = Arguments::parse();
    let mut bench = Bench::new(&data_dir, events).await?;
    let commits = if stored { 0 } else { events.div_ceil(EVENTS_PER_COMMIT) };
    for commit in 0..commits {
        let (from, to) = (commit as f64 / commits as f64, (commit + 1) as f64 / commits as f64);
        bench.store(events / commits, from, to).await?;
    }
    bench.run("full", true).await?;
    if !full_only {
        bench.store(events / 100, 1.0 - 1.0 / f64::from(DAYS), 1.0).await?;
        bench.run("last_day", false).await?;
        bench.store(events / 1_000, 0.0, 1.0).await?;
        bench.run("late", false).await?;
    }
    let line = serde_json::json!({ "events": events, "runs": bench.runs, "max_rss_mb": peak_memory_mb()? });
    print(&line.to_string());
    Ok(())
}

struct Bench {
    installation: Installation,
    shop: Shop,
    commits: i64,
    runs: serde_json::Map<String, serde_json::Value>,
}

impl Bench {
    async fn new(data_dir: &std::path::Path, events: usize) -> anyhow::Result<Self> {
        let visitors = (events / 28).max(1) as u32;
        Ok(Self {
            installation: Installation::open(data_dir, Arc::new(SystemClock), THREADS).await?,
            shop: Shop::new(1, tenant(), visitors, "2026-01-01T00:00:00Z".parse()?, DAYS),
            commits: 0,
            runs: serde_json::Map::new(),
        })
    }

    async fn store(&mut self, events: usize, from: f64, to: f64) -> anyhow::Result<()> {
        let (payload, _) = self.shop.request(events, from, to);
        self.commits += 1;
        self.installation.writer.store(self.commits, &[decode(&payload)?]).await?;
        Ok(())
    }

    async fn run(&mut self, name: &str, full: bool) -> anyhow::Result<()> {
        let mut jobs = serde_json::Map::new();
        for job in self.installation.jobs() {
            let begun = Instant::now();
            let JobReport { rows_read, rows_written, bytes_read, bytes_written, .. } =
                self.installation.run_job(&*job, full).await?;
            let seconds = begun.elapsed().as_secs_f64();
            print(&format!("{name} {}: {seconds:.3} s, {rows_read} rows and {bytes_read} bytes read", job.name()));
            jobs.insert(
                job.name().to_owned(),
                serde_json::json!({
                    "seconds": seconds,
                    "rows_read": rows_read,
                    "bytes_read": bytes_read,
                    "rows_written": rows_written,
                    "bytes_written": bytes_written,
                    "max_rss_mb": peak_memory_mb()?,
                }),
            );
        }
        self.runs.insert(name.to_owned(), jobs.into());
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the benchmark's answer")]
fn print(line: &str) {
    println!("{line}");
}
