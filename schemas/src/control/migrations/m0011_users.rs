//! Staff who log in, with hashes of their passwords.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{pk_uuid, string, string_len, timestamp_with_time_zone, uuid};

pub(super) struct Migration;

const TABLE: &str = "users";

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0011_users"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(TABLE)
            .col(pk_uuid("id"))
            .col(uuid("account_id"))
            .col(string_len("email", 254))
            .col(string_len("role", 16))
            .col(string("password_hash"))
            .col(timestamp_with_time_zone("password_set_at"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(ForeignKey::create().from(TABLE, "account_id").to("accounts", "id"))
            .to_owned();
        manager.create_table(table).await?;
        let once =
            Index::create().name("users_by_email").table(TABLE).col("account_id").col("email").unique().to_owned();
        manager.create_index(once).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
