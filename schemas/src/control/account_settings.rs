//! An account's settings: what they are, and how they are read from text, shown and checked.

mod conversion_value;
mod goal;
mod limits;
mod patch;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::conversion_value::ConversionValue;
use self::conversion_value::{VALUES_LIMIT, conversion_values, is_conversion_value, rule};
use self::goal::{GOALS_LIMIT, goal_text, is_goal};
pub use self::goal::{Goal, GoalCondition, GoalCredit, goals};
use self::limits::{each, is_event_type, is_host_name, number, one_of, parsed, within};
use super::ControlError;
use crate::config::SessionsConfig;

/// The names of all settings, in the order in which they are shown.
pub const SETTINGS: [&str; 14] = [
    "time_zone",
    "own_domains",
    "tracked_domains",
    "mask_ip",
    "privacy_signals",
    "session_profile",
    "session_timeout_minutes",
    "session_splits",
    "channel_rules",
    "conversion_event_types",
    "conversion_values",
    "goals",
    "attribution_lookback_days",
    "retention_days",
];

/// The sets of rules that name a session's channel.
pub const CHANNEL_RULES: [&str; 2] = ["touchline", "ga4"];

const PROFILES: [&str; 5] = ["touchline", "client", "ga4", "matomo", "plausible"];
/// Whether Global Privacy Control counts; the second is the only one that says no.
const PRIVACY_SIGNALS: [&str; 2] = ["honour", "ignore"];
const SPLITS: [&str; 4] = ["campaign", "referrer", "midnight", "max_24h"];
const LOOKBACK_DAYS: RangeInclusive<u16> = 1..=365;
/// A hundred years: more is a slip of the hand.
const RETENTION_DAYS: RangeInclusive<u32> = 1..=36_500;

const PROFILE_LIMIT: &str = "one of touchline, client, ga4, matomo, plausible";
const SIGNALS_LIMIT: &str = "honour or ignore";
const SPLITS_LIMIT: &str = "a list of campaign, referrer, midnight, max_24h, each at most once";
const CHANNEL_LIMIT: &str = "touchline or ga4";
const TIME_ZONE_LIMIT: &str = "the IANA name of a time zone, as in Europe/Berlin";
const DOMAINS_LIMIT: &str = "a list of host names, as in shop.example, without scheme, port and path";
const TYPES_LIMIT: &str = "a list of event types of 1 to 255 characters without comma, `=` and control characters";
const TRUTH_LIMIT: &str = "true or false";

/// What an account has decided for itself; what is absent follows the configuration.
///
/// Unknown fields are ignored: a newer version may have written them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountSettings {
    /// Minutes without an event after which a session has ended, 1 to 475.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_timeout_minutes: Option<u16>,
    /// The event types that count as conversions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_event_types: Option<Vec<String>>,
    /// What conversions are worth, by event type; without a rule, the event's revenue.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub conversion_values: BTreeMap<String, ConversionValue>,
    /// Whether IP addresses are masked before they are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_ip: Option<bool>,
    /// Whether Global Privacy Control of visitors' browsers counts: `honour` (default) or `ignore`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy_signals: Option<String>,
    /// IANA name of the time zone of the account's days. Default `UTC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What a session is: `touchline` (default), `client`, `ga4`, `matomo` or `plausible`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_profile: Option<String>,
    /// Splits of sessions besides the profile's: `campaign`, `referrer`, `midnight`, `max_24h`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub session_splits: Vec<String>,
    /// The rules that name a session's channel: `touchline` (default) or `ga4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_rules: Option<String>,
    /// Domains whose referrals are internal, with what lies below them, besides the page's own registrable domain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub own_domains: Vec<String>,
    /// Domains whose events are the account's when they come without a key, as Plausible's tracker sends them. A domain
    /// is one account's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tracked_domains: Vec<String>,
    /// What messages are sent for, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub goals: BTreeMap<String, Goal>,
    /// Days before a conversion in which a session counts as a touch, 1 to 365. Default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution_lookback_days: Option<u16>,
    /// Days for which events are kept, at least 1; for ever without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}

impl AccountSettings {
    /// Sets one setting from its text. Lists are separated by commas; [`AccountSettings::get`] gives the same text.
    ///
    /// # Errors
    ///
    /// There is no such setting, or the text is none of its values.
    pub fn set(&mut self, field: &str, text: &str) -> Result<(), ControlError> {
        let mut changed = self.clone();
        match known(field)? {
            "time_zone" => changed.time_zone = Some(text.to_owned()),
            "own_domains" => changed.own_domains = list(text),
            "tracked_domains" => changed.tracked_domains = list(text),
            "mask_ip" => changed.mask_ip = Some(parsed("mask_ip", TRUTH_LIMIT, text)?),
            "privacy_signals" => changed.privacy_signals = Some(text.to_owned()),
            "session_profile" => changed.session_profile = Some(text.to_owned()),
            "session_timeout_minutes" => {
                changed.session_timeout_minutes = Some(number(&SessionsConfig::TIMEOUT_MINUTES, field, text)?);
            }
            "session_splits" => changed.session_splits = list(text),
            "channel_rules" => changed.channel_rules = Some(text.to_owned()),
            "conversion_event_types" => changed.conversion_event_types = Some(list(text)),
            "conversion_values" => changed.conversion_values = conversion_values(text)?,
            "goals" => changed.goals = goals(text)?,
            "attribution_lookback_days" => {
                changed.attribution_lookback_days = Some(number(&LOOKBACK_DAYS, field, text)?);
            }
            "retention_days" => changed.retention_days = Some(number(&RETENTION_DAYS, field, text)?),
            _ => return Err(unknown(field)),
        }
        changed.validate()?;
        // An empty list is stored like none, and would silently take a setting back.
        if changed.get(field).is_none_or(|text| text.is_empty()) {
            return Err(invalid(known(field)?, "something: to take a setting back, unset it", text));
        }
        *self = changed;
        Ok(())
    }

    /// Whether Global Privacy Control of visitors' browsers counts.
    pub fn honours_privacy_signals(&self) -> bool {
        let [_, ignore] = PRIVACY_SIGNALS;
        self.privacy_signals.as_deref() != Some(ignore)
    }

    /// Takes a setting back: the account follows the configuration again.
    ///
    /// # Errors
    ///
    /// There is no such setting.
    pub fn unset(&mut self, field: &str) -> Result<(), ControlError> {
        match field {
            "time_zone" => self.time_zone = None,
            "own_domains" => self.own_domains.clear(),
            "tracked_domains" => self.tracked_domains.clear(),
            "mask_ip" => self.mask_ip = None,
            "privacy_signals" => self.privacy_signals = None,
            "session_profile" => self.session_profile = None,
            "session_timeout_minutes" => self.session_timeout_minutes = None,
            "session_splits" => self.session_splits.clear(),
            "channel_rules" => self.channel_rules = None,
            "conversion_event_types" => self.conversion_event_types = None,
            "conversion_values" => self.conversion_values.clear(),
            "goals" => self.goals.clear(),
            "attribution_lookback_days" => self.attribution_lookback_days = None,
            "retention_days" => self.retention_days = None,
            _ => return Err(unknown(field)),
        }
        Ok(())
    }

    /// A setting as text, if the account has chosen it.
    pub fn get(&self, field: &str) -> Option<String> {
        match field {
            "time_zone" => self.time_zone.clone(),
            "own_domains" => joined(&self.own_domains),
            "tracked_domains" => joined(&self.tracked_domains),
            "mask_ip" => text(self.mask_ip),
            "privacy_signals" => self.privacy_signals.clone(),
            "session_profile" => self.session_profile.clone(),
            "session_timeout_minutes" => text(self.session_timeout_minutes),
            "session_splits" => joined(&self.session_splits),
            "channel_rules" => self.channel_rules.clone(),
            "conversion_event_types" => self.conversion_event_types.as_ref().map(|types| types.join(",")),
            "conversion_values" => {
                let rules = self.conversion_values.iter().map(|(event_type, value)| rule(event_type, value));
                joined(&rules.collect::<Vec<_>>())
            }
            "goals" => joined(&self.goals.iter().map(|(name, goal)| goal_text(name, goal)).collect::<Vec<_>>()),
            "attribution_lookback_days" => text(self.attribution_lookback_days),
            "retention_days" => text(self.retention_days),
            _ => None,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ControlError::InvalidSetting`] names the first one that is outside its limits, with the limits and its value.
    pub fn validate(&self) -> Result<(), ControlError> {
        let timeout = self.session_timeout_minutes;
        within("session_timeout_minutes", timeout, &SessionsConfig::TIMEOUT_MINUTES)?;
        within("attribution_lookback_days", self.attribution_lookback_days, &LOOKBACK_DAYS)?;
        within("retention_days", self.retention_days, &RETENTION_DAYS)?;
        one_of("session_profile", self.session_profile.as_deref(), &PROFILES, PROFILE_LIMIT)?;
        one_of("privacy_signals", self.privacy_signals.as_deref(), &PRIVACY_SIGNALS, SIGNALS_LIMIT)?;
        one_of("channel_rules", self.channel_rules.as_deref(), &CHANNEL_RULES, CHANNEL_LIMIT)?;
        each("session_splits", SPLITS_LIMIT, &self.session_splits, |split| SPLITS.contains(&split))?;
        each("own_domains", DOMAINS_LIMIT, &self.own_domains, is_host_name)?;
        each("tracked_domains", DOMAINS_LIMIT, &self.tracked_domains, is_host_name)?;
        let types = self.conversion_event_types.as_deref().unwrap_or_default();
        each("conversion_event_types", TYPES_LIMIT, types, is_event_type)?;
        for (event_type, value) in &self.conversion_values {
            if !is_event_type(event_type) || !is_conversion_value(value) {
                return Err(invalid("conversion_values", VALUES_LIMIT, &rule(event_type, value)));
            }
        }
        for (name, goal) in &self.goals {
            if !is_goal(name, goal) {
                return Err(invalid("goals", GOALS_LIMIT, &goal_text(name, goal)));
            }
        }
        match self.time_zone.as_deref() {
            Some(name) if chrono_tz::Tz::from_str(name).is_err() => Err(invalid("time_zone", TIME_ZONE_LIMIT, name)),
            Some(_) | None => Ok(()),
        }
    }
}

/// The items of a list; an empty one is kept, and then refused by name.
fn list(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(|item| item.trim().to_owned()).collect() }
}

fn joined(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(","))
}

fn text(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn known(field: &str) -> Result<&'static str, ControlError> {
    SETTINGS.into_iter().find(|name| *name == field).ok_or_else(|| unknown(field))
}

fn unknown(field: &str) -> ControlError {
    ControlError::UnknownSetting { field: field.to_owned(), known: SETTINGS.join(", ") }
}

fn invalid(field: &'static str, limit: &str, given: &str) -> ControlError {
    ControlError::InvalidSetting { field, limit: limit.to_owned(), given: given.to_owned() }
}

#[cfg(test)]
mod tests;
