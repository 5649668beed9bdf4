//! Erased people, as far as they may be known: a salted hash of each of their ids, so that they can be refused when they
//! are sent again, and the certificate of what was done.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Statement};
use sha2::{Digest as _, Sha256};

use super::moment::micros;
use super::{ControlDb, ControlError};
use crate::person::{IdType, TypedId};
use crate::tenant::AccountId;

/// SHA-256 over the installation's salt, the account, the type of the id and the id, as 64 hexadecimal digits.
pub type IdHashHex = String;

/// The one row of the table of the salt.
const SALT_NUMBER: i32 = 1;

/// The ids that are refused, by account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erasures {
    salt: String,
    by_account: BTreeMap<AccountId, BTreeSet<IdHashHex>>,
}

impl Erasures {
    /// Whether anybody was erased from this account. Costs next to nothing, so that nobody pays who has erased nobody.
    pub fn any_of(&self, account_id: AccountId) -> bool {
        !self.by_account.is_empty() && self.by_account.contains_key(&account_id)
    }

    /// The hash of an id of this account, if it was erased.
    pub fn find(&self, account_id: AccountId, id_type: IdType, id: &str) -> Option<&IdHashHex> {
        if self.by_account.is_empty() {
            return None;
        }
        let hashes = self.by_account.get(&account_id)?;
        hashes.get(&hash(&self.salt, account_id, id_type, id))
    }
}

fn hash(salt: &str, account_id: AccountId, id_type: IdType, id: &str) -> IdHashHex {
    let mut hasher = Sha256::new();
    hasher.update(salt.as_bytes());
    hasher.update(account_id.0.as_bytes());
    hasher.update(id_type.as_str().as_bytes());
    hasher.update(id.as_bytes());
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "erasures")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub account_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id_hash: String,
        pub erased_at: DateTimeUtc,
        pub certificate: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod salt {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "erasure_salt")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i32,
        pub salt: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl ControlDb {
    /// Every id that is refused.
    pub async fn erasures(&self) -> Result<Erasures, ControlError> {
        let rows = entity::Entity::find().all(&self.db).await.map_err(ControlError::during("read the erasures"))?;
        if rows.is_empty() {
            return Ok(Erasures::default());
        }
        let mut erasures =
            Erasures { salt: self.stored_salt().await?.unwrap_or_default(), by_account: BTreeMap::new() };
        for row in rows {
            erasures.by_account.entry(AccountId(row.account_id)).or_default().insert(row.id_hash);
        }
        Ok(erasures)
    }

    /// The hashes of ids of an account. `random` becomes the installation's salt if it has none yet.
    pub async fn erasure_hashes(
        &self,
        account_id: AccountId,
        ids: &[TypedId],
        random: [u8; 32],
    ) -> Result<Vec<IdHashHex>, ControlError> {
        let row = salt::ActiveModel { number: Set(SALT_NUMBER), salt: Set(hex(&random)) };
        let unless_there = OnConflict::column(salt::Column::Number).do_nothing().to_owned();
        let insert = salt::Entity::insert(row).on_conflict(unless_there).exec_without_returning(&self.db).await;
        insert.map_err(ControlError::during("keep the salt of erasures"))?;
        let salt = self.stored_salt().await?.unwrap_or_default();
        Ok(ids.iter().map(|typed| hash(&salt, account_id, typed.id_type, &typed.id)).collect())
    }

    /// Refuses these ids from now on; an id that is refused already stays so.
    pub async fn refuse_erased(
        &self,
        account_id: AccountId,
        hashes: &[IdHashHex],
        now: DateTime<Utc>,
    ) -> Result<(), ControlError> {
        if hashes.is_empty() {
            return Ok(());
        }
        let rows = hashes.iter().map(|hash| entity::ActiveModel {
            account_id: Set(account_id.0),
            id_hash: Set(hash.clone()),
            erased_at: Set(micros(now)),
            certificate: Set(None),
        });
        let key = [entity::Column::AccountId, entity::Column::IdHash];
        let unless_there = OnConflict::columns(key).do_nothing().to_owned();
        let insert = entity::Entity::insert_many(rows).on_conflict(unless_there).exec_without_returning(&self.db).await;
        insert.map(|_| ()).map_err(ControlError::during("keep an erasure"))
    }

    /// Empties the database's own log into the database, and the pages of both that hold nothing any more: what was
    /// deleted or overwritten before cannot be found in the files afterwards.
    pub async fn scrub(&self) -> Result<(), ControlError> {
        for statement in ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            let statement = Statement::from_string(DbBackend::Sqlite, statement);
            self.db.query_one_raw(statement).await.map_err(ControlError::during("scrub itself"))?;
        }
        Ok(())
    }

    async fn stored_salt(&self) -> Result<Option<String>, ControlError> {
        let row = salt::Entity::find_by_id(SALT_NUMBER).one(&self.db).await;
        Ok(row.map_err(ControlError::during("read the salt of erasures"))?.map(|row| row.salt))
    }
}

/// Keeps a certificate with the ids that it is about.
pub(super) async fn keep_certificate(
    transaction: &impl ConnectionTrait,
    account_id: AccountId,
    hashes: &[IdHashHex],
    certificate: &str,
) -> Result<(), ControlError> {
    let updated = entity::Entity::update_many()
        .col_expr(entity::Column::Certificate, Expr::value(certificate))
        .filter(entity::Column::AccountId.eq(account_id.0))
        .filter(entity::Column::IdHash.is_in(hashes))
        .exec(transaction)
        .await;
    updated.map(|_| ()).map_err(ControlError::during("keep a certificate"))
}

/// Puts another text in the place of a certificate.
pub(super) async fn replace_certificate(
    transaction: &impl ConnectionTrait,
    account_id: AccountId,
    old: &str,
    new: &str,
) -> Result<(), ControlError> {
    let updated = entity::Entity::update_many()
        .col_expr(entity::Column::Certificate, Expr::value(new))
        .filter(entity::Column::AccountId.eq(account_id.0))
        .filter(entity::Column::Certificate.eq(old))
        .exec(transaction)
        .await;
    updated.map(|_| ()).map_err(ControlError::during("change a certificate"))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::control::PendingErasure;
    use crate::control::moment::tests::at;

    #[tokio::test]
    async fn an_erased_id_is_known_in_its_account_and_nowhere_else() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let acme = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        let beta = control.create_account("beta", "Beta", at(0)).await.unwrap().id;
        assert_eq!(control.erasures().await.unwrap(), Erasures::default());
        let ids = [TypedId::user("ada"), TypedId::visitor("v-1")];
        let hashes = control.erasure_hashes(acme, &ids, [7; 32]).await.unwrap();
        for seconds in 1..3 {
            control.refuse_erased(acme, &hashes, at(seconds)).await.unwrap();
        }
        let erasures = control.erasures().await.unwrap();
        assert_eq!(erasures.find(acme, IdType::User, "ada"), Some(&hashes[0]));
        assert_eq!(erasures.find(acme, IdType::Visitor, "v-1"), Some(&hashes[1]));
        assert_eq!(erasures.find(acme, IdType::Visitor, "v-2"), None);
        assert_eq!(erasures.find(acme, IdType::Visitor, "ada"), None, "somebody's device may be called so");
        assert_eq!(erasures.find(beta, IdType::User, "ada"), None);
        assert!(erasures.any_of(acme) && !erasures.any_of(beta));
    }

    #[tokio::test]
    async fn the_salt_is_made_once() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let acme = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        let ids = [TypedId::user("ada")];
        let first = control.erasure_hashes(acme, &ids, [7; 32]).await.unwrap();
        assert_eq!(control.erasure_hashes(acme, &ids, [8; 32]).await.unwrap(), first);
    }

    #[tokio::test]
    async fn what_was_deleted_is_not_in_the_file_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("touchline.db");
        let control = ControlDb::open(&path).await.unwrap();
        let account = control.create_account("acme", "Acme", at(0)).await.unwrap();
        let begun = PendingErasure { id: Uuid::nil(), person: "needle-zone".to_owned() };
        control.begin_erasure(account.id, &begun, at(1)).await.unwrap();
        control.forget_erasures(&[begun.id]).await.unwrap();
        control.scrub().await.unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(11).any(|window| window == b"needle-zone"));
        }
    }
}
