//! Profiles: what a session is in this product and in others, as data. One file each under `profiles/`.

use chrono::Duration;
use chrono_tz::Tz;
use serde::Deserialize;
use touchline_schemas::control::AccountSettings;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::sessions::UTM_FIELDS;

use super::rules::{CampaignSplit, Identity, ReferrerSplit, SessionRules, Splits};

/// The profiles' names and texts. The first is the default.
const TEXTS: [(&str, &str); 5] = [
    ("touchline", include_str!("profiles/touchline.toml")),
    ("client", include_str!("profiles/client.toml")),
    ("ga4", include_str!("profiles/ga4.toml")),
    ("matomo", include_str!("profiles/matomo.toml")),
    ("plausible", include_str!("profiles/plausible.toml")),
];

/// The names of all profiles. The first is the default.
pub const NAMES: [&str; 5] = [TEXTS[0].0, TEXTS[1].0, TEXTS[2].0, TEXTS[3].0, TEXTS[4].0];

/// The name by which an account's own choice is meant, where a profile is asked for.
pub const ACCOUNT: &str = "account";

/// What settings call the splits.
pub const SPLITS: [&str; 4] = ["campaign", "referrer", "midnight", "max_24h"];

/// A choice that comes to no rules.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no such profile.
    #[error("there is no session profile `{name}`: the profiles are {}", NAMES.join(", "))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// There is no such split.
    #[error("`{name}` is no split of sessions: the splits are {}", SPLITS.join(", "))]
    UnknownSplit {
        /// What was given.
        name: String,
    },
    /// There is no such time zone.
    #[error("`{name}` is not the IANA name of a time zone")]
    TimeZone {
        /// What was given.
        name: String,
    },
    /// A profile's text is wrong.
    #[error("session profile: {0}")]
    Text(#[from] toml::de::Error),
    /// A profile compares something that is no campaign parameter.
    #[error("session profile: `{field}` is no campaign parameter")]
    Field {
        /// What it compares.
        field: String,
    },
}

/// What a session is in some product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its version: raised when its rules change, or what a session takes from its events.
    pub version: u32,
    pause: Pause,
    client_session: Option<ClientSession>,
    splits: Vec<Split>,
    campaign: Campaign,
    referrer: Referrer,
}

/// How long a pause ends a session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    /// Without them, the installation's `sessions.timeout_minutes`.
    minutes: Option<u16>,
    ends: PauseEnds,
}

/// Which pause ends a session, where the limit is 30 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PauseEnds {
    /// Any that is longer.
    Longer,
    /// One of exactly 30 minutes, too.
    Reached,
    /// One of 31 minutes: what is left of a minute is not counted.
    WholeMinutesLonger,
}

/// The client's session id decides, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientSession {
    /// The longest pause after which an id still means the same session.
    hours: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Split {
    Campaign,
    Referrer,
    Midnight,
    #[serde(rename = "max_24h")]
    MaxDay,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Campaign {
    parts: Vec<Vec<String>>,
    from_direct: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Referrer {
    from_direct: bool,
}

impl Profile {
    /// The profile of that name.
    pub fn by_name(name: &str) -> Result<Self, ProfileError> {
        let found = TEXTS.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| ProfileError::Unknown { name: name.to_owned() })?;
        Ok(toml::from_str(text)?)
    }

    /// The rules of this profile with an account's timeout, further splits and time zone.
    ///
    /// `default_timeout` is the installation's, for profiles that have none of their own.
    fn rules(&self, account: &AccountSettings, default_timeout: Duration) -> Result<SessionRules, ProfileError> {
        let chosen = account.session_timeout_minutes.or(self.pause.minutes);
        let limit = chosen.map_or(default_timeout, |minutes| Duration::minutes(i64::from(minutes)));
        let further = account.session_splits.iter().map(|name| Split::read(name));
        let mut splits = Splits::default();
        for split in self.splits.iter().map(|split| Ok(*split)).chain(further) {
            match split? {
                Split::Campaign => splits.campaign = Some(self.campaign.split()?),
                Split::Referrer => {
                    splits.referrer = Some(ReferrerSplit { from_direct: self.referrer.from_direct });
                }
                Split::Midnight => splits.midnight = Some(time_zone(account)?),
                Split::MaxDay => splits.max_length = Some(Duration::hours(24)),
            }
        }
        Ok(SessionRules {
            profile: format!("{}/{}", self.name, self.version),
            timeout: self.pause.ends.longest_that_does_not(limit),
            identity: self.client_session.as_ref().map_or(Identity::Device, |client| Identity::ClientSession {
                timeout: Duration::hours(i64::from(client.hours)),
            }),
            splits,
        })
    }
}

impl SessionRules {
    /// What an account has chosen. `default_timeout` is the installation's.
    pub fn of(account: &AccountSettings, default_timeout: Duration) -> Result<Self, ProfileError> {
        let name = account.session_profile.as_deref().unwrap_or(NAMES[0]);
        Profile::by_name(name)?.rules(account, default_timeout)
    }

    /// A profile as it is by itself, without the account's timeout and splits, but in its time zone; or what the account
    /// has chosen, for the name [`ACCOUNT`].
    pub fn of_profile(name: &str, account: &AccountSettings, default_timeout: Duration) -> Result<Self, ProfileError> {
        if name == ACCOUNT {
            return Self::of(account, default_timeout);
        }
        let place = AccountSettings { time_zone: account.time_zone.clone(), ..AccountSettings::default() };
        Profile::by_name(name)?.rules(&place, default_timeout)
    }
}

impl PauseEnds {
    /// The longest pause that does not end a session. Times have microseconds.
    fn longest_that_does_not(self, limit: Duration) -> Duration {
        match self {
            Self::Longer => limit,
            Self::Reached => limit - Duration::microseconds(1),
            Self::WholeMinutesLonger => limit + Duration::minutes(1) - Duration::microseconds(1),
        }
    }
}

impl Split {
    fn read(name: &str) -> Result<Self, ProfileError> {
        match name {
            "campaign" => Ok(Self::Campaign),
            "referrer" => Ok(Self::Referrer),
            "midnight" => Ok(Self::Midnight),
            "max_24h" => Ok(Self::MaxDay),
            _ => Err(ProfileError::UnknownSplit { name: name.to_owned() }),
        }
    }
}

impl Campaign {
    fn split(&self) -> Result<CampaignSplit, ProfileError> {
        let field = |name: &String| -> Result<TextField, ProfileError> {
            let known = UTM_FIELDS.into_iter().find(|field| field.column() == name);
            known.ok_or_else(|| ProfileError::Field { field: name.clone() })
        };
        let part = |names: &Vec<String>| names.iter().map(field).collect::<Result<Vec<_>, _>>();
        let parts = self.parts.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        Ok(CampaignSplit { parts, from_direct: self.from_direct })
    }
}

fn time_zone(account: &AccountSettings) -> Result<Tz, ProfileError> {
    let name = account.time_zone.as_deref().unwrap_or("UTC");
    name.parse().map_err(|_| ProfileError::TimeZone { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::minutes(20);

    fn account(profile: &str, splits: &[&str]) -> AccountSettings {
        AccountSettings {
            session_profile: Some(profile.to_owned()),
            session_splits: splits.iter().map(|split| (*split).to_owned()).collect(),
            time_zone: Some("Europe/Berlin".to_owned()),
            ..AccountSettings::default()
        }
    }

    #[test]
    fn every_profile_can_be_read_with_every_split() {
        for (name, _) in TEXTS {
            assert_eq!(Profile::by_name(name).unwrap().name, name);
            let rules = SessionRules::of(&account(name, &SPLITS), TIMEOUT).unwrap();
            let splits = &rules.splits;
            assert!(splits.campaign.is_some() && splits.referrer.is_some(), "{name}");
            assert!(splits.midnight.is_some() && splits.max_length.is_some(), "{name}");
        }
    }

    #[test]
    fn default_rules_are_those_of_the_profile_touchline() {
        let nothing = AccountSettings::default();
        assert_eq!(SessionRules::of(&nothing, Duration::minutes(30)).unwrap(), SessionRules::default());
        assert_eq!(SessionRules::default().definition(), super::super::DEFINITION);
    }

    #[test]
    fn what_an_account_chooses_goes_before_profile_and_installation() {
        let mut settings = account("touchline", &["midnight"]);
        settings.session_timeout_minutes = Some(45);
        let rules = SessionRules::of(&settings, TIMEOUT).unwrap();
        assert_eq!(rules.timeout, Duration::minutes(45));
        assert_eq!(rules.splits.midnight, Some(Tz::Europe__Berlin));
        assert_eq!(rules.definition(), "sessions/touchline/2+midnight");
        assert_eq!(SessionRules::of(&account("touchline", &[]), TIMEOUT).unwrap().timeout, TIMEOUT);
        assert_eq!(SessionRules::of(&account("ga4", &[]), TIMEOUT).unwrap().timeout, Duration::minutes(30));
    }

    #[test]
    fn a_profile_by_itself_has_only_the_accounts_place() {
        let mut settings = account("touchline", &["campaign", "midnight", "referrer"]);
        settings.session_timeout_minutes = Some(45);
        let by_itself = SessionRules::of_profile("touchline", &settings, TIMEOUT).unwrap();
        assert_eq!(by_itself, SessionRules::touchline(TIMEOUT));
        let matomo = SessionRules::of_profile("matomo", &settings, TIMEOUT).unwrap();
        assert_eq!(matomo.splits.midnight, Some(Tz::Europe__Berlin));
        let own = SessionRules::of_profile(ACCOUNT, &settings, TIMEOUT).unwrap();
        assert_eq!(own, SessionRules::of(&settings, TIMEOUT).unwrap());
    }

    #[test]
    fn choices_that_do_not_exist_are_refused() {
        let refused = |settings: &AccountSettings| SessionRules::of(settings, TIMEOUT).unwrap_err().to_string();
        let names = "touchline, client, ga4, matomo, plausible";
        assert_eq!(
            refused(&account("ga5", &[])),
            format!("there is no session profile `ga5`: the profiles are {names}")
        );
        assert!(refused(&account("ga4", &["noon"])).starts_with("`noon` is no split of sessions"));
        let nowhere = AccountSettings { time_zone: Some("Europe/Bielefeld".to_owned()), ..account("matomo", &[]) };
        assert_eq!(refused(&nowhere), "`Europe/Bielefeld` is not the IANA name of a time zone");
    }
}
