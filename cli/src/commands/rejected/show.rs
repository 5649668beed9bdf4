//! `touchline rejected show`: everything that is kept of one refused event.

use std::io::{self, IsTerminal};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use touchline_pipeline::reports::rejected::chosen;

use super::{TenantArgs, refused};
use crate::commands::Context;
use crate::rows::escaped;

/// What `show` takes.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id of the refusal, as `list` shows it.
    #[arg(value_name = "ID")]
    rejected_id: String,
    #[command(flatten)]
    tenant: TenantArgs,
}

/// A refused event, whole.
#[derive(Debug, Serialize)]
struct Shown {
    rejected_id: String,
    received_at: DateTime<Utc>,
    event_id: Option<String>,
    event_type: Option<String>,
    code: String,
    errors: Box<RawValue>,
    body: Option<String>,
    source: String,
}

/// Shows it; its bytes come last, as they arrived.
pub(super) async fn run(args: ShowArgs, context: &Context) -> anyhow::Result<()> {
    let (engine, tenant) = args.tenant.open(context).await?;
    let found = chosen::find(&engine, tenant, &args.rejected_id).await.map_err(refused)?;
    let event = found.with_context(|| format!("there is no refused event `{}`", args.rejected_id))?;
    let shown = Shown {
        rejected_id: event.rejected_id,
        received_at: event.received_at,
        event_id: event.event_id,
        event_type: event.event_type,
        code: event.code,
        errors: RawValue::from_string(event.errors).context("the reasons are not understood")?,
        body: event.body,
        source: event.source,
    };
    // A terminal would obey what somebody has sent; a file takes it as it came.
    let is_obeyed = io::stdout().is_terminal();
    context.output.answer(&shown, &text(&shown, |value| if is_obeyed { escaped(value) } else { value.to_owned() }))
}

fn text(shown: &Shown, written: impl Fn(&str) -> String) -> String {
    let received_at = shown.received_at.format("%F %T%.6f UTC").to_string();
    let lines = [
        ("rejected_id", shown.rejected_id.as_str()),
        ("received_at", received_at.as_str()),
        ("event_id", shown.event_id.as_deref().unwrap_or_default()),
        ("event_type", shown.event_type.as_deref().unwrap_or_default()),
        ("code", shown.code.as_str()),
        ("errors", shown.errors.get()),
        ("source", shown.source.as_str()),
        ("body", shown.body.as_deref().unwrap_or("nothing of it is kept")),
    ];
    lines.map(|(name, value)| format!("{name:12}{}", written(value))).join("\n")
}
