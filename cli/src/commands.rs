//! The subcommands, one file each.

pub mod account;
pub mod alerts;
pub mod audit;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod erase;
pub mod export;
pub mod goals;
pub mod import;
pub mod jobs;
pub mod key;
pub mod rejected;
pub mod serve;
pub mod sessions;
pub mod sql;
pub mod sql_worker;
pub mod user;
pub mod verify;

use touchline_schemas::clock::SharedClock;
use touchline_schemas::control::Actor;

use crate::app::App;
use crate::args::{Command, GlobalArgs};
use crate::environment::Environment;
use crate::output::Output;
use crate::settings::{DEFAULT_DATA_DIR, Settings};

/// What every subcommand works with.
#[derive(Debug)]
pub struct Context {
    /// The flags that every subcommand takes.
    pub global: GlobalArgs,
    /// The environment.
    pub environment: Environment,
    /// Where answers go.
    pub output: Output,
    /// The time.
    pub clock: SharedClock,
}

impl Context {
    /// The settings of the usual data directory.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings::load(&self.global, &self.environment, DEFAULT_DATA_DIR)?)
    }

    /// The installation in the usual data directory.
    pub async fn app(&self) -> anyhow::Result<App> {
        let app = App::open(self.settings()?, self.clock.clone()).await?;
        Ok(app.acting_as(Actor::Cli))
    }
}

/// How a command ended that had no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Done,
    /// It did its work, and the answer is bad news.
    Failed,
}

/// Something about the command line that its grammar could not see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Runs `command`.
pub async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        Command::Serve(args) => serve::run(args, context).await,
        Command::Account(command) => account::run(command, context).await,
        Command::Key(command) => key::run(command, context).await,
        Command::Jobs(command) => jobs::run(command, context).await,
        Command::Export(command) => export::run(command, context).await,
        Command::User(command) => user::run(command, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Alerts(command) => alerts::run(command, context).await,
        Command::Sessions(command) => sessions::run(command, context).await,
        Command::Goals(command) => goals::run(command, context).await,
        Command::Rejected(command) => rejected::run(command, context).await,
        Command::Sql(args) => sql::run(args, context).await,
        Command::SqlWorker => Err(Usage("a worker is started before anything else".to_owned()).into()),
        Command::Import(args) => import::run(args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Erase(args) => erase::run(args, context).await,
        Command::Verify(args) => verify::run(args, context).await,
        Command::Config(command) => config::run(command, context),
    }
}
