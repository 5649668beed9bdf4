//! What of an account's settings its rollups depend on.

use chrono_tz::Tz;
use touchline_pipeline::traffic::DEFINITION;
use touchline_schemas::Tenant;
use touchline_schemas::control::{AccountSettings, ControlDb};
use touchline_schemas::event::DEFAULT_CONVERSION_EVENT_TYPES;

use crate::JobError;

/// The settings of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TrafficSettings {
    pub time_zone: Tz,
    pub conversion_event_types: Vec<String>,
}

impl TrafficSettings {
    /// The account's choices, and the defaults for what it has not chosen.
    pub async fn read(control: &ControlDb, tenant: Tenant) -> Result<Self, JobError> {
        let account = control.account(tenant.account_id).await.map_err(JobError::failed)?;
        Ok(Self::of(account.map(|account| account.settings).unwrap_or_default()))
    }

    fn of(settings: AccountSettings) -> Self {
        let time_zone = settings.time_zone.map_or(Tz::UTC, |name| {
            name.parse().unwrap_or_else(|_| {
                tracing::warn!(time_zone = name, "not a time zone: the account's days are those of UTC");
                Tz::UTC
            })
        });
        let defaults = || DEFAULT_CONVERSION_EVENT_TYPES.map(str::to_owned).to_vec();
        Self { time_zone, conversion_event_types: settings.conversion_event_types.unwrap_or_else(defaults) }
    }

    /// A text that is another one when other rows would come of the same sessions and events.
    pub fn fingerprint(&self) -> String {
        format!("{DEFINITION} {} {:?}", self.time_zone, self.conversion_event_types)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_rows_changes_the_fingerprint() {
        let of = |change: fn(&mut AccountSettings)| {
            let mut settings = AccountSettings::default();
            change(&mut settings);
            TrafficSettings::of(settings).fingerprint()
        };
        let plain = of(|_| {});
        assert_eq!(of(|settings| settings.session_timeout_minutes = Some(5)), plain);
        assert_eq!(of(|settings| settings.time_zone = Some("UTC".to_owned())), plain);
        assert_eq!(of(|settings| settings.time_zone = Some("Mars/Olympus".to_owned())), plain);
        assert_ne!(of(|settings| settings.time_zone = Some("Asia/Tokyo".to_owned())), plain);
        assert_ne!(of(|settings| settings.conversion_event_types = Some(vec!["lead".to_owned()])), plain);
    }
}
