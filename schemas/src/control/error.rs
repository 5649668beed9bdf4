//! What can go wrong with the control database, and whether trying again can help.

use std::path::PathBuf;

use sea_orm::{DbErr, RuntimeErr, sqlx};
use uuid::Uuid;

use super::export_runs::ExportRunId;
use super::job_runs::RunId;
use super::scopes::Scopes;
use crate::export::InvalidExport;
use crate::tenant::AccountId;

/// A failure of the control database, or a request that it refuses.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The directory of the database file cannot be created.
    #[error("the directory {path} cannot be created: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database file cannot be opened.
    #[error("the control database {path} cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<DbErr>,
    },
    /// The tables cannot be brought up to date; a database that a newer version has written is one reason.
    #[error("the control database cannot be migrated: {source}")]
    Migrate {
        /// Why.
        source: Box<DbErr>,
    },
    /// A statement failed.
    #[error("the control database failed to {operation}: {source}")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        source: Box<DbErr>,
    },
    /// A row holds a value that this version does not know.
    #[error("{table}.{column} holds `{value}`, which this version does not understand")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The value.
        value: String,
    },
    /// A slug has characters that it may not have, or is too long.
    #[error("a slug is 1 to 63 lower-case letters, digits or hyphens, not `{slug}`")]
    InvalidSlug {
        /// The slug.
        slug: String,
    },
    /// A name is empty or too long.
    #[error("a name is 1 to 200 characters, not {length_chars}")]
    InvalidName {
        /// Its length in characters.
        length_chars: usize,
    },
    /// A setting of an account is outside its limits.
    #[error("{field} must be {limit}, not `{given}`")]
    InvalidSetting {
        /// The setting.
        field: &'static str,
        /// What it may be.
        limit: String,
        /// What was given.
        given: String,
    },
    /// Settings of an account are refused, all of these.
    #[error("{} settings are refused", errors.len())]
    Settings {
        /// [`ControlError::InvalidSetting`] or [`ControlError::UnknownSetting`], each.
        errors: Vec<ControlError>,
    },
    /// An account has no such setting.
    #[error("there is no setting `{field}`: the settings are {known}")]
    UnknownSetting {
        /// What was named.
        field: String,
        /// The names of all settings.
        known: String,
    },
    /// Another account has this slug.
    #[error("an account with the slug `{slug}` exists already")]
    SlugTaken {
        /// The slug.
        slug: String,
    },
    /// Another account tracks this domain.
    #[error("the domain `{domain}` is tracked by another account")]
    DomainTaken {
        /// The domain.
        domain: String,
    },
    /// There is no such account.
    #[error("there is no account {account_id}")]
    UnknownAccount {
        /// Its id.
        account_id: AccountId,
    },
    /// A key needs a scope, and a publishable key may only ingest.
    #[error("a publishable key may have the scope `ingest` only, not `{scopes}`")]
    PublishableScopes {
        /// The scopes that were asked for.
        scopes: Scopes,
    },
    /// There is no such key (in this account).
    #[error("there is no such key")]
    UnknownKey,
    /// The key was revoked, so that it cannot be changed any more.
    #[error("the key was revoked")]
    KeyRevoked,
    /// A key's last secret would work for too long after a rotation.
    #[error("after a rotation the old secret may work for at most {max_s} s, not {grace_s}")]
    GraceTooLong {
        /// What was asked for, in seconds.
        grace_s: u32,
        /// The limit in seconds.
        max_s: u32,
    },
    /// There is no such user in this account.
    #[error("there is no such user")]
    UnknownUser,
    /// The user's role is another than when whoever asks looked at them.
    #[error("the user has another role than a moment ago; look again")]
    UserChanged,
    /// The key in whose hands the change is was revoked, or its account suspended.
    #[error("the key has been revoked, or its account suspended")]
    ActorGone,
    /// Another user of the account has this address.
    #[error("the account has a user `{email}` already")]
    EmailTaken {
        /// The address.
        email: String,
    },
    /// A text is no e-mail address.
    #[error("an e-mail address has a name and a host around one `@`, no spaces, and at most 254 characters")]
    InvalidEmail,
    /// A password is too short or too long. It is not repeated here.
    #[error("a password has at least {min_chars} characters and at most {max_bytes} bytes")]
    InvalidPassword {
        /// Fewest characters.
        min_chars: usize,
        /// Most bytes.
        max_bytes: usize,
    },
    /// A password cannot be hashed or compared.
    #[error("a password cannot be hashed: {detail}")]
    Password {
        /// What the hash function says.
        detail: String,
    },
    /// The last owner of an account would go while it has other users, or become something else.
    #[error("the account would have no owner any more")]
    LastOwner,
    /// Several keys begin alike.
    #[error("several keys begin with `{prefix}`: name one by its id")]
    AmbiguousKey {
        /// What they begin with.
        prefix: String,
        /// The keys.
        key_ids: Vec<Uuid>,
    },
    /// There is no such export (in this account).
    #[error("there is no such export")]
    UnknownExport,
    /// Another export of the account in this environment has this name.
    #[error("the account has an export `{name}` already")]
    ExportNameTaken {
        /// The name.
        name: String,
    },
    /// The account has as many exports as it may have.
    #[error("an account may have at most {max_exports} exports; the operator sets `exports.max_exports`")]
    TooManyExports {
        /// The limit.
        max_exports: u32,
    },
    /// The definition of an export is refused.
    #[error(transparent)]
    InvalidExport(InvalidExport),
    /// A run of the export has not ended.
    #[error("run {run_id} of the export has not ended yet")]
    ExportBusy {
        /// That run.
        run_id: ExportRunId,
    },
    /// An attempt of a run of an export is over: another process has taken the run up, or ended it.
    #[error("run {run_id} of the export is not in the state any more in which it was found")]
    ExportRunLost {
        /// The run.
        run_id: ExportRunId,
    },
    /// There is no such run, or it has been finished or abandoned already.
    #[error("run {run_id} is not running")]
    NotRunning {
        /// The run.
        run_id: RunId,
    },
}

impl ControlError {
    /// Whether the same request can succeed later without anybody changing anything: the database is busy, its disk
    /// is full or failing, or no connection is free.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Database { source, .. } | Self::Open { source, .. } | Self::Migrate { source } => {
                is_transient(source)
            }
            Self::Directory { .. }
            | Self::Corrupt { .. }
            | Self::InvalidSlug { .. }
            | Self::InvalidName { .. }
            | Self::InvalidSetting { .. }
            | Self::Settings { .. }
            | Self::UnknownSetting { .. }
            | Self::SlugTaken { .. }
            | Self::DomainTaken { .. }
            | Self::UnknownAccount { .. }
            | Self::PublishableScopes { .. }
            | Self::UnknownKey
            | Self::KeyRevoked
            | Self::GraceTooLong { .. }
            | Self::UnknownUser
            | Self::UserChanged
            | Self::ActorGone
            | Self::EmailTaken { .. }
            | Self::InvalidEmail
            | Self::InvalidPassword { .. }
            | Self::Password { .. }
            | Self::LastOwner
            | Self::AmbiguousKey { .. }
            | Self::UnknownExport
            | Self::ExportNameTaken { .. }
            | Self::TooManyExports { .. }
            | Self::InvalidExport(..)
            | Self::ExportBusy { .. }
            | Self::ExportRunLost { .. }
            | Self::NotRunning { .. } => false,
        }
    }

    /// Names the operation that a database error belongs to.
    pub(super) fn during(operation: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| Self::Database { operation, source: Box::new(source) }
    }
}

pub(super) fn is_transient(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) => true,
        DbErr::Conn(RuntimeErr::SqlxError(source))
        | DbErr::Exec(RuntimeErr::SqlxError(source))
        | DbErr::Query(RuntimeErr::SqlxError(source)) => match source.as_ref() {
            sqlx::Error::Database(source) => source.code().is_some_and(|code| is_transient_code(&code)),
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
            _ => false,
        },
        _ => false,
    }
}

/// SQLite's busy, locked, I/O error and disk full, in any of their extended forms (the low byte is the plain code).
fn is_transient_code(code: &str) -> bool {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const IO_ERROR: u32 = 10;
    const FULL: u32 = 13;
    code.parse::<u32>().is_ok_and(|code| [BUSY, LOCKED, IO_ERROR, FULL].contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_passing_troubles_are_worth_a_retry() {
        let check = |code: &str, expected: bool| assert_eq!(is_transient_code(code), expected, "{code}");
        check("5", true); // busy
        check("517", true); // busy: snapshot
        check("6", true); // locked
        check("13", true); // disk full
        check("778", true); // I/O error: write
        check("2067", false); // unique constraint
        check("1", false); // no such table
        check("23505", false); // PostgreSQL: unique constraint
    }

    #[test]
    fn a_refused_request_is_not_retryable() {
        assert!(!ControlError::SlugTaken { slug: "acme".to_owned() }.retryable());
        assert!(!ControlError::UnknownKey.retryable());
    }
}
