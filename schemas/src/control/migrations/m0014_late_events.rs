//! Events that came when their day was over.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, date, string_len, uuid};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0014_late_events"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let key = Index::create().col("account_id").col("environment").col("day").to_owned();
        let table = Table::create()
            .table("late_events")
            .col(uuid("account_id"))
            .col(string_len("environment", 16))
            .col(date("day"))
            .col(big_integer("events"))
            .primary_key(&mut key.clone())
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("late_events").to_owned()).await
    }
}
