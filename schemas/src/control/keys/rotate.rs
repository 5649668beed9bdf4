//! A new secret for a key.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set};

use super::{ApiKey, KeyRef, PlainKey, entity, find_key};
use crate::control::audit::{Action, Change};
use crate::control::moment::micros;
use crate::control::{ControlDb, ControlError};
use crate::tenant::AccountId;

/// The longest time for which a rotated key's last secret may go on working: 30 days, in seconds.
pub const MAX_ROTATION_GRACE_S: u32 = 30 * 86_400;

impl ControlDb {
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
}
