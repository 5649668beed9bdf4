//! Times sessions over a lake: `generate DATA_DIR --events N` writes one, `DATA_DIR --times N` cuts its sessions N
//! times and ends with one line of JSON. See `tests/bench/README.md`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use clap::{Parser, Subcommand};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_ingest::record::decode;
use touchline_pipeline::QueryEngine;
use touchline_pipeline::sessions::{SessionParams, sessions};
use touchline_schemas::tables::{Table, sessions as column};
use touchline_schemas::{AccountId, Environment, SystemClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::memory::peak_memory_mb;
use touchline_tests::shop::Shop;
use uuid::Uuid;

/// The peers get two threads as well.
const THREADS: usize = 2;
const DAYS: u32 = 10;
const EVENTS_PER_COMMIT: usize = 500_000;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Directory of a generated lake.
    data_dir: Option<PathBuf>,
    /// How often.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Writes the table as well, as the job does, and times that.
    #[arg(long)]
    write: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a lake with one account.
    Generate {
        /// Where.
        data_dir: PathBuf,
        /// About how many events.
        #[arg(long, default_value_t = 10_000_000)]
        events: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Generate { data_dir, events }) = arguments.command {
        return generate(data_dir, events).await;
    }
    let data_dir = arguments.data_dir.context("which DATA_DIR?")?;
    let installation = Installation::open(&data_dir, Arc::new(SystemClock), THREADS).await?;
    let mut seconds = Vec::new();
    let mut answer = Vec::new();
    for _ in 0..arguments.times {
        let begun = Instant::now();
        if arguments.write {
            installation.run_jobs(true).await?;
        } else {
            answer = cut(&installation.engine).await?;
        }
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let line = serde_json::json!({
        "engine": if arguments.write { "touchline, written" } else { "touchline" },
        "seconds": seconds,
        "answer": answer,
        "max_rss_mb": peak_memory_mb()?,
    });
    print(&line.to_string());
    Ok(())
}

fn tenant() -> Tenant {
    Tenant { account_id: AccountId(Uuid::from_u128(0xbe7c)), environment: Environment::Live }
}

/// Sessions, their events, their page views, and how many have a campaign source.
async fn cut(engine: &QueryEngine) -> anyhow::Result<Vec<i64>> {
    let (events, _) = engine.scan(Table::Events, tenant()).await?;
    let context = engine.context();
    let totals = sessions(&context, Arc::new(events), SessionParams::default())?.aggregate(
        vec![],
        vec![
            count(lit(1_i64)).alias("sessions"),
            sum(col(column::EVENT_COUNT)).alias("events"),
            sum(col(column::PAGE_VIEW_COUNT)).alias("page_views"),
            count(col("utm_source")).alias("with_source"),
        ],
    )?;
    let batches = totals.collect().await?;
    let row = batches.first().context("no answer")?;
    Ok(row.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect())
}

async fn generate(data_dir: PathBuf, events: usize) -> anyhow::Result<()> {
    let mut installation = Installation::open(&data_dir, Arc::new(SystemClock), THREADS).await?;
    let begin = "2026-01-01T00:00:00Z".parse()?;
    let visitors = (events / 28).max(1) as u32;
    let mut shop = Shop::new(1, tenant(), visitors, begin, DAYS);
    let commits = events.div_ceil(EVENTS_PER_COMMIT);
    for commit in 0..commits {
        let per_commit = events / commits;
        let (payload, _) =
            shop.request(per_commit, commit as f64 / commits as f64, (commit + 1) as f64 / commits as f64);
        let request = decode(&payload)?;
        let written = installation.writer.store(commit as i64 + 1, &[request]).await?;
        print(&format!("{} of {commits}: {} events", commit + 1, written.tally.stored));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the benchmark's answer")]
fn print(line: &str) {
    println!("{line}");
}
