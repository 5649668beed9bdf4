//! The ingest ledger: what each segment of the log brought, so that what was sent can be compared with what was stored.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use serde::Serialize;

use super::late_events::{self, LateEvents};
use super::{ControlDb, ControlError};
use crate::tenant::Tenant;

/// Rows of one insert statement: ten values each, well below what backends allow.
const ROWS_PER_STATEMENT: usize = 500;

/// What one segment brought for one account and environment in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestCounts {
    /// Whose events.
    pub tenant: Tenant,
    /// The hour in which they were received, UTC; what is finer is cut.
    pub hour: DateTime<Utc>,
    /// Events received: stored, duplicates and rejected together.
    pub received: u64,
    /// Events stored.
    pub stored: u64,
    /// Events that had been stored before.
    pub duplicates: u64,
    /// Events refused.
    pub rejected: u64,
    /// The longest time from receipt to the table, in milliseconds.
    pub max_lag_ms: u64,
}

/// What all segments brought in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IngestHour {
    /// The hour's beginning, UTC.
    pub hour: DateTime<Utc>,
    /// Events received: stored, duplicates and rejected together.
    pub received: u64,
    /// Events stored.
    pub stored: u64,
    /// Events that had been stored before.
    pub duplicates: u64,
    /// Events refused.
    pub rejected: u64,
    /// The longest time from receipt to the table, in milliseconds.
    pub max_lag_ms: u64,
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "ingest_ledger")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub node: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub segment: i64,
        #[sea_orm(primary_key, auto_increment = false)]
        pub account_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub environment: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub hour: DateTimeUtc,
        pub received: i64,
        pub stored: i64,
        pub duplicates: i64,
        pub rejected: i64,
        pub max_lag_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use entity::Column;

/// One row of the report as the database gives it.
#[derive(FromQueryResult)]
struct Sums {
    hour: DateTime<Utc>,
    received: i64,
    stored: i64,
    duplicates: i64,
    rejected: i64,
    max_lag_ms: i64,
}

impl From<Sums> for IngestHour {
    fn from(sums: Sums) -> Self {
        Self {
            hour: sums.hour,
            received: unsigned(sums.received),
            stored: unsigned(sums.stored),
            duplicates: unsigned(sums.duplicates),
            rejected: unsigned(sums.rejected),
            max_lag_ms: unsigned(sums.max_lag_ms),
        }
    }
}

impl ControlDb {
    /// Records what a segment of a node's log brought: all of `rows` and `late`, or nothing. A segment that was recorded
    /// before (by an attempt that died after this) is not counted again.
    pub async fn record_ingest(
        &self,
        node: &str,
        segment: i64,
        rows: &[IngestCounts],
        late: &[LateEvents],
    ) -> Result<(), ControlError> {
        let rows: Vec<entity::ActiveModel> =
            by_tenant_and_hour(rows).into_values().map(|counts| row(node, segment, &counts)).collect();
        let during = || ControlError::during("record ingest counts");
        // A transaction that begins as a reader cannot wait for its turn to write.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self.db.begin_with_options(options).await.map_err(during())?;
        let recorded = entity::Entity::find().filter(Column::Node.eq(node)).filter(Column::Segment.eq(segment));
        if recorded.one(&transaction).await.map_err(during())?.is_none() {
            late_events::add(&transaction, late).await.map_err(during())?;
        }
        for statement in rows.chunks(ROWS_PER_STATEMENT) {
            let key = [Column::Node, Column::Segment, Column::AccountId, Column::Environment, Column::Hour];
            entity::Entity::insert_many(statement.to_vec())
                .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
                .exec_without_returning(&transaction)
                .await
                .map_err(during())?;
        }
        transaction.commit().await.map_err(during())
    }

    /// What came in for one account and environment per hour, over hours that begin in `[from, to)`. Hours without
    /// events are absent.
    pub async fn ingest_report(
        &self,
        tenant: Tenant,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<IngestHour>, ControlError> {
        let sums = entity::Entity::find()
            .select_only()
            .column(Column::Hour)
            .column_as(sum(Column::Received), "received")
            .column_as(sum(Column::Stored), "stored")
            .column_as(sum(Column::Duplicates), "duplicates")
            .column_as(sum(Column::Rejected), "rejected")
            .column_as(Column::MaxLagMs.max(), "max_lag_ms")
            .filter(Column::AccountId.eq(tenant.account_id.0))
            .filter(Column::Environment.eq(tenant.environment.as_str()))
            .filter(Column::Hour.gte(from))
            .filter(Column::Hour.lt(to))
            .group_by(Column::Hour)
            .order_by_asc(Column::Hour)
            .into_model::<Sums>()
            .all(&self.db)
            .await
            .map_err(ControlError::during("read ingest counts"))?;
        Ok(sums.into_iter().map(IngestHour::from).collect())
    }
}

/// One entry per account, environment and hour: two rows of one call with the same key are summed, where the insert
/// would take the second for a repetition.
fn by_tenant_and_hour(rows: &[IngestCounts]) -> BTreeMap<(Tenant, DateTime<Utc>), IngestCounts> {
    let mut merged = BTreeMap::new();
    for counts in rows {
        let hour = counts.hour.duration_trunc(TimeDelta::hours(1)).unwrap_or(counts.hour);
        let total = merged.entry((counts.tenant, hour)).or_insert(IngestCounts {
            tenant: counts.tenant,
            hour,
            received: 0,
            stored: 0,
            duplicates: 0,
            rejected: 0,
            max_lag_ms: 0,
        });
        total.received += counts.received;
        total.stored += counts.stored;
        total.duplicates += counts.duplicates;
        total.rejected += counts.rejected;
        total.max_lag_ms = std::cmp::max(total.max_lag_ms, counts.max_lag_ms);
    }
    merged
}

fn row(node: &str, segment: i64, counts: &IngestCounts) -> entity::ActiveModel {
    entity::ActiveModel {
        node: Set(node.to_owned()),
        segment: Set(segment),
        account_id: Set(counts.tenant.account_id.0),
        environment: Set(counts.tenant.environment.as_str().to_owned()),
        hour: Set(counts.hour),
        received: Set(signed(counts.received)),
        stored: Set(signed(counts.stored)),
        duplicates: Set(signed(counts.duplicates)),
        rejected: Set(signed(counts.rejected)),
        max_lag_ms: Set(signed(counts.max_lag_ms)),
    }
}

/// The sum as a 64-bit integer: PostgreSQL widens sums of those to decimals.
fn sum(column: Column) -> SimpleExpr {
    Expr::col(column).sum().cast_as(Alias::new("bigint"))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moment::tests::at;
    use crate::tenant::{AccountId, Environment};

    const HOUR_S: i64 = 3_600;

    fn tenant(environment: Environment) -> Tenant {
        Tenant { account_id: AccountId(uuid::Uuid::from_u128(7)), environment }
    }

    /// `received` events at `second`, of which one is a duplicate and one is rejected.
    fn counts(second: i64, received: u64, max_lag_ms: u64) -> IngestCounts {
        IngestCounts {
            tenant: tenant(Environment::Live),
            hour: at(second),
            received,
            stored: received - 2,
            duplicates: 1,
            rejected: 1,
            max_lag_ms,
        }
    }

    async fn report(control: &ControlDb) -> Vec<(i64, u64, u64, u64)> {
        let hours = control.ingest_report(tenant(Environment::Live), at(-HOUR_S), at(9 * HOUR_S)).await.unwrap();
        hours
            .into_iter()
            .map(|hour| {
                assert_eq!(hour.received, hour.stored + hour.duplicates + hour.rejected);
                ((hour.hour - at(0)).num_hours(), hour.received, hour.stored, hour.max_lag_ms)
            })
            .collect()
    }

    #[tokio::test]
    async fn segments_and_nodes_are_summed_per_hour() {
        let control = ControlDb::open_in_memory().await.unwrap();
        control.record_ingest("a", 1, &[counts(0, 10, 5), counts(HOUR_S, 20, 6)], &[]).await.unwrap();
        control.record_ingest("a", 2, &[counts(HOUR_S, 30, 2)], &[]).await.unwrap();
        control.record_ingest("b", 1, &[counts(HOUR_S, 40, 9)], &[]).await.unwrap();
        assert_eq!(report(&control).await, [(0, 10, 8, 5), (1, 90, 84, 9)]);
    }

    #[tokio::test]
    async fn segment_recorded_twice_counts_once() {
        let control = ControlDb::open_in_memory().await.unwrap();
        for _ in 0..2 {
            control.record_ingest("a", 1, &[counts(0, 10, 5)], &[]).await.unwrap();
        }
        assert_eq!(report(&control).await, [(0, 10, 8, 5)]);
    }

    #[tokio::test]
    async fn rows_of_one_hour_in_one_call_are_summed() {
        let control = ControlDb::open_in_memory().await.unwrap();
        control.record_ingest("a", 1, &[counts(0, 10, 5), counts(HOUR_S - 1, 5, 7)], &[]).await.unwrap();
        assert_eq!(report(&control).await, [(0, 15, 11, 7)]);
    }

    #[tokio::test]
    async fn other_environments_are_not_seen_and_the_range_is_half_open() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let other = IngestCounts { tenant: tenant(Environment::Test), ..counts(0, 99, 1) };
        control.record_ingest("a", 1, &[counts(0, 10, 5), other, counts(HOUR_S, 20, 5)], &[]).await.unwrap();
        let hours = control.ingest_report(tenant(Environment::Live), at(0), at(HOUR_S)).await.unwrap();
        assert_eq!(hours.into_iter().map(|hour| hour.received).collect::<Vec<_>>(), [10]);
    }

    #[tokio::test]
    async fn segment_without_counts_or_with_very_many_is_fine() {
        let control = ControlDb::open_in_memory().await.unwrap();
        control.record_ingest("a", 1, &[], &[]).await.unwrap();
        let many: Vec<IngestCounts> = (0..1_201).map(|hour| counts(hour * HOUR_S, 3, 1)).collect();
        control.record_ingest("a", 2, &many, &[]).await.unwrap();
        let hours = control.ingest_report(tenant(Environment::Live), at(0), at(2_000 * HOUR_S)).await.unwrap();
        assert_eq!(hours.len(), many.len());
    }
}
