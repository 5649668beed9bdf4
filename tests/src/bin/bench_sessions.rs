//! Times sessions over a lake: `generate DATA_DIR --events N` writes one, `DATA_DIR --times N` cuts its sessions N
//! times and ends with one line of JSON. See `tests/bench/README.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use clap::{Parser, Subcommand};
use datafusion::common::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, ParquetReadOptions, col};
use touchline_ingest::record::decode;
use touchline_pipeline::QueryEngine;
use touchline_pipeline::sessions::{SessionParams, sessions};
use touchline_schemas::SystemClock;
use touchline_schemas::tables::{Table, sessions as column};
use touchline_tests::bench::tenant;
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
    /// Writes the sessions to a Parquet file, with the columns that the peers write, and times that.
    #[arg(long)]
    write: bool,
    /// Runs all jobs of derived tables in full, and times that.
    #[arg(long)]
    jobs: bool,
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
    let written = tempfile::tempdir()?;
    let mut seconds = Vec::new();
    let mut answer = Vec::new();
    for _ in 0..arguments.times {
        let begun = Instant::now();
        if arguments.jobs {
            installation.run_jobs(true).await?;
        } else if arguments.write {
            write(&installation.engine, written.path()).await?;
        } else {
            answer = cut(&installation.engine).await?;
        }
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let max_rss_mb = peak_memory_mb()?;
    if arguments.write {
        answer = count_written(&installation.engine, written.path()).await?;
    }
    let line = serde_json::json!({
        "engine": "touchline",
        "seconds": seconds,
        "answer": answer,
        "max_rss_mb": max_rss_mb,
    });
    print(&line.to_string());
    Ok(())
}

/// Sessions, their events, their page views, and how many have a campaign source.
async fn cut(engine: &QueryEngine) -> anyhow::Result<Vec<i64>> {
    totals(all_sessions(engine).await?).await
}

async fn all_sessions(engine: &QueryEngine) -> anyhow::Result<DataFrame> {
    let (events, _) = engine.scan(Table::Events, tenant()).await?;
    Ok(sessions(&engine.context(), Arc::new(events), SessionParams::default())?)
}

async fn totals(sessions: DataFrame) -> anyhow::Result<Vec<i64>> {
    let totals = sessions.aggregate(
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

/// Writes what the peers write.
async fn write(engine: &QueryEngine, folder: &Path) -> anyhow::Result<()> {
    let columns = [
        "visitor_id",
        column::STARTED_AT,
        column::ENDED_AT,
        column::EVENT_COUNT,
        column::PAGE_VIEW_COUNT,
        "utm_source",
    ];
    let rows = all_sessions(engine).await?.select_columns(&columns)?;
    let options = DataFrameWriteOptions::new().with_insert_operation(InsertOp::Append);
    let mut parquet = TableParquetOptions::default();
    parquet.global.compression = Some("zstd(3)".to_owned());
    let file = format!("{}/{}.parquet", folder.display(), Uuid::now_v7());
    rows.write_parquet(&file, options, Some(parquet)).await?;
    Ok(())
}

async fn count_written(engine: &QueryEngine, folder: &Path) -> anyhow::Result<Vec<i64>> {
    let last = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).max().context("no file")?;
    let file = last.to_str().context("no path")?;
    totals(engine.context().read_parquet(file, ParquetReadOptions::default()).await?).await
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
