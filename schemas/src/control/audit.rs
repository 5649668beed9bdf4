//! Who changed what, and when: one entry for each change of what is administered, in the transaction of the change
//! itself, so that neither is there without the other.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::moment::micros;
use super::{ControlDb, ControlError};
use crate::tenant::AccountId;

/// Who changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The installation itself: the demo, and whoever uses the library without saying who they are.
    Installation,
    /// Somebody at the command line.
    Cli,
    /// Whoever holds this key.
    Key(Uuid),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installation => f.write_str("installation"),
            Self::Cli => f.write_str("cli"),
            Self::Key(key_id) => write!(f, "key:{key_id}"),
        }
    }
}

/// A text that names nobody who could have changed something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is nobody: there are installation, cli, and key: with the id of one")]
pub struct UnknownActor(String);

impl FromStr for Actor {
    type Err = UnknownActor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownActor(text.to_owned());
        match text {
            "installation" => Ok(Self::Installation),
            "cli" => Ok(Self::Cli),
            _ => {
                let key_id = text.strip_prefix("key:").and_then(|id| Uuid::parse_str(id).ok());
                key_id.map(Self::Key).ok_or_else(unknown)
            }
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    AccountCreate,
    AccountSuspend,
    AccountResume,
    SettingsChange,
    KeyCreate,
    KeyRotate,
    KeyRevoke,
    UserCreate,
    UserChange,
    UserRemove,
    ErasureRequest,
    ErasureComplete,
    ExportCreate,
    ExportChange,
    ExportRotateKey,
    ExportDelete,
    RejectedReplay,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AccountCreate => "account.create",
            Self::AccountSuspend => "account.suspend",
            Self::AccountResume => "account.resume",
            Self::SettingsChange => "settings.change",
            Self::KeyCreate => "key.create",
            Self::KeyRotate => "key.rotate",
            Self::KeyRevoke => "key.revoke",
            Self::UserCreate => "user.create",
            Self::UserChange => "user.change",
            Self::UserRemove => "user.remove",
            Self::ErasureRequest => "erasure.request",
            Self::ErasureComplete => "erasure.complete",
            Self::ExportCreate => "export.create",
            Self::ExportChange => "export.change",
            Self::ExportRotateKey => "export.rotate_key",
            Self::ExportDelete => "export.delete",
            Self::RejectedReplay => "rejected.replay",
        }
    }
}

/// A change as it is noted. What it is made of must hold no secrets: the types that are given out hold none.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    action: Action,
    account_id: AccountId,
    target: Uuid,
    before: Option<Value>,
    after: Option<Value>,
}

impl Change {
    /// Something comes to be.
    pub fn creates(
        action: Action,
        account_id: AccountId,
        target: Uuid,
        after: &impl Serialize,
    ) -> Result<Self, ControlError> {
        Ok(Self { action, account_id, target, before: None, after: Some(facts(after)?) })
    }

    /// Something goes.
    pub fn removes(
        action: Action,
        account_id: AccountId,
        target: Uuid,
        before: &impl Serialize,
    ) -> Result<Self, ControlError> {
        Ok(Self { action, account_id, target, before: Some(facts(before)?), after: None })
    }

    /// Something becomes another; only the fields that differ are kept.
    pub fn alters<T: Serialize>(
        action: Action,
        account_id: AccountId,
        target: Uuid,
        before: &T,
        after: &T,
    ) -> Result<Self, ControlError> {
        let (before, after) = difference(facts(before)?, facts(after)?);
        Ok(Self { action, account_id, target, before: Some(before), after: Some(after) })
    }
}

fn facts(value: &impl Serialize) -> Result<Value, ControlError> {
    serde_json::to_value(value).map_err(|source| ControlError::Corrupt {
        table: "audit_entries",
        column: "after",
        value: source.to_string(),
    })
}

/// The members in which two objects differ, down to members of members.
fn difference(before: Value, after: Value) -> (Value, Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(mut after)) => {
            let (mut was, mut is) = (Map::new(), Map::new());
            for (name, old) in before {
                match after.remove(&name) {
                    Some(new) if new == old => {}
                    Some(new) => {
                        let (old, new) = difference(old, new);
                        was.insert(name.clone(), old);
                        is.insert(name, new);
                    }
                    None => {
                        was.insert(name, old);
                    }
                }
            }
            is.append(&mut after);
            (Value::Object(was), Value::Object(is))
        }
        (before, after) => (before, after),
    }
}

/// One change that was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Its number; later changes have greater ones.
    pub id: i64,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// Who made it: `key:` and the key's id, `cli`, or `installation`.
    pub actor: String,
    /// What was done, as in `key.revoke`.
    pub action: String,
    /// Whose it is that was changed.
    pub account_id: AccountId,
    /// The id of what was changed: an account's, a key's, a user's, an export's.
    pub target: String,
    /// What was otherwise before, by field; none of what is new.
    pub before: Option<Value>,
    /// What it is since then, by field; none of what is gone.
    pub after: Option<Value>,
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_entries")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub at: DateTimeUtc,
        pub actor: String,
        pub action: String,
        pub account_id: Uuid,
        pub target: String,
        pub before: Option<Json>,
        pub after: Option<Json>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl From<entity::Model> for AuditEntry {
    fn from(row: entity::Model) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor: row.actor,
            action: row.action,
            account_id: AccountId(row.account_id),
            target: row.target,
            before: row.before,
            after: row.after,
        }
    }
}

impl ControlDb {
    /// Notes a change in the transaction that makes it.
    pub(super) async fn record(
        &self,
        transaction: &impl ConnectionTrait,
        change: Change,
        now: DateTime<Utc>,
    ) -> Result<(), ControlError> {
        let row = entity::ActiveModel {
            at: Set(micros(now)),
            actor: Set(self.actor.to_string()),
            action: Set(change.action.as_str().to_owned()),
            account_id: Set(change.account_id.0),
            target: Set(change.target.to_string()),
            before: Set(change.before),
            after: Set(change.after),
            ..Default::default()
        };
        let inserted = row.insert(transaction).await;
        inserted.map(|_| ()).map_err(ControlError::during("note a change"))
    }

    /// Changes of one account or of all, newest first and at most `limit`; with `before`, only those of smaller numbers.
    pub async fn audit_entries(
        &self,
        account: Option<AccountId>,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<AuditEntry>, ControlError> {
        let mut find = entity::Entity::find();
        if let Some(account) = account {
            find = find.filter(entity::Column::AccountId.eq(account.0));
        }
        if let Some(before) = before {
            find = find.filter(entity::Column::Id.lt(before));
        }
        let rows = find.order_by_desc(entity::Column::Id).limit(limit).all(&self.db).await;
        let rows = rows.map_err(ControlError::during("read what was changed"))?;
        Ok(rows.into_iter().map(AuditEntry::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::moment::tests::at;
    use crate::control::{AccountSettings, AccountStatus, KeyKind, NewKey, Scope, Scopes};
    use crate::tenant::Environment;

    #[test]
    fn who_changed_something_is_read_as_it_is_written() {
        for actor in [Actor::Installation, Actor::Cli, Actor::Key(Uuid::from_u128(7))] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for text in ["", "key:", "key:7", "Cli"] {
            assert_eq!(text.parse::<Actor>(), Err(UnknownActor(text.to_owned())));
        }
    }

    #[test]
    fn only_what_differs_is_noted() {
        let check = |before: Value, after: Value, expected: (Value, Value)| {
            assert_eq!(difference(before, after), expected);
        };
        check(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), (json!({"b": 2}), json!({"b": 3})));
        check(json!({"s": {"x": 1, "y": 2}}), json!({"s": {"x": 1}}), (json!({"s": {"y": 2}}), json!({"s": {}})));
        check(json!({}), json!({"new": [1]}), (json!({}), json!({"new": [1]})));
        check(json!({"l": [1, 2]}), json!({"l": [2]}), (json!({"l": [1, 2]}), json!({"l": [2]})));
    }

    #[tokio::test]
    async fn every_change_is_noted_with_who_made_it() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        let cli = control.acting_as(Actor::Cli);
        let scopes = Scopes::only(Scope::Ingest);
        let new =
            NewKey { account_id: account, environment: Environment::Live, kind: KeyKind::Secret, scopes, name: None };
        let (key, first) = cli.create_key(new, [1; 16], at(1)).await.unwrap();
        let by_key = control.acting_as(Actor::Key(key.id));
        let (_, second) = by_key.rotate_key(None, key.id, 0, [2; 16], at(2)).await.unwrap();
        let settings = AccountSettings { mask_ip: Some(false), ..AccountSettings::default() };
        for second in 3..5 {
            by_key.set_account_settings(account, &settings, at(second)).await.unwrap();
        }
        cli.set_account_status(account, AccountStatus::Suspended, at(5)).await.unwrap();
        for second in 6..8 {
            cli.revoke_key(None, key.id, at(second)).await.unwrap();
        }

        let entries = control.audit_entries(Some(account), None, 100).await.unwrap();
        let told: Vec<_> =
            entries.iter().rev().map(|entry| (entry.at, entry.actor.as_str(), entry.action.as_str())).collect();
        let by_key = format!("key:{}", key.id);
        assert_eq!(
            told,
            [
                (at(0), "installation", "account.create"),
                (at(1), "cli", "key.create"),
                (at(2), by_key.as_str(), "key.rotate"),
                (at(3), by_key.as_str(), "settings.change"),
                (at(5), "cli", "account.suspend"),
                (at(6), "cli", "key.revoke"),
            ]
        );
        let changed = &entries[2];
        assert_eq!(changed.before, Some(json!({"settings": {}})));
        assert_eq!(changed.after, Some(json!({"settings": {"mask_ip": false}})));
        assert_eq!(entries[1].after, Some(json!({"status": "suspended"})));
        let text = serde_json::to_string(&entries).unwrap();
        assert!(!text.contains(first.expose()) && !text.contains(second.expose()) && !text.contains("digest"));
    }

    #[tokio::test]
    async fn a_change_that_is_refused_leaves_nothing() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        control.create_account("acme", "Again", at(1)).await.unwrap_err();
        let settings = AccountSettings { retention_days: Some(0), ..AccountSettings::default() };
        control.set_account_settings(account, &settings, at(2)).await.unwrap_err();
        assert_eq!(control.audit_entries(None, None, 100).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn entries_come_in_pages_and_by_account() {
        let control = ControlDb::open_in_memory().await.unwrap();
        let mut accounts = Vec::new();
        for (slug, second) in [("a", 0), ("b", 1), ("c", 2)] {
            accounts.push(control.create_account(slug, slug, at(second)).await.unwrap().id);
        }
        let ids = |entries: &[AuditEntry]| entries.iter().map(|entry| entry.account_id).collect::<Vec<_>>();
        let first = control.audit_entries(None, None, 2).await.unwrap();
        assert_eq!(ids(&first), [accounts[2], accounts[1]]);
        let rest = control.audit_entries(None, Some(first[1].id), 2).await.unwrap();
        assert_eq!(ids(&rest), [accounts[0]]);
        assert_eq!(ids(&control.audit_entries(Some(accounts[1]), None, 9).await.unwrap()), [accounts[1]]);
    }
}
