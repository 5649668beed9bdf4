//! The command line's grammar. What a subcommand takes stands in that subcommand's own file.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use touchline_schemas::Environment;

use crate::commands::{
    account, alerts, audit, config, demo, doctor, erase, export, goals, import, jobs, key, rejected, serve, sessions,
    sql, user, verify,
};

/// The open analytics pipeline for first-party events and messages.
///
/// A flag wins over the environment (TOUCHLINE_SECTION__FIELD), the environment over touchline.toml, and that over the
/// defaults. Data goes to stdout, logs and progress to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "touchline", version, max_term_width = 100)]
pub struct Args {
    /// What every subcommand takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every subcommand takes.
#[derive(Debug, ClapArgs)]
pub struct GlobalArgs {
    /// Configuration file [environment: TOUCHLINE_CONFIG; default: touchline.toml, if there is one here].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory that holds everything of this installation [environment: TOUCHLINE_DATA_DIR; default:
    /// ./touchline-data, and ./touchline-demo for `demo`].
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Prints data as JSON, one line per answer.
    #[arg(long, global = true)]
    pub json: bool,
    /// Form of the logs [environment: TOUCHLINE_LOG_FORMAT; default: text]. What is logged is said by TOUCHLINE_LOG or
    /// RUST_LOG, as in `info,touchline_ingest=debug`.
    #[arg(long, global = true, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// Form of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs ingest, jobs and API in one process, until Ctrl-C or SIGTERM.
    Serve(serve::ServeArgs),
    /// Accounts.
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Keys of accounts.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Staff of accounts: who may log in.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Who changed keys, settings and accounts, over the API or by a command.
    Audit(audit::AuditArgs),
    /// Jobs: the derived tables.
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Exports: answers that are written, on a schedule, to where others read them.
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Alerts about jobs.
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// Sessions: what a profile makes of events.
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Goals of messages: what others would count.
    #[command(subcommand)]
    Goals(goals::GoalsCommand),
    /// Refused events, and why they were.
    #[command(subcommand)]
    Rejected(rejected::RejectedCommand),
    /// Asks an account's tables in SQL.
    Sql(sql::SqlArgs),
    /// Carries out statements for another process of this program, and is of no use to people.
    #[command(hide = true)]
    SqlWorker,
    /// Imports events from files. Importing a file twice changes nothing.
    Import(import::ImportArgs),
    /// Plays a month of a shop's traffic into an installation of its own and shows the first answers.
    Demo(demo::DemoArgs),
    /// Erases a person out of every table, log and file, and refuses their ids from then on.
    Erase(erase::EraseArgs),
    /// Computes the derived tables a second time, with another engine, and compares them with what is stored.
    Verify(verify::VerifyArgs),
    /// Checks whether this machine and this installation are fit to run.
    Doctor(doctor::DoctorArgs),
    /// The configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

impl Command {
    /// What is logged unless the environment says otherwise: a server tells what it does, other commands only what
    /// went wrong.
    pub const fn default_log_filter(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            Self::Account(_)
            | Self::Key(_)
            | Self::User(_)
            | Self::Audit(_)
            | Self::Jobs(_)
            | Self::Export(_)
            | Self::Alerts(_)
            | Self::Sessions(_)
            | Self::Goals(_)
            | Self::Rejected(_)
            | Self::Sql(_)
            | Self::SqlWorker
            | Self::Import(_)
            | Self::Demo(_)
            | Self::Verify(_)
            | Self::Doctor(_)
            | Self::Erase(_)
            | Self::Config(_) => "warn",
        }
    }
}

/// An environment of an account, as the command line spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EnvironmentArg {
    /// Real traffic.
    Live,
    /// Trials and tests.
    Test,
}

impl From<EnvironmentArg> for Environment {
    fn from(argument: EnvironmentArg) -> Self {
        match argument {
            EnvironmentArg::Live => Self::Live,
            EnvironmentArg::Test => Self::Test,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn grammar_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn documented_command_lines_are_understood() {
        for line in [
            "touchline serve --config F --data-dir D --listen 127.0.0.1:8000",
            "touchline account create acme --name Acme",
            "touchline account list --json",
            "touchline key create --account acme --env test --scope ingest --scope can_view_reports --json",
            "touchline key create --account acme --env live --scope ingest,can_view_reports",
            "touchline key list --account acme",
            "touchline key revoke sk_live_ab12 --account acme",
            "touchline jobs run all --full",
            "touchline jobs run sessions --full --account acme --from 2026-03-01 --to 2026-04-01 --plan --json",
            "touchline alerts test",
            "touchline export list --account acme --json",
            "touchline export show daily-traffic --account acme",
            "touchline export create definition.json --account acme --env test",
            "touchline export create - --account acme",
            "touchline export change daily-traffic changes.json --account acme",
            "touchline export pause daily-traffic --account acme",
            "touchline export resume daily-traffic --account acme --env test",
            "touchline export delete 019b765f-2c00-7000-a000-000000000001 --account acme",
            "touchline export run daily-traffic --account acme --env test --json",
            "touchline export verify out/manifest.json",
            "touchline export verify s3://bucket/out/manifest.json --secret-file secret.txt --json",
            "touchline export runs daily-traffic --account acme --limit 5",
            "touchline export rotate-secret daily-traffic --account acme",
            "touchline account settings acme",
            "touchline account settings acme time_zone=UTC conversion_values=a=fixed:1 --unset mask_ip --unset own_domains",
            "touchline jobs list",
            "touchline jobs history sessions --limit 5",
            "touchline sessions compare --account acme --profile touchline --profile matomo --from 2026-03-01 --limit 5",
            "touchline import --format combined access.log.gz other.log --account acme",
            "touchline import --format csv a.csv --map visitor_id=Cookie --set event_type=page_view --delimiter ; --account acme",
            "touchline import --format csv a.csv --delimiter tab --restart --account acme",
            "touchline --data-dir D import --format ndjson - --account acme --env test",
            "touchline demo --exit --events 2000 --listen 127.0.0.1:0",
            "touchline verify --account acme --from 2026-03-01 --to 2026-04-01 --tables sessions,visitors --json",
            "touchline sql SELECT --account acme --env test --format csv --param -1 --param x",
            "touchline rejected list --account acme --from 2026-03-01 --filter code=erased --limit 5 --json",
            "touchline rejected reasons --account acme --env test --format csv",
            "touchline rejected show 019b765f-2c00-7000-a000-000000000001 --account acme --json",
            "touchline rejected replay a b --account acme --set timestamp=2026-01-01 --unset /properties/url --dry-run",
            "touchline rejected replay --account acme --env test --from 2026-03-01 --to 2026-04-01 --filter code=x --set a=1",
            "touchline erase --account acme --person a --person b --dry-run --requested-by me",
            "touchline sql-worker",
            "touchline doctor --json",
            "touchline config print",
        ] {
            if let Err(error) = Args::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_command_lines_are_usage_errors() {
        for line in [
            "touchline",
            "touchline jump",
            "touchline account create",
            "touchline import --format xml f --account a",
            "touchline jobs run",
            "touchline jobs run sessions --from yesterday",
            "touchline rejected replay --account a --set a=1",
            "touchline rejected replay x --account a --filter code=y",
            "touchline rejected replay x --account a --set =1",
        ] {
            let error = Args::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
