//! `touchline alerts`: test.

use clap::Subcommand;
use serde::Serialize;
use touchline_jobs::Webhook;
use touchline_jobs::alerts::Alert;

use super::{Context, Outcome, Usage};

/// What can be done with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Sends an alert of the type `test` to `alerts.webhook_url`, once, and says whether it was taken.
    Test,
}

/// An alert that was taken.
#[derive(Debug, Serialize)]
struct Delivered {
    delivered: bool,
    alert: Alert,
}

/// Does it.
pub async fn run(command: AlertsCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        AlertsCommand::Test => test(context).await?,
    }
    Ok(Outcome::Done)
}

async fn test(context: &Context) -> anyhow::Result<()> {
    let config = context.settings()?.config.alerts;
    let nowhere = || Usage("alerts go nowhere: set `webhook_url` in the section [alerts]".to_owned());
    let webhook = Webhook::new(&config, context.clock.clone())?.ok_or_else(nowhere)?;
    let alert = Alert::test(context.clock.now());
    webhook.send(&alert).await?;
    let signed = if config.secret.is_some() { "signed" } else { "not signed" };
    let delivered = Delivered { delivered: true, alert };
    context.output.answer(&delivered, &format!("the receiver has taken the test alert ({signed})"))
}
