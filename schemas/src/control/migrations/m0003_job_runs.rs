//! The ledger of job runs.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer_null, big_pk_auto, string_len, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_job_runs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("job_runs")
            .col(big_pk_auto("id"))
            .col(string_len("job", 64))
            .col(string_len("triggered_by", 16))
            .col(string_len("status", 16))
            .col(timestamp_with_time_zone_null("scheduled_for"))
            .col(timestamp_with_time_zone("started_at"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .col(big_integer_null("rows_read"))
            .col(big_integer_null("rows_written"))
            .col(big_integer_null("bytes_read"))
            .col(big_integer_null("bytes_written"))
            .col(big_integer_null("source_version"))
            .col(timestamp_with_time_zone_null("watermark"))
            .col(text_null("error"))
            .to_owned();
        manager.create_table(table).await?;
        // The scheduler asks both questions every second; without an index each would read the whole history.
        let by_schedule =
            Index::create().name("job_runs_by_schedule").table("job_runs").col("job").col("scheduled_for").to_owned();
        manager.create_index(by_schedule).await?;
        let by_status =
            Index::create().name("job_runs_by_status").table("job_runs").col("job").col("status").col("id").to_owned();
        manager.create_index(by_status).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("job_runs").to_owned()).await
    }
}
