//! What messages are sent for: the setting `goals`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::conversion_value::{ConversionValue, conversion_value, is_conversion_value, value_text};
use super::limits::{MAX_PROPERTY_CHARS, is_event_type};
use super::{ControlError, invalid, list};

const WINDOW_DAYS: RangeInclusive<u16> = 1..=365;
const MAX_GOAL_NAME_CHARS: usize = 63;
pub(super) const GOALS_LIMIT: &str = "a list of name=event_type, each with any of ;where=plan.name:pro ;window_days=7 \
    ;credit=last_touch ;value=fixed:12.50 behind it";
const CREDITS: [GoalCredit; 2] = [GoalCredit::AnyTouch, GoalCredit::LastTouch];

/// What messages are sent for: an event of the person who got one, in a window after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// Type of the event.
    pub event_type: String,
    /// What else must hold of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<GoalCondition>,
    /// Days after the message in which the event counts, 1 to 365.
    #[serde(default = "Goal::default_window_days")]
    pub window_days: u16,
    /// Which of several messages get credit.
    #[serde(default)]
    pub credit: GoalCredit,
    /// What the event is worth.
    #[serde(default)]
    pub value: ConversionValue,
}

impl Goal {
    /// Days after a message in which a goal counts, unless it says otherwise.
    pub const DEFAULT_WINDOW_DAYS: u16 = 7;

    /// An event type with the defaults for the rest.
    pub fn of(event_type: &str) -> Self {
        Self {
            event_type: event_type.to_owned(),
            condition: None,
            window_days: Self::DEFAULT_WINDOW_DAYS,
            credit: GoalCredit::default(),
            value: ConversionValue::default(),
        }
    }

    fn default_window_days() -> u16 {
        Self::DEFAULT_WINDOW_DAYS
    }
}

/// A text that an event of a goal must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoalCondition {
    /// A text column of `events`; else a member of the properties, members of members joined by dots.
    pub field: String,
    /// Its value: a text, or the digits of a number, or `true` or `false`.
    pub value: String,
}

/// Which of several messages before a goal get credit for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalCredit {
    /// Each of them.
    #[default]
    AnyTouch,
    /// The last.
    LastTouch,
}

pub(super) fn is_goal(name: &str, goal: &Goal) -> bool {
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

fn credit_text(credit: GoalCredit) -> &'static str {
    match credit {
        GoalCredit::AnyTouch => "any_touch",
        GoalCredit::LastTouch => "last_touch",
    }
}

/// A goal with what it does not leave to the defaults.
pub(super) fn goal_text(name: &str, goal: &Goal) -> String {
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
