//! `touchline import`: events from files.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use touchline_ingest::import::csv::CsvOptions;
use touchline_schemas::Tenant;

use super::{Context, Outcome, Usage};
use crate::app::ImportSummary;
use crate::args::EnvironmentArg;
use crate::import_files::{self, ReadLimits};
use crate::output::count;

/// Batches that may wait for the log while the files are read on.
const BATCHES_AHEAD: usize = 4;

/// What `import` takes.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What the files are made of.
    #[arg(long, value_enum)]
    pub format: ImportFormat,
    /// Slug of the account that the events belong to.
    #[arg(long, value_name = "SLUG")]
    pub account: String,
    /// Environment that the events belong to.
    #[arg(long = "env", value_enum, default_value = "live")]
    pub environment: EnvironmentArg,
    /// Of CSV: the column that a field of the event is taken from, as in visitor_id=cookie or properties.plan=tier. May be
    /// given for several. A column that is not named is the field of its own name, or else a property.
    #[arg(long = "map", value_name = "FIELD=COLUMN")]
    pub map: Vec<String>,
    /// Of CSV: a field that has the same value in every event, as in event_type=purchase. May be given for several.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub set: Vec<String>,
    /// Of CSV: what stands between cells.
    #[arg(long, value_name = "CHARACTER", default_value = ",")]
    pub delimiter: String,
    /// Files, which may be compressed with gzip or zstd; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// One native event per line, as JSON.
    Ndjson,
    /// Rows of cells; the first row names the columns.
    Csv,
    /// One message in the form of Segment per line, as in its exports.
    Segment,
    /// Access log of Apache or nginx, one page view per line.
    Combined,
}

/// Imports the files, one after the other.
pub async fn run(args: ImportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let csv = args.csv()?;
    let app = context.app().await?;
    let account_id = app.account(&args.account).await?.id;
    let tenant = Tenant { account_id, environment: args.environment.into() };
    let limits = ReadLimits::of(&app.config.ingest);
    let progress = progress_bar(&args.files)?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let reading = {
        let progress = progress.clone();
        tokio::task::spawn_blocking(move || {
            import_files::read(&args.files, args.format, &csv, limits, &progress, &sender)
        })
    };
    let imported = app.import_batches(tenant, receiver).await;
    progress.finish_and_clear();
    // When the import stops early, reading only says that nobody listens any more: the import's error comes first.
    let summary = imported?;
    reading.await.context("the thread that reads the files has died")??;
    print(&summary, context)?;
    Ok(Outcome::Done)
}

impl ImportArgs {
    fn csv(&self) -> Result<CsvOptions, Usage> {
        let is_told_columns = !self.map.is_empty() || !self.set.is_empty();
        if self.format != ImportFormat::Csv && is_told_columns {
            return Err(Usage("--map and --set are for --format csv".to_owned()));
        }
        let &[delimiter] = self.delimiter.as_bytes() else {
            return Err(Usage(format!("--delimiter must be one character of ASCII, not `{}`", self.delimiter)));
        };
        if matches!(delimiter, b'"' | b'\r' | b'\n') {
            return Err(Usage("--delimiter cannot be a quote or a line's end".to_owned()));
        }
        let pairs = |flag: &str, texts: &[String]| -> Result<Vec<(String, String)>, Usage> {
            let pair = |text: &String| {
                let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
                Some((name.to_owned(), value.to_owned()))
            };
            let pairs = texts
                .iter()
                .map(|text| pair(text).ok_or_else(|| Usage(format!("{flag} must be NAME=VALUE, not `{text}`"))));
            pairs.collect()
        };
        Ok(CsvOptions { delimiter, map: pairs("--map", &self.map)?, set: pairs("--set", &self.set)? })
    }
}

fn print(summary: &ImportSummary, context: &Context) -> anyhow::Result<()> {
    let text = format!(
        "{} stored, {} duplicates, {} rejected",
        count(summary.stored),
        count(summary.duplicates),
        count(summary.rejected)
    );
    context.output.answer(summary, &text)
}

fn progress_bar(files: &[PathBuf]) -> anyhow::Result<ProgressBar> {
    let template = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}";
    let style = ProgressStyle::with_template(template)?;
    Ok(ProgressBar::new(import_files::total_size_bytes(files)).with_style(style))
}
