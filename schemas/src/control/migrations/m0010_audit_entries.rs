//! Who changed what, and when.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_pk_auto, json_null, string_len, timestamp_with_time_zone, uuid};

pub(super) struct Migration;

const TABLE: &str = "audit_entries";

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0010_audit_entries"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // No foreign key: what was done to an account stays told whatever becomes of the account.
        let table = Table::create()
            .table(TABLE)
            .col(big_pk_auto("id"))
            .col(timestamp_with_time_zone("at"))
            .col(string_len("actor", 64))
            .col(string_len("action", 32))
            .col(uuid("account_id"))
            .col(string_len("target", 64))
            .col(json_null("before"))
            .col(json_null("after"))
            .to_owned();
        manager.create_table(table).await?;
        let by_account = Index::create().name("audit_entries_by_account").table(TABLE).col("account_id").to_owned();
        manager.create_index(by_account).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
