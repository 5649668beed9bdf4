//! The control database's tables, as the steps that lead to them. A step that was released is never edited: a change
//! is a new step at the end.

mod m0001_accounts;
mod m0002_api_keys;
mod m0003_job_runs;
mod m0004_leases;
mod m0005_ingest_ledger;
mod m0006_erasures;
mod m0007_job_run_details;
mod m0008_pending_erasures;
mod m0009_key_rotation;
mod m0010_audit_entries;
mod m0011_users;
mod m0012_exports;
mod m0013_erasure_requests;
mod m0014_late_events;

use sea_orm::{DatabaseConnection, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

use super::ControlError;

/// All steps, in order.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_accounts::Migration),
            Box::new(m0002_api_keys::Migration),
            Box::new(m0003_job_runs::Migration),
            Box::new(m0004_leases::Migration),
            Box::new(m0005_ingest_ledger::Migration),
            Box::new(m0006_erasures::Migration),
            Box::new(m0007_job_run_details::Migration),
            Box::new(m0008_pending_erasures::Migration),
            Box::new(m0009_key_rotation::Migration),
            Box::new(m0010_audit_entries::Migration),
            Box::new(m0011_users::Migration),
            Box::new(m0012_exports::Migration),
            Box::new(m0013_erasure_requests::Migration),
            Box::new(m0014_late_events::Migration),
        ]
    }
}

/// Takes the steps that are missing.
pub(super) async fn run(db: &DatabaseConnection) -> Result<(), ControlError> {
    take_missing_steps(db).await.map_err(|source| ControlError::Migrate { source: Box::new(source) })
}

async fn take_missing_steps(db: &DatabaseConnection) -> Result<(), DbErr> {
    // An up-to-date database is opened without a write, so that commands do not wait for a busy server.
    if Migrator::get_pending_migrations_read_only(db).await?.is_empty() {
        return Ok(());
    }
    // All steps in one transaction that is a writer from its first statement: of two processes that start together,
    // the second waits, and then finds nothing left to do.
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = db.begin_with_options(options).await?;
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
}

/// The name of the newest step that was taken.
pub(super) async fn newest(db: &DatabaseConnection) -> Result<String, ControlError> {
    let failed = |source| ControlError::Migrate { source: Box::new(source) };
    let taken = Migrator::get_migration_models(db).await.map_err(failed)?;
    Ok(taken.into_iter().map(|step| step.version).max().unwrap_or_default())
}
