//! `touchline account`: create, list.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use touchline_schemas::control::Account;

use super::{Context, Outcome};
use crate::output::Row;

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Creates an account.
    Create {
        /// Short name for the command line: lower-case letters, digits and hyphens.
        slug: String,
        /// Name for people [default: the slug].
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists all accounts.
    List,
}

/// An account as it is printed.
#[derive(Debug, Serialize)]
struct AccountRow {
    account_id: String,
    slug: String,
    name: String,
    status: &'static str,
    created_at: DateTime<Utc>,
}

impl From<Account> for AccountRow {
    fn from(account: Account) -> Self {
        Self {
            account_id: account.id.to_string(),
            slug: account.slug,
            name: account.name,
            status: account.status.as_str(),
            created_at: account.created_at,
        }
    }
}

impl Row for AccountRow {
    const HEADINGS: &[&str] = &["slug", "name", "status", "account_id", "created_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.slug.clone(),
            self.name.clone(),
            self.status.to_owned(),
            self.account_id.clone(),
            self.created_at.format("%F %T").to_string(),
        ]
    }
}

/// Does it.
pub async fn run(command: AccountCommand, context: &Context) -> anyhow::Result<Outcome> {
    let app = context.app().await?;
    match command {
        AccountCommand::Create { slug, name } => {
            let name = name.unwrap_or_else(|| slug.clone());
            let account = AccountRow::from(app.control.create_account(&slug, &name, context.clock.now()).await?);
            let text = format!("account {} created: {}", account.slug, account.account_id);
            context.output.answer(&account, &text)?;
        }
        AccountCommand::List => {
            let accounts = app.control.accounts().await?;
            context.output.rows(&accounts.into_iter().map(AccountRow::from).collect::<Vec<_>>())?;
        }
    }
    Ok(Outcome::Done)
}
