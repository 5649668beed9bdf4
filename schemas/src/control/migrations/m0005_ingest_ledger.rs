//! The ingest ledger.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, string_len, timestamp_with_time_zone, uuid};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0005_ingest_ledger"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The key is what makes recording a segment a second time harmless.
        let key =
            Index::create().col("node").col("segment").col("account_id").col("environment").col("hour").to_owned();
        let table = Table::create()
            .table("ingest_ledger")
            .col(string_len("node", 128))
            .col(big_integer("segment"))
            .col(uuid("account_id"))
            .col(string_len("environment", 16))
            .col(timestamp_with_time_zone("hour"))
            .col(big_integer("received"))
            .col(big_integer("stored"))
            .col(big_integer("duplicates"))
            .col(big_integer("rejected"))
            .col(big_integer("max_lag_ms"))
            .primary_key(&mut key.clone())
            .to_owned();
        manager.create_table(table).await?;
        let by_tenant = Index::create()
            .name("ingest_ledger_by_tenant")
            .table("ingest_ledger")
            .col("account_id")
            .col("environment")
            .col("hour")
            .to_owned();
        manager.create_index(by_tenant).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("ingest_ledger").to_owned()).await
    }
}
