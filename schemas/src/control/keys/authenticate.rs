//! What a key opens when somebody presents it.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::{ApiKey, KeyKind, PlainKey, entity};
use crate::control::moment::micros;
use crate::control::scopes::{Scope, Scopes};
use crate::control::{AccountSettings, AccountStatus, ControlDb, ControlError};
use crate::tenant::{Environment, Tenant};

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

impl ControlDb {
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
pub(super) async fn rows_like(
    db: &impl ConnectionTrait,
    plain: &PlainKey,
) -> Result<Vec<(entity::Model, bool)>, ControlError> {
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
