//! Scheduled exports: what an account wants to have written where, and since when.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, SqlErr,
};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::accounts::{self, AccountStatus};
use super::audit::{Action, Change};
use super::export_signing_keys::{self, SigningKey};
use super::moment::{micros, new_id};
use super::{ControlDb, ControlError, export_results, export_runs};
use crate::export::ExportDefinition;
use crate::tenant::{AccountId, Tenant};

/// The id of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExportId(pub Uuid);

impl fmt::Display for ExportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ExportId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// An export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its id.
    pub id: ExportId,
    /// Whose rows it writes.
    pub tenant: Tenant,
    /// What it is.
    pub definition: ExportDefinition,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Times of its schedule up to this one are not made up for: it was created, got this schedule, or was resumed.
    pub scheduled_since: DateTime<Utc>,
    /// A run of changes that follows a run which began before this time asks about all days: the question, its form or
    /// its destination is another since then.
    pub renewed_at: DateTime<Utc>,
}

pub(super) mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "exports")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub account_id: Uuid,
        pub environment: String,
        pub name: Option<String>,
        pub definition: Json,
        pub created_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
        pub scheduled_since: DateTimeUtc,
        pub renewed_at: DateTimeUtc,
        pub deleted_at: Option<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<entity::Model> for Export {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        let environment = row.environment.parse().map_err(|_| corrupt("environment", row.environment))?;
        Ok(Self {
            id: ExportId(row.id),
            tenant: Tenant { account_id: AccountId(row.account_id), environment },
            definition: serde_json::from_value(row.definition)
                .map_err(|source| corrupt("definition", source.to_string()))?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            scheduled_since: row.scheduled_since,
            renewed_at: row.renewed_at,
        })
    }
}

impl ControlDb {
    /// Creates an export, and the key that signs what it writes, out of `random`, which must come from a cryptographic
    /// source. The account may have `max_exports` at most, in both environments together.
    pub async fn create_export(
        &self,
        tenant: Tenant,
        definition: &ExportDefinition,
        max_exports: u32,
        random: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<(Export, SigningKey), ControlError> {
        definition.validate().map_err(ControlError::InvalidExport)?;
        let transaction = self.begin().await?;
        let account_id = tenant.account_id;
        if accounts::find(&transaction, account_id).await?.is_none() {
            return Err(ControlError::UnknownAccount { account_id });
        }
        let existing = entity::Entity::find()
            .filter(entity::Column::AccountId.eq(account_id.0))
            .filter(entity::Column::DeletedAt.is_null())
            .count(&transaction)
            .await
            .map_err(ControlError::during("count exports"))?;
        if existing >= u64::from(max_exports) {
            return Err(ControlError::TooManyExports { max_exports });
        }
        let now = micros(now);
        let row = entity::ActiveModel {
            id: Set(new_id(now)),
            account_id: Set(account_id.0),
            environment: Set(tenant.environment.as_str().to_owned()),
            name: Set(Some(definition.name.clone())),
            definition: Set(to_json(definition)?),
            created_at: Set(now),
            updated_at: Set(now),
            scheduled_since: Set(now),
            renewed_at: Set(now),
            deleted_at: Set(None),
        };
        let row = row.insert(&transaction).await;
        let export = Export::try_from(row.map_err(|error| refusal(error, &definition.name, "create an export"))?)?;
        let key = export_signing_keys::insert(&transaction, export.id, random, now).await?;
        let noted = Noted::of(&export, &key);
        let change = Change::creates(Action::ExportCreate, account_id, export.id.0, &noted)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok((export, key))
    }

    /// The export, looked for in `account` or, for an operator, everywhere.
    pub async fn export(&self, account: Option<AccountId>, id: ExportId) -> Result<Export, ControlError> {
        find(&self.db, account, id).await
    }

    /// The exports of an account, by environment and name.
    pub async fn exports(&self, account: AccountId) -> Result<Vec<Export>, ControlError> {
        let rows = entity::Entity::find()
            .filter(entity::Column::AccountId.eq(account.0))
            .filter(entity::Column::DeletedAt.is_null())
            .order_by_asc(entity::Column::Environment)
            .order_by_asc(entity::Column::Name)
            .all(&self.db)
            .await
            .map_err(ControlError::during("list exports"))?;
        rows.into_iter().map(Export::try_from).collect()
    }

    /// All exports whose schedule is to be followed: those of accounts that are suspended, and those that are paused,
    /// are not among them.
    pub async fn scheduled_exports(&self) -> Result<Vec<Export>, ControlError> {
        let suspended: Vec<Uuid> = self
            .accounts()
            .await?
            .into_iter()
            .filter(|account| account.status == AccountStatus::Suspended)
            .map(|account| account.id.0)
            .collect();
        let rows = entity::Entity::find()
            .filter(entity::Column::DeletedAt.is_null())
            .filter(entity::Column::AccountId.is_not_in(suspended))
            .order_by_asc(entity::Column::Id)
            .all(&self.db)
            .await
            .map_err(ControlError::during("list exports"))?;
        let exports = rows.into_iter().map(Export::try_from).collect::<Result<Vec<_>, _>>()?;
        let follows = |export: &Export| export.definition.schedule.is_some() && !export.definition.is_paused;
        Ok(exports.into_iter().filter(follows).collect())
    }

    /// Changes an export as it is now: of two who change it at once, the second sees what the first did.
    pub async fn change_export(
        &self,
        account: Option<AccountId>,
        id: ExportId,
        change: impl FnOnce(&ExportDefinition) -> Result<ExportDefinition, ControlError>,
        now: DateTime<Utc>,
    ) -> Result<Export, ControlError> {
        let transaction = self.begin().await?;
        let before = find(&transaction, account, id).await?;
        let definition = change(&before.definition)?;
        definition.validate().map_err(ControlError::InvalidExport)?;
        if definition == before.definition {
            return Ok(before);
        }
        let now = micros(now);
        // A run may have begun while this change waited, and have read what the export was before.
        let newest_start = export_runs::newest_start(&transaction, id).await?;
        let renewed_at = newest_start.map_or(now, |start| now.max(start + TimeDelta::microseconds(1)));
        let (was, is) = (&before.definition, &definition);
        let is_resumed = was.is_paused && !is.is_paused;
        let is_scheduled_anew = is_resumed || was.schedule != is.schedule;
        let goes_elsewhere = was.destination != is.destination;
        let is_renewed = goes_elsewhere || was.source != is.source || was.format != is.format || was.mode != is.mode;
        let row = entity::ActiveModel {
            id: Set(id.0),
            name: Set(Some(is.name.clone())),
            definition: Set(to_json(is)?),
            updated_at: Set(now),
            scheduled_since: Set(if is_scheduled_anew { now } else { before.scheduled_since }),
            renewed_at: Set(if is_renewed { renewed_at } else { before.renewed_at }),
            ..Default::default()
        };
        let row = row.update(&transaction).await;
        let after = Export::try_from(row.map_err(|error| refusal(error, &is.name, "change an export"))?)?;
        if goes_elsewhere {
            // Whoever reads there has nothing yet.
            export_results::forget_days(&transaction, id).await?;
        }
        let key = export_signing_keys::active(&transaction, id).await?;
        let (noted_before, noted) = (Noted::of(&before, &key), Noted::of(&after, &key));
        let change = Change::alters(Action::ExportChange, after.tenant.account_id, id.0, &noted_before, &noted)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(after)
    }

    /// Deletes an export, and says what it was. A run that waits is given up, one that is under way may end. Its history
    /// and its signing keys stay, so that what it wrote can still be verified.
    pub async fn delete_export(
        &self,
        account: Option<AccountId>,
        id: ExportId,
        now: DateTime<Utc>,
    ) -> Result<Export, ControlError> {
        let transaction = self.begin().await?;
        let export = find(&transaction, account, id).await?;
        let key = export_signing_keys::active(&transaction, id).await?;
        let row = entity::ActiveModel {
            id: Set(id.0),
            name: Set(None),
            deleted_at: Set(Some(micros(now))),
            ..Default::default()
        };
        row.update(&transaction).await.map_err(ControlError::during("delete an export"))?;
        export_runs::give_up_queued(&transaction, id, now).await?;
        export_results::forget_days(&transaction, id).await?;
        let noted = Noted::of(&export, &key);
        let change = Change::removes(Action::ExportDelete, export.tenant.account_id, id.0, &noted)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(export)
    }

    /// Gives an export a new signing key, made of `random`, which must come from a cryptographic source. The old one
    /// signs nothing any more, and goes on verifying what it has signed.
    pub async fn rotate_export_key(
        &self,
        account: Option<AccountId>,
        id: ExportId,
        random: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<SigningKey, ControlError> {
        let transaction = self.begin().await?;
        let export = find(&transaction, account, id).await?;
        let before = export_signing_keys::active(&transaction, id).await?;
        export_signing_keys::retire(&transaction, &before, now).await?;
        let after = export_signing_keys::insert(&transaction, id, random, now).await?;
        let (noted_before, noted) = (Noted::of(&export, &before), Noted::of(&export, &after));
        let action = Action::ExportRotateKey;
        let change = Change::alters(action, export.tenant.account_id, id.0, &noted_before, &noted)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(after)
    }
}

/// An export as it is noted: neither the signing secret nor what a webhook's address may hold of one.
#[derive(Serialize)]
struct Noted<'a> {
    environment: &'static str,
    key_id: &'a str,
    #[serde(flatten)]
    definition: ExportDefinition,
}

impl<'a> Noted<'a> {
    fn of(export: &Export, key: &'a SigningKey) -> Self {
        let mut definition = export.definition.clone();
        definition.webhook = definition.webhook.map(|address| match Url::parse(&address) {
            Ok(url) => format!("{}/***", url.origin().ascii_serialization()),
            Err(_) => "***".to_owned(),
        });
        Self { environment: export.tenant.environment.as_str(), key_id: &key.key_id, definition }
    }
}

/// An export that was not deleted.
pub(super) async fn find(
    db: &impl ConnectionTrait,
    account: Option<AccountId>,
    id: ExportId,
) -> Result<Export, ControlError> {
    let mut find = entity::Entity::find_by_id(id.0).filter(entity::Column::DeletedAt.is_null());
    if let Some(account) = account {
        find = find.filter(entity::Column::AccountId.eq(account.0));
    }
    let row = find.one(db).await.map_err(ControlError::during("read an export"))?;
    row.ok_or(ControlError::UnknownExport)?.try_into()
}

fn refusal(error: sea_orm::DbErr, name: &str, operation: &'static str) -> ControlError {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => ControlError::ExportNameTaken { name: name.to_owned() },
        Some(_) | None => ControlError::during(operation)(error),
    }
}

fn to_json(definition: &ExportDefinition) -> Result<serde_json::Value, ControlError> {
    serde_json::to_value(definition).map_err(|source| corrupt("definition", source.to_string()))
}

fn corrupt(column: &'static str, value: String) -> ControlError {
    ControlError::Corrupt { table: "exports", column, value }
}

#[cfg(test)]
pub(super) mod tests;
