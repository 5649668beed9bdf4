//! `touchline export create` and `change`: a definition, or a part of one, from a file with JSON.

use std::io::Read as _;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};
use touchline_jobs::Schedule;
use touchline_schemas::Tenant;
use touchline_schemas::control::ControlError;
use touchline_schemas::export::ExportDefinition;

use super::rows::ExportRow;
use super::{Context, Named, with_secret};
use crate::args::EnvironmentArg;

/// `-` as the name of a file.
const STDIN: &str = "-";
/// Most bytes of a definition: the longest statement, and what may stand around it.
const MAX_BYTES: u64 = 4_194_304;

/// What a new export is to be.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// File with the definition as JSON; `-` reads stdin.
    file: String,
    /// Slug of the account whose rows are written.
    #[arg(long, value_name = "SLUG")]
    account: String,
    /// Environment whose rows are written.
    #[arg(long = "env", value_enum, default_value = "live")]
    environment: EnvironmentArg,
}

/// What is to be different about an export.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    named: Named,
    /// File with the fields to change as JSON; `-` reads stdin.
    file: String,
}

/// Creates an export.
pub async fn create(context: &Context, args: CreateArgs) -> anyhow::Result<()> {
    let definition = ExportDefinition::read(members(&args.file)?, Schedule::of_export)?;
    let app = context.app().await?;
    let account_id = app.account(&args.account).await?.id;
    let tenant = Tenant { account_id, environment: args.environment.into() };
    let (limit, now) = (app.config.exports.max_exports, context.clock.now());
    let (export, key) = app.control.create_export(tenant, &definition, limit, rand::random(), now).await?;
    with_secret(context, &app, export, &key).await
}

/// Changes an export.
pub async fn change(context: &Context, args: ChangeArgs) -> anyhow::Result<()> {
    let changes = members(&args.file)?;
    let app = context.app().await?;
    let export = args.named.find(&app).await?;
    let change = |was: &ExportDefinition| {
        ExportDefinition::read(was.patched(changes), Schedule::of_export).map_err(ControlError::InvalidExport)
    };
    let changed = app.control.change_export(None, export.id, change, context.clock.now()).await?;
    let text = format!("export {}: changed", changed.definition.name);
    context.output.answer(&ExportRow::read(&app.control, changed).await?, &text)
}

/// The members of the object that a file holds.
fn members(file: &str) -> anyhow::Result<Map<String, Value>> {
    let unreadable = || format!("{file} cannot be read");
    let mut text = String::new();
    match file {
        STDIN => std::io::stdin().take(MAX_BYTES).read_to_string(&mut text).with_context(unreadable)?,
        path => {
            let file = std::fs::File::open(path).with_context(unreadable)?;
            file.take(MAX_BYTES).read_to_string(&mut text).with_context(unreadable)?
        }
    };
    serde_json::from_str(&text).with_context(|| format!("{file} holds no JSON object"))
}
