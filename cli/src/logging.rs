//! Logs: to stderr, as lines for people or as JSON.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::args::{GlobalArgs, LogFormat};
use crate::environment::Environment;

const FILTER_VARIABLES: [&str; 2] = ["TOUCHLINE_LOG", "RUST_LOG"];
const FORMAT_VARIABLE: &str = "TOUCHLINE_LOG_FORMAT";
const NO_COLOR_VARIABLE: &str = "NO_COLOR";

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not one.
    #[error("{variable} is no log filter: {detail}")]
    Filter {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The form is neither of the two.
    #[error("TOUCHLINE_LOG_FORMAT must be `text` or `json`, not `{0}`")]
    Format(String),
}

/// Sends the process's logs to stderr, filtered by the environment or else by `default_filter`.
pub fn start(global: &GlobalArgs, environment: &Environment, default_filter: &str) -> Result<(), LoggingError> {
    let filter = filter(environment, default_filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format(global, environment)? {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => {
            let colours = environment.get(NO_COLOR_VARIABLE).is_none() && io::stderr().is_terminal();
            builder.with_ansi(colours).init();
        }
    }
    Ok(())
}

/// Libraries that report as errors what is none: the Delta kernel does so for each table that is not there yet, and
/// transactions for each commit that another one was faster than, which is tried again.
const QUIET: &str = "buoyant_kernel=off,deltalake_core=warn,deltalake_core::kernel::transaction=error";

fn filter(environment: &Environment, default_filter: &str) -> Result<EnvFilter, LoggingError> {
    let given = FILTER_VARIABLES.into_iter().find_map(|variable| Some((variable, environment.get(variable)?)));
    let Some((variable, filter)) = given else { return Ok(EnvFilter::new(format!("{default_filter},{QUIET}"))) };
    EnvFilter::try_new(filter).map_err(|error| LoggingError::Filter { variable, detail: error.to_string() })
}

fn format(global: &GlobalArgs, environment: &Environment) -> Result<LogFormat, LoggingError> {
    match (global.log_format, environment.get(FORMAT_VARIABLE)) {
        (Some(format), _) => Ok(format),
        (None, Some(word)) => LogFormat::from_str(word, true).map_err(|_| LoggingError::Format(word.to_owned())),
        (None, None) => Ok(LogFormat::Text),
    }
}
