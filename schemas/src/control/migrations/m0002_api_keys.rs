//! API keys.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    binary_len, pk_uuid, string, string_len, string_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_api_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("api_keys")
            .col(pk_uuid("id"))
            .col(uuid("account_id"))
            .col(string_len("environment", 16))
            .col(string_len("kind", 16))
            .col(string("scopes"))
            .col(string_null("name"))
            .col(string_len("prefix", 12))
            .col(binary_len("digest", 32))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("last_used_at"))
            .col(timestamp_with_time_zone_null("revoked_at"))
            .foreign_key(ForeignKey::create().from("api_keys", "account_id").to("accounts", "id"))
            .to_owned();
        manager.create_table(table).await?;
        // Not unique: the prefix holds only 16 random bits.
        let by_prefix = Index::create().name("api_keys_by_prefix").table("api_keys").col("prefix").to_owned();
        manager.create_index(by_prefix).await?;
        let by_account = Index::create().name("api_keys_by_account").table("api_keys").col("account_id").to_owned();
        manager.create_index(by_account).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("api_keys").to_owned()).await
    }
}
