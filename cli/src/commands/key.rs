//! `touchline key`: create, list, rotate, revoke.

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use touchline_schemas::AccountId;
use touchline_schemas::control::{ApiKey, KeyKind, KeyRef, NewKey, Scope, Scopes};

use super::{Context, Outcome, Usage};
use crate::app::App;
use crate::args::EnvironmentArg;
use crate::output::Row;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Creates a key and shows it, this once.
    Create {
        /// Slug of the account that the key opens.
        #[arg(long, value_name = "SLUG")]
        account: String,
        /// Environment that the key opens.
        #[arg(long = "env", value_enum)]
        environment: EnvironmentArg,
        /// What the key may do: ingest, can_view_reports, can_manage_settings, admin. May be repeated.
        #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', default_value = "ingest")]
        scopes: Vec<String>,
        /// Who holds the key: a server (`sk_…`), or a browser, whose key (`pk_…`) can only send events.
        #[arg(long, value_enum, default_value = "secret")]
        kind: KindArg,
        /// A note for people.
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists the keys of an account, without the keys themselves.
    List {
        /// Slug of the account.
        #[arg(long, value_name = "SLUG")]
        account: String,
    },
    /// Gives a key a new secret and shows it, this once. Its id, scopes and name stay.
    Rotate {
        /// The key's id, its first characters, or the key itself.
        key: String,
        /// Slug of the account, to make sure that it is this account's key.
        #[arg(long, value_name = "SLUG")]
        account: Option<String>,
        /// Seconds for which the old secret goes on working, at most 30 days.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        grace_s: u32,
    },
    /// Revokes a key, for good.
    Revoke {
        /// The key's id, its first characters, or the key itself.
        key: String,
        /// Slug of the account, to make sure that it is this account's key.
        #[arg(long, value_name = "SLUG")]
        account: Option<String>,
    },
}

/// Who may hold a key, as the command line spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Servers.
    Secret,
    /// Browsers.
    Publishable,
}

impl From<KindArg> for KeyKind {
    fn from(argument: KindArg) -> Self {
        match argument {
            KindArg::Secret => Self::Secret,
            KindArg::Publishable => Self::Publishable,
        }
    }
}

/// A key as it is printed.
#[derive(Debug, Serialize)]
struct KeyRow {
    key_id: String,
    prefix: String,
    kind: &'static str,
    environment: &'static str,
    scopes: Vec<&'static str>,
    name: Option<String>,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    previous_until: Option<DateTime<Utc>>,
}

impl From<ApiKey> for KeyRow {
    fn from(key: ApiKey) -> Self {
        Self {
            key_id: key.id.to_string(),
            prefix: key.prefix,
            kind: key.kind.as_str(),
            environment: key.environment.as_str(),
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            name: key.name,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            previous_until: key.previous_until,
        }
    }
}

impl Row for KeyRow {
    const HEADINGS: &[&str] = &["key", "environment", "scopes", "name", "last used", "state", "key_id"];

    fn cells(&self) -> Vec<String> {
        let last_used = self.last_used_at.map_or_else(|| "never".to_owned(), |at| at.format("%F %T").to_string());
        let state = self.revoked_at.map_or_else(|| "active".to_owned(), |at| format!("revoked {}", at.format("%F %T")));
        vec![
            format!("{}…", self.prefix),
            self.environment.to_owned(),
            self.scopes.join(","),
            self.name.clone().unwrap_or_default(),
            last_used,
            state,
            self.key_id.clone(),
        ]
    }
}

/// A new key, with the key.
#[derive(Debug, Serialize)]
struct CreatedKey<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(flatten)]
    row: KeyRow,
}

/// Does it.
pub async fn run(command: KeyCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        KeyCommand::Create { account, environment, scopes, kind, name } => {
            let scopes = scopes.join(",").parse::<Scopes>().map_err(|error| Usage(error.to_string()))?;
            create(context, &account, environment, scopes, kind.into(), name).await?;
        }
        KeyCommand::List { account } => {
            let app = context.app().await?;
            let keys = app.control.keys(app.account(&account).await?.id).await?;
            context.output.rows(&keys.into_iter().map(KeyRow::from).collect::<Vec<_>>())?;
        }
        KeyCommand::Rotate { key, account, grace_s } => rotate(context, &key, account.as_deref(), grace_s).await?,
        KeyCommand::Revoke { key, account } => revoke(context, &key, account.as_deref()).await?,
    }
    Ok(Outcome::Done)
}

async fn create(
    context: &Context,
    account: &str,
    environment: EnvironmentArg,
    scopes: Scopes,
    kind: KeyKind,
    name: Option<String>,
) -> anyhow::Result<()> {
    let app = context.app().await?;
    let account_id = app.account(account).await?.id;
    let new = NewKey { account_id, environment: environment.into(), kind, scopes, name };
    let (key, plain) = app.control.create_key(new, rand::random(), context.clock.now()).await?;
    let created = CreatedKey { key: plain.expose(), account: Some(account), row: KeyRow::from(key) };
    context.output.note("Keep this key: it cannot be shown again.");
    context.output.answer(&created, created.key)
}

async fn rotate(context: &Context, key: &str, account: Option<&str>, grace_s: u32) -> anyhow::Result<()> {
    let app = context.app().await?;
    let account_id = named(&app, account).await?;
    let (reference, now) = (KeyRef::from(key), context.clock.now());
    let (key, plain) = app.control.rotate_key(account_id, reference, grace_s, rand::random(), now).await?;
    let rotated = CreatedKey { key: plain.expose(), account, row: KeyRow::from(key) };
    context.output.note("Keep this key: it cannot be shown again.");
    context.output.answer(&rotated, rotated.key)
}

/// The account of that slug, if one is named.
async fn named(app: &App, account: Option<&str>) -> anyhow::Result<Option<AccountId>> {
    match account {
        Some(slug) => Ok(Some(app.account(slug).await?.id)),
        None => Ok(None),
    }
}

async fn revoke(context: &Context, key: &str, account: Option<&str>) -> anyhow::Result<()> {
    let app = context.app().await?;
    let account_id = named(&app, account).await?;
    let revoked = app.control.revoke_key(account_id, KeyRef::from(key), context.clock.now()).await?;
    let row = KeyRow::from(revoked);
    let text = format!("key {}… is revoked; running servers refuse it within 5 seconds", row.prefix);
    context.output.answer(&row, &text)
}
