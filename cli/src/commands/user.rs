//! `touchline user`: create, list, set-password, role, remove.

use std::io::Read as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use touchline_schemas::control::{Account, NewUser, Password, PasswordHash, Role, User};

use super::{Context, Outcome, Usage};
use crate::app::App;
use crate::output::Row;

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Creates a user. The password is read from stdin.
    Create {
        #[command(flatten)]
        named: Named,
        /// What the user is to the account: owner, admin, editor or analyst.
        #[arg(long)]
        role: String,
    },
    /// Lists the users of an account.
    List {
        /// Slug of the account.
        #[arg(long, value_name = "SLUG")]
        account: String,
    },
    /// Sets a user's password, which is read from stdin.
    SetPassword {
        #[command(flatten)]
        named: Named,
    },
    /// Gives a user another role.
    Role {
        #[command(flatten)]
        named: Named,
        /// The role: owner, admin, editor or analyst.
        role: String,
    },
    /// Removes a user.
    Remove {
        #[command(flatten)]
        named: Named,
    },
}

/// Which user.
#[derive(Debug, Args)]
pub struct Named {
    /// E-mail address of the user.
    email: String,
    /// Slug of the account.
    #[arg(long, value_name = "SLUG")]
    account: String,
}

/// A user as it is printed.
#[derive(Debug, Serialize)]
struct UserRow {
    user_id: String,
    email: String,
    role: &'static str,
    password_set_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl From<User> for UserRow {
    fn from(user: User) -> Self {
        Self {
            user_id: user.id.to_string(),
            email: user.email,
            role: user.role.as_str(),
            password_set_at: user.password_set_at,
            created_at: user.created_at,
        }
    }
}

impl Row for UserRow {
    const HEADINGS: &[&str] = &["email", "role", "user_id", "password set", "created"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.email.clone(),
            self.role.to_owned(),
            self.user_id.clone(),
            self.password_set_at.format("%F %T").to_string(),
            self.created_at.format("%F %T").to_string(),
        ]
    }
}

/// Does it.
pub async fn run(command: UserCommand, context: &Context) -> anyhow::Result<Outcome> {
    let now = context.clock.now();
    let (user, done) = match command {
        UserCommand::List { account } => {
            let app = context.app().await?;
            let users = app.control.users(app.account(&account).await?.id).await?;
            context.output.rows(&users.into_iter().map(UserRow::from).collect::<Vec<_>>())?;
            return Ok(Outcome::Done);
        }
        UserCommand::Create { named, role } => {
            let role = known_role(&role)?;
            let app = context.app().await?;
            let account_id = app.account(&named.account).await?.id;
            let new = NewUser { account_id, email: named.email, role };
            (app.control.create_user(new, password()?, now).await?, "created")
        }
        UserCommand::SetPassword { named } => {
            let app = context.app().await?;
            let (account, user) = found(&app, &named).await?;
            (app.control.change_user(account.id, &user, None, Some(password()?), now).await?, "has the new password")
        }
        UserCommand::Role { named, role } => {
            let role = known_role(&role)?;
            let app = context.app().await?;
            let (account, user) = found(&app, &named).await?;
            (app.control.change_user(account.id, &user, Some(role), None, now).await?, "has the role")
        }
        UserCommand::Remove { named } => {
            let app = context.app().await?;
            let (account, user) = found(&app, &named).await?;
            (app.control.remove_user(account.id, &user, now).await?, "removed")
        }
    };
    let text = format!("user {} ({}): {done}", user.email, user.role);
    context.output.answer(&UserRow::from(user), &text)?;
    Ok(Outcome::Done)
}

async fn found(app: &App, named: &Named) -> anyhow::Result<(Account, User)> {
    let account = app.account(&named.account).await?;
    let email = named.email.trim().to_lowercase();
    let user = app.control.users(account.id).await?.into_iter().find(|user| user.email == email);
    let user = user.with_context(|| format!("`{}` has no user `{email}`", account.slug))?;
    Ok((account, user))
}

fn known_role(word: &str) -> Result<Role, Usage> {
    word.parse::<Role>().map_err(|error| Usage(error.to_string()))
}

/// The hash of the password that stands in stdin, without the line's end behind it.
fn password() -> anyhow::Result<PasswordHash> {
    let mut text = String::new();
    // One more than it may have tells that it is too long.
    let limit = Password::MAX_BYTES as u64 + 3;
    std::io::stdin().take(limit).read_to_string(&mut text).context("the password cannot be read from stdin")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(Password::new(text.to_owned())?.hash(rand::random())?)
}
