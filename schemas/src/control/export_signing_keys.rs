//! What signs an export's manifests and webhooks: one key that does, and those that did.
//!
//! A signature needs the secret itself, so it is kept as it is, unlike the digests of API keys. It is shown when it is
//! made, and stands in no list, log or audit entry.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::exports::ExportId;
use super::moment::{micros, new_id};
use super::{ControlDb, ControlError};

const SECRET_PREFIX: &str = "whsec_";
const KEY_ID_PREFIX: &str = "esk_";

/// 32 random bytes that sign. As text, and to whoever verifies, they are what Standard Webhooks calls a secret: `whsec_`
/// and base64.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret([u8; 32]);

impl SigningSecret {
    /// The secret made of `random`, which must come from a cryptographic source.
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Reads the text form; `None` unless it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text.trim().strip_prefix(SECRET_PREFIX)?).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The text form, for the export's owner.
    pub fn expose(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64_STANDARD.encode(self.0))
    }

    /// The bytes that sign.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A key that signs, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Names it in what it signs: `esk_` and 32 hexadecimal digits.
    pub key_id: String,
    /// Whose it is.
    pub export_id: ExportId,
    /// The secret.
    pub secret: SigningSecret,
    /// Since when it signs.
    pub created_at: DateTime<Utc>,
    /// Since when it does not any more.
    pub retired_at: Option<DateTime<Utc>>,
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "export_signing_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub key_id: String,
        pub export_id: Uuid,
        pub secret: String,
        pub created_at: DateTimeUtc,
        pub retired_at: Option<DateTimeUtc>,
    }

    impl std::fmt::Debug for Model {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("SigningKey").field("key_id", &self.key_id).finish_non_exhaustive()
        }
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<entity::Model> for SigningKey {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        // The value is not told: it is a secret, or half of one.
        let secret = SigningSecret::parse(&row.secret).ok_or_else(|| corrupt("secret", "something else"))?;
        Ok(Self {
            key_id: row.key_id,
            export_id: ExportId(row.export_id),
            secret,
            created_at: row.created_at,
            retired_at: row.retired_at,
        })
    }
}

impl ControlDb {
    /// The key that signs what an export writes.
    pub async fn export_signing_key(&self, export: ExportId) -> Result<SigningKey, ControlError> {
        active(&self.db, export).await
    }

    /// The key of that id, whether it still signs or not, also of an export that was deleted.
    pub async fn signing_key(&self, key_id: &str) -> Result<Option<SigningKey>, ControlError> {
        let row = entity::Entity::find_by_id(key_id).one(&self.db).await;
        row.map_err(ControlError::during("read a signing key"))?.map(SigningKey::try_from).transpose()
    }
}

pub(super) async fn insert(
    transaction: &impl ConnectionTrait,
    export: ExportId,
    random: [u8; 32],
    now: DateTime<Utc>,
) -> Result<SigningKey, ControlError> {
    let row = entity::ActiveModel {
        key_id: Set(format!("{KEY_ID_PREFIX}{}", new_id(now).simple())),
        export_id: Set(export.0),
        secret: Set(SigningSecret::new(random).expose()),
        created_at: Set(micros(now)),
        retired_at: Set(None),
    };
    row.insert(transaction).await.map_err(ControlError::during("create a signing key"))?.try_into()
}

pub(super) async fn active(db: &impl ConnectionTrait, export: ExportId) -> Result<SigningKey, ControlError> {
    let row = entity::Entity::find()
        .filter(entity::Column::ExportId.eq(export.0))
        .filter(entity::Column::RetiredAt.is_null())
        .one(db)
        .await
        .map_err(ControlError::during("read a signing key"))?;
    row.ok_or_else(|| corrupt("export_id", "no key that signs"))?.try_into()
}

pub(super) async fn retire(
    transaction: &impl ConnectionTrait,
    key: &SigningKey,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let row = entity::ActiveModel {
        key_id: Set(key.key_id.clone()),
        retired_at: Set(Some(micros(now))),
        ..Default::default()
    };
    row.update(transaction).await.map(|_| ()).map_err(ControlError::during("retire a signing key"))
}

fn corrupt(column: &'static str, value: &str) -> ControlError {
    ControlError::Corrupt { table: "export_signing_keys", column, value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::exports::tests::{create, with_account};
    use crate::control::moment::tests::at;

    #[test]
    fn a_secret_is_read_as_it_is_shown() {
        let secret = SigningSecret::new([7; 32]);
        assert_eq!(secret.expose(), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
        assert_eq!(SigningSecret::parse(&format!("{}\n", secret.expose())), Some(secret.clone()));
        for text in ["", "whsec_", "whsec_BwcH", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", "whsec_%"] {
            assert_eq!(SigningSecret::parse(text), None, "{text}");
        }
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[tokio::test]
    async fn one_key_signs_and_the_old_ones_verify() {
        let (control, account) = with_account().await;
        let (export, first) = create(&control, account, "a", 1).await;
        assert_eq!(control.export_signing_key(export.id).await.unwrap(), first);
        let second = control.rotate_export_key(Some(account), export.id, [2; 32], at(2)).await.unwrap();
        assert_eq!(control.export_signing_key(export.id).await.unwrap(), second);
        assert_eq!(second.secret, SigningSecret::new([2; 32]));
        assert_ne!(second.key_id, first.key_id);
        control.delete_export(Some(account), export.id, at(3)).await.unwrap();
        let retired = SigningKey { retired_at: Some(at(2)), ..first.clone() };
        assert_eq!(control.signing_key(&first.key_id).await.unwrap(), Some(retired));
        assert_eq!(control.signing_key(&second.key_id).await.unwrap(), Some(second));
        assert_eq!(control.signing_key("esk_none").await.unwrap(), None);
    }
}
