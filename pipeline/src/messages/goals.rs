//! The events of an account's goals.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch, StringViewArray};
use datafusion::error::Result;
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use futures::TryStreamExt;
use serde_json::json;
use serde_json::value::RawValue;
use touchline_schemas::control::{AccountSettings, ConversionValue, Goal};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::events;

use super::DEFINITION;
use super::conversions::window_us;
use crate::attribution::value::value_of;
use crate::columns::{amounts, texts, times};
use crate::identities::People;
use crate::scan::LakeScan;
use crate::{PipelineError, QueryEngine};

/// An account's goals, numbered in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Goals(Vec<(String, Goal)>);

impl Goals {
    /// What an account's settings say.
    pub fn of(settings: &AccountSettings) -> Self {
        Self::new(settings.goals.clone())
    }

    /// Goals by name.
    pub fn new(goals: BTreeMap<String, Goal>) -> Self {
        Self(goals.into_iter().collect())
    }

    /// Text that differs when rows would.
    pub fn fingerprint(&self) -> String {
        json!([DEFINITION, self.0]).to_string()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The longest window, in µs; 0 if there are no goals.
    pub fn longest_window_us(&self) -> i64 {
        self.0.iter().map(|(_, goal)| window_us(goal)).max().unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Name and definition of a number.
    pub(crate) fn get(&self, number: u16) -> Option<(&str, &Goal)> {
        self.0.get(usize::from(number)).map(|(name, goal)| (name.as_str(), goal))
    }
}

/// An event that reached a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoalEvent<'a> {
    /// Who.
    pub person: &'a str,
    /// When, in µs since 1970.
    pub at_us: i64,
    /// The event.
    pub event_id: &'a str,
    /// The number of the goal.
    pub goal: u16,
    /// Ten-thousandths of what it is worth, if anything.
    pub value_e4: Option<i128>,
}

/// Shows every event of a goal, whose person is known, among `events` of one tenant.
pub async fn goal_events(
    engine: &QueryEngine,
    scan: LakeScan,
    people: &People,
    goals: &Goals,
    mut found: impl FnMut(GoalEvent<'_>),
) -> Result<(), PipelineError> {
    if goals.is_empty() || scan.files().is_empty() {
        return Ok(());
    }
    let context = engine.context();
    // Of most events only the type is read.
    context.state_ref().write().config_mut().options_mut().execution.parquet.pushdown_filters = true;
    let mut types: Vec<&str> = goals.0.iter().map(|(_, goal)| goal.event_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let types = types.into_iter().map(lit).collect();
    let frame = scan
        .frame(&context)?
        .filter(col(TextField::EventType.column()).in_list(types, false))?
        .filter(col(events::IS_BOT).is_not_true())?
        .select_columns(&columns(goals))?;
    let mut batches = frame.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        read(&batch, people, goals, &mut found)?;
    }
    Ok(())
}

/// What is read of events.
fn columns(goals: &Goals) -> Vec<&'static str> {
    let mut names = vec![events::OCCURRED_AT, events::REVENUE];
    names.extend(
        [TextField::EventId, TextField::EventType, TextField::VisitorId, TextField::UserId, TextField::Properties]
            .map(TextField::column),
    );
    for (_, goal) in &goals.0 {
        if let Some(field) = goal.condition.as_ref().and_then(|condition| text_field(&condition.field))
            && !names.contains(&field.column())
        {
            names.push(field.column());
        }
    }
    names
}

fn text_field(name: &str) -> Option<TextField> {
    TextField::ALL.into_iter().find(|field| field.column() == name)
}

fn read(
    batch: &RecordBatch,
    people: &People,
    goals: &Goals,
    found: &mut impl FnMut(GoalEvent<'_>),
) -> Result<(), PipelineError> {
    let column = |field: TextField| texts(batch, field.column());
    let (ids, types) = (column(TextField::EventId)?, column(TextField::EventType)?);
    let (properties, at) = (column(TextField::Properties)?, times(batch, events::OCCURRED_AT)?);
    let revenue = amounts(batch, events::REVENUE)?;
    let [visitors, users, moments] = [TextField::VisitorId.column(), TextField::UserId.column(), events::OCCURRED_AT]
        .map(|name| batch.column_by_name(name).cloned());
    let (Some(visitors), Some(users), Some(moments)) = (visitors, users, moments) else { return Ok(()) };
    let people = people.of_columns(&visitors, &users, &moments)?;
    let mut conditions = Vec::with_capacity(goals.0.len());
    for (_, goal) in &goals.0 {
        let field = goal.condition.as_ref().and_then(|condition| text_field(&condition.field));
        conditions.push(field.map(column).transpose()?);
    }
    for row in 0..batch.num_rows() {
        let (Some(person), Some(event_type)) = (text(&people, row), text(types, row)) else { continue };
        let said = text(properties, row);
        for (number, ((_, goal), field)) in goals.0.iter().zip(&conditions).enumerate() {
            if goal.event_type != event_type || !holds(goal, *field, row, said) {
                continue;
            }
            let revenue = revenue.is_valid(row).then(|| revenue.value(row));
            let rule: Option<&ConversionValue> = Some(&goal.value);
            found(GoalEvent {
                person,
                at_us: at.value(row),
                event_id: text(ids, row).unwrap_or_default(),
                goal: number as u16,
                value_e4: value_of(rule, revenue, said),
            });
        }
    }
    Ok(())
}

/// Whether the goal's condition holds of an event.
fn holds(goal: &Goal, field: Option<&StringViewArray>, row: usize, properties: Option<&str>) -> bool {
    let Some(condition) = &goal.condition else { return true };
    match field {
        Some(values) => text(values, row) == Some(condition.value.as_str()),
        None => properties.is_some_and(|json| member_is(json, &condition.field, &condition.value)),
    }
}

/// Whether the member at a path is this text, or a number or truth value written so.
fn member_is(json: &str, path: &str, expected: &str) -> bool {
    let mut found = json;
    for name in path.split('.') {
        let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(found).ok();
        let Some(member) = members.and_then(|mut members| members.remove(name)) else { return false };
        found = member.get();
    }
    match serde_json::from_str::<String>(found) {
        Ok(text) => text == expected,
        Err(_) => found == expected && !found.starts_with(['{', '[']) && found != "null",
    }
}

fn text(texts: &StringViewArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_compared_by_its_text() {
        let json = r#"{"plan":{"name":"pro","seats":3},"trial":true,"none":null,"list":[1]}"#;
        for (path, expected, holds) in [
            ("plan.name", "pro", true),
            ("plan.name", "Pro", false),
            ("plan.seats", "3", true),
            ("plan.seats", "3.0", false),
            ("trial", "true", true),
            ("none", "null", false),
            ("list", "[1]", false),
            ("plan", "pro", false),
            ("plan.name.first", "pro", false),
            ("absent", "pro", false),
        ] {
            assert_eq!(member_is(json, path, expected), holds, "{path} {expected}");
        }
        assert!(!member_is("not json", "plan", "pro"));
    }
}
