//! What the ledger of job runs says besides: what was asked for, which attempt it was, how long it took, how far the
//! table then lagged.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer_null, json_null, small_integer};

pub(super) struct Migration;

const TABLE: &str = "job_runs";

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0007_job_run_details"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            small_integer("attempt").default(1).take(),
            json_null("request"),
            big_integer_null("duration_ms"),
            big_integer_null("lag_ms"),
        ];
        // SQLite takes one column at a time.
        for column in columns {
            manager.alter_table(Table::alter().table(TABLE).add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["lag_ms", "duration_ms", "request", "attempt"] {
            manager.alter_table(Table::alter().table(TABLE).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
