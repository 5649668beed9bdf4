//! `touchline config`: print.

use clap::Subcommand;

use super::{Context, Outcome};

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the configuration as this command line, environment and file make it, without secrets.
    Print,
}

/// Does it.
pub fn run(command: ConfigCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        ConfigCommand::Print => print(context)?,
    }
    Ok(Outcome::Done)
}

fn print(context: &Context) -> anyhow::Result<()> {
    let settings = context.settings()?;
    let redacted = settings.config.to_redacted_toml()?;
    let file = settings.config_file.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    let data_dir = settings.data_dir.root().display();
    let text = format!("# file: {file}\n# data directory: {data_dir}\n\n{}", redacted.trim_end());
    context.output.answer(&toml::from_str::<toml::Table>(&redacted)?, &text)
}
