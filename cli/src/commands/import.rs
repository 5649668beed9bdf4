//! `touchline import`: events from files.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use touchline_schemas::Tenant;

use super::{Context, Outcome};
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
    /// Files, which may be compressed with gzip or zstd; `-` is stdin.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// One native event per line, as JSON.
    Ndjson,
    /// Access log of Apache or nginx, one page view per line.
    Combined,
}

/// Imports the files, one after the other.
pub async fn run(args: ImportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let app = context.app().await?;
    let account_id = app.account(&args.account).await?.id;
    let tenant = Tenant { account_id, environment: args.environment.into() };
    let limits = ReadLimits::of(&app.config.ingest);
    let progress = progress_bar(&args.files)?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let reading = {
        let progress = progress.clone();
        tokio::task::spawn_blocking(move || import_files::read(&args.files, args.format, limits, &progress, &sender))
    };
    let imported = app.import_batches(tenant, receiver).await;
    progress.finish_and_clear();
    // When the import stops early, reading only says that nobody listens any more: the import's error comes first.
    let summary = imported?;
    reading.await.context("the thread that reads the files has died")??;
    print(&summary, context)?;
    Ok(Outcome::Done)
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
