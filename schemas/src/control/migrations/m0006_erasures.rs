//! Erased people: hashes of their ids, and the salt that they are hashed with.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{integer, string_len, text_null, timestamp_with_time_zone, uuid};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_erasures"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let key = Index::create().col("account_id").col("id_hash").to_owned();
        let table = Table::create()
            .table("erasures")
            .col(uuid("account_id"))
            .col(string_len("id_hash", 64))
            .col(timestamp_with_time_zone("erased_at"))
            .col(text_null("certificate"))
            .primary_key(&mut key.clone())
            .to_owned();
        manager.create_table(table).await?;
        // One row: the number keeps a second from being written.
        let table = Table::create()
            .table("erasure_salt")
            .col(integer("number").primary_key())
            .col(string_len("salt", 64))
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("erasure_salt").to_owned()).await?;
        manager.drop_table(Table::drop().table("erasures").to_owned()).await
    }
}
