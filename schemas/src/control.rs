//! The control database: what is edited, as opposed to what is measured. Accounts, keys, the jobs' ledger and leases,
//! exports and their runs, and the ingest ledger.
//!
//! SQLite today. Tables are declared and queried through sea-query only, so that another backend needs no second
//! set of statements.

mod account_settings;
mod accounts;
mod audit;
mod erasure_requests;
mod erasures;
mod error;
mod export_queue;
mod export_results;
mod export_runs;
mod export_signing_keys;
mod export_webhooks;
mod exports;
mod ingest_ledger;
mod job_history;
mod job_runs;
mod keys;
mod late_events;
mod leases;
mod migrations;
mod moment;
mod passwords;
mod pending_erasures;
mod replays;
mod scopes;
mod users;

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _};
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::time::Instant;

pub use account_settings::{SETTINGS, goals};
use uuid::Uuid;

pub use accounts::{
    Account, AccountSettings, AccountStatus, CHANNEL_RULES, ConversionValue, Goal, GoalCondition, GoalCredit,
};
pub use audit::{Actor, AuditEntry, UnknownActor};
pub use erasure_requests::{Certified, ErasureRequest, ErasureState, NewErasure};
pub use erasures::{Erasures, IdHashHex};
pub use error::ControlError;
pub use export_queue::EXPORTS_LEASE;
pub use export_results::{ExportBase, ExportDay, ExportOutcome, PreviousRun};
pub use export_runs::{
    ExportRun, ExportRunId, ExportRunState, ExportTrigger, TableVersion, TableVersions, WebhookState,
};
pub use export_signing_keys::{SigningKey, SigningSecret};
pub use export_webhooks::WebhookOutcome;
pub use exports::{Export, ExportId};
pub use ingest_ledger::{IngestCounts, IngestHour};
pub use job_runs::{JobRun, NewRun, RunId, RunOutcome, RunStatus, Trigger};
pub use keys::{ApiKey, AuthFailure, AuthenticatedKey, KeyKind, KeyRef, MAX_ROTATION_GRACE_S, NewKey, PlainKey};
pub use late_events::LateEvents;
pub use leases::LeaseState;
pub use migrations::Migrator;
pub use passwords::{Password, PasswordHash};
pub use pending_erasures::PendingErasure;
pub use replays::Replayed;
pub use scopes::{Scope, Scopes, ScopesError};
pub use users::{NewUser, Role, UnknownRole, User};

/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two attempts at what SQLite does not wait for by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How long a statement waits for a free connection. Longer than [`BUSY_TIMEOUT`], so that a busy database is
/// reported as busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers do not block each other in WAL mode; SQLite lets one of them write.
const CONNECTIONS: u32 = 4;

/// A handle on the control database; clones share its connections. What is changed through it is noted as its actor's
/// doing.
#[derive(Debug, Clone)]
pub struct ControlDb {
    db: DatabaseConnection,
    actor: Actor,
    /// The key that asks right now, which must not have been revoked since.
    asked_by: Option<Uuid>,
}

impl ControlDb {
    /// Opens the SQLite file at `path`, creates it and its directory where missing, and brings its tables up to date.
    ///
    /// Other processes may have the file open at the same time, and may open it at the same moment.
    pub async fn open(path: &Path) -> Result<Self, ControlError> {
        let open_error = |source: DbErr| ControlError::Open { path: path.to_owned(), source: Box::new(source) };
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory)
                .await
                .map_err(|source| ControlError::Directory { path: directory.to_owned(), source })?;
        }
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).create_if_missing(true);
        set_journal_mode(&options).await.map_err(open_error)?;
        // A revoked key must not come back after a power cut.
        let options = options.synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
        let db = connect(pool, options).await.map_err(open_error)?;
        migrations::run(&db).await?;
        Ok(Self { db, actor: Actor::Installation, asked_by: None })
    }

    /// The same database in the hands of `actor`. Without it, what is changed is the installation's own doing.
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { db: self.db.clone(), actor, asked_by: None }
    }

    /// The same database, in the hands of a key that asks right now: it changes nothing any more once it is revoked.
    pub fn asked_by(&self, key_id: Uuid) -> Self {
        Self { db: self.db.clone(), actor: Actor::Key(key_id), asked_by: Some(key_id) }
    }

    /// Begins a change that consists of several statements. What was begun and not committed is undone. A key that asks, and
    /// has been revoked since it was checked, begins none.
    async fn begin(&self) -> Result<DatabaseTransaction, ControlError> {
        // A transaction that begins as a reader cannot wait for its turn to write.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self.db.begin_with_options(options).await.map_err(ControlError::during("begin a change"))?;
        match self.asked_by {
            Some(key_id) if !keys::stands(&transaction, key_id).await? => Err(ControlError::ActorGone),
            Some(_) | None => Ok(transaction),
        }
    }

    async fn commit(&self, transaction: DatabaseTransaction) -> Result<(), ControlError> {
        transaction.commit().await.map_err(ControlError::during("commit a change"))
    }

    /// The name of the newest step that was taken to its present tables.
    pub async fn schema_version(&self) -> Result<String, ControlError> {
        migrations::newest(&self.db).await
    }

    /// A database that is gone when the last clone is dropped, for tests.
    pub async fn open_in_memory() -> Result<Self, ControlError> {
        // Every connection to `:memory:` is a database of its own: there must be one, and it must stay.
        let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        let db = connect(pool, SqliteConnectOptions::new().in_memory(true))
            .await
            .map_err(|source| ControlError::Open { path: ":memory:".into(), source: Box::new(source) })?;
        migrations::run(&db).await?;
        Ok(Self { db, actor: Actor::Installation, asked_by: None })
    }
}

/// Puts the file into WAL mode, in which it then stays.
///
/// SQLite does not apply its busy timeout to this one statement, so of several processes that create the file
/// together all but one would fail: hence the waiting here, and a connection of its own.
async fn set_journal_mode(options: &SqliteConnectOptions) -> Result<(), DbErr> {
    let options = options.clone().journal_mode(SqliteJournalMode::Wal);
    let give_up_at = Instant::now() + BUSY_TIMEOUT;
    loop {
        let result = async { options.connect().await?.close().await }.await;
        match result.map_err(connection_error) {
            Err(error) if error::is_transient(&error) && Instant::now() < give_up_at => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            other => return other,
        }
    }
}

async fn connect(pool: SqlitePoolOptions, options: SqliteConnectOptions) -> Result<DatabaseConnection, DbErr> {
    // What is deleted is overwritten: nobody shall find it in free pages.
    let options = options.pragma("secure_delete", "ON");
    let options = options.busy_timeout(BUSY_TIMEOUT).foreign_keys(true).disable_statement_logging();
    let pool = pool.acquire_timeout(ACQUIRE_TIMEOUT).connect_with(options).await.map_err(connection_error)?;
    Ok(pool.into())
}

fn connection_error(source: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(source.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moment::tests::at;

    #[tokio::test]
    async fn a_second_process_sees_what_the_first_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nested").join("touchline.db");
        let first = ControlDb::open(&path).await.unwrap();
        let account = first.create_account("acme", "Acme", at(0)).await.unwrap();
        let second = ControlDb::open(&path).await.unwrap();
        assert_eq!(second.accounts().await.unwrap(), [account]);
    }

    #[tokio::test]
    async fn several_processes_may_create_the_database_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("touchline.db");
        let (a, b, c) = tokio::join!(ControlDb::open(&path), ControlDb::open(&path), ControlDb::open(&path));
        a.unwrap().create_account("acme", "Acme", at(0)).await.unwrap();
        assert_eq!(b.unwrap().accounts().await.unwrap(), c.unwrap().accounts().await.unwrap());
    }

    #[tokio::test]
    async fn file_is_durable_and_waits_for_other_writers() {
        use sea_orm::{ConnectionTrait, DbBackend, Statement};
        let directory = tempfile::tempdir().unwrap();
        let control = ControlDb::open(&directory.path().join("touchline.db")).await.unwrap();
        for (pragma, expected) in [("journal_mode", "wal"), ("synchronous", "2"), ("busy_timeout", "5000")] {
            let statement = Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {pragma}"));
            let row = control.db.query_one_raw(statement).await.unwrap().unwrap();
            let value =
                row.try_get_by_index::<String>(0).or_else(|_| row.try_get_by_index::<i64>(0).map(|n| n.to_string()));
            assert_eq!(value.unwrap(), expected, "{pragma}");
        }
    }

    #[tokio::test]
    async fn migrations_can_be_undone_and_done_again() {
        use sea_orm_migration::MigratorTrait;
        let control = ControlDb::open_in_memory().await.unwrap();
        Migrator::down(&control.db, None).await.unwrap();
        Migrator::up(&control.db, None).await.unwrap();
        control.create_account("acme", "Acme", at(0)).await.unwrap();
    }
}
