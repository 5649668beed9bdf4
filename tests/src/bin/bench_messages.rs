//! Times rollups of messages over a lake: `generate DATA_DIR --events N` writes one, `files DATA_DIR` lists its files,
//! `DATA_DIR --times N` counts its messages N times and ends with one line of JSON. See `tests/bench/README.md`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use clap::{Parser, Subcommand};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;
use touchline_ingest::event_ids::IdHash;
use touchline_ingest::record::{EncodedEvents, Event, decode};
use touchline_jobs::{Job, JobContext, MessagesJob, RunRequest};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::event_sets::{Part, read};
use touchline_pipeline::identities::People;
use touchline_pipeline::messages::SOURCE;
use touchline_pipeline::messages::rollup::{DayRollup, rollups_of};
use touchline_pipeline::messages::rows::Attempts;
use touchline_schemas::SystemClock;
use touchline_schemas::event::TextField;
use touchline_schemas::event::messaging::{MESSAGE_CLICKED, MESSAGE_DELIVERED, MESSAGE_SENT, MESSAGE_VIEWED};
use touchline_schemas::tables::Table;
use touchline_schemas::tables::message_rollups as column;
use touchline_tests::bench::{measure, tenant};
use touchline_tests::installation::Installation;
use touchline_tests::logged;
use uuid::Uuid;

/// The peer gets two threads as well.
const THREADS: usize = 2;
const DAYS: i64 = 10;
const EVENTS_PER_COMMIT: usize = 500_000;
const HOUR_US: i64 = 3_600_000_000;
const CHANNELS: [&str; 3] = ["email", "site", "push"];

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
    /// Runs the whole job instead: deliveries with all their columns and rollups, written.
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
    /// Lists the files of the events, one path a line.
    Files {
        /// Where.
        data_dir: PathBuf,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Generate { data_dir, events }) => return generate(data_dir, events).await,
        Some(Command::Files { data_dir }) => return list_files(data_dir).await,
        None => {}
    }
    let data_dir = arguments.data_dir.context("which DATA_DIR?")?;
    let installation = Installation::open(&data_dir, Arc::new(SystemClock), THREADS).await?;
    let engine = if arguments.write { "touchline, written" } else { "touchline" };
    let run = async || if arguments.write { write(&installation).await } else { count(&installation.engine).await };
    print(&measure(engine, arguments.times, run).await?);
    Ok(())
}

/// Rollups from events, and of all of their rows the sums that the peer has as well.
async fn count(engine: &QueryEngine) -> anyhow::Result<Vec<i64>> {
    let (events, _) = engine.scan(Table::Events, tenant()).await?;
    let heaps = read(engine, events, &SOURCE, Part::ALL).await?;
    let people = Arc::new(People::default());
    let tasks = heaps.into_iter().map(|sets| {
        let people = Arc::clone(&people);
        tokio::task::spawn_blocking(move || Attempts::of(sets, &people))
    });
    let attempts = futures::future::try_join_all(tasks).await?;
    sums(&rollups_of(attempts, &Arc::default()).await?)
}

/// Groups, and sums over all of them.
fn sums(rollups: &[DayRollup]) -> anyhow::Result<Vec<i64>> {
    let names = [
        column::SENT,
        column::DELIVERED,
        column::VIEWS,
        column::HUMAN_VIEWS,
        column::UNIQUE_VIEWS,
        column::UNIQUE_VIEWERS,
        column::CLICKS,
        column::UNIQUE_CLICKS,
        column::UNIQUE_CLICKERS,
        column::UNIQUE_ELEMENT_CLICKS,
    ];
    let mut answer = vec![rollups.iter().map(|day| day.rows.num_rows() as i64).sum()];
    for name in names {
        let mut sum = 0;
        for day in rollups {
            let counts = day.rows.column_by_name(name).and_then(|counts| counts.as_primitive_opt::<Int64Type>());
            sum += counts.context("no such count")?.values().iter().sum::<i64>();
        }
        answer.push(sum);
    }
    Ok(answer)
}

/// Rows read and written by a full run of the job.
async fn write(installation: &Installation) -> anyhow::Result<Vec<i64>> {
    let job = MessagesJob::new(installation.engine.clone(), installation.control.clone());
    let context =
        JobContext { clock: Arc::new(SystemClock), cancellation: CancellationToken::new(), progress: Arc::default() };
    let report = job.run(RunRequest::FULL, &context).await?;
    Ok(vec![report.rows_read as i64, report.rows_written as i64])
}

async fn list_files(data_dir: PathBuf) -> anyhow::Result<()> {
    let installation = Installation::open(&data_dir, Arc::new(SystemClock), THREADS).await?;
    let lake = installation.engine.lake();
    for file in lake.table(Table::Events).snapshot().await?.files(tenant()) {
        print(&lake.root().join(Table::Events.name()).join(&file.path).display().to_string());
    }
    Ok(())
}

async fn generate(data_dir: PathBuf, events: usize) -> anyhow::Result<()> {
    let mut installation = Installation::open(&data_dir, Arc::new(SystemClock), THREADS).await?;
    let mut campaign = Campaign::new(events)?;
    let commits = events.div_ceil(EVENTS_PER_COMMIT);
    for commit in 0..commits {
        let payload = campaign.request(events / commits, commit as i64, commits as i64);
        let written = installation.writer.store(commit as i64 + 1, &[decode(&payload)?]).await?;
        print(&format!("{} of {commits}: {} events", commit + 1, written.tally.stored));
    }
    Ok(())
}

/// Messages on their way to people, the same for the same number of events.
struct Campaign {
    random: SmallRng,
    users: u32,
    begin_us: i64,
}

impl Campaign {
    fn new(events: usize) -> anyhow::Result<Self> {
        let begin: chrono::DateTime<chrono::Utc> = "2026-01-01T00:00:00Z".parse()?;
        let users = (events / 30).max(1) as u32;
        Ok(Self { random: SmallRng::seed_from_u64(1), users, begin_us: begin.timestamp_micros() })
    }

    /// One logged request with about `events` events of messages that were sent in one of `of` parts of the time.
    fn request(&mut self, events: usize, part: i64, of: i64) -> Vec<u8> {
        let mut encoded = EncodedEvents::with_capacity(events + 8);
        while encoded.len() < events {
            self.message(&mut encoded, part, of);
        }
        logged::of_encoded(tenant(), self.begin_us + DAYS * 24 * HOUR_US, &encoded)
    }

    fn message(&mut self, encoded: &mut EncodedEvents, part: i64, of: i64) {
        let random = &mut self.random;
        let span_us = DAYS * 24 * HOUR_US / of;
        let sent_us = self.begin_us + part * span_us + random.random_range(0..span_us);
        let delivery = Uuid::from_u128(random.random()).to_string();
        let user = format!("user-{:08}", random.random_range(0..self.users));
        let message = format!("message-{:02}", random.random_range(0..20));
        let variant = ["a", "b", "c"][random.random_range(0..3)];
        let channel = CHANNELS[random.random_range(0..CHANNELS.len())];
        let mut add = |event_type: &str, at_us: i64, is_bot: bool, properties: Option<String>, id: [u8; 10]| {
            let mut event = Event::at(at_us);
            event.is_bot = is_bot;
            event.set(TextField::EventType, event_type);
            event.set(TextField::UserId, user.clone());
            event.set(TextField::MessageId, message.clone());
            event.set(TextField::DeliveryId, delivery.clone());
            event.set(TextField::Variant, variant);
            event.set(TextField::Channel, channel);
            event.set(TextField::RuleName, "nightly");
            event.set(TextField::Source, "native");
            if let Some(properties) = properties {
                event.set(TextField::Properties, properties);
            }
            let millis = at_us.unsigned_abs() / 1_000;
            let id = uuid::Builder::from_unix_timestamp_millis(millis, &id).into_uuid().to_string();
            let hash = IdHash::new(tenant(), &id);
            event.set(TextField::EventId, id);
            encoded.push(hash, &event);
        };
        add(MESSAGE_SENT, sent_us, false, Some(r#"{"system":"rule","cost":0.0004}"#.to_owned()), random.random());
        if random.random_bool(0.97) {
            add(MESSAGE_DELIVERED, sent_us + random.random_range(0..60_000_000), false, None, random.random());
            let viewed_us = sent_us + random.random_range(0..30 * HOUR_US);
            for _ in 0..[0, 0, 1, 1, 2][random.random_range(0..5)] {
                let at_us = viewed_us + random.random_range(0..HOUR_US);
                add(MESSAGE_VIEWED, at_us, random.random_bool(0.05), None, random.random());
            }
            if random.random_bool(0.2) {
                let element = format!(r#"{{"element":"button-{}"}}"#, random.random_range(0..3));
                add(MESSAGE_CLICKED, viewed_us + 2 * HOUR_US, false, Some(element), random.random());
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the benchmark's answer")]
fn print(line: &str) {
    println!("{line}");
}
