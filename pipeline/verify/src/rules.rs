//! An account's choices, as far as derived tables depend on them.

use std::collections::BTreeMap;

use chrono::Duration;
use chrono_tz::Tz;
use touchline_schemas::control::{AccountSettings, Goal};
use touchline_schemas::event::DEFAULT_CONVERSION_EVENT_TYPES;

use crate::VerifyError;
use crate::attribution::AttributionRules;
use crate::frame::DAY_US;
use crate::sessions::SessionRules;

/// The profile of sessions that can be computed here.
const PROFILE: &str = "touchline";
/// Days before a conversion in which sessions are touches.
const LOOKBACK_DAYS: u16 = 30;

/// An account's choices.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How events become sessions; without it, they do so in a way that is not computed here, and why.
    pub sessions: Result<SessionRules, String>,
    /// What counts as a conversion, and which sessions led to it.
    pub attribution: AttributionRules,
    /// What messages are sent for.
    pub goals: BTreeMap<String, Goal>,
    /// The zone of the account's days; UTC if it has none, or one that nobody knows.
    pub zone: Tz,
}

impl Rules {
    /// Reads settings; what they leave open has its default.
    pub fn new(settings: &AccountSettings, default_timeout: Duration) -> Result<Self, VerifyError> {
        let timeout =
            settings.session_timeout_minutes.map_or(default_timeout, |minutes| Duration::minutes(i64::from(minutes)));
        let timeout_us = timeout
            .num_microseconds()
            .ok_or_else(|| VerifyError::Setting { field: "session_timeout_minutes", detail: "too long".to_owned() })?;
        let conversion_types = settings
            .conversion_event_types
            .clone()
            .unwrap_or_else(|| DEFAULT_CONVERSION_EVENT_TYPES.map(str::to_owned).to_vec());
        let profile = settings.session_profile.as_deref().unwrap_or(PROFILE);
        let sessions = if profile != PROFILE {
            Err(format!("its sessions follow the profile `{profile}`, which is not computed a second time"))
        } else if !settings.session_splits.is_empty() {
            Err("its sessions are split further, which is not computed a second time".to_owned())
        } else {
            let own_domains = settings.own_domains.clone();
            Ok(SessionRules { timeout_us, conversion_types: conversion_types.clone(), own_domains })
        };
        let lookback_days = settings.attribution_lookback_days.unwrap_or(LOOKBACK_DAYS);
        let attribution = AttributionRules {
            conversion_types,
            values: settings.conversion_values.clone(),
            lookback_us: i64::from(lookback_days) * DAY_US,
        };
        let zone = settings.time_zone.as_deref().and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC);
        Ok(Self { sessions, attribution, goals: settings.goals.clone(), zone })
    }
}
