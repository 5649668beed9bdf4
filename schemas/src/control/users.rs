//! Staff of an account: who may log in, and in which role.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, SqlErr,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::accounts;
use super::audit::{Action, Change};
use super::moment::{micros, new_id};
use super::passwords::{Password, PasswordHash};
use super::scopes::{Scope, Scopes};
use super::{ControlDb, ControlError};
use crate::tenant::AccountId;

/// Most characters of an e-mail address (RFC 5321).
const MAX_EMAIL_CHARS: usize = 254;

/// What a user is to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whose it is. Users of an account that had an owner are never left without one.
    Owner,
    /// May do everything as well.
    Admin,
    /// Changes what the account has configured, and reads reports.
    Editor,
    /// Reads reports.
    Analyst,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Admin, Self::Editor, Self::Analyst];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Analyst => "analyst",
        }
    }

    /// What a key must be allowed to give somebody this role.
    pub fn scopes(self) -> Scopes {
        match self {
            Self::Owner | Self::Admin => Scopes::only(Scope::Admin),
            Self::Editor => Scopes::only(Scope::CanManageSettings).and(Scope::CanViewReports),
            Self::Analyst => Scopes::only(Scope::CanViewReports),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; there are owner, admin, editor and analyst")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// Who is to be a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The account.
    pub account_id: AccountId,
    /// The address, which is unique in the account; kept in lower case.
    pub email: String,
    /// The role.
    pub role: Role,
}

/// A user, without the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: Uuid,
    /// The account.
    pub account_id: AccountId,
    /// The address, in lower case.
    pub email: String,
    /// The role.
    pub role: Role,
    /// When the password was last set.
    pub password_set_at: DateTime<Utc>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: Uuid,
        pub email: String,
        pub role: String,
        pub password_hash: String,
        pub password_set_at: DateTimeUtc,
        pub created_at: DateTimeUtc,
    }

    impl std::fmt::Debug for Model {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
        }
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<entity::Model> for User {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        let corrupt = |_| ControlError::Corrupt { table: "users", column: "role", value: row.role.clone() };
        Ok(Self {
            id: row.id,
            account_id: AccountId(row.account_id),
            role: row.role.parse().map_err(corrupt)?,
            email: row.email,
            password_set_at: row.password_set_at,
            created_at: row.created_at,
        })
    }
}

impl ControlDb {
    /// Creates a user.
    pub async fn create_user(
        &self,
        new: NewUser,
        password: PasswordHash,
        now: DateTime<Utc>,
    ) -> Result<User, ControlError> {
        let email = normal_email(&new.email)?;
        let transaction = self.begin().await?;
        if accounts::find(&transaction, new.account_id).await?.is_none() {
            return Err(ControlError::UnknownAccount { account_id: new.account_id });
        }
        let row = entity::ActiveModel {
            id: Set(new_id(now)),
            account_id: Set(new.account_id.0),
            email: Set(email.clone()),
            role: Set(new.role.as_str().to_owned()),
            password_hash: Set(password.expose().to_owned()),
            password_set_at: Set(micros(now)),
            created_at: Set(micros(now)),
        };
        let user: User = match row.insert(&transaction).await {
            Ok(row) => row.try_into()?,
            Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                return Err(ControlError::EmailTaken { email });
            }
            Err(error) => return Err(ControlError::during("create a user")(error)),
        };
        let change = Change::creates(Action::UserCreate, user.account_id, user.id, &user)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(user)
    }

    /// The users of an account, by address.
    pub async fn users(&self, account: AccountId) -> Result<Vec<User>, ControlError> {
        of_account(&self.db, account).await
    }

    /// Changes a user's role or password, or both; what is none stays.
    ///
    /// # Errors
    ///
    /// [`ControlError::UserChanged`] if the user has another role than when they were `seen`: whoever may change an editor
    /// may not change an owner.
    pub async fn change_user(
        &self,
        account: AccountId,
        seen: &User,
        role: Option<Role>,
        password: Option<PasswordHash>,
        now: DateTime<Utc>,
    ) -> Result<User, ControlError> {
        let transaction = self.begin().await?;
        let users = of_account(&transaction, account).await?;
        let before = as_seen(&users, seen)?;
        let (id, role) = (before.id, role.unwrap_or(before.role));
        check_owner(&users, id, Some(role))?;
        let mut row = entity::ActiveModel { id: Set(id), role: Set(role.as_str().to_owned()), ..Default::default() };
        if let Some(password) = password {
            row.password_hash = Set(password.expose().to_owned());
            row.password_set_at = Set(micros(now));
        }
        let row = row.update(&transaction).await.map_err(ControlError::during("change a user"))?;
        let after = User::try_from(row)?;
        if after != *before {
            let change = Change::alters(Action::UserChange, account, id, before, &after)?;
            self.record(&transaction, change, now).await?;
        }
        self.commit(transaction).await?;
        Ok(after)
    }

    /// Removes a user, and says who that was. Errors as [`change_user`](Self::change_user).
    pub async fn remove_user(&self, account: AccountId, seen: &User, now: DateTime<Utc>) -> Result<User, ControlError> {
        let transaction = self.begin().await?;
        let users = of_account(&transaction, account).await?;
        let user = as_seen(&users, seen)?;
        let id = user.id;
        check_owner(&users, id, None)?;
        let deleted = entity::Entity::delete_by_id(id).exec(&transaction).await;
        deleted.map_err(ControlError::during("remove a user"))?;
        self.record(&transaction, Change::removes(Action::UserRemove, account, id, user)?, now).await?;
        self.commit(transaction).await?;
        Ok(user.clone())
    }

    /// The user of that address, if `given` is the password. Whether there is nobody or the password is another takes the
    /// same time.
    pub async fn user_with_password(
        &self,
        account: AccountId,
        email: &str,
        given: &str,
    ) -> Result<Option<User>, ControlError> {
        let row = entity::Entity::find()
            .filter(entity::Column::AccountId.eq(account.0))
            .filter(entity::Column::Email.eq(email.trim().to_lowercase()))
            .one(&self.db)
            .await
            .map_err(ControlError::during("look up a user"))?;
        let (given, hash) = (given.to_owned(), row.as_ref().map(|row| PasswordHash::stored(row.password_hash.clone())));
        let checked = tokio::task::spawn_blocking(move || match hash {
            Some(hash) => Ok(hash.matches(&given)),
            None => Password::new(NOBODYS.to_owned())?.hash([0; 16]).map(|_| false),
        });
        let failed = |source: tokio::task::JoinError| ControlError::Password { detail: source.to_string() };
        let is_right = checked.await.map_err(failed)??;
        row.filter(|_| is_right).map(User::try_from).transpose()
    }
}

/// The user as they are now, if they have the role that was seen.
fn as_seen<'a>(users: &'a [User], seen: &User) -> Result<&'a User, ControlError> {
    let user = users.iter().find(|user| user.id == seen.id).ok_or(ControlError::UnknownUser)?;
    if user.role == seen.role { Ok(user) } else { Err(ControlError::UserChanged) }
}

/// What is hashed where there is nobody whose password could be compared.
const NOBODYS: &str = "nobody has this one";

async fn of_account(db: &impl ConnectionTrait, account: AccountId) -> Result<Vec<User>, ControlError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::AccountId.eq(account.0))
        .order_by_asc(entity::Column::Email)
        .all(db)
        .await;
    rows.map_err(ControlError::during("list users"))?.into_iter().map(User::try_from).collect()
}

/// Refuses to let the user `id` become `role`, or go, if that would leave the others without an owner.
fn check_owner(users: &[User], id: Uuid, role: Option<Role>) -> Result<(), ControlError> {
    let is_last = users.iter().all(|user| (user.role == Role::Owner) == (user.id == id));
    let leaves_others = role.is_some() || users.len() > 1;
    if is_last && leaves_others && role != Some(Role::Owner) { Err(ControlError::LastOwner) } else { Ok(()) }
}

/// An address in lower case: something without spaces on both sides of one `@`.
fn normal_email(text: &str) -> Result<String, ControlError> {
    let email = text.trim().to_lowercase();
    let is_forbidden = |char: char| char.is_whitespace() || char.is_control();
    let has_two_sides = matches!(email.split('@').collect::<Vec<_>>()[..], [name, host]
        if !name.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.'));
    let is_address = email.chars().count() <= MAX_EMAIL_CHARS && !email.contains(is_forbidden) && has_two_sides;
    if is_address { Ok(email) } else { Err(ControlError::InvalidEmail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moment::tests::at;

    fn hash() -> PasswordHash {
        PasswordHash::stored("hash".to_owned())
    }

    fn new(account_id: AccountId, email: &str, role: Role) -> NewUser {
        NewUser { account_id, email: email.to_owned(), role }
    }

    async fn with_account() -> (ControlDb, AccountId) {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        (control, account)
    }

    #[test]
    fn addresses_have_two_sides_and_no_spaces() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(normal_email(text).ok().as_deref(), expected, "{text}");
        };
        check(" Ada@Mail.Example ", Some("ada@mail.example"));
        check("a+b@x.y", Some("a+b@x.y"));
        check("ada", None);
        check("@mail.example", None);
        check("ada@", None);
        check("ada@mail", None);
        check("ada@.example", None);
        check("a@b@c.d", None);
        check("a da@mail.example", None);
        check("ada@mail.example\r\nBcc: x@y.z", None);
        check(&format!("{}@mail.example", "a".repeat(250)), None);
    }

    #[tokio::test]
    async fn an_address_is_one_user_of_an_account_and_may_be_one_of_another() {
        let (control, account) = with_account().await;
        let other = control.create_account("other", "Other", at(0)).await.unwrap().id;
        let ada = control.create_user(new(account, "Ada@mail.example", Role::Owner), hash(), at(1)).await.unwrap();
        let again = control.create_user(new(account, "ada@MAIL.example", Role::Analyst), hash(), at(2)).await;
        assert!(matches!(again, Err(ControlError::EmailTaken { email }) if email == "ada@mail.example"));
        control.create_user(new(other, "ada@mail.example", Role::Analyst), hash(), at(3)).await.unwrap();
        assert_eq!(control.users(account).await.unwrap(), std::slice::from_ref(&ada));
        assert!(matches!(control.remove_user(other, &ada, at(4)).await, Err(ControlError::UnknownUser)));
        let changed = control.change_user(other, &ada, Some(Role::Analyst), None, at(4)).await;
        assert!(matches!(changed, Err(ControlError::UnknownUser)));
    }

    #[tokio::test]
    async fn an_account_keeps_its_last_owner_as_long_as_it_has_users() {
        let (control, account) = with_account().await;
        let mut users = Vec::new();
        for (email, role) in [("a@x.y", Role::Owner), ("b@x.y", Role::Owner), ("c@x.y", Role::Analyst)] {
            users.push(control.create_user(new(account, email, role), hash(), at(1)).await.unwrap());
        }
        let editor = control.change_user(account, &users[0], Some(Role::Editor), None, at(2)).await.unwrap();
        for stale in [
            control.change_user(account, &users[0], Some(Role::Analyst), None, at(3)).await,
            control.remove_user(account, &users[0], at(3)).await,
        ] {
            assert!(matches!(stale, Err(ControlError::UserChanged)));
        }
        let demoted = control.change_user(account, &users[1], Some(Role::Admin), None, at(3)).await;
        assert!(matches!(demoted, Err(ControlError::LastOwner)));
        assert!(matches!(control.remove_user(account, &users[1], at(3)).await, Err(ControlError::LastOwner)));
        for user in [&editor, &users[2], &users[1]] {
            control.remove_user(account, user, at(4)).await.unwrap();
        }
        assert_eq!(control.users(account).await.unwrap(), []);
    }

    #[tokio::test]
    async fn changes_of_users_are_noted_without_passwords() {
        let (control, account) = with_account().await;
        let user = control.create_user(new(account, "a@x.y", Role::Owner), hash(), at(1)).await.unwrap();
        let other = PasswordHash::stored("another-hash".to_owned());
        let changed = control.change_user(account, &user, None, Some(other), at(2)).await.unwrap();
        assert_eq!(changed, User { password_set_at: at(2), ..user.clone() });
        control.change_user(account, &user, Some(Role::Owner), None, at(3)).await.unwrap();
        control.remove_user(account, &user, at(4)).await.unwrap();
        let entries = control.audit_entries(Some(account), None, 9).await.unwrap();
        let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["user.remove", "user.change", "user.create", "account.create"]);
        assert!(!serde_json::to_string(&entries).unwrap().contains("hash"));
    }

    #[tokio::test]
    async fn only_the_right_password_opens() {
        let (control, account) = with_account().await;
        let password = Password::new("correct horse battery".to_owned()).unwrap().hash([1; 16]).unwrap();
        let user = control.create_user(new(account, "a@x.y", Role::Owner), password, at(1)).await.unwrap();
        for (email, given, expected) in [
            ("A@x.y ", "correct horse battery", Some(user)),
            ("a@x.y", "correct horse", None),
            ("b@x.y", "correct horse battery", None),
        ] {
            assert_eq!(control.user_with_password(account, email, given).await.unwrap(), expected, "{email} {given}");
        }
    }
}
