//! The secret that a key had before its last rotation, and until when it still works.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{binary_len_null, string_len_null, timestamp_with_time_zone_null};

pub(super) struct Migration;

const TABLE: &str = "api_keys";
const INDEX: &str = "api_keys_by_previous_prefix";

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0009_key_rotation"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            string_len_null("previous_prefix", 12),
            binary_len_null("previous_digest", 32),
            timestamp_with_time_zone_null("previous_until"),
        ];
        // SQLite takes one column at a time.
        for column in columns {
            manager.alter_table(Table::alter().table(TABLE).add_column(column).to_owned()).await?;
        }
        manager.create_index(Index::create().name(INDEX).table(TABLE).col("previous_prefix").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name(INDEX).table(TABLE).to_owned()).await?;
        for column in ["previous_until", "previous_digest", "previous_prefix"] {
            manager.alter_table(Table::alter().table(TABLE).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
