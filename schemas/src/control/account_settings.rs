//! An account's settings as text: how they are read, shown and checked.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::ControlError;
use super::accounts::{AccountSettings, CHANNEL_RULES, ConversionValue, Goal, GoalCondition, GoalCredit};
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

const PROFILES: [&str; 5] = ["touchline", "client", "ga4", "matomo", "plausible"];
/// Whether Global Privacy Control counts; the second is the only one that says no.
const PRIVACY_SIGNALS: [&str; 2] = ["honour", "ignore"];
const SPLITS: [&str; 4] = ["campaign", "referrer", "midnight", "max_24h"];
const WINDOW_DAYS: RangeInclusive<u16> = 1..=365;
const MAX_GOAL_NAME_CHARS: usize = 63;
const LOOKBACK_DAYS: RangeInclusive<u16> = 1..=365;
/// A hundred years: more is a slip of the hand.
const RETENTION_DAYS: RangeInclusive<u32> = 1..=36_500;
/// As long as an event's type may be.
const MAX_EVENT_TYPE_CHARS: usize = 255;
const MAX_PROPERTY_CHARS: usize = 255;
const MAX_HOST_CHARS: usize = 253;
const MAX_LABEL_CHARS: usize = 63;
/// An amount is kept with 18 digits, 4 of them after the point.
const MAX_WHOLE_DIGITS: usize = 14;
const MAX_DECIMALS: usize = 4;

const PROFILE_LIMIT: &str = "one of touchline, client, ga4, matomo, plausible";
const SIGNALS_LIMIT: &str = "honour or ignore";
const SPLITS_LIMIT: &str = "a list of campaign, referrer, midnight, max_24h, each at most once";
const CHANNEL_LIMIT: &str = "touchline or ga4";
const TIME_ZONE_LIMIT: &str = "the IANA name of a time zone, as in Europe/Berlin";
const DOMAINS_LIMIT: &str = "a list of host names, as in shop.example, without scheme, port and path";
const TYPES_LIMIT: &str = "a list of event types of 1 to 255 characters without comma, `=` and control characters";
const VALUES_LIMIT: &str = "a list of event_type=revenue, event_type=fixed:12.50 or event_type=property:order.margin";
const GOALS_LIMIT: &str = "a list of name=event_type, each with any of ;where=plan.name:pro ;window_days=7 \
    ;credit=last_touch ;value=fixed:12.50 behind it";
const TRUTH_LIMIT: &str = "true or false";

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

    /// These settings with the changes of a JSON merge patch (RFC 7396): a setting that is null is taken back, lists and
    /// maps are replaced as a whole. Values have the form in which settings are stored.
    ///
    /// # Errors
    ///
    /// [`ControlError::Settings`] has everything that is wrong, in the order of the names; nothing is changed then.
    pub fn patched(&self, changes: &Map<String, Value>) -> Result<Self, ControlError> {
        let mut patched = self.clone();
        let mut errors = Vec::new();
        for (field, value) in changes {
            match patched.with(field, value) {
                Ok(changed) => patched = changed,
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(patched) } else { Err(ControlError::Settings { errors }) }
    }

    fn with(&self, field: &str, value: &Value) -> Result<Self, ControlError> {
        let field = known(field)?;
        if value.is_null() {
            let mut changed = self.clone();
            changed.unset(field)?;
            return Ok(changed);
        }
        let refused = |limit: &str| invalid(field, limit, &value.to_string());
        let mut stored = self.to_json()?;
        stored[field] = value.clone();
        let changed: Self =
            serde_json::from_value(stored).map_err(|error| refused(&format!("another value ({error})")))?;
        changed.validate()?;
        if changed.get(field).is_none_or(|text| text.is_empty()) {
            return Err(refused("something: to take a setting back, set it to null"));
        }
        // What a newer version may have stored is kept silently; what a caller misspells is not.
        if !holds(&changed.to_json()?[field], value) {
            return Err(refused("without members that are not known"));
        }
        Ok(changed)
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

/// Whether every member of `given` is among those of `kept`. A member that is null says nothing.
fn holds(kept: &Value, given: &Value) -> bool {
    match given {
        Value::Object(members) => members
            .iter()
            .all(|(name, member)| member.is_null() || kept.get(name).is_some_and(|kept| holds(kept, member))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => true,
    }
}

fn within<N: PartialOrd + Display>(
    field: &'static str,
    given: Option<N>,
    limits: &RangeInclusive<N>,
) -> Result<(), ControlError> {
    match given {
        Some(given) if !limits.contains(&given) => Err(invalid(field, &between(limits), &given.to_string())),
        Some(_) | None => Ok(()),
    }
}

fn one_of(field: &'static str, given: Option<&str>, words: &[&str], limit: &str) -> Result<(), ControlError> {
    match given {
        Some(given) if !words.contains(&given) => Err(invalid(field, limit, given)),
        Some(_) | None => Ok(()),
    }
}

/// Every item is one, and none comes twice.
fn each(field: &'static str, limit: &str, items: &[String], is_one: impl Fn(&str) -> bool) -> Result<(), ControlError> {
    for (place, item) in items.iter().enumerate() {
        if !is_one(item) || items[..place].contains(item) {
            return Err(invalid(field, limit, item));
        }
    }
    Ok(())
}

/// Lower-case letters, digits and hyphens in at least two labels; the last is no number, which an address would have.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=MAX_LABEL_CHARS).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = host.rsplit_once('.') else { return false };
    host.len() <= MAX_HOST_CHARS && host.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// What can be a type and can stand in a list.
fn is_event_type(name: &str) -> bool {
    let forbidden = |char: char| char == ',' || char == '=' || char.is_control();
    (1..=MAX_EVENT_TYPE_CHARS).contains(&name.chars().count()) && name.trim() == name && !name.contains(forbidden)
}

fn is_conversion_value(value: &ConversionValue) -> bool {
    match value {
        ConversionValue::Revenue => true,
        ConversionValue::Fixed(amount) => is_amount(amount),
        ConversionValue::Property(path) => {
            let forbidden = |char: char| char == ',' || char.is_control();
            path.chars().count() <= MAX_PROPERTY_CHARS
                && path.split('.').all(|member| !member.is_empty())
                && !path.contains(forbidden)
        }
    }
}

/// `12`, `12.5`, … `12.5000`: not negative, since credit is shared out.
fn is_amount(text: &str) -> bool {
    let digits =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, decimals)) => digits(whole, MAX_WHOLE_DIGITS) && digits(decimals, MAX_DECIMALS),
        None => digits(text, MAX_WHOLE_DIGITS),
    }
}

fn conversion_values(text: &str) -> Result<BTreeMap<String, ConversionValue>, ControlError> {
    let mut values = BTreeMap::new();
    for item in list(text) {
        let refused = || invalid("conversion_values", VALUES_LIMIT, &item);
        let (event_type, value) = item.split_once('=').ok_or_else(refused)?;
        let value = conversion_value(value).ok_or_else(refused)?;
        if values.insert(event_type.to_owned(), value).is_some() {
            return Err(refused());
        }
    }
    Ok(values)
}

fn rule(event_type: &str, value: &ConversionValue) -> String {
    format!("{event_type}={}", value_text(value))
}

fn value_text(value: &ConversionValue) -> String {
    match value {
        ConversionValue::Revenue => "revenue".to_owned(),
        ConversionValue::Fixed(amount) => format!("fixed:{amount}"),
        ConversionValue::Property(path) => format!("property:{path}"),
    }
}

fn is_goal(name: &str, goal: &Goal) -> bool {
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
    let is_part = |text: &str| {
        let forbidden = |char: char| matches!(char, ',' | ';') || char.is_control();
        (1..=MAX_PROPERTY_CHARS).contains(&text.chars().count()) && text.trim() == text && !text.contains(forbidden)
    };
    let holds = |condition: &GoalCondition| {
        is_part(&condition.field) && !condition.field.contains(':') && is_part(&condition.value)
    };
    (1..=MAX_GOAL_NAME_CHARS).contains(&name.len())
        && name.chars().all(is_name)
        && is_event_type(&goal.event_type)
        && !goal.event_type.contains(';')
        && goal.condition.as_ref().is_none_or(holds)
        && WINDOW_DAYS.contains(&goal.window_days)
        && is_conversion_value(&goal.value)
        && !matches!(&goal.value, ConversionValue::Property(path) if path.contains(';'))
}

/// Goals as text, as the setting `goals` has them.
///
/// # Errors
///
/// [`ControlError::InvalidSetting`] names the item that is no goal.
pub fn goals(text: &str) -> Result<BTreeMap<String, Goal>, ControlError> {
    let mut goals = BTreeMap::new();
    for item in list(text) {
        let refused = || invalid("goals", GOALS_LIMIT, &item);
        let (name, goal) = goal(&item).ok_or_else(refused)?;
        if !is_goal(&name, &goal) || goals.insert(name, goal).is_some() {
            return Err(refused());
        }
    }
    Ok(goals)
}

fn goal(item: &str) -> Option<(String, Goal)> {
    let (name, rest) = item.split_once('=')?;
    let mut parts = rest.split(';');
    let mut goal = Goal::of(parts.next()?);
    let mut said = Vec::new();
    for part in parts {
        let (key, value) = part.split_once('=')?;
        if said.contains(&key) {
            return None;
        }
        said.push(key);
        match key {
            "where" => {
                let (field, value) = value.split_once(':')?;
                goal.condition = Some(GoalCondition { field: field.to_owned(), value: value.to_owned() });
            }
            "window_days" => goal.window_days = value.parse().ok()?,
            "credit" => goal.credit = CREDITS.into_iter().find(|credit| credit_text(*credit) == value)?,
            "value" => goal.value = conversion_value(value)?,
            _ => return None,
        }
    }
    Some((name.to_owned(), goal))
}

const CREDITS: [GoalCredit; 2] = [GoalCredit::AnyTouch, GoalCredit::LastTouch];

fn credit_text(credit: GoalCredit) -> &'static str {
    match credit {
        GoalCredit::AnyTouch => "any_touch",
        GoalCredit::LastTouch => "last_touch",
    }
}

/// A goal with what it does not leave to the defaults.
fn goal_text(name: &str, goal: &Goal) -> String {
    let plain = Goal::of(&goal.event_type);
    let mut text = format!("{name}={}", goal.event_type);
    if let Some(GoalCondition { field, value }) = &goal.condition {
        text.push_str(&format!(";where={field}:{value}"));
    }
    if goal.window_days != plain.window_days {
        text.push_str(&format!(";window_days={}", goal.window_days));
    }
    if goal.credit != plain.credit {
        text.push_str(&format!(";credit={}", credit_text(goal.credit)));
    }
    if goal.value != plain.value {
        text.push_str(&format!(";value={}", value_text(&goal.value)));
    }
    text
}

fn conversion_value(text: &str) -> Option<ConversionValue> {
    match text.split_once(':') {
        None if text == "revenue" => Some(ConversionValue::Revenue),
        Some(("fixed", amount)) => Some(ConversionValue::Fixed(amount.to_owned())),
        Some(("property", path)) => Some(ConversionValue::Property(path.to_owned())),
        None | Some(_) => None,
    }
}

fn number<N: FromStr + Display>(limits: &RangeInclusive<N>, field: &str, text: &str) -> Result<N, ControlError> {
    parsed(known(field)?, &between(limits), text)
}

fn parsed<T: FromStr>(field: &'static str, limit: &str, text: &str) -> Result<T, ControlError> {
    text.parse().map_err(|_| invalid(field, limit, text))
}

fn between<N: Display>(limits: &RangeInclusive<N>) -> String {
    format!("a whole number between {} and {}", limits.start(), limits.end())
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
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, text: &str) {
        let mut settings = AccountSettings::default();
        settings.set(field, text).unwrap();
        assert_eq!(settings.get(field).as_deref(), Some(text));
        // What was set is stored, and read back as the same.
        let stored = serde_json::to_value(&settings).unwrap();
        assert_eq!(serde_json::from_value::<AccountSettings>(stored).unwrap(), settings);
        settings.unset(field).unwrap();
        assert_eq!(settings, AccountSettings::default());
    }

    #[track_caller]
    fn check_refused(field: &str, text: &str, expected: &str) {
        let mut settings = AccountSettings::default();
        let message = settings.set(field, text).unwrap_err().to_string();
        assert!(message.contains(expected), "`{message}` does not contain `{expected}`");
        assert_eq!(settings, AccountSettings::default());
    }

    #[test]
    fn a_patch_changes_what_it_names_and_takes_back_what_is_null() {
        let before = AccountSettings { mask_ip: Some(true), retention_days: Some(9), ..AccountSettings::default() };
        let check = |patch: Value, expected: AccountSettings| {
            let changes = patch.as_object().unwrap();
            assert_eq!(before.patched(changes).unwrap(), expected, "{patch}");
        };
        check(serde_json::json!({}), before.clone());
        check(serde_json::json!({"mask_ip": null}), AccountSettings { mask_ip: None, ..before.clone() });
        let splits = vec!["midnight".to_owned()];
        check(
            serde_json::json!({"session_splits": ["midnight"], "retention_days": 90}),
            AccountSettings { session_splits: splits, retention_days: Some(90), ..before.clone() },
        );
        let goal = Goal { window_days: 3, ..Goal::of("purchase") };
        check(
            serde_json::json!({"goals": {"sale": {"event_type": "purchase", "window_days": 3, "condition": null}}}),
            AccountSettings { goals: BTreeMap::from([("sale".to_owned(), goal)]), ..before.clone() },
        );
    }

    #[test]
    fn a_patch_names_everything_that_is_wrong_with_it() {
        let fields = |patch: Value| -> Vec<String> {
            match AccountSettings::default().patched(patch.as_object().unwrap()) {
                Err(ControlError::Settings { errors }) => errors.iter().map(ToString::to_string).collect(),
                other => panic!("{other:?}"),
            }
        };
        for (patch, expected) in [
            (serde_json::json!({"colour": 1}), "there is no setting `colour`"),
            (serde_json::json!({"colour": null}), "there is no setting `colour`"),
            (serde_json::json!({"mask_ip": "yes"}), "mask_ip must be"),
            (serde_json::json!({"retention_days": 0}), "retention_days must be a whole number between 1 and 36500"),
            (serde_json::json!({"retention_days": -1}), "retention_days must be"),
            (serde_json::json!({"own_domains": []}), "own_domains must be something"),
            (serde_json::json!({"time_zone": "Mars/Phobos"}), "time_zone must be the IANA name"),
            (serde_json::json!({"goals": {"g": {"event_type": "x", "days": 3}}}), "goals must be without members"),
        ] {
            let errors = fields(patch.clone());
            assert!(errors.len() == 1 && errors[0].contains(expected), "{patch}: {errors:?}");
        }
        assert_eq!(
            fields(serde_json::json!({"mask_ip": 1, "retention_days": 0, "session_splits": ["midnight"]})).len(),
            2
        );
    }

    #[test]
    fn every_setting_can_be_set_shown_stored_and_taken_back() {
        let examples = [
            ("time_zone", "Europe/Berlin"),
            ("own_domains", "shop.example,xn--bcher-kva.example"),
            ("tracked_domains", "shop.example"),
            ("mask_ip", "false"),
            ("privacy_signals", "ignore"),
            ("session_profile", "plausible"),
            ("session_timeout_minutes", "475"),
            ("session_splits", "midnight,campaign"),
            ("channel_rules", "ga4"),
            ("conversion_event_types", "purchase,demo booked"),
            ("conversion_values", "purchase=property:order.margin,rent=revenue,signup=fixed:12.50"),
            (
                "goals",
                "activated=demo booked;where=plan.name:pro;window_days=3;credit=last_touch;value=fixed:12.50,\
                 bought=purchase",
            ),
            ("attribution_lookback_days", "365"),
            ("retention_days", "1"),
        ];
        assert_eq!(examples.map(|(field, _)| field), SETTINGS);
        for (field, text) in examples {
            check(field, text);
        }
    }

    #[test]
    fn a_refusal_names_the_setting_its_limit_and_what_was_given() {
        let limit = "session_timeout_minutes must be a whole number between 1 and 475, not `476`";
        check_refused("session_timeout_minutes", "476", limit);
        check_refused("session_timeout_minutes", "0", "not `0`");
        check_refused("session_timeout_minutes", "half", "not `half`");
        check_refused("attribution_lookback_days", "366", "a whole number between 1 and 365, not `366`");
        check_refused("retention_days", "0", "a whole number between 1 and 36500, not `0`");
        check_refused("retention_days", "-1", "not `-1`");
        check_refused("mask_ip", "yes", "mask_ip must be true or false, not `yes`");
        check_refused("privacy_signals", "ignored", "privacy_signals must be honour or ignore, not `ignored`");
        check_refused("session_profile", "GA4", "session_profile must be one of touchline, client, ga4");
        check_refused("session_splits", "midnight,noon", "max_24h, each at most once, not `noon`");
        check_refused("session_splits", "midnight,midnight", "not `midnight`");
        check_refused("channel_rules", "mine", "channel_rules must be touchline or ga4, not `mine`");
        check_refused("time_zone", "Berlin", "as in Europe/Berlin, not `Berlin`");
        for given in [
            "signup",
            "two words=signup",
            "a=signup;window_days=0",
            "a=signup;window_days=366",
            "a=signup;window_days=3;window_days=3",
            "a=signup;where=plan",
            "a=signup;credit=first",
            "a=signup;value=much",
            "a=signup;when=now",
            "a=signup,a=lead",
        ] {
            check_refused("goals", given, "goals must be a list of name=event_type");
        }
        check_refused("timezone", "UTC", "there is no setting `timezone`: the settings are time_zone, own_domains");
    }

    #[test]
    fn own_domains_are_host_names() {
        for given in [
            "https://shop.example",
            "shop.example/",
            "shop.example:80",
            "Shop.example",
            "shop",
            ".example",
            "shop..example",
            "-shop.example",
            "10.0.0.1",
            "bücher.example",
            "shop.example,",
        ] {
            check_refused("own_domains", given, "own_domains must be a list of host names");
        }
        check_refused("own_domains", &format!("{}.example", "x".repeat(64)), "own_domains");
        check("own_domains", &format!("{}.example", "x".repeat(63)));
    }

    #[test]
    fn conversion_values_are_rules_by_type() {
        for given in [
            "signup",
            "signup=",
            "signup=12.50",
            "signup=fixed",
            "signup=fixed:",
            "signup=fixed:-1",
            "signup=fixed:1.23456",
            "signup=fixed:1e3",
            "signup=fixed:123456789012345",
            "signup=property:",
            "signup=property:a..b",
            "=revenue",
            "signup=revenue,signup=revenue",
        ] {
            check_refused("conversion_values", given, "conversion_values must be a list of event_type=revenue");
        }
        check("conversion_values", "signup=fixed:12345678901234.1234");
    }

    #[test]
    fn nothing_is_not_a_value() {
        for field in SETTINGS {
            check_refused(field, "", field);
        }
        check_refused("own_domains", "", "something: to take a setting back, unset it");
        check_refused("conversion_event_types", "purchase,,signup", "not ``");
    }
}
