//! The binary `touchline`: reads the command line, the environment and the configuration, puts the other crates
//! together, and does nothing else.

mod app;
mod args;
mod begun_import;
mod checks;
mod commands;
mod confine;
mod demo;
mod environment;
mod erasure;
mod import_files;
mod logging;
mod output;
mod rows;
mod settings;
mod shutdown;
mod verifier;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use touchline_schemas::SystemClock;

use args::{Args, Command};
use commands::{Context, Outcome};
use environment::Environment;
use output::Output;

/// Jobs allocate and free gigabytes in blocks of every size on many threads. The system's allocator keeps most of what
/// was freed (four times of what is in use, over a long run), this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A mistake in the command line, the environment or the configuration.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let Args { global, command } = Args::parse();
    if let Command::SqlWorker = command {
        return commands::sql_worker::run();
    }
    let environment = Environment::read();
    let output = Output::new(global.json);
    if let Err(error) = logging::start(&global, &environment, command.default_log_filter()) {
        return report(&output, &error.into());
    }
    let context = Context { global, environment, output, clock: Arc::new(SystemClock) };
    let ended = runtime().and_then(|runtime| runtime.block_on(commands::run(command, &context)));
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) => report(&context.output, &error),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn report(output: &Output, error: &anyhow::Error) -> ExitCode {
    output.error(error);
    let is_usage = error.chain().any(|cause| {
        cause.is::<settings::SettingsError>() || cause.is::<logging::LoggingError>() || cause.is::<commands::Usage>()
    });
    if is_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
}
