//! Erasures that were asked for: who is meant, as long as that is needed, and what became of it. They wait here for whoever
//! does them, survive a crash of that process, and are listed when they are long over.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde::Serialize;
use uuid::Uuid;

use super::accounts;
use super::audit::{Action, Actor, Change};
use super::erasures::{self, IdHashHex};
use super::moment::{micros, new_id};
use super::{ControlDb, ControlError};
use crate::tenant::AccountId;

/// How far an erasure has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Nobody has begun it.
    Waiting,
    /// Somebody does it, or did until a crash.
    Running,
    /// An attempt has failed; there will be another.
    Failed,
    /// All is done, and the last look found nothing.
    Done,
    /// What could be done is done, and something of the person may be left.
    Incomplete,
    /// Nothing was done: what was asked for cannot be.
    Refused,
}

impl ErasureState {
    const ALL: [Self; 6] = [Self::Waiting, Self::Running, Self::Failed, Self::Done, Self::Incomplete, Self::Refused];

    /// The word used in texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
        }
    }

    /// Whether something is still to be done.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Waiting | Self::Running | Self::Failed => true,
            Self::Done | Self::Incomplete | Self::Refused => false,
        }
    }
}

/// An erasure as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewErasure {
    /// Whose person it is.
    pub account_id: AccountId,
    /// Ids of the person.
    pub ids: Vec<String>,
    /// Who asks, in words that may stand in the certificate.
    pub requested_by: Option<String>,
    /// Only say what would be done.
    pub is_dry_run: bool,
}

/// An erasure that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRequest {
    /// Its number; later ones have greater ones.
    pub number: i64,
    /// Its id.
    pub id: Uuid,
    /// Whose person it is.
    pub account_id: AccountId,
    /// Who sent it: `key:` and the key's id, `cli`, or `installation`.
    pub actor: String,
    /// Ids of the person; none when it is over.
    pub ids: Vec<String>,
    /// Who asks, in their own words.
    pub requested_by: Option<String>,
    /// Whether it only says what would be done.
    pub is_dry_run: bool,
    /// How far it has come.
    pub state: ErasureState,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it failed, was refused or is incomplete, in words that name nobody.
    pub problem: Option<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When it was last begun.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
    /// The certificate, as JSON.
    pub certificate: Option<String>,
}

/// What is known when an erasure is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified<'a> {
    /// Whose person it was.
    pub account_id: AccountId,
    /// The requests that it answers.
    pub requests: &'a [Uuid],
    /// The ids that are refused from now on.
    pub hashes: &'a [IdHashHex],
    /// The certificate, as JSON.
    pub certificate: &'a str,
    /// What is left, in words that name nobody.
    pub problem: Option<&'a str>,
}

mod entity {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "erasure_requests")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        pub id: Uuid,
        pub account_id: Uuid,
        pub actor: String,
        #[sea_orm(column_type = "Text")]
        pub ids: Option<String>,
        #[sea_orm(column_type = "Text")]
        pub requested_by: Option<String>,
        pub is_dry_run: bool,
        pub state: String,
        pub attempts: i32,
        #[sea_orm(column_type = "Text")]
        pub problem: Option<String>,
        pub requested_at: DateTimeUtc,
        pub due_at: DateTimeUtc,
        pub started_at: Option<DateTimeUtc>,
        pub finished_at: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text")]
        pub certificate: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use entity::Column;

/// The table, as errors name it.
const TABLE: &str = "erasure_requests";

impl TryFrom<entity::Model> for ErasureRequest {
    type Error = ControlError;

    fn try_from(row: entity::Model) -> Result<Self, Self::Error> {
        let state = ErasureState::ALL.into_iter().find(|state| state.as_str() == row.state);
        let unknown = || ControlError::Corrupt { table: TABLE, column: "state", value: row.state.clone() };
        Ok(Self {
            state: state.ok_or_else(unknown)?,
            ids: read_ids(row.ids.as_deref())?,
            number: row.number,
            id: row.id,
            account_id: AccountId(row.account_id),
            actor: row.actor,
            requested_by: row.requested_by,
            is_dry_run: row.is_dry_run,
            attempts: u32::try_from(row.attempts).unwrap_or_default(),
            problem: row.problem,
            requested_at: row.requested_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            certificate: row.certificate,
        })
    }
}

impl ErasureRequest {
    /// Who sent it, to whom what comes of it is put down.
    pub fn sender(&self) -> Actor {
        self.actor.parse().unwrap_or(Actor::Installation)
    }
}

impl ControlDb {
    /// Keeps that somebody is to be erased.
    pub async fn request_erasure(&self, new: NewErasure, now: DateTime<Utc>) -> Result<ErasureRequest, ControlError> {
        let transaction = self.begin().await?;
        if accounts::find(&transaction, new.account_id).await?.is_none() {
            return Err(ControlError::UnknownAccount { account_id: new.account_id });
        }
        let row = entity::ActiveModel {
            id: Set(new_id(now)),
            account_id: Set(new.account_id.0),
            actor: Set(self.actor.to_string()),
            ids: Set(Some(ids_text(&new.ids)?)),
            requested_by: Set(new.requested_by),
            is_dry_run: Set(new.is_dry_run),
            state: Set(ErasureState::Waiting.as_str().to_owned()),
            attempts: Set(0),
            requested_at: Set(micros(now)),
            due_at: Set(micros(now)),
            ..Default::default()
        };
        let row = row.insert(&transaction).await.map_err(ControlError::during("keep that somebody is to be erased"))?;
        let request = ErasureRequest::try_from(row)?;
        // Whom it is about is nobody's business for ever.
        let facts = serde_json::json!({ "ids": new.ids.len(), "dry_run": new.is_dry_run });
        let change = Change::creates(Action::ErasureRequest, new.account_id, request.id, &facts)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(request)
    }

    /// An account's erasures, newest first and at most `limit`; with `before`, only those of smaller numbers.
    pub async fn erasure_requests(
        &self,
        account: AccountId,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<ErasureRequest>, ControlError> {
        let mut find = entity::Entity::find().filter(Column::AccountId.eq(account.0));
        if let Some(before) = before {
            find = find.filter(Column::Number.lt(before));
        }
        let rows = find.order_by_desc(Column::Number).limit(limit).all(&self.db).await;
        let rows = rows.map_err(ControlError::during("list erasures"))?;
        rows.into_iter().map(ErasureRequest::try_from).collect()
    }

    /// One of an account's erasures.
    pub async fn erasure_request(&self, account: AccountId, id: Uuid) -> Result<Option<ErasureRequest>, ControlError> {
        let find = entity::Entity::find().filter(Column::Id.eq(id)).filter(Column::AccountId.eq(account.0));
        let row = find.one(&self.db).await.map_err(ControlError::during("look up an erasure"))?;
        row.map(ErasureRequest::try_from).transpose()
    }

    /// The oldest erasure that somebody should do now. One that is said to run is due as well: whoever asks holds the
    /// lease, so nobody else does it.
    pub async fn due_erasure(&self, now: DateTime<Utc>) -> Result<Option<ErasureRequest>, ControlError> {
        let find = entity::Entity::find().filter(is_open()).filter(Column::DueAt.lte(micros(now)));
        let row = find.order_by_asc(Column::Number).one(&self.db).await;
        row.map_err(ControlError::during("look for an erasure"))?.map(ErasureRequest::try_from).transpose()
    }

    /// Keeps that an erasure begins, and how often it has.
    pub async fn start_erasure(&self, request: &ErasureRequest, now: DateTime<Utc>) -> Result<(), ControlError> {
        let attempts = i32::try_from(request.attempts).unwrap_or(i32::MAX).saturating_add(1);
        self.change(entity::ActiveModel {
            number: Set(request.number),
            state: Set(ErasureState::Running.as_str().to_owned()),
            attempts: Set(attempts),
            started_at: Set(Some(micros(now))),
            ..Default::default()
        })
        .await
    }

    /// Keeps that an attempt has failed, and when there will be another.
    pub async fn postpone_erasure(
        &self,
        request: &ErasureRequest,
        problem: &str,
        due_at: DateTime<Utc>,
    ) -> Result<(), ControlError> {
        self.change(entity::ActiveModel {
            number: Set(request.number),
            state: Set(ErasureState::Failed.as_str().to_owned()),
            problem: Set(Some(problem.to_owned())),
            due_at: Set(micros(due_at)),
            ..Default::default()
        })
        .await
    }

    /// Ends an erasure that took nothing out, or of which no more can be said; who was meant is forgotten.
    pub async fn end_erasure(
        &self,
        request: &ErasureRequest,
        state: ErasureState,
        problem: Option<&str>,
        certificate: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), ControlError> {
        self.change(entity::ActiveModel {
            number: Set(request.number),
            ids: Set(None),
            state: Set(state.as_str().to_owned()),
            problem: Set(problem.map(str::to_owned)),
            finished_at: Set(Some(micros(now))),
            certificate: Set(certificate.map(str::to_owned)),
            ..Default::default()
        })
        .await
    }

    /// Takes somebody out of what the account's requests say: ids of which `is_theirs`, and what `without` leaves of the
    /// words of whoever asked. Returns the open requests that name nobody else: these are answered.
    pub async fn forget_requested(
        &self,
        account: AccountId,
        is_theirs: &(dyn Fn(&str) -> bool + Sync),
        without: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<Vec<Uuid>, ControlError> {
        let during = || ControlError::during("forget who was erased");
        let transaction = self.begin().await?;
        let says_something = Condition::any().add(Column::Ids.is_not_null()).add(Column::RequestedBy.is_not_null());
        let find = entity::Entity::find().filter(Column::AccountId.eq(account.0)).filter(says_something);
        let mut answered = Vec::new();
        for row in find.all(&transaction).await.map_err(during())? {
            let ids = read_ids(row.ids.as_deref())?;
            let left: Vec<String> = ids.iter().filter(|id| !is_theirs(id)).cloned().collect();
            let words = row.requested_by.as_deref().and_then(without);
            if left.len() == ids.len() && words.is_none() {
                continue;
            }
            let id = row.id;
            let mut change = entity::ActiveModel { number: Set(row.number), ..Default::default() };
            if left.is_empty() && !ids.is_empty() {
                answered.push(id);
                change.ids = Set(None);
            } else if left.len() < ids.len() {
                change.ids = Set(Some(ids_text(&left)?));
            }
            if let Some(words) = words {
                if let Some(old) = &row.certificate {
                    let new = certificate_with(old, &words)?;
                    erasures::replace_certificate(&transaction, account, old, &new).await?;
                    change.certificate = Set(Some(new));
                }
                change.requested_by = Set(Some(words));
            }
            change.update(&transaction).await.map_err(during())?;
        }
        self.commit(transaction).await?;
        Ok(answered)
    }

    /// Keeps the certificate with the ids that it is about, and with the requests that it answers.
    pub async fn certify_erasure(&self, certified: Certified<'_>, now: DateTime<Utc>) -> Result<(), ControlError> {
        let Certified { account_id, requests, hashes, certificate, problem } = certified;
        let transaction = self.begin().await?;
        erasures::keep_certificate(&transaction, account_id, hashes, certificate).await?;
        let state = if problem.is_none() { ErasureState::Done } else { ErasureState::Incomplete };
        let find = entity::Entity::find().filter(Column::Id.is_in(requests.iter().copied()));
        for row in find.all(&transaction).await.map_err(ControlError::during("read erasures"))? {
            let (number, id) = (row.number, row.id);
            let change = entity::ActiveModel {
                number: Set(number),
                ids: Set(None),
                state: Set(state.as_str().to_owned()),
                problem: Set(problem.map(str::to_owned)),
                finished_at: Set(Some(micros(now))),
                certificate: Set(Some(certificate.to_owned())),
                ..Default::default()
            };
            change.update(&transaction).await.map_err(ControlError::during("end an erasure"))?;
            // The hashes stay out of it: with the salt beside them they would tell for ever whose erasure it was.
            let facts = serde_json::json!({ "ids": hashes.len() });
            let change = Change::creates(Action::ErasureComplete, account_id, id, &facts)?;
            self.record(&transaction, change, now).await?;
        }
        self.commit(transaction).await
    }

    async fn change(&self, row: entity::ActiveModel) -> Result<(), ControlError> {
        row.update(&self.db).await.map(|_| ()).map_err(ControlError::during("change an erasure"))
    }
}

/// A certificate in which whoever asked has said something else.
fn certificate_with(certificate: &str, requested_by: &str) -> Result<String, ControlError> {
    let unreadable = |_| ControlError::Corrupt { table: TABLE, column: "certificate", value: "…".to_owned() };
    let mut certificate: serde_json::Value = serde_json::from_str(certificate).map_err(unreadable)?;
    if let Some(said) = certificate.get_mut("requested_by") {
        *said = requested_by.into();
    }
    Ok(certificate.to_string())
}

fn is_open() -> Condition {
    let open = ErasureState::ALL.into_iter().filter(|state| state.is_open()).map(ErasureState::as_str);
    Condition::all().add(Column::State.is_in(open))
}

/// Ids as they are stored: not as they read, because another account may have somebody of the same id, and the last look
/// of an erasure there must not take what waits here for something that it has left.
fn ids_text(ids: &[String]) -> Result<String, ControlError> {
    serde_json::to_vec(ids).map(|text| BASE64_STANDARD.encode(text)).map_err(|_| corrupt())
}

fn read_ids(stored: Option<&str>) -> Result<Vec<String>, ControlError> {
    let Some(stored) = stored else { return Ok(Vec::new()) };
    let text = BASE64_STANDARD.decode(stored).map_err(|_| corrupt())?;
    serde_json::from_slice(&text).map_err(|_| corrupt())
}

/// Says that the ids are not readable, and not what they are.
fn corrupt() -> ControlError {
    ControlError::Corrupt { table: TABLE, column: "ids", value: "…".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::moment::tests::at;

    fn new(account_id: AccountId, ids: &[&str]) -> NewErasure {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        NewErasure { account_id, ids, requested_by: None, is_dry_run: false }
    }

    async fn with_account() -> (ControlDb, AccountId) {
        let control = ControlDb::open_in_memory().await.unwrap();
        let account = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        (control, account)
    }

    #[tokio::test]
    async fn the_oldest_is_due_until_it_is_over() {
        let (control, account) = with_account().await;
        let ada = control.request_erasure(new(account, &["ada"]), at(1)).await.unwrap();
        let bob = control.request_erasure(new(account, &["bob"]), at(2)).await.unwrap();
        let due = async |seconds| control.due_erasure(at(seconds)).await.unwrap().map(|request| request.id);
        assert_eq!(due(3).await, Some(ada.id));
        control.start_erasure(&ada, at(3)).await.unwrap();
        assert_eq!(due(3).await, Some(ada.id), "who holds the lease finds what was cut off");
        control.postpone_erasure(&ada, "the lake failed", at(60)).await.unwrap();
        assert_eq!(due(59).await, Some(bob.id));
        assert_eq!(due(60).await, Some(ada.id));
        control.end_erasure(&ada, ErasureState::Refused, Some("nobody"), None, at(61)).await.unwrap();
        assert_eq!(due(99).await, Some(bob.id));
        let ended = control.erasure_request(account, ada.id).await.unwrap().unwrap();
        assert_eq!((ended.state, ended.attempts, ended.ids), (ErasureState::Refused, 1, Vec::new()));
        assert_eq!((ended.started_at, ended.finished_at), (Some(at(3)), Some(at(61))));
    }

    #[tokio::test]
    async fn an_account_sees_its_own_and_each_is_noted() {
        let (control, account) = with_account().await;
        let other = control.create_account("other", "Other", at(0)).await.unwrap().id;
        let key = Actor::Key(Uuid::from_u128(7));
        let ada = control.acting_as(key).request_erasure(new(account, &["ada", "v:phone"]), at(1)).await.unwrap();
        assert_eq!(ada.sender(), key);
        assert_eq!(control.erasure_request(other, ada.id).await.unwrap(), None);
        assert_eq!(control.erasure_requests(other, None, 9).await.unwrap(), []);
        assert_eq!(control.erasure_requests(account, None, 9).await.unwrap(), std::slice::from_ref(&ada));
        assert_eq!(control.erasure_requests(account, Some(ada.number), 9).await.unwrap(), []);
        let noted = control.audit_entries(Some(account), None, 1).await.unwrap().remove(0);
        assert_eq!((noted.action.as_str(), noted.target), ("erasure.request", ada.id.to_string()));
        assert_eq!(noted.actor, key.to_string());
        assert_eq!(noted.after, Some(serde_json::json!({"ids": 2, "dry_run": false})));
    }

    #[tokio::test]
    async fn who_was_erased_is_forgotten_by_every_request_of_the_account() {
        let (control, account) = with_account().await;
        let words = NewErasure { requested_by: Some("for ada".to_owned()), ..new(account, &["ada"]) };
        let first = control.request_erasure(words, at(1)).await.unwrap();
        let second = control.request_erasure(new(account, &["u:ada"]), at(2)).await.unwrap();
        let third = control.request_erasure(new(account, &["ada", "bob"]), at(3)).await.unwrap();
        let is_ada = |id: &str| id.ends_with("ada");
        let without = |text: &str| text.contains("ada").then(|| text.replace("ada", "erased"));
        let answered = control.forget_requested(account, &is_ada, &without).await.unwrap();
        assert_eq!(answered, [first.id, second.id]);
        let hashes = control.erasure_hashes(account, &[crate::TypedId::user("ada")], [7; 32]).await.unwrap();
        control.refuse_erased(account, &hashes, at(4)).await.unwrap();
        let certificate = r#"{"requested_by":"for erased"}"#;
        let certified =
            Certified { account_id: account, requests: &answered, hashes: &hashes, certificate, problem: None };
        control.certify_erasure(certified, at(5)).await.unwrap();
        let read = async |id| control.erasure_request(account, id).await.unwrap().unwrap();
        let (first, second, third) = (read(first.id).await, read(second.id).await, read(third.id).await);
        assert_eq!((first.state, first.requested_by.as_deref()), (ErasureState::Done, Some("for erased")));
        assert_eq!((second.state, second.certificate.as_deref()), (ErasureState::Done, Some(certificate)));
        assert_eq!((third.state, third.ids), (ErasureState::Waiting, vec!["bob".to_owned()]));
        let noted = control.audit_entries(Some(account), None, 2).await.unwrap();
        assert!(noted.iter().all(|entry| entry.action == "erasure.complete"), "{noted:?}");

        // What is over says nothing of somebody who is erased later, either.
        let without = |text: &str| text.contains("for").then(|| text.replace("for", "of"));
        assert!(control.forget_requested(account, &|_| false, &without).await.unwrap().is_empty());
        let first = read(first.id).await;
        assert_eq!(first.requested_by.as_deref(), Some("of erased"));
        assert_eq!(first.certificate.as_deref(), Some(r#"{"requested_by":"of erased"}"#));
    }
}
