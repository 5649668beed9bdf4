//! `touchline verify`: lets `touchline-verify` compute the derived tables a second time, and shows what it says.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use anyhow::Context as _;
use chrono::NaiveDate;
use clap::Args;

use super::{Context, Outcome, Usage};
use crate::verifier;

/// What `verify` takes. The names of tables and accounts are checked by the verifier.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Only this account: its slug or its id.
    #[arg(long)]
    account: Option<String>,
    /// Only rows of this day (UTC) and later ones.
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<NaiveDate>,
    /// Only rows of days before this one.
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<NaiveDate>,
    /// Only these tables.
    #[arg(long, value_name = "TABLE", value_delimiter = ',')]
    tables: Vec<String>,
    /// The most differing rows of a table that are shown. All are counted.
    #[arg(long, value_name = "ROWS")]
    max_rows: Option<usize>,
    /// The program `touchline-verify` [default: the one beside this program, else the one in PATH].
    #[arg(long, value_name = "FILE")]
    verifier: Option<PathBuf>,
}

/// Runs the verifier; what it prints goes where ours would go.
pub async fn run(args: VerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let settings = context.settings()?;
    let verifier = verifier::of(&settings.config, &settings.data_dir, args.verifier.clone());
    let mut command = verifier.command();
    command.args(arguments(&args));
    if context.global.json {
        command.arg("--json");
    }
    let program = verifier.program.display().to_string();
    let ended: io::Result<ExitStatus> = tokio::task::spawn_blocking(move || command.status()).await?;
    let ended = ended.map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        let failed = anyhow::Error::new(error).context(format!("{program} cannot be started"));
        if is_missing { failed.context(HOW_TO_BUILD) } else { failed }
    })?;
    match ended.code() {
        Some(0) => Ok(Outcome::Done),
        Some(EXIT_USAGE) => Err(Usage("the verifier has refused these arguments".to_owned()).into()),
        Some(_) => Ok(Outcome::Failed),
        None => Err(anyhow::anyhow!("{ended}")).context("the verifier was stopped"),
    }
}

/// The verifier's exit status for wrong usage.
const EXIT_USAGE: i32 = 2;

const HOW_TO_BUILD: &str = "the verifier is a program of its own, which is not installed: build it with `cargo build \
                            --release -p touchline-verify` and put it beside `touchline`, or name it with --verifier";

fn arguments(args: &VerifyArgs) -> Vec<String> {
    let flags = [
        ("--account", args.account.clone()),
        ("--from", args.from.map(|day| day.to_string())),
        ("--to", args.to.map(|day| day.to_string())),
        ("--tables", Some(args.tables.join(",")).filter(|tables| !tables.is_empty())),
        ("--max-rows", args.max_rows.map(|rows| rows.to_string())),
    ];
    flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten().collect()
}
