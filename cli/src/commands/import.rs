//! `touchline import`: events from files. One that was broken off goes on when it is started again.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use touchline_ingest::import::csv::CsvOptions;
use touchline_ingest::import::ndjson::Form;
use touchline_schemas::Tenant;

use super::{Context, Outcome, Usage};
use crate::app::ImportSummary;
use crate::args::EnvironmentArg;
use crate::begun_import::BegunImport;
use crate::import_files::{self, FileFormat, ReadLimits};
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
    /// Of CSV: what stands between cells, one character or `tab`; a comma if nothing is said.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// Begin with the first line, also if the same import was broken off before.
    #[arg(long)]
    pub restart: bool,
    /// Files, which may be compressed with gzip or zstd; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" => Ok(b'\t'),
        [delimiter] if delimiter.is_ascii() && !matches!(delimiter, b'"' | b'\r' | b'\n') => Ok(*delimiter),
        _ => Err("it must be `tab`, or one character of ASCII other than a quote".to_owned()),
    }
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
    let format = args.file_format()?;
    let app = context.app().await?;
    let account_id = app.account(&args.account).await?.id;
    let tenant = Tenant { account_id, environment: args.environment.into() };
    let limits = ReadLimits::of(&app.config.ingest);
    // Everything besides the files that makes another import: with other limits other lines are refused, or are one.
    let what = format!("{account_id} {} {format:?} {:?} {:?}", tenant.environment, app.config.ingest, app.config.log);
    let begun = BegunImport::find(&app.data_dir.imports(), &what, &args.files, args.restart)?;
    let import = app.import(tenant, begun.node.clone()).await?;
    let taken = import.taken();
    if taken > 0 {
        context.output.note(&format!("This import was broken off: it goes on behind line {}.", count(taken)));
    }
    let progress = progress_bar(&args.files)?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let reading = {
        let progress = progress.clone();
        tokio::task::spawn_blocking(move || import_files::read(&args.files, &format, limits, taken, &progress, &sender))
    };
    let imported = import.run(receiver).await;
    progress.finish_and_clear();
    // When the import stops early, reading only says that nobody listens any more: the import's error comes first.
    let summary = imported?;
    reading.await.context("the thread that reads the files has died")??;
    begun.end()?;
    print(&summary, context)?;
    Ok(Outcome::Done)
}

impl ImportArgs {
    fn file_format(&self) -> Result<FileFormat, Usage> {
        if self.format != ImportFormat::Csv
            && (!self.map.is_empty() || !self.set.is_empty() || self.delimiter.is_some())
        {
            return Err(Usage("--map, --set and --delimiter are for --format csv".to_owned()));
        }
        Ok(match self.format {
            ImportFormat::Ndjson => FileFormat::Lines(Form::Native),
            ImportFormat::Segment => FileFormat::Lines(Form::Segment),
            ImportFormat::Csv => FileFormat::Csv(self.csv()?),
            ImportFormat::Combined => FileFormat::Combined,
        })
    }

    fn csv(&self) -> Result<CsvOptions, Usage> {
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
        Ok(CsvOptions {
            delimiter: self.delimiter.unwrap_or(b','),
            map: pairs("--map", &self.map)?,
            set: pairs("--set", &self.set)?,
        })
    }
}

fn print(summary: &ImportSummary, context: &Context) -> anyhow::Result<()> {
    let lines = match (summary.first_line, summary.last_line) {
        (Some(first), Some(last)) => format!(" (lines {} to {})", count(first), count(last)),
        (None, _) | (_, None) => String::new(),
    };
    let text = format!(
        "{} stored, {} duplicates, {} rejected{lines}",
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
