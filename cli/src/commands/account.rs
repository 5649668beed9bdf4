//! `touchline account`: create, list, suspend, resume, settings.

mod settings;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use touchline_schemas::control::{Account, AccountStatus};

use super::{Context, Outcome};
use crate::app::App;
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
    /// Refuses all keys of an account from now on. Its data and settings stay.
    Suspend {
        /// Slug of the account.
        slug: String,
    },
    /// Lets a suspended account's keys work again.
    Resume {
        /// Slug of the account.
        slug: String,
    },
    /// Shows what an account has chosen for itself, after changing it as asked.
    ///
    /// Settings: time_zone, own_domains, tracked_domains, mask_ip, privacy_signals, session_profile,
    /// session_timeout_minutes, session_splits, channel_rules, conversion_event_types, conversion_values, goals,
    /// attribution_lookback_days, retention_days. Lists are separated by commas. Tables follow with the next run of
    /// their jobs.
    Settings(settings::SettingsArgs),
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
        AccountCommand::Settings(args) => settings::run(args, context, &app).await?,
        AccountCommand::Create { slug, name } => {
            let name = name.unwrap_or_else(|| slug.clone());
            let account = AccountRow::from(app.control.create_account(&slug, &name, context.clock.now()).await?);
            let text = format!("account {} created: {}", account.slug, account.account_id);
            context.output.answer(&account, &text)?;
        }
        AccountCommand::Suspend { slug } => set_status(context, &app, &slug, AccountStatus::Suspended).await?,
        AccountCommand::Resume { slug } => set_status(context, &app, &slug, AccountStatus::Active).await?,
        AccountCommand::List => {
            let accounts = app.control.accounts().await?;
            context.output.rows(&accounts.into_iter().map(AccountRow::from).collect::<Vec<_>>())?;
        }
    }
    Ok(Outcome::Done)
}

async fn set_status(context: &Context, app: &App, slug: &str, status: AccountStatus) -> anyhow::Result<()> {
    let account_id = app.account(slug).await?.id;
    let account = app.control.set_account_status(account_id, status, context.clock.now()).await?;
    let text = match account.status {
        AccountStatus::Active => format!("account {slug} is active; running servers take its keys within 5 seconds"),
        AccountStatus::Suspended => {
            format!("account {slug} is suspended; running servers refuse its keys within 5 seconds")
        }
    };
    context.output.answer(&AccountRow::from(account), &text)
}
