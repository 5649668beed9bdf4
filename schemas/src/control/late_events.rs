//! Events that came when their day was over, by the day on which they happened: how much what was once counted of a day may
//! have changed.

use chrono::NaiveDate;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect, QueryTrait,
};

use super::{ControlDb, ControlError};
use crate::tenant::Tenant;

/// Rows of one insert statement, well below what backends allow.
const ROWS_PER_STATEMENT: usize = 500;

/// Late events of one account and environment and day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateEvents {
    /// Whose events.
    pub tenant: Tenant,
    /// The day of UTC on which they happened.
    pub day: NaiveDate,
    /// How many came when it was over.
    pub events: u64,
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "late_events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub account_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub environment: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub day: Date,
        pub events: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use entity::Column;

/// Adds to what is known of each day.
pub(super) async fn add(db: &impl ConnectionTrait, late: &[LateEvents]) -> Result<(), DbErr> {
    let row = |late: &LateEvents| entity::ActiveModel {
        account_id: Set(late.tenant.account_id.0),
        environment: Set(late.tenant.environment.as_str().to_owned()),
        day: Set(late.day),
        events: Set(i64::try_from(late.events).unwrap_or(i64::MAX)),
    };
    for rows in late.chunks(ROWS_PER_STATEMENT) {
        let came = Expr::col((Alias::new("excluded"), Column::Events));
        let sum = Expr::col((entity::Entity, Column::Events)).add(came);
        let key = [Column::AccountId, Column::Environment, Column::Day];
        entity::Entity::insert_many(rows.iter().map(row))
            .on_conflict(OnConflict::columns(key).value(Column::Events, sum).to_owned())
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

impl ControlDb {
    /// How many events of the days from `first` to `last`, both included, came when their day was over.
    pub async fn late_events(
        &self,
        tenant: Tenant,
        first: Option<NaiveDate>,
        last: Option<NaiveDate>,
    ) -> Result<u64, ControlError> {
        let sum: Option<Option<i64>> = entity::Entity::find()
            .select_only()
            // PostgreSQL widens sums of 64-bit integers to decimals.
            .column_as(Expr::col(Column::Events).sum().cast_as(Alias::new("bigint")), "events")
            .filter(Column::AccountId.eq(tenant.account_id.0))
            .filter(Column::Environment.eq(tenant.environment.as_str()))
            .apply_if(first, |query, first| query.filter(Column::Day.gte(first)))
            .apply_if(last, |query, last| query.filter(Column::Day.lte(last)))
            .into_tuple()
            .one(&self.db)
            .await
            .map_err(ControlError::during("read counts of late events"))?;
        Ok(u64::try_from(sum.flatten().unwrap_or_default()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::{AccountId, Environment};

    fn tenant(environment: Environment) -> Tenant {
        Tenant { account_id: AccountId(uuid::Uuid::from_u128(7)), environment }
    }

    fn day(number: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 3, number).unwrap()
    }

    #[tokio::test]
    async fn days_are_summed_over_segments_and_a_segment_counts_once() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let late = |environment, number, events| LateEvents { tenant: tenant(environment), day: day(number), events };
        let (live, test) = (Environment::Live, Environment::Test);
        for (segment, rows) in [
            (1, vec![late(live, 1, 3), late(live, 2, 4)]),
            (1, vec![late(live, 1, 3), late(live, 2, 4)]),
            (2, vec![late(live, 2, 10), late(test, 2, 100)]),
            (3, vec![]),
        ] {
            // A segment that brought anything has counts by hour, too.
            let hour = super::super::IngestCounts {
                tenant: tenant(live),
                hour: chrono::DateTime::UNIX_EPOCH,
                received: 1,
                stored: 1,
                duplicates: 0,
                rejected: 0,
                max_lag_ms: 0,
            };
            control.record_ingest("a", segment, &[hour], &rows).await.unwrap();
        }
        for (first, last, expected) in [
            (None, None, 17),
            (Some(day(2)), None, 14),
            (None, Some(day(1)), 3),
            (Some(day(1)), Some(day(2)), 17),
            (Some(day(3)), None, 0),
        ] {
            assert_eq!(control.late_events(tenant(live), first, last).await.unwrap(), expected, "{first:?} {last:?}");
        }
        assert_eq!(control.late_events(tenant(test), None, None).await.unwrap(), 100);
    }
}
