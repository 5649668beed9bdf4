//! Erasures that were asked for, with what became of them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_pk_auto, boolean, integer, string_len, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null,
    uuid, uuid_uniq,
};

pub(super) struct Migration;

const TABLE: &str = "erasure_requests";

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0013_erasure_requests"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(TABLE)
            .col(big_pk_auto("number"))
            .col(uuid_uniq("id"))
            .col(uuid("account_id"))
            .col(string_len("actor", 64))
            .col(text_null("ids"))
            .col(text_null("requested_by"))
            .col(boolean("is_dry_run"))
            .col(string_len("state", 16))
            .col(integer("attempts"))
            .col(text_null("problem"))
            .col(timestamp_with_time_zone("requested_at"))
            .col(timestamp_with_time_zone("due_at"))
            .col(timestamp_with_time_zone_null("started_at"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .col(text_null("certificate"))
            .foreign_key(ForeignKey::create().from(TABLE, "account_id").to("accounts", "id"))
            .to_owned();
        manager.create_table(table).await?;
        let by_state = Index::create().name("erasure_requests_by_state").table(TABLE).col("state").to_owned();
        manager.create_index(by_state).await?;
        let by_account = Index::create().name("erasure_requests_by_account").table(TABLE).col("account_id").to_owned();
        manager.create_index(by_account).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(TABLE).to_owned()).await
    }
}
