//! Accounts.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{json_binary, pk_uuid, string, string_len, string_len_uniq, timestamp_with_time_zone};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0001_accounts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("accounts")
            .col(pk_uuid("id"))
            .col(string_len_uniq("slug", 63))
            .col(string("name"))
            .col(string_len("status", 16))
            .col(json_binary("settings"))
            .col(timestamp_with_time_zone("created_at"))
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("accounts").to_owned()).await
    }
}
