//! The binary `touchline-verify`: reads its command line, asks the library, prints what it found.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{Duration, NaiveDate};
use clap::Parser;
use touchline_lake::{Lake, LakeError, LakeOptions};
use touchline_schemas::AccountId;
use touchline_schemas::config::LakeConfig;
use touchline_schemas::control::{ControlDb, ControlError};
use touchline_schemas::paths::DataDir;
use touchline_schemas::tables::Table;
use touchline_verify::{Report, VerifyError, VerifyRequest, verify};

/// Computes the derived tables a second time, with another engine, and compares them cell by cell.
///
/// Usually started by `touchline verify` and by the job `verify`. Exit status: 0 everything that was compared is equal,
/// 1 something differs or could not be read, 2 wrong usage. What cannot be compared is listed as not verified, and does
/// not change the exit status.
#[derive(Debug, Parser)]
#[command(name = "touchline-verify", version, max_term_width = 100)]
struct Args {
    /// Directory that holds everything of the installation.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Directory of the tables, if it is not `lake` in the data directory.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Minutes without an event after which a session has ended, for accounts that have not decided otherwise.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    session_timeout_minutes: u16,
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
    #[arg(long, value_name = "TABLE", value_delimiter = ',', value_parser = table)]
    tables: Vec<Table>,
    /// The most differing rows of a table that are shown. All are counted.
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    max_rows: usize,
    /// Prints one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no lake in {0}")]
    NoLake(PathBuf),
    #[error("there is no account `{0}`")]
    NoAccount(String),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            // There is nobody left to tell when stderr is gone.
            let _ = writeln!(io::stderr().lock(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(answer(args))?;
    let text = if args.json { serde_json::to_string(&report)? } else { report.text() };
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever reads it may have seen enough and gone.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(report),
    }
}

async fn answer(args: &Args) -> Result<Report, Failure> {
    let data_dir = DataDir::new(&args.data_dir);
    let root = args.lake.clone().unwrap_or_else(|| data_dir.lake());
    // Opening a lake creates what is missing; a mistyped path must not.
    if !root.join(Table::Events.name()).is_dir() {
        return Err(Failure::NoLake(root));
    }
    let mut request = VerifyRequest {
        from: args.from,
        to: args.to,
        default_timeout: Duration::minutes(i64::from(args.session_timeout_minutes)),
        max_examples: args.max_rows,
        ..VerifyRequest::default()
    };
    if !args.tables.is_empty() {
        request.tables.clone_from(&args.tables);
    }
    read_accounts(&data_dir.control_database(), args.account.as_deref(), &mut request).await?;
    let checkpoint_interval = u32::try_from(LakeConfig::default().checkpoint_interval).unwrap_or(u32::MAX);
    let lake = Lake::open(&root, LakeOptions { checkpoint_interval }).await?;
    Ok(verify(&lake, &request).await?)
}

/// Reads the accounts' settings, and which account is meant.
async fn read_accounts(path: &Path, named: Option<&str>, request: &mut VerifyRequest) -> Result<(), Failure> {
    let accounts = if path.is_file() { ControlDb::open(path).await?.accounts().await? } else { Vec::new() };
    if let Some(named) = named {
        let by_slug = accounts.iter().find(|account| account.slug == named).map(|account| account.id);
        let id = by_slug.or_else(|| named.parse::<AccountId>().ok());
        request.account = Some(id.ok_or_else(|| Failure::NoAccount(named.to_owned()))?);
    }
    request.settings = accounts.into_iter().map(|account| (account.id, account.settings)).collect();
    Ok(())
}

fn table(name: &str) -> Result<Table, String> {
    let known = VerifyRequest::TABLES;
    known
        .into_iter()
        .find(|table| table.name() == name)
        .ok_or_else(|| format!("the tables that can be verified are {}", known.map(Table::name).join(", ")))
}
