//! Leases: at most one holder per name at a time, with an end, so that a dead holder blocks nobody for long.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};

use serde::Serialize;

use super::moment::micros;
use super::{ControlDb, ControlError};

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leases")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub holder: String,
        pub acquired_at: DateTimeUtc,
        pub expires_at: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Who holds a lease, or last held it, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseState {
    /// Who.
    pub holder: String,
    /// Since when.
    pub acquired_at: DateTime<Utc>,
    /// Until when; a past time means that anybody may take it.
    pub expires_at: DateTime<Utc>,
}

impl ControlDb {
    /// The state of the lease `name`; `None` if it was released or never taken.
    pub async fn lease(&self, name: &str) -> Result<Option<LeaseState>, ControlError> {
        let row = entity::Entity::find_by_id(name).one(&self.db).await.map_err(ControlError::during("read a lease"))?;
        Ok(row.map(|row| LeaseState { holder: row.holder, acquired_at: row.acquired_at, expires_at: row.expires_at }))
    }

    /// Takes the lease `name` for `ttl`, and says whether it was free or had expired. A lease that is held is refused
    /// to its own holder too: two tasks of one process are two holders.
    pub async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
        now: DateTime<Utc>,
    ) -> Result<bool, ControlError> {
        let row = entity::ActiveModel {
            name: Set(name.to_owned()),
            holder: Set(holder.to_owned()),
            acquired_at: Set(micros(now)),
            expires_at: Set(expiry(now, ttl)),
        };
        // One statement decides: of two that race, the second finds the first one's row.
        let unless_held = OnConflict::column(entity::Column::Name)
            .update_columns([entity::Column::Holder, entity::Column::AcquiredAt, entity::Column::ExpiresAt])
            .action_and_where(Expr::col((entity::Entity, entity::Column::ExpiresAt)).lte(micros(now)))
            .to_owned();
        let taken = entity::Entity::insert(row).on_conflict(unless_held).exec_without_returning(&self.db).await;
        Ok(taken.map_err(ControlError::during("acquire a lease"))? == 1)
    }

    /// Extends a lease to `ttl` from `now`, and says whether `holder` still had it. A lease that has expired but that
    /// nobody took is extended.
    pub async fn renew_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
        now: DateTime<Utc>,
    ) -> Result<bool, ControlError> {
        let renewed = entity::Entity::update_many()
            .col_expr(entity::Column::ExpiresAt, expiry(now, ttl).into())
            .filter(entity::Column::Name.eq(name))
            .filter(entity::Column::Holder.eq(holder))
            .exec(&self.db)
            .await
            .map_err(ControlError::during("renew a lease"))?;
        Ok(renewed.rows_affected == 1)
    }

    /// Gives a lease back, and says whether `holder` still had it.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<bool, ControlError> {
        let released = entity::Entity::delete_many()
            .filter(entity::Column::Name.eq(name))
            .filter(entity::Column::Holder.eq(holder))
            .exec(&self.db)
            .await
            .map_err(ControlError::during("release a lease"))?;
        Ok(released.rows_affected == 1)
    }
}

fn expiry(now: DateTime<Utc>, ttl: Duration) -> DateTime<Utc> {
    let ttl = TimeDelta::from_std(ttl).unwrap_or(TimeDelta::MAX);
    micros(now.checked_add_signed(ttl).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moment::tests::at;

    const TTL: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn held_lease_is_refused_to_everybody() {
        let control = ControlDb::open_in_memory().await.unwrap();
        assert!(control.acquire_lease("job:a", "one", TTL, at(0)).await.unwrap());
        assert!(!control.acquire_lease("job:a", "two", TTL, at(59)).await.unwrap());
        assert!(!control.acquire_lease("job:a", "one", TTL, at(59)).await.unwrap());
        assert!(control.acquire_lease("job:b", "two", TTL, at(59)).await.unwrap());
    }

    #[tokio::test]
    async fn expired_lease_is_taken_over_and_lost_to_its_holder() {
        let control = ControlDb::open_in_memory().await.unwrap();
        control.acquire_lease("job:a", "one", TTL, at(0)).await.unwrap();
        assert!(control.acquire_lease("job:a", "two", TTL, at(60)).await.unwrap());
        assert!(!control.renew_lease("job:a", "one", TTL, at(61)).await.unwrap());
        assert!(!control.release_lease("job:a", "one").await.unwrap());
        assert!(!control.acquire_lease("job:a", "three", TTL, at(61)).await.unwrap());
    }

    #[tokio::test]
    async fn renewed_lease_lasts_longer() {
        let control = ControlDb::open_in_memory().await.unwrap();
        control.acquire_lease("job:a", "one", TTL, at(0)).await.unwrap();
        assert!(control.renew_lease("job:a", "one", TTL, at(50)).await.unwrap());
        assert!(!control.acquire_lease("job:a", "two", TTL, at(109)).await.unwrap());
        assert!(control.acquire_lease("job:a", "two", TTL, at(110)).await.unwrap());
    }

    #[tokio::test]
    async fn released_lease_is_free() {
        let control = ControlDb::open_in_memory().await.unwrap();
        control.acquire_lease("job:a", "one", TTL, at(0)).await.unwrap();
        let held = LeaseState { holder: "one".to_owned(), acquired_at: at(0), expires_at: at(60) };
        assert_eq!(control.lease("job:a").await.unwrap(), Some(held));
        assert!(control.release_lease("job:a", "one").await.unwrap());
        assert_eq!(control.lease("job:a").await.unwrap(), None);
        assert!(control.acquire_lease("job:a", "two", TTL, at(1)).await.unwrap());
    }

    #[tokio::test]
    async fn expiry_is_compared_by_time_not_by_its_text() {
        let control = ControlDb::open_in_memory().await.unwrap();
        // `…:00.5` and `…:00` have texts of different lengths.
        let half_second = TimeDelta::milliseconds(500);
        control.acquire_lease("job:a", "one", TTL, at(0) + half_second).await.unwrap();
        assert!(!control.acquire_lease("job:a", "two", TTL, at(60)).await.unwrap());
        assert!(control.acquire_lease("job:a", "two", TTL, at(60) + half_second).await.unwrap());
    }

    #[tokio::test]
    async fn one_of_many_racing_processes_gets_the_lease() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("touchline.db");
        let mut racers = tokio::task::JoinSet::new();
        for number in 0..8 {
            let path = path.clone();
            racers.spawn(async move {
                let control = ControlDb::open(&path).await.unwrap();
                control.acquire_lease("job:a", &format!("racer {number}"), TTL, at(0)).await.unwrap()
            });
        }
        let winners = racers.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(winners, 1);
    }
}
