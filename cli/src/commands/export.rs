//! `touchline export`: list, show, create, change, pause, resume, delete, run, runs, verify, rotate-secret.

mod define;
mod rows;
mod run;
mod verify;

use clap::{Args, Subcommand};
use touchline_schemas::Tenant;
use touchline_schemas::control::{Export, ExportId, SigningKey};
use touchline_schemas::export::ExportDefinition;

use super::{Context, Outcome};
use crate::app::App;
use crate::args::EnvironmentArg;
use rows::{ExportRow, RunRow, WithSecret};

/// What can be done with exports.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Lists the exports of an account, with their last runs.
    List {
        /// Slug of the account.
        #[arg(long, value_name = "SLUG")]
        account: String,
    },
    /// Shows an export as it is defined.
    Show {
        #[command(flatten)]
        named: Named,
    },
    /// Creates an export, and shows the secret that signs what it writes, this once.
    Create(define::CreateArgs),
    /// Changes an export: what is not named stays, null takes a field back to its default.
    Change(define::ChangeArgs),
    /// Lets the schedule of an export rest.
    Pause {
        #[command(flatten)]
        named: Named,
    },
    /// Lets an export follow its schedule again, from now on.
    Resume {
        #[command(flatten)]
        named: Named,
    },
    /// Deletes an export. What it wrote stays, and can still be verified.
    Delete {
        #[command(flatten)]
        named: Named,
    },
    /// Runs an export now, and waits until the run has ended: the server carries it out or, without one, this command.
    Run {
        #[command(flatten)]
        named: Named,
    },
    /// Checks whether a run's files are what its manifest says, and the manifest what its key has signed.
    Verify(verify::VerifyArgs),
    /// Lists runs of an export, the latest first.
    Runs {
        #[command(flatten)]
        named: Named,
        /// The most runs to list.
        #[arg(long, default_value_t = 20)]
        limit: u64,
    },
    /// Gives an export a new secret, and shows it, this once. The old one still verifies what it has signed.
    RotateSecret {
        #[command(flatten)]
        named: Named,
    },
}

/// Which export.
#[derive(Debug, Args)]
pub struct Named {
    /// The export's name, or its id.
    export: String,
    /// Slug of the account.
    #[arg(long, value_name = "SLUG")]
    account: String,
    /// Environment of the export, if it is named by its name.
    #[arg(long = "env", value_enum, default_value = "live")]
    environment: EnvironmentArg,
}

impl Named {
    /// The export that is meant.
    pub async fn find(&self, app: &App) -> anyhow::Result<Export> {
        let account = app.account(&self.account).await?;
        if let Ok(id) = self.export.parse::<ExportId>() {
            return Ok(app.control.export(Some(account.id), id).await?);
        }
        let tenant = Tenant { account_id: account.id, environment: self.environment.into() };
        let mut exports = app.control.exports(account.id).await?.into_iter();
        exports.find(|export| export.tenant == tenant && export.definition.name == self.export).ok_or_else(|| {
            anyhow::anyhow!("`{}` has no export `{}` in {}", account.slug, self.export, tenant.environment)
        })
    }
}

/// Does it.
pub async fn run(command: ExportCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        ExportCommand::List { account } => list(context, &account).await?,
        ExportCommand::Show { named } => show(context, &named).await?,
        ExportCommand::Create(args) => define::create(context, args).await?,
        ExportCommand::Change(args) => define::change(context, args).await?,
        ExportCommand::Pause { named } => pause(context, &named, true).await?,
        ExportCommand::Resume { named } => pause(context, &named, false).await?,
        ExportCommand::Delete { named } => delete(context, &named).await?,
        ExportCommand::Run { named } => return run::run(context, &named).await,
        ExportCommand::Verify(args) => return verify::run(context, &args).await,
        ExportCommand::Runs { named, limit } => runs(context, &named, limit).await?,
        ExportCommand::RotateSecret { named } => rotate_secret(context, &named).await?,
    }
    Ok(Outcome::Done)
}

async fn list(context: &Context, account: &str) -> anyhow::Result<()> {
    let app = context.app().await?;
    let mut rows = Vec::new();
    for export in app.control.exports(app.account(account).await?.id).await? {
        rows.push(ExportRow::read(&app.control, export).await?);
    }
    context.output.rows(&rows)
}

async fn show(context: &Context, named: &Named) -> anyhow::Result<()> {
    let app = context.app().await?;
    let export = named.find(&app).await?;
    let row = ExportRow::read(&app.control, export).await?;
    let text = serde_json::to_string_pretty(&row.definition)?;
    context.output.answer(&row, &text)
}

async fn pause(context: &Context, named: &Named, is_paused: bool) -> anyhow::Result<()> {
    let app = context.app().await?;
    let export = named.find(&app).await?;
    let change = |was: &ExportDefinition| Ok(ExportDefinition { is_paused, ..was.clone() });
    let changed = app.control.change_export(None, export.id, change, context.clock.now()).await?;
    let said = if is_paused { "its schedule rests" } else { "it follows its schedule" };
    let text = format!("export {}: {said}", changed.definition.name);
    context.output.answer(&ExportRow::read(&app.control, changed).await?, &text)
}

async fn delete(context: &Context, named: &Named) -> anyhow::Result<()> {
    let app = context.app().await?;
    let export = named.find(&app).await?;
    let deleted = app.control.delete_export(None, export.id, context.clock.now()).await?;
    let text = format!("export {}: deleted; what it wrote stays", deleted.definition.name);
    context.output.answer(&ExportRow::read(&app.control, deleted).await?, &text)
}

async fn runs(context: &Context, named: &Named, limit: u64) -> anyhow::Result<()> {
    let app = context.app().await?;
    let export = named.find(&app).await?;
    let runs = app.control.export_runs(export.id, None, limit).await?;
    context.output.rows(&runs.into_iter().map(RunRow::from).collect::<Vec<_>>())
}

async fn rotate_secret(context: &Context, named: &Named) -> anyhow::Result<()> {
    let app = context.app().await?;
    let export = named.find(&app).await?;
    let key = app.control.rotate_export_key(None, export.id, rand::random(), context.clock.now()).await?;
    with_secret(context, &app, export, &key).await
}

/// Shows an export and its secret, this once.
async fn with_secret(context: &Context, app: &App, export: Export, key: &SigningKey) -> anyhow::Result<()> {
    let answer = WithSecret { signing_secret: key.secret.expose(), row: ExportRow::read(&app.control, export).await? };
    context.output.note("Keep this secret: it cannot be shown again.");
    context.output.answer(&answer, &answer.signing_secret)
}
