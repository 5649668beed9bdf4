//! API keys: shown once, kept as digests, compared in constant time.

mod authenticate;
mod plain;
mod rotate;

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::authenticate::rows_like;
pub use self::authenticate::{AuthFailure, AuthenticatedKey};
pub use self::plain::{KeyRef, PlainKey};
pub use self::rotate::MAX_ROTATION_GRACE_S;
use super::accounts::{self, AccountStatus};
use super::audit::{Action, Change};
use super::moment::{micros, new_id};
use super::scopes::{Scope, Scopes};
use super::{ControlDb, ControlError};
use crate::tenant::{AccountId, Environment};

/// Who may hold a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Servers: `sk_…`.
    Secret,
    /// Browsers: `pk_…`, which can only send events.
    Publishable,
}

impl KeyKind {
    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Publishable => "publishable",
        }
    }

    /// What keys of this kind begin with.
    const fn initials(self) -> &'static str {
        match self {
            Self::Secret => "sk",
            Self::Publishable => "pk",
        }
    }

    fn read(word: &str) -> Result<Self, ControlError> {
        [Self::Secret, Self::Publishable]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| corrupt("kind", word))
    }
}

/// What a new key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The account that it opens.
    pub account_id: AccountId,
    /// The environment that it opens.
    pub environment: Environment,
    /// Who holds it.
    pub kind: KeyKind,
    /// What it may do. A publishable key may only have `ingest`.
    pub scopes: Scopes,
    /// A note for people.
    pub name: Option<String>,
}

/// A key as it is kept: without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// The account that it opens.
    pub account_id: AccountId,
    /// The environment that it opens.
    pub environment: Environment,
    /// Who holds it.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Scopes,
    /// A note for people.
    pub name: Option<String>,
    /// Its first 12 characters. Other keys may begin alike.
    pub prefix: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to within what the callers report.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Until when the secret before its last rotation works; none if it was never rotated.
    pub previous_until: Option<DateTime<Utc>>,
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: Uuid,
        pub environment: String,
        pub kind: String,
        pub scopes: String,
        pub name: Option<String>,
        pub prefix: String,
        pub digest: Vec<u8>,
        pub created_at: DateTimeUtc,
        pub last_used_at: Option<DateTimeUtc>,
        pub revoked_at: Option<DateTimeUtc>,
        pub previous_prefix: Option<String>,
        pub previous_digest: Option<Vec<u8>>,
        pub previous_until: Option<DateTimeUtc>,
    }

    impl std::fmt::Debug for Model {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("ApiKey").field("id", &self.id).field("prefix", &self.prefix).finish_non_exhaustive()
        }
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<entity::Model> for ApiKey {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.id,
            account_id: AccountId(row.account_id),
            environment: row.environment.parse().map_err(|_| corrupt("environment", &row.environment))?,
            kind: KeyKind::read(&row.kind)?,
            scopes: row.scopes.parse().map_err(|_| corrupt("scopes", &row.scopes))?,
            name: row.name,
            prefix: row.prefix,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            previous_until: row.previous_until,
        })
    }
}

/// Whether a key may still act: it was not revoked, and its account not suspended.
pub(super) async fn stands(db: &impl ConnectionTrait, key_id: Uuid) -> Result<bool, ControlError> {
    let row = entity::Entity::find_by_id(key_id).one(db).await.map_err(ControlError::during("look up a key"))?;
    let Some(row) = row.filter(|row| row.revoked_at.is_none()) else { return Ok(false) };
    let account = accounts::find(db, AccountId(row.account_id)).await?;
    Ok(account.is_some_and(|account| account.status == AccountStatus::Active))
}

impl ControlDb {
    /// Creates a key out of `random`, which must come from a cryptographic source. The second value is the only copy
    /// of the key there will ever be.
    pub async fn create_key(
        &self,
        new: NewKey,
        random: [u8; 16],
        now: DateTime<Utc>,
    ) -> Result<(ApiKey, PlainKey), ControlError> {
        check_scopes(new.kind, &new.scopes)?;
        let transaction = self.begin().await?;
        if accounts::find(&transaction, new.account_id).await?.is_none() {
            return Err(ControlError::UnknownAccount { account_id: new.account_id });
        }
        let plain = PlainKey::new(new.kind, new.environment, random);
        let row = entity::ActiveModel {
            id: Set(new_id(now)),
            account_id: Set(new.account_id.0),
            environment: Set(new.environment.as_str().to_owned()),
            kind: Set(new.kind.as_str().to_owned()),
            scopes: Set(new.scopes.to_string()),
            name: Set(new.name),
            prefix: Set(plain.prefix().to_owned()),
            digest: Set(plain.digest().to_vec()),
            created_at: Set(micros(now)),
            last_used_at: Set(None),
            revoked_at: Set(None),
            ..Default::default()
        };
        let row = row.insert(&transaction).await.map_err(ControlError::during("create a key"))?;
        let key: ApiKey = row.try_into()?;
        let change = Change::creates(Action::KeyCreate, key.account_id, key.id, &key)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok((key, plain))
    }

    /// The key, looked for in `account` or, for an operator, everywhere.
    pub async fn key(&self, account: Option<AccountId>, key: impl Into<KeyRef>) -> Result<ApiKey, ControlError> {
        find_key(&self.db, account, key.into()).await?.try_into()
    }

    /// The keys of an account, oldest first, also those that were revoked.
    pub async fn keys(&self, account: AccountId) -> Result<Vec<ApiKey>, ControlError> {
        let rows = entity::Entity::find()
            .filter(entity::Column::AccountId.eq(account.0))
            .order_by_asc(entity::Column::CreatedAt)
            .order_by_asc(entity::Column::Id)
            .all(&self.db)
            .await
            .map_err(ControlError::during("list keys"))?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    /// Revokes a key, looked for in `account` or, for an operator, everywhere. Revoking it again changes nothing.
    pub async fn revoke_key(
        &self,
        account: Option<AccountId>,
        key: impl Into<KeyRef>,
        now: DateTime<Utc>,
    ) -> Result<ApiKey, ControlError> {
        let transaction = self.begin().await?;
        let before = ApiKey::try_from(find_key(&transaction, account, key.into()).await?)?;
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let revoked =
            entity::ActiveModel { id: Set(before.id), revoked_at: Set(Some(micros(now))), ..Default::default() };
        let row = revoked.update(&transaction).await.map_err(ControlError::during("revoke a key"))?;
        let after = ApiKey::try_from(row)?;
        let change = Change::alters(Action::KeyRevoke, after.account_id, after.id, &before, &after)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(after)
    }
}

async fn find_key(
    db: &impl ConnectionTrait,
    account: Option<AccountId>,
    key: KeyRef,
) -> Result<entity::Model, ControlError> {
    let find = entity::Entity::find();
    let rows = match &key {
        KeyRef::Id(id) => find.filter(entity::Column::Id.eq(*id)).all(db).await,
        KeyRef::Prefix(prefix) => find.filter(entity::Column::Prefix.eq(prefix.as_str())).all(db).await,
        KeyRef::Key(plain) => Ok(rows_like(db, plain).await?.into_iter().map(|(row, _)| row).collect()),
    };
    let mut rows: Vec<entity::Model> = rows.map_err(ControlError::during("look up a key"))?;
    rows.retain(|row| account.is_none_or(|account| row.account_id == account.0));
    match (rows.pop(), key) {
        (None, _) => Err(ControlError::UnknownKey),
        (Some(row), _) if rows.is_empty() => Ok(row),
        (Some(row), KeyRef::Prefix(prefix)) => {
            let key_ids = rows.iter().chain([&row]).map(|row| row.id).collect();
            Err(ControlError::AmbiguousKey { prefix, key_ids })
        }
        // One id has one row, and two rows with one digest are the same key.
        (Some(row), KeyRef::Id(_) | KeyRef::Key(_)) => Ok(row),
    }
}

fn check_scopes(kind: KeyKind, scopes: &Scopes) -> Result<(), ControlError> {
    match kind {
        KeyKind::Publishable if *scopes != Scopes::only(Scope::Ingest) => {
            Err(ControlError::PublishableScopes { scopes: scopes.clone() })
        }
        KeyKind::Publishable | KeyKind::Secret => Ok(()),
    }
}

fn corrupt(column: &'static str, value: &str) -> ControlError {
    ControlError::Corrupt { table: "api_keys", column, value: value.to_owned() }
}

#[cfg(test)]
mod tests;
