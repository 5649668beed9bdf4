//! Replays of refused events, as far as they are noted: who sent how many again, and changed what in them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::audit::{Action, Change};
use super::moment::new_id;
use super::{ControlDb, ControlError, accounts};
use crate::tenant::Tenant;

/// What is noted of a replay. The values that are put into events are nobody's business for ever: they may be a person's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// How many events go in again.
    pub events: usize,
    /// The paths that are set in each of them.
    pub set: Vec<String>,
    /// The paths that are taken out of each of them.
    pub unset: Vec<String>,
}

/// A replay with the environment that it happens in.
#[derive(Serialize)]
struct Facts<'a> {
    environment: &'static str,
    #[serde(flatten)]
    replayed: &'a Replayed,
}

impl ControlDb {
    /// Notes that refused events of a tenant are sent again, before they are; returns the id of this replay.
    pub async fn note_replay(
        &self,
        tenant: Tenant,
        replayed: &Replayed,
        now: DateTime<Utc>,
    ) -> Result<Uuid, ControlError> {
        let account_id = tenant.account_id;
        let transaction = self.begin().await?;
        if accounts::find(&transaction, account_id).await?.is_none() {
            return Err(ControlError::UnknownAccount { account_id });
        }
        let replay_id = new_id(now);
        let facts = Facts { environment: tenant.environment.as_str(), replayed };
        let change = Change::creates(Action::RejectedReplay, account_id, replay_id, &facts)?;
        self.record(&transaction, change, now).await?;
        self.commit(transaction).await?;
        Ok(replay_id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::Actor;
    use crate::control::moment::tests::at;
    use crate::tenant::{AccountId, Environment};

    #[tokio::test]
    async fn a_replay_is_noted_with_its_paths_and_never_without_its_account() {
        let control = ControlDb::open_in_memory().await.unwrap().acting_as(Actor::Cli);
        let account_id = control.create_account("acme", "Acme", at(0)).await.unwrap().id;
        let replayed = Replayed { events: 3, set: vec!["/timestamp".to_owned()], unset: Vec::new() };
        let tenant = Tenant { account_id, environment: Environment::Test };
        let replay_id = control.note_replay(tenant, &replayed, at(1)).await.unwrap();
        let nobody = Tenant { account_id: AccountId(Uuid::from_u128(1)), ..tenant };
        control.note_replay(nobody, &replayed, at(2)).await.unwrap_err();

        let entries = control.audit_entries(None, None, 10).await.unwrap();
        let told = (entries.len(), entries[0].action.as_str(), entries[0].actor.as_str(), entries[0].target.clone());
        assert_eq!(told, (2, "rejected.replay", "cli", replay_id.to_string()));
        let expected = json!({"environment": "test", "events": 3, "set": ["/timestamp"], "unset": []});
        assert_eq!(entries[0].after, Some(expected));
    }
}
