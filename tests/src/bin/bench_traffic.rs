//! Times traffic over the sessions of a generated lake: `files DATA_DIR` lists the files of its sessions (which it cuts
//! if there are none), `DATA_DIR --times N` counts sessions and distinct visitors by day and campaign source N times and
//! ends with one line of JSON. See `tests/bench/README.md`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use chrono_tz::Tz;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use touchline_jobs::{Job, JobContext, RunRequest, SessionsJob, TrafficJob};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::reports::{Bots, TimeRange};
use touchline_pipeline::traffic::{Calendar, Dimension, Question, groups};
use touchline_schemas::SystemClock;
use touchline_schemas::tables::Table;
use touchline_tests::bench::{measure, tenant};
use touchline_tests::installation::Installation;

/// The peer gets two threads as well.
const THREADS: usize = 2;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Directory of a lake that `bench_sessions generate` wrote.
    data_dir: Option<PathBuf>,
    /// How often.
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Runs the whole job instead: all dimensions, both calendars, the table written.
    #[arg(long)]
    write: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the files of the sessions, one path a line.
    Files {
        /// Where.
        data_dir: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Files { data_dir }) = arguments.command {
        return list_files(data_dir).await;
    }
    let data_dir = arguments.data_dir.context("which DATA_DIR?")?;
    let installation = Installation::open(&data_dir, Arc::new(SystemClock), THREADS).await?;
    let engine = if arguments.write { "touchline, written" } else { "touchline" };
    let run = async || if arguments.write { write(&installation).await } else { count(&installation.engine).await };
    print(&measure(engine, arguments.times, run).await?);
    Ok(())
}

/// Groups of a day and a campaign source, their sessions, their visitors.
async fn count(engine: &QueryEngine) -> anyhow::Result<Vec<i64>> {
    let (sessions, _) = engine.scan(Table::Sessions, tenant()).await?;
    let question = Question {
        table: Table::Sessions,
        calendars: vec![Calendar::Days(Tz::UTC)],
        dimensions: vec![Dimension::UtmSource],
        amounts: false,
        range: TimeRange::default(),
        bots: Bots::Exclude,
        days: None,
        filters: Vec::new(),
        conversion_event_types: Vec::new(),
    };
    let found = groups(engine, sessions, &question).await?;
    let sum = |of: fn(&touchline_pipeline::traffic::Group) -> i64| found.iter().map(of).sum::<i64>();
    Ok(vec![found.len() as i64, sum(|group| group.rows), sum(|group| group.visitors)])
}

/// Rows read and written by a full run of the job.
async fn write(installation: &Installation) -> anyhow::Result<Vec<i64>> {
    let job = TrafficJob::new(installation.engine.clone(), installation.control.clone());
    let report = job.run(RunRequest::FULL, &context()).await?;
    Ok(vec![report.rows_read as i64, report.rows_written as i64])
}

async fn list_files(data_dir: PathBuf) -> anyhow::Result<()> {
    let installation = Installation::open(&data_dir, Arc::new(SystemClock), THREADS).await?;
    let lake = installation.engine.lake();
    let table = lake.table(Table::Sessions);
    if table.snapshot().await?.files(tenant()).is_empty() {
        let timeout = chrono::Duration::minutes(30);
        let job = SessionsJob::new(installation.engine.clone(), installation.control.clone(), timeout);
        job.run(RunRequest::default(), &context()).await?;
    }
    for file in table.snapshot().await?.files(tenant()) {
        print(&lake.root().join(Table::Sessions.name()).join(&file.path).display().to_string());
    }
    Ok(())
}

fn context() -> JobContext {
    JobContext { clock: Arc::new(SystemClock), cancellation: CancellationToken::new(), progress: Arc::default() }
}

#[expect(clippy::print_stdout, reason = "the benchmark's answer")]
fn print(line: &str) {
    println!("{line}");
}
