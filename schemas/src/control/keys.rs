//! API keys: shown once, kept as digests, compared in constant time.

use std::fmt;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::accounts::{self, AccountSettings, AccountStatus};
use super::audit::{Action, Change};
use super::moment::{micros, new_id};
use super::scopes::{Scope, Scopes};
use super::{ControlDb, ControlError};
use crate::tenant::{AccountId, Environment, Tenant};

/// Characters of a key that are kept as they are, for people to tell keys apart.
const PREFIX_CHARS: usize = 12;
/// Characters of a key's random part: 128 bits in hexadecimal.
const RANDOM_CHARS: usize = 32;

/// The longest time for which a rotated key's last secret may go on working: 30 days, in seconds.
pub const MAX_ROTATION_GRACE_S: u32 = 30 * 86_400;

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

/// A key in full. It is shown to its owner once, and never kept or logged.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainKey(String);

impl PlainKey {
    /// Builds the key from 128 random bits.
    fn new(kind: KeyKind, environment: Environment, random: [u8; 16]) -> Self {
        let mut text = format!("{}_{environment}_", kind.initials());
        for byte in random {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Reads a key that somebody presents; `None` unless it has the form of one.
    pub fn parse(presented: &str) -> Option<Self> {
        let (initials, rest) = presented.split_once('_')?;
        let (environment, random) = rest.split_once('_')?;
        let known = [KeyKind::Secret, KeyKind::Publishable].iter().any(|kind| kind.initials() == initials)
            && environment.parse::<Environment>().is_ok();
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let random = random.len() == RANDOM_CHARS && random.bytes().all(hexadecimal);
        (known && random).then(|| Self(presented.to_owned()))
    }

    /// The key's text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn prefix(&self) -> &str {
        self.0.get(..PREFIX_CHARS).unwrap_or(&self.0)
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({}…)", self.prefix())
    }
}

/// How somebody names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// By its id.
    Id(Uuid),
    /// By its first characters.
    Prefix(String),
    /// By the key itself: whoever finds a leaked key has nothing else.
    Key(PlainKey),
}

impl From<Uuid> for KeyRef {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for KeyRef {
    fn from(text: &str) -> Self {
        if let Ok(id) = Uuid::parse_str(text) {
            return Self::Id(id);
        }
        PlainKey::parse(text).map_or_else(|| Self::Prefix(text.to_owned()), Self::Key)
    }
}

/// What a good key opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedKey {
    /// The key's id.
    pub key_id: Uuid,
    /// The account and environment.
    pub tenant: Tenant,
    /// Who holds it.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Scopes,
    /// The account's slug.
    pub account_slug: String,
    /// The account's name.
    pub account_name: String,
    /// What the account has decided for itself.
    pub settings: AccountSettings,
}

/// Why a key is refused. Nothing more than this is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// It does not have the form of a key.
    #[error("the API key is malformed")]
    MalformedKey,
    /// There is no such key.
    #[error("the API key is invalid")]
    UnknownKey,
    /// It was revoked.
    #[error("the API key was revoked")]
    RevokedKey,
    /// Its account is suspended.
    #[error("the account is suspended")]
    SuspendedAccount,
    /// No account tracks the domain that stands for a key.
    #[error("no account tracks this domain")]
    UnknownDomain,
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

    /// Gives a key a new secret, made of `random`, which must come from a cryptographic source. The old one works for
    /// `grace_s` seconds more, at most [`MAX_ROTATION_GRACE_S`]; one that still worked from an earlier rotation ends at
    /// once. The second value is the only copy of the new secret there will ever be.
    pub async fn rotate_key(
        &self,
        account: Option<AccountId>,
        key: impl Into<KeyRef>,
        grace_s: u32,
        random: [u8; 16],
        now: DateTime<Utc>,
    ) -> Result<(ApiKey, PlainKey), ControlError> {
        if grace_s > MAX_ROTATION_GRACE_S {
            return Err(ControlError::GraceTooLong { grace_s, max_s: MAX_ROTATION_GRACE_S });
        }
        let transaction = self.begin().await?;
        let row = find_key(&transaction, account, key.into()).await?;
        let before = ApiKey::try_from(row.clone())?;
        if before.revoked_at.is_some() {
            return Err(ControlError::KeyRevoked);
        }
        let plain = PlainKey::new(before.kind, before.environment, random);
        let rotated = entity::ActiveModel {
            id: Set(row.id),
            prefix: Set(plain.prefix().to_owned()),
            digest: Set(plain.digest().to_vec()),
            previous_prefix: Set(Some(row.prefix)),
            previous_digest: Set(Some(row.digest)),
            previous_until: Set(Some(micros(now + TimeDelta::seconds(i64::from(grace_s))))),
            ..Default::default()
        };
        let row = rotated.update(&transaction).await.map_err(ControlError::during("rotate a key"))?;
        let after = ApiKey::try_from(row)?;
        let change = Change::alters(Action::KeyRotate, after.account_id, after.id, &before, &after)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok((after, plain))
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

    /// Checks a key that somebody presents at `now`. The outer error means that it could not be checked.
    pub async fn authenticate(
        &self,
        presented: &str,
        now: DateTime<Utc>,
    ) -> Result<Result<AuthenticatedKey, AuthFailure>, ControlError> {
        let Some(plain) = PlainKey::parse(presented) else {
            return Ok(Err(AuthFailure::MalformedKey));
        };
        let Some((row, is_current)) = rows_like(&self.db, &plain).await?.into_iter().next() else {
            return Ok(Err(AuthFailure::UnknownKey));
        };
        let key = ApiKey::try_from(row)?;
        let has_ended = !is_current && key.previous_until.is_none_or(|until| now >= until);
        if key.revoked_at.is_some() || has_ended {
            return Ok(Err(AuthFailure::RevokedKey));
        }
        let Some(account) = self.account(key.account_id).await? else {
            return Ok(Err(AuthFailure::UnknownKey));
        };
        match account.status {
            AccountStatus::Suspended => Ok(Err(AuthFailure::SuspendedAccount)),
            AccountStatus::Active => Ok(Ok(AuthenticatedKey {
                key_id: key.id,
                tenant: Tenant { account_id: key.account_id, environment: key.environment },
                kind: key.kind,
                scopes: key.scopes,
                account_slug: account.slug,
                account_name: account.name,
                settings: account.settings,
            })),
        }
    }

    /// What a domain opens that an account tracks: sending live events, as a publishable key does. The id of this key is
    /// the account's.
    pub async fn authenticate_domain(
        &self,
        domain: &str,
    ) -> Result<Result<AuthenticatedKey, AuthFailure>, ControlError> {
        let Some(account) = self.account_by_domain(domain).await? else {
            return Ok(Err(AuthFailure::UnknownDomain));
        };
        Ok(match account.status {
            AccountStatus::Suspended => Err(AuthFailure::SuspendedAccount),
            AccountStatus::Active => Ok(AuthenticatedKey {
                key_id: account.id.0,
                tenant: Tenant { account_id: account.id, environment: Environment::Live },
                kind: KeyKind::Publishable,
                scopes: Scopes::only(Scope::Ingest),
                account_slug: account.slug,
                account_name: account.name,
                settings: account.settings,
            }),
        })
    }

    /// Notes that a key was used at `now`; an older time never replaces a newer one. Each call is a durable write:
    /// callers report a key now and then, not with every request.
    pub async fn mark_key_used(&self, key_id: Uuid, now: DateTime<Utc>) -> Result<(), ControlError> {
        let used_at = micros(now);
        let older =
            Condition::any().add(entity::Column::LastUsedAt.is_null()).add(entity::Column::LastUsedAt.lt(used_at));
        entity::Entity::update_many()
            .col_expr(entity::Column::LastUsedAt, used_at.into())
            .filter(entity::Column::Id.eq(key_id))
            .filter(older)
            .exec(&self.db)
            .await
            .map_err(ControlError::during("note the use of a key"))?;
        Ok(())
    }
}

/// The rows one of whose secrets is `plain`, and whether it is the present one. All keys that begin alike are compared,
/// each in constant time, so that the answer's timing tells no more than the prefix, which is not secret.
async fn rows_like(db: &impl ConnectionTrait, plain: &PlainKey) -> Result<Vec<(entity::Model, bool)>, ControlError> {
    let begins_alike = Condition::any()
        .add(entity::Column::Prefix.eq(plain.prefix()))
        .add(entity::Column::PreviousPrefix.eq(plain.prefix()));
    let rows = entity::Entity::find().filter(begins_alike).all(db).await;
    let digest = plain.digest();
    let is_same = |kept: &[u8]| bool::from(kept.ct_eq(&digest));
    let mut alike = Vec::new();
    for row in rows.map_err(ControlError::during("look up a key"))? {
        let is_current = is_same(&row.digest);
        let is_previous = row.previous_digest.as_deref().is_some_and(is_same);
        if is_current || is_previous {
            alike.push((row, is_current));
        }
    }
    Ok(alike)
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
mod tests {
    use super::*;
    use crate::control::moment::tests::at;

    const RANDOM: [u8; 16] = [0xab; 16];

    async fn control_with_account() -> (ControlDb, AccountId) {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme Ltd", at(0)).await.unwrap();
        (control, account.id)
    }

    fn secret(account_id: AccountId) -> NewKey {
        NewKey {
            account_id,
            environment: Environment::Test,
            kind: KeyKind::Secret,
            scopes: "ingest,can_view_reports".parse().unwrap(),
            name: Some("backend".to_owned()),
        }
    }

    fn random_ending(last: u8) -> [u8; 16] {
        let mut random = RANDOM;
        random[15] = last;
        random
    }

    #[tokio::test]
    async fn key_has_its_form_and_only_its_digest_is_kept() {
        let (control, account) = control_with_account().await;
        let (key, plain) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        assert_eq!(plain.expose(), format!("sk_test_{}", "ab".repeat(16)));
        assert_eq!(key.prefix, "sk_test_abab");
        assert_eq!(format!("{plain:?}"), "PlainKey(sk_test_abab…)");
        let row = entity::Entity::find_by_id(key.id).one(&control.db).await.unwrap().unwrap();
        assert_eq!(row.digest, Sha256::digest(plain.expose()).to_vec());
        assert_eq!(control.keys(account).await.unwrap(), [key]);
    }

    #[tokio::test]
    async fn good_key_opens_its_account_and_environment() {
        let (control, account_id) = control_with_account().await;
        let (key, plain) = control.create_key(secret(account_id), RANDOM, at(0)).await.unwrap();
        let opened = control.authenticate(plain.expose(), at(100)).await.unwrap().unwrap();
        assert_eq!(opened.key_id, key.id);
        assert_eq!(opened.tenant, Tenant { account_id, environment: Environment::Test });
        assert_eq!((opened.account_slug.as_str(), opened.account_name.as_str()), ("acme", "Acme Ltd"));
        assert!(opened.scopes.allows(Scope::CanViewReports) && !opened.scopes.allows(Scope::Admin));
    }

    #[tokio::test]
    async fn bad_keys_are_refused_with_their_reason() {
        let (control, account) = control_with_account().await;
        control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        let check = async |presented: &str, expected: AuthFailure| {
            assert_eq!(control.authenticate(presented, at(100)).await.unwrap().unwrap_err(), expected, "{presented}");
        };
        check("", AuthFailure::MalformedKey).await;
        check("Bearer x", AuthFailure::MalformedKey).await;
        check(&format!("sk_prod_{}", "ab".repeat(16)), AuthFailure::MalformedKey).await;
        check(&format!("xk_test_{}", "ab".repeat(16)), AuthFailure::MalformedKey).await;
        check(&format!("sk_test_{}", "AB".repeat(16)), AuthFailure::MalformedKey).await;
        check(&format!("sk_test_{}", "ab".repeat(15)), AuthFailure::MalformedKey).await;
        check(&format!("sk_test_{}", "é".repeat(16)), AuthFailure::MalformedKey).await;
        check(&format!("sk_test_{}", "cd".repeat(16)), AuthFailure::UnknownKey).await;
        check(&format!("sk_live_{}", "ab".repeat(16)), AuthFailure::UnknownKey).await;
        check(&format!("sk_test_{}cd", "ab".repeat(15)), AuthFailure::UnknownKey).await;
    }

    #[tokio::test]
    async fn keys_that_begin_alike_are_told_apart() {
        let (control, account) = control_with_account().await;
        let (first, first_plain) = control.create_key(secret(account), random_ending(1), at(0)).await.unwrap();
        let (second, second_plain) = control.create_key(secret(account), random_ending(2), at(1)).await.unwrap();
        assert_eq!(first.prefix, second.prefix);
        assert_eq!(control.authenticate(first_plain.expose(), at(100)).await.unwrap().unwrap().key_id, first.id);
        assert_eq!(control.authenticate(second_plain.expose(), at(100)).await.unwrap().unwrap().key_id, second.id);

        let ambiguous = control.revoke_key(None, first.prefix.as_str(), at(2)).await;
        assert!(matches!(ambiguous, Err(ControlError::AmbiguousKey { key_ids, .. }) if key_ids.len() == 2));
        control.revoke_key(None, second_plain.expose(), at(2)).await.unwrap();
        assert!(control.authenticate(first_plain.expose(), at(100)).await.unwrap().is_ok());
        assert_eq!(control.authenticate(second_plain.expose(), at(100)).await.unwrap(), Err(AuthFailure::RevokedKey));
    }

    #[tokio::test]
    async fn revoking_again_keeps_the_first_time() {
        let (control, account) = control_with_account().await;
        let (key, _) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        control.revoke_key(Some(account), key.prefix.as_str(), at(5)).await.unwrap();
        let again = control.revoke_key(Some(account), key.id, at(9)).await.unwrap();
        assert_eq!(again.revoked_at, Some(at(5)));
    }

    #[tokio::test]
    async fn a_rotated_key_has_a_new_secret_and_the_old_one_ends_with_its_grace() {
        let (control, account) = control_with_account().await;
        let (key, old) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        let (rotated, new) = control.rotate_key(Some(account), key.id, 60, [0xcd; 16], at(10)).await.unwrap();
        assert_eq!((rotated.id, rotated.scopes, rotated.name), (key.id, key.scopes, key.name));
        assert_eq!(rotated.previous_until, Some(at(70)));
        for (second, expected) in [(10, Ok(key.id)), (69, Ok(key.id)), (70, Err(AuthFailure::RevokedKey))] {
            let opened = control.authenticate(old.expose(), at(second)).await.unwrap();
            assert_eq!(opened.map(|opened| opened.key_id), expected, "{second}");
        }
        assert!(control.authenticate(new.expose(), at(1_000)).await.unwrap().is_ok());

        // Without a grace the old secret ends at once, and so does the one before it.
        let (_, newest) = control.rotate_key(None, new.expose(), 0, [0xef; 16], at(20)).await.unwrap();
        assert_eq!(control.authenticate(new.expose(), at(20)).await.unwrap(), Err(AuthFailure::RevokedKey));
        assert_eq!(control.authenticate(old.expose(), at(20)).await.unwrap(), Err(AuthFailure::UnknownKey));
        control.revoke_key(None, newest.expose(), at(30)).await.unwrap();
        assert_eq!(control.authenticate(newest.expose(), at(30)).await.unwrap(), Err(AuthFailure::RevokedKey));
    }

    #[tokio::test]
    async fn a_revoked_key_ends_with_both_its_secrets_and_is_not_rotated() {
        let (control, account) = control_with_account().await;
        let (key, old) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        control.rotate_key(None, key.id, 60, [0xcd; 16], at(1)).await.unwrap();
        control.revoke_key(None, old.expose(), at(2)).await.unwrap();
        assert_eq!(control.authenticate(old.expose(), at(2)).await.unwrap(), Err(AuthFailure::RevokedKey));
        let rotated = control.rotate_key(None, key.id, 0, RANDOM, at(3)).await;
        assert!(matches!(rotated, Err(ControlError::KeyRevoked)));
        let rotated = control.rotate_key(None, key.id, MAX_ROTATION_GRACE_S + 1, RANDOM, at(3)).await;
        assert!(matches!(rotated, Err(ControlError::GraceTooLong { .. })));
    }

    #[tokio::test]
    async fn key_of_another_account_does_not_exist() {
        let (control, account) = control_with_account().await;
        let other = control.create_account("other", "Other", at(0)).await.unwrap();
        let (key, plain) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        for reference in [KeyRef::Id(key.id), KeyRef::Prefix(key.prefix), KeyRef::Key(plain.clone())] {
            let revoked = control.revoke_key(Some(other.id), reference, at(1)).await;
            assert!(matches!(revoked, Err(ControlError::UnknownKey)));
        }
        assert!(control.authenticate(plain.expose(), at(100)).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn suspended_account_opens_again_when_it_is_active() {
        let (control, account) = control_with_account().await;
        let (_, plain) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        control.set_account_status(account, AccountStatus::Suspended, at(1)).await.unwrap();
        assert_eq!(control.authenticate(plain.expose(), at(100)).await.unwrap(), Err(AuthFailure::SuspendedAccount));
        control.set_account_status(account, AccountStatus::Active, at(2)).await.unwrap();
        assert!(control.authenticate(plain.expose(), at(100)).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn publishable_key_may_only_ingest() {
        let (control, account) = control_with_account().await;
        let publishable =
            |scopes: &str| NewKey { kind: KeyKind::Publishable, scopes: scopes.parse().unwrap(), ..secret(account) };
        for scopes in ["admin", "ingest,can_view_reports", "can_view_reports"] {
            let created = control.create_key(publishable(scopes), RANDOM, at(0)).await;
            assert!(matches!(created, Err(ControlError::PublishableScopes { .. })), "{scopes}");
        }
        let (_, plain) = control.create_key(publishable("ingest"), RANDOM, at(0)).await.unwrap();
        assert!(plain.expose().starts_with("pk_test_"));
    }

    #[tokio::test]
    async fn key_needs_an_account() {
        let (control, _) = control_with_account().await;
        let nobody = AccountId(new_id(at(0)));
        let created = control.create_key(secret(nobody), RANDOM, at(0)).await;
        assert!(matches!(created, Err(ControlError::UnknownAccount { account_id }) if account_id == nobody));
    }

    #[tokio::test]
    async fn last_use_never_goes_back() {
        let (control, account) = control_with_account().await;
        let (key, _) = control.create_key(secret(account), RANDOM, at(0)).await.unwrap();
        for used_at in [at(10), at(5)] {
            control.mark_key_used(key.id, used_at).await.unwrap();
        }
        assert_eq!(control.keys(account).await.unwrap()[0].last_used_at, Some(at(10)));
    }
}
