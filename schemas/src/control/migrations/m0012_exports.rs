//! Scheduled exports: what they are, what signs them, their runs, and what they have left in a reader's hands.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, date, json, json_null, pk_uuid, small_integer, string_len,
    string_len_null, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
};

pub(super) struct Migration;

const EXPORTS: &str = "exports";
const SIGNING_KEYS: &str = "export_signing_keys";
const RUNS: &str = "export_runs";
const DAYS: &str = "export_days";

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0012_exports"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(exports()).await?;
        // An export that was deleted has no name any more: another may have it.
        manager.create_index(unique("exports_by_name", EXPORTS, &["account_id", "environment", "name"])).await?;

        manager.create_table(signing_keys()).await?;
        let by_export =
            Index::create().name("export_signing_keys_by_export").table(SIGNING_KEYS).col("export_id").to_owned();
        manager.create_index(by_export).await?;

        manager.create_table(runs()).await?;
        let by_export = Index::create().name("export_runs_by_export").table(RUNS).col("export_id").col("id").to_owned();
        manager.create_index(by_export).await?;
        manager.create_index(unique("export_runs_by_sequence", RUNS, &["export_id", "sequence"])).await?;
        // What is waiting is asked for every second; without an index each question would read the whole history.
        let waiting = Index::create().name("export_runs_by_state").table(RUNS).col("state").col("id").to_owned();
        manager.create_index(waiting).await?;
        let unannounced =
            Index::create().name("export_runs_by_webhook_state").table(RUNS).col("webhook_state").col("id").to_owned();
        manager.create_index(unannounced).await?;

        manager.create_table(days()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [DAYS, RUNS, SIGNING_KEYS, EXPORTS] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn unique(name: &'static str, table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    for column in columns {
        index.col(*column);
    }
    index.name(name).table(table).unique().to_owned()
}

fn exports() -> TableCreateStatement {
    Table::create()
        .table(EXPORTS)
        .col(pk_uuid("id"))
        .col(uuid("account_id"))
        .col(string_len("environment", 16))
        .col(string_len_null("name", 63))
        .col(json("definition"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .col(timestamp_with_time_zone("scheduled_since"))
        .col(timestamp_with_time_zone("renewed_at"))
        .col(timestamp_with_time_zone_null("deleted_at"))
        .foreign_key(ForeignKey::create().from(EXPORTS, "account_id").to("accounts", "id"))
        .to_owned()
}

fn signing_keys() -> TableCreateStatement {
    Table::create()
        .table(SIGNING_KEYS)
        .col(string_len("key_id", 64).primary_key().take())
        .col(uuid("export_id"))
        .col(string_len("secret", 128))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone_null("retired_at"))
        .foreign_key(ForeignKey::create().from(SIGNING_KEYS, "export_id").to(EXPORTS, "id"))
        .to_owned()
}

fn runs() -> TableCreateStatement {
    Table::create()
        .table(RUNS)
        .col(big_pk_auto("id"))
        .col(uuid("export_id"))
        .col(string_len("triggered_by", 16))
        .col(timestamp_with_time_zone("scheduled_for"))
        .col(string_len("state", 16))
        .col(small_integer("attempt"))
        .col(timestamp_with_time_zone("queued_at"))
        .col(timestamp_with_time_zone_null("retry_at"))
        .col(timestamp_with_time_zone_null("started_at"))
        .col(timestamp_with_time_zone_null("ended_at"))
        .col(text_null("error"))
        .col(text_null("folder"))
        .col(big_integer_null("sequence"))
        .col(big_integer_null("files"))
        .col(big_integer_null("rows"))
        .col(big_integer_null("bytes"))
        .col(json_null("table_versions"))
        .col(timestamp_with_time_zone_null("watermark"))
        .col(string_len_null("definition", 128))
        .col(string_len_null("manifest_sha256", 64))
        .col(string_len("webhook_state", 16))
        .col(small_integer("webhook_attempts"))
        .col(timestamp_with_time_zone_null("webhook_retry_at"))
        .col(text_null("webhook_error"))
        .foreign_key(ForeignKey::create().from(RUNS, "export_id").to(EXPORTS, "id"))
        .to_owned()
}

fn days() -> TableCreateStatement {
    Table::create()
        .table(DAYS)
        .col(uuid("export_id"))
        .col(date("day"))
        .col(string_len("sha256", 64))
        .col(big_integer("rows"))
        .col(text("file"))
        .primary_key(Index::create().col("export_id").col("day"))
        .foreign_key(ForeignKey::create().from(DAYS, "export_id").to(EXPORTS, "id"))
        .to_owned()
}
