//! `touchline audit`: who changed what.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use touchline_schemas::control::AuditEntry;

use super::{Context, Outcome};
use crate::output::{NOTHING, Row};

/// What `audit` takes.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Slug of the account whose changes are listed; all accounts without it.
    #[arg(long, value_name = "SLUG")]
    account: Option<String>,
    /// The most changes to list.
    #[arg(long, default_value_t = 20)]
    limit: u64,
}

/// A change as it is printed.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ChangeRow(AuditEntry);

impl Row for ChangeRow {
    const HEADINGS: &[&str] = &["id", "at", "who", "what", "account_id", "target", "before", "after"];

    fn cells(&self) -> Vec<String> {
        let entry = &self.0;
        let facts = |value: &Option<Value>| value.as_ref().map_or_else(|| NOTHING.to_owned(), Value::to_string);
        vec![
            entry.id.to_string(),
            time(entry.at),
            entry.actor.clone(),
            entry.action.clone(),
            entry.account_id.to_string(),
            entry.target.clone(),
            facts(&entry.before),
            facts(&entry.after),
        ]
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%F %T").to_string()
}

/// Lists changes, the latest first.
pub async fn run(args: AuditArgs, context: &Context) -> anyhow::Result<Outcome> {
    let app = context.app().await?;
    let account = match &args.account {
        Some(slug) => Some(app.account(slug).await?.id),
        None => None,
    };
    let entries = app.control.audit_entries(account, None, args.limit).await?;
    context.output.rows(&entries.into_iter().map(ChangeRow).collect::<Vec<_>>())?;
    Ok(Outcome::Done)
}
