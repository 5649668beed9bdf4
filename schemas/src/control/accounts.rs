//! Accounts: the tenants, each with a slug for people and settings of its own.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, SqlErr,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use super::account_settings::{AccountSettings, CHANNEL_RULES, ConversionValue, Goal, GoalCondition, GoalCredit};
use super::audit::{Action, Change};
use super::moment::{micros, new_id};
use super::{ControlDb, ControlError};
use crate::tenant::AccountId;

/// Most characters of a slug.
const MAX_SLUG_CHARS: usize = 63;
/// Most characters of a name.
const MAX_NAME_CHARS: usize = 200;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its id, in every row of every table.
    pub id: AccountId,
    /// Its short name in commands and addresses: 1 to 63 lower-case letters, digits and hyphens. Unique.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Whether its keys work.
    pub status: AccountStatus,
    /// What it has decided for itself.
    pub settings: AccountSettings,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// Whether an account's keys work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// They do.
    Active,
    /// They are refused; the data stays.
    Suspended,
}

impl AccountStatus {
    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    fn read(word: &str) -> Result<Self, ControlError> {
        [Self::Active, Self::Suspended]
            .into_iter()
            .find(|status| status.as_str() == word)
            .ok_or_else(|| ControlError::Corrupt { table: "accounts", column: "status", value: word.to_owned() })
    }
}

impl AccountSettings {
    pub(super) fn to_json(&self) -> Result<serde_json::Value, ControlError> {
        serde_json::to_value(self).map_err(|source| corrupt_settings(source.to_string()))
    }
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "accounts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        #[sea_orm(unique)]
        pub slug: String,
        pub name: String,
        pub status: String,
        pub settings: Json,
        pub created_at: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<entity::Model> for Account {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        Ok(Self {
            id: AccountId(row.id),
            slug: row.slug,
            name: row.name,
            status: AccountStatus::read(&row.status)?,
            settings: serde_json::from_value(row.settings).map_err(|source| corrupt_settings(source.to_string()))?,
            created_at: row.created_at,
        })
    }
}

impl ControlDb {
    /// Creates an active account without settings.
    pub async fn create_account(&self, slug: &str, name: &str, now: DateTime<Utc>) -> Result<Account, ControlError> {
        check_slug(slug)?;
        check_name(name)?;
        let row = entity::ActiveModel {
            id: Set(new_id(now)),
            slug: Set(slug.to_owned()),
            name: Set(name.to_owned()),
            status: Set(AccountStatus::Active.as_str().to_owned()),
            settings: Set(AccountSettings::default().to_json()?),
            created_at: Set(micros(now)),
        };
        let transaction = self.begin().await?;
        let account: Account = match row.insert(&transaction).await {
            Ok(row) => row.try_into()?,
            Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                return Err(ControlError::SlugTaken { slug: slug.to_owned() });
            }
            Err(error) => return Err(ControlError::during("create an account")(error)),
        };
        let change = Change::creates(Action::AccountCreate, account.id, account.id.0, &account)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(account)
    }

    /// The account with this slug.
    pub async fn account_by_slug(&self, slug: &str) -> Result<Option<Account>, ControlError> {
        let row = entity::Entity::find().filter(entity::Column::Slug.eq(slug)).one(&self.db).await;
        row.map_err(ControlError::during("read an account"))?.map(Account::try_from).transpose()
    }

    /// The account with this id.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, ControlError> {
        find(&self.db, id).await
    }

    /// The account that has said that `domain` is its own to track.
    pub async fn account_by_domain(&self, domain: &str) -> Result<Option<Account>, ControlError> {
        let mut accounts = self.accounts().await?.into_iter();
        Ok(accounts.find(|account| account.settings.tracked_domains.iter().any(|tracked| tracked == domain)))
    }

    /// All accounts, by slug.
    pub async fn accounts(&self) -> Result<Vec<Account>, ControlError> {
        let rows = entity::Entity::find().order_by_asc(entity::Column::Slug).all(&self.db).await;
        rows.map_err(ControlError::during("list the accounts"))?.into_iter().map(Account::try_from).collect()
    }

    /// Suspends an account, or lets it work again.
    pub async fn set_account_status(
        &self,
        id: AccountId,
        status: AccountStatus,
        now: DateTime<Utc>,
    ) -> Result<Account, ControlError> {
        let action = match status {
            AccountStatus::Active => Action::AccountResume,
            AccountStatus::Suspended => Action::AccountSuspend,
        };
        self.change_account(id, action, now, |account| Ok(Account { status, ..account })).await
    }

    /// Replaces an account's settings.
    pub async fn set_account_settings(
        &self,
        id: AccountId,
        settings: &AccountSettings,
        now: DateTime<Utc>,
    ) -> Result<Account, ControlError> {
        settings.validate()?;
        let settings = settings.clone();
        self.change_account(id, Action::SettingsChange, now, |account| Ok(Account { settings, ..account })).await
    }

    /// Changes an account's settings as they are now.
    pub async fn alter_account_settings(
        &self,
        id: AccountId,
        alter: impl FnOnce(AccountSettings) -> Result<AccountSettings, ControlError>,
        now: DateTime<Utc>,
    ) -> Result<Account, ControlError> {
        let alter = |account: Account| {
            let settings = alter(account.settings.clone())?;
            settings.validate()?;
            Ok(Account { settings, ..account })
        };
        self.change_account(id, Action::SettingsChange, now, alter).await
    }

    /// Changes those of an account's settings that are named, all or none: see [`AccountSettings::patched`].
    pub async fn patch_account_settings(
        &self,
        id: AccountId,
        changes: &Map<String, Value>,
        now: DateTime<Utc>,
    ) -> Result<Account, ControlError> {
        let patch = |account: Account| Ok(Account { settings: account.settings.patched(changes)?, ..account });
        self.change_account(id, Action::SettingsChange, now, patch).await
    }

    /// Changes an account as it is now: of two who change it at once, the second sees what the first did.
    async fn change_account(
        &self,
        id: AccountId,
        action: Action,
        now: DateTime<Utc>,
        change: impl FnOnce(Account) -> Result<Account, ControlError>,
    ) -> Result<Account, ControlError> {
        let transaction = self.begin().await?;
        let before = find(&transaction, id).await?.ok_or(ControlError::UnknownAccount { account_id: id })?;
        let after = change(before.clone())?;
        if after == before {
            return Ok(after);
        }
        if after.settings.tracked_domains != before.settings.tracked_domains {
            check_domains(&transaction, &after).await?;
        }
        let row = entity::ActiveModel {
            id: Set(id.0),
            status: Set(after.status.as_str().to_owned()),
            settings: Set(after.settings.to_json()?),
            ..Default::default()
        };
        row.update(&transaction).await.map_err(ControlError::during("change an account"))?;
        self.record(&transaction, Change::alters(action, id, id.0, &before, &after)?, now).await?;
        self.commit(transaction).await?;
        Ok(after)
    }
}

/// The account with this id, on a connection of the caller's.
pub(super) async fn find(db: &impl ConnectionTrait, id: AccountId) -> Result<Option<Account>, ControlError> {
    let row = entity::Entity::find_by_id(id.0).one(db).await;
    row.map_err(ControlError::during("read an account"))?.map(Account::try_from).transpose()
}

/// No two accounts may say that a domain is theirs: its events would be either's.
async fn check_domains(db: &impl ConnectionTrait, account: &Account) -> Result<(), ControlError> {
    let others = entity::Entity::find().filter(entity::Column::Id.ne(account.id.0)).all(db).await;
    for other in others.map_err(ControlError::during("list the accounts"))? {
        let other = Account::try_from(other)?;
        let taken =
            other.settings.tracked_domains.iter().find(|theirs| account.settings.tracked_domains.contains(theirs));
        if let Some(domain) = taken {
            return Err(ControlError::DomainTaken { domain: domain.clone() });
        }
    }
    Ok(())
}

fn check_slug(slug: &str) -> Result<(), ControlError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_SLUG_CHARS).contains(&slug.len()) && slug.bytes().all(allowed) {
        Ok(())
    } else {
        Err(ControlError::InvalidSlug { slug: slug.to_owned() })
    }
}

fn check_name(name: &str) -> Result<(), ControlError> {
    let length_chars = name.trim().chars().count();
    if (1..=MAX_NAME_CHARS).contains(&length_chars) { Ok(()) } else { Err(ControlError::InvalidName { length_chars }) }
}

fn corrupt_settings(value: String) -> ControlError {
    ControlError::Corrupt { table: "accounts", column: "settings", value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moment::tests::at;

    #[tokio::test]
    async fn account_is_found_by_slug_and_by_id() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let acme = control.create_account("acme", "Acme Ltd", at(0)).await.unwrap();
        let beta = control.create_account("0-beta", "Beta", at(1)).await.unwrap();
        assert_eq!(control.account_by_slug("acme").await.unwrap().as_ref(), Some(&acme));
        assert_eq!(control.account(beta.id).await.unwrap().as_ref(), Some(&beta));
        assert_eq!(control.account_by_slug("gamma").await.unwrap(), None);
        assert_eq!(control.accounts().await.unwrap(), [beta, acme]);
    }

    #[tokio::test]
    async fn taken_slug_is_an_error_of_its_own() {
        let control = ControlDb::open_in_memory().await.unwrap();
        control.create_account("acme", "Acme", at(0)).await.unwrap();
        let again = control.create_account("acme", "Other", at(1)).await;
        assert!(matches!(again, Err(ControlError::SlugTaken { slug }) if slug == "acme"));
    }

    #[tokio::test]
    async fn a_domain_is_one_accounts() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let acme = control.create_account("acme", "Acme", at(0)).await.unwrap();
        let beta = control.create_account("beta", "Beta", at(0)).await.unwrap();
        let tracked = |domains: &[&str]| AccountSettings {
            tracked_domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            ..AccountSettings::default()
        };
        control.set_account_settings(acme.id, &tracked(&["a.example", "b.example"]), at(1)).await.unwrap();
        let taken = control.set_account_settings(beta.id, &tracked(&["c.example", "b.example"]), at(2)).await;
        assert!(matches!(taken, Err(ControlError::DomainTaken { domain }) if domain == "b.example"));
        assert_eq!(control.account_by_domain("b.example").await.unwrap().map(|found| found.id), Some(acme.id));
        control.set_account_settings(acme.id, &tracked(&["a.example"]), at(3)).await.unwrap();
        assert_eq!(control.account_by_domain("b.example").await.unwrap(), None);
        control.set_account_settings(beta.id, &tracked(&["b.example"]), at(4)).await.unwrap();
    }

    #[test]
    fn slugs_are_checked() {
        let check = |slug: &str, expected: bool| assert_eq!(check_slug(slug).is_ok(), expected, "{slug}");
        check("a", true);
        check("shop-24", true);
        check(&"x".repeat(63), true);
        check(&"x".repeat(64), false);
        check("", false);
        check("Acme", false);
        check("a_b", false);
        check("ümlaut", false);
        check("a b", false);
    }

    #[tokio::test]
    async fn name_must_not_be_blank() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let blank = control.create_account("acme", "  ", at(0)).await;
        assert!(matches!(blank, Err(ControlError::InvalidName { length_chars: 0 })));
    }

    #[tokio::test]
    async fn settings_and_status_are_kept() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme", at(0)).await.unwrap();
        let settings = AccountSettings {
            session_timeout_minutes: Some(45),
            conversion_event_types: Some(vec!["purchase".to_owned()]),
            mask_ip: Some(false),
            ..AccountSettings::default()
        };
        control.set_account_settings(account.id, &settings, at(1)).await.unwrap();
        let changed = control.set_account_status(account.id, AccountStatus::Suspended, at(2)).await.unwrap();
        assert_eq!(changed, Account { settings, status: AccountStatus::Suspended, ..account.clone() });
        assert_eq!(control.account(account.id).await.unwrap(), Some(changed));
    }

    #[tokio::test]
    async fn changing_an_account_that_does_not_exist_is_refused() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let nobody = AccountId(new_id(at(0)));
        let changed = control.set_account_status(nobody, AccountStatus::Active, at(1)).await;
        assert!(matches!(changed, Err(ControlError::UnknownAccount { account_id }) if account_id == nobody));
    }

    #[tokio::test]
    async fn session_timeout_of_an_account_has_limits() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme", at(0)).await.unwrap();
        for given in [0, 476] {
            let settings = AccountSettings { session_timeout_minutes: Some(given), ..Default::default() };
            let changed = control.set_account_settings(account.id, &settings, at(1)).await;
            assert!(matches!(changed, Err(ControlError::InvalidSetting { .. })), "{given}");
        }
    }
}
