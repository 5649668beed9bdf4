//! Which goals followed which attempt: of each person, exposures and goal events side by side.

use std::collections::HashMap;

use touchline_schemas::control::{Goal, GoalCredit};

use super::goals::{GoalEvent, Goals};
use crate::intern::TextList;

const DAY_US: i64 = 86_400_000_000;

/// The longest time after an exposure in which a goal counts, in µs.
pub fn window_us(goal: &Goal) -> i64 {
    i64::from(goal.window_days) * DAY_US
}

/// A goal that an attempt is followed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The goal's name.
    pub goal: String,
    /// The event that reached it.
    pub event_id: String,
    /// Its time, in µs since 1970.
    pub at_us: i64,
    /// Ten-thousandths of what it is worth, if anything.
    pub value_e4: Option<i128>,
    /// Whether no other attempt that the goal counts for came between.
    pub is_last_touch: bool,
    /// Whether the goal's own rule gives credit.
    pub is_credited: bool,
}

/// The conversions of attempts, by their ids.
#[derive(Debug, Default)]
pub struct Conversions(HashMap<String, Vec<Conversion>>);

impl Conversions {
    /// Those of one attempt, by time, event and goal.
    pub fn of(&self, attempt_id: &str) -> &[Conversion] {
        self.0.get(attempt_id).map_or(&[], Vec::as_slice)
    }

    /// Whether no attempt has any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every attempt that has any.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Conversion])> {
        self.0.iter().map(|(attempt_id, reached)| (attempt_id.as_str(), reached.as_slice()))
    }
}

#[derive(Debug, Clone, Copy)]
struct Exposure {
    person: u32,
    at_us: i64,
    attempt: u32,
}

#[derive(Debug, Clone, Copy)]
struct Reached {
    person: u32,
    at_us: i64,
    event: u32,
    goal: u16,
    value_e4: Option<i128>,
}

/// Exposures and goal events of people.
#[derive(Debug, Default)]
pub struct Journeys {
    people: HashMap<String, u32>,
    attempts: TextList,
    exposures: Vec<Exposure>,
    events: TextList,
    reached: Vec<Reached>,
}

impl Journeys {
    /// Somebody was exposed to an attempt.
    pub fn add_exposure(&mut self, person: &str, at_us: i64, attempt_id: &str) {
        let known = self.people.get(person).copied();
        let person = known.unwrap_or_else(|| {
            let number = self.people.len() as u32;
            self.people.insert(person.to_owned(), number);
            number
        });
        let attempt = self.attempts.push(attempt_id.as_bytes());
        self.exposures.push(Exposure { person, at_us, attempt });
    }

    /// Somebody reached a goal. People who were not exposed before this is said are left out.
    pub fn add_goal_event(&mut self, event: &GoalEvent<'_>) {
        let Some(person) = self.people.get(event.person).copied() else { return };
        let GoalEvent { at_us, goal, value_e4, .. } = *event;
        let event = self.events.push(event.event_id.as_bytes());
        self.reached.push(Reached { person, at_us, event, goal, value_e4 });
    }

    /// Whether there is anybody whom goal events could be of.
    pub fn is_empty(&self) -> bool {
        self.exposures.is_empty()
    }

    /// The earliest and the latest exposure.
    pub fn span_us(&self) -> Option<(i64, i64)> {
        let times = || self.exposures.iter().map(|exposure| exposure.at_us);
        times().min().zip(times().max())
    }

    /// Which goals followed which attempt.
    pub fn conversions(mut self, goals: &Goals) -> Conversions {
        let (attempts, events) = (&self.attempts, &self.events);
        self.exposures.sort_unstable_by(|a, b| {
            let rank = |exposure: &Exposure| (exposure.person, exposure.at_us);
            rank(a).cmp(&rank(b)).then_with(|| attempts.get(a.attempt).cmp(attempts.get(b.attempt)))
        });
        self.reached.sort_unstable_by(|a, b| {
            let rank = |reached: &Reached| (reached.person, reached.at_us);
            let by_text = || events.get(a.event).cmp(events.get(b.event)).then(a.goal.cmp(&b.goal));
            rank(a).cmp(&rank(b)).then_with(by_text)
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found: HashMap<String, Vec<Conversion>> = HashMap::new();
        let mut from = 0;
        for of_person in self.reached.chunk_by(|a, b| a.person == b.person) {
            let person = of_person[0].person;
            from += self.exposures[from..].partition_point(|exposure| exposure.person < person);
            let length = self.exposures[from..].partition_point(|exposure| exposure.person == person);
            let exposures = &self.exposures[from..from + length];
            for reached in of_person {
                let Some((name, goal)) = goals.get(reached.goal) else { continue };
                let before = exposures.partition_point(|exposure| exposure.at_us < reached.at_us);
                let earliest_us = reached.at_us - window_us(goal);
                let begin = exposures.partition_point(|exposure| exposure.at_us < earliest_us);
                for (place, exposure) in exposures.iter().enumerate().take(before).skip(begin) {
                    let is_last_touch = place + 1 == before;
                    let is_credited = match goal.credit {
                        GoalCredit::AnyTouch => true,
                        GoalCredit::LastTouch => is_last_touch,
                    };
                    found.entry(text(attempts.get(exposure.attempt))).or_default().push(Conversion {
                        goal: name.to_owned(),
                        event_id: text(events.get(reached.event)),
                        at_us: reached.at_us,
                        value_e4: reached.value_e4,
                        is_last_touch,
                        is_credited,
                    });
                }
            }
        }
        Conversions(found)
    }
}
