//! What people did from an instant on: the goals that they reached within a window, and in the weeks before.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;
use datafusion::execution::memory_pool::MemoryConsumer;
use touchline_schemas::Tenant;
use touchline_schemas::control::Goal;
use touchline_schemas::tables::Table;

use crate::identities::{Identity, People};
use crate::messages::conversions::window_us;
use crate::messages::goals::{Goals, goal_events};
use crate::scan::LakeScan;
use crate::{PipelineError, QueryEngine};

/// Days before the instant whose goals count as what a person did before.
pub(super) const DAYS_BEFORE: i64 = 28;
const DAY_US: i64 = crate::days::DAY_US;

/// Somebody at an instant: an entry into a sequence, a choice in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// Nobody that is known reaches no goals.
    pub person_id: Option<String>,
    /// In µs since 1970.
    pub at_us: i64,
}

/// The events of one goal by one person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Within the window after the instant.
    pub conversions: u32,
    /// Ten-thousandths of what these are worth.
    pub value_e4: i128,
    /// In the days before the instant.
    pub conversions_before: u32,
    /// Ten-thousandths of what these are worth.
    pub value_before_e4: i128,
}

/// The goals that are asked about, each with its window.
pub(super) struct Windows {
    goals: Goals,
    /// In µs, in the order of the goals.
    windows_us: Vec<i64>,
}

impl Windows {
    /// All goals of an account, or the one of this name; each with its own window, or all with this one.
    pub fn choose(
        of_account: &BTreeMap<String, Goal>,
        name: Option<&str>,
        window_days: Option<u16>,
    ) -> Result<Self, PipelineError> {
        let mut chosen = of_account.clone();
        chosen.retain(|known, _| name.is_none_or(|name| known == name));
        if chosen.is_empty() {
            let known: Vec<&str> = of_account.keys().map(String::as_str).collect();
            let detail = match (name, known.is_empty()) {
                (_, true) => "the account has no goals: `touchline account settings` sets them".to_owned(),
                (name, false) => format!("`{}` is none of {}", name.unwrap_or_default(), known.join(", ")),
            };
            return Err(PipelineError::BadParameter { name: "goal", detail });
        }
        let given_us = window_days.map(|days| i64::from(days) * DAY_US);
        let windows_us = chosen.values().map(|goal| given_us.unwrap_or_else(|| window_us(goal))).collect();
        Ok(Self { goals: Goals::new(chosen), windows_us })
    }

    /// Name and window in µs of each goal.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let name = |number: usize| self.goals.get(number as u16).map_or("", |(name, _)| name);
        self.windows_us.iter().enumerate().map(move |(number, window_us)| (name(number), *window_us))
    }
}

/// What followed each start, goal by goal: as far as the runs know of events and people, so that both fit together.
pub(super) async fn outcomes(
    engine: &QueryEngine,
    tenant: Tenant,
    starts: &[Start],
    windows: &Windows,
) -> Result<Vec<Vec<Outcome>>, PipelineError> {
    let context = engine.context();
    let memory = MemoryConsumer::new("outcomes").register(&context.runtime_env().memory_pool);
    memory.try_resize(windows.goals.len() * starts.len() * size_of::<Outcome>())?;
    let mut found = vec![vec![Outcome::default(); starts.len()]; windows.goals.len()];
    let mut of_person: HashMap<&str, Vec<(i64, usize)>> = HashMap::new();
    for (number, start) in starts.iter().enumerate() {
        if let Some(person_id) = &start.person_id {
            of_person.entry(person_id).or_default().push((start.at_us, number));
        }
    }
    of_person.values_mut().for_each(|starts| starts.sort_unstable());
    let times = || starts.iter().map(|start| start.at_us);
    let (Some(first_us), Some(last_us)) = (times().min(), times().max()) else { return Ok(found) };
    let longest_us = windows.windows_us.iter().copied().max().unwrap_or_default();
    let from = DateTime::from_timestamp_micros(first_us.saturating_sub(DAYS_BEFORE * DAY_US));
    let to = DateTime::from_timestamp_micros(last_us.saturating_add(longest_us));
    let events = source(engine, tenant, Table::Events).await?.filter_files(|file| {
        file.time_range
            .is_none_or(|(first, last)| from.is_none_or(|from| last >= from) && to.is_none_or(|to| first <= to))
    });
    let people = people(engine, tenant).await?;
    goal_events(engine, events, &people, &windows.goals, |event| {
        let goal = usize::from(event.goal);
        let value_e4 = event.value_e4.unwrap_or_default();
        let starts = of_person.get(event.person).map_or(&[][..], Vec::as_slice);
        // The starts that it comes after, and those that it comes before.
        let earliest_us = event.at_us.saturating_sub(windows.windows_us[goal]);
        let latest_us = event.at_us.saturating_add(DAYS_BEFORE * DAY_US);
        let first = starts.partition_point(|(at_us, _)| *at_us < earliest_us);
        for (at_us, number) in starts[first..].iter().take_while(|(at_us, _)| *at_us <= latest_us) {
            let outcome = &mut found[goal][*number];
            match at_us.cmp(&event.at_us) {
                Ordering::Less => {
                    outcome.conversions += 1;
                    outcome.value_e4 += value_e4;
                }
                Ordering::Equal => {}
                Ordering::Greater => {
                    outcome.conversions_before += 1;
                    outcome.value_before_e4 += value_e4;
                }
            }
        }
    })
    .await?;
    Ok(found)
}

async fn people(engine: &QueryEngine, tenant: Tenant) -> Result<People, PipelineError> {
    let identities = source(engine, tenant, Table::Identities).await?;
    let rows = identities.frame(&engine.context())?.collect().await?;
    Ok(People::new(Identity::read(&rows)?))
}

/// A table as it was when the runs were computed from it.
async fn source(engine: &QueryEngine, tenant: Tenant, table: Table) -> Result<LakeScan, PipelineError> {
    let runs = engine.snapshot(Table::SequenceRuns, tenant).await?;
    match runs.info.as_ref().and_then(|info| info.sources.get(table.name())) {
        Some(version) => engine.scan_source(table, tenant, *version).await,
        None => Ok(engine.scan(table, tenant).await?.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_chosen_by_name_and_an_unknown_one_is_refused() {
        let account: BTreeMap<String, Goal> =
            [("bought", "purchase"), ("signed", "signup")].map(|(name, of)| (name.to_owned(), Goal::of(of))).into();
        let names =
            |windows: &Windows| windows.iter().map(|(name, us)| (name.to_owned(), us / DAY_US)).collect::<Vec<_>>();
        let all = Windows::choose(&account, None, None).unwrap();
        assert_eq!(names(&all), [("bought".to_owned(), 7), ("signed".to_owned(), 7)]);
        assert_eq!(names(&Windows::choose(&account, Some("signed"), Some(3)).unwrap()), [("signed".to_owned(), 3)]);
        for (account, name, part) in [(&account, Some("won"), "bought, signed"), (&BTreeMap::new(), None, "no goals")] {
            match Windows::choose(account, name, None) {
                Err(PipelineError::BadParameter { name: "goal", detail }) => assert!(detail.contains(part), "{detail}"),
                _ => panic!("{name:?} is no goal"),
            }
        }
    }
}
