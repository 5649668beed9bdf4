//! Erasures that have begun: who is meant, as long as anything of them may be left. What says which ids are one person's
//! goes with the first rows that are erased, so a run that is cut off leaves the next one nothing else to go by.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::moment::micros;
use super::{ControlDb, ControlError};
use crate::tenant::AccountId;

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "pending_erasures")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub person: String,
        pub begun_at: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An erasure that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingErasure {
    /// Names it.
    pub id: Uuid,
    /// Who is meant, in the words of whoever erases.
    pub person: String,
}

impl ControlDb {
    /// The account's erasures that have begun and are not done, oldest first.
    pub async fn pending_erasures(&self, account_id: AccountId) -> Result<Vec<PendingErasure>, ControlError> {
        let rows = entity::Entity::find()
            .filter(entity::Column::AccountId.eq(account_id.0))
            .order_by_asc(entity::Column::BegunAt)
            .all(&self.db)
            .await
            .map_err(ControlError::during("read the erasures that have begun"))?;
        Ok(rows.into_iter().map(|row| PendingErasure { id: row.id, person: row.person }).collect())
    }

    /// Writes down that an erasure begins.
    pub async fn begin_erasure(
        &self,
        account_id: AccountId,
        pending: &PendingErasure,
        now: DateTime<Utc>,
    ) -> Result<(), ControlError> {
        let row = entity::ActiveModel {
            id: Set(pending.id),
            account_id: Set(account_id.0),
            person: Set(pending.person.clone()),
            begun_at: Set(micros(now)),
        };
        let insert = entity::Entity::insert(row).exec_without_returning(&self.db).await;
        insert.map(|_| ()).map_err(ControlError::during("keep that an erasure has begun"))
    }

    /// Forgets erasures that are done, or that another has taken over. The pages that held them are emptied by
    /// [`ControlDb::scrub`].
    pub async fn forget_erasures(&self, ids: &[Uuid]) -> Result<(), ControlError> {
        let ids = ids.iter().copied();
        let deleted = entity::Entity::delete_many().filter(entity::Column::Id.is_in(ids)).exec(&self.db).await;
        deleted.map(|_| ()).map_err(ControlError::during("forget that an erasure has begun"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moment::tests::at;

    #[tokio::test]
    async fn an_erasure_is_known_to_its_account_until_it_is_done() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let acme = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        let beta = control.create_account("beta", "Beta", at(0)).await.unwrap().id;
        let pending = |number, person: &str| PendingErasure { id: Uuid::from_u128(number), person: person.to_owned() };
        let (ada, bob) = (pending(2, "ada"), pending(1, "bob"));
        control.begin_erasure(acme, &ada, at(1)).await.unwrap();
        control.begin_erasure(acme, &bob, at(2)).await.unwrap();
        assert_eq!(control.pending_erasures(acme).await.unwrap(), [ada.clone(), bob.clone()]);
        assert_eq!(control.pending_erasures(beta).await.unwrap(), []);
        control.forget_erasures(&[ada.id]).await.unwrap();
        assert_eq!(control.pending_erasures(acme).await.unwrap(), [bob]);
    }
}
