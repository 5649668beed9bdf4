//! Totals of a model over many journeys, by what their touches are grouped by.

use std::collections::BTreeMap;

use super::credit::{ONE, integer_weights, split};
use super::markov::{TooManyStates, Walk, removal_effects};
use super::models::{Model, Touch};
use super::shapley::{ChannelSet, TooManyChannels, shapley};

/// How credit is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By a model that looks at one journey at a time.
    Single(Model),
    /// Whatever took part in a journey gets all of it, once. The only method whose credits sum to more than there is.
    Participation,
    /// By what would be lost without each.
    Markov {
        /// Touches that a state remembers.
        order: usize,
    },
    /// By what each adds, over all orders.
    Shapley {
        /// Decides which orders are sampled, if there are too many.
        seed: u64,
    },
}

/// A touch, and the group that it belongs to: a number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// The touch.
    pub touch: Touch,
    /// Its group.
    pub group: usize,
}

/// What a group gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Units of conversions.
    pub credit: i128,
    /// Units of their value; none if none of the conversions has a value.
    pub value: Option<i128>,
    /// Touches that got credit.
    pub touches: i64,
}

impl Total {
    /// Adds another total.
    pub fn merge(&mut self, other: Self) {
        self.add(other.credit, other.value, other.touches);
    }

    fn add(&mut self, credit: i128, value: Option<i128>, touches: i64) {
        self.credit += credit;
        self.value = sum(self.value, value);
        self.touches += touches;
    }
}

/// Gathers journeys.
#[derive(Debug)]
pub struct Tally {
    method: Method,
    groups: Vec<Total>,
    nowhere: Total,
    /// For the methods that look at all journeys together: the conversions of each walk or set, and their value.
    together: BTreeMap<Vec<usize>, (u64, Option<i128>)>,
}

/// The totals of each group, and of the conversions without touches.
#[derive(Debug, PartialEq, Eq)]
pub struct Totals {
    /// By the group's number.
    pub groups: Vec<Total>,
    /// Conversions that no touch led to.
    pub nowhere: Total,
}

/// Why journeys cannot be looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// Markov's states.
    States,
    /// Shapley's channels, or channels in all of its sets.
    Channels,
}

impl From<TooManyStates> for TooMany {
    fn from(TooManyStates: TooManyStates) -> Self {
        Self::States
    }
}

impl From<TooManyChannels> for TooMany {
    fn from(TooManyChannels: TooManyChannels) -> Self {
        Self::Channels
    }
}

impl Tally {
    /// A tally of nothing yet.
    pub fn new(method: Method) -> Self {
        Self { method, groups: Vec::new(), nowhere: Total::default(), together: BTreeMap::new() }
    }

    /// Takes in a journey, whose visits are in the order of time.
    pub fn add(&mut self, visits: &[Visit], value: Option<i128>) {
        let groups = visits.iter().map(|visit| visit.group + 1).max().unwrap_or(0);
        if groups > self.groups.len() {
            self.groups.resize(groups, Total::default());
        }
        if visits.is_empty() {
            self.nowhere.add(ONE, value, 0);
            return;
        }
        match self.method {
            Method::Single(model) => {
                let touches: Vec<Touch> = visits.iter().map(|visit| visit.touch).collect();
                for share in model.shares(&touches, value) {
                    self.groups[visits[share.touch].group].add(share.credit, share.value, 1);
                }
            }
            Method::Participation => {
                self.count_touches(visits);
                distinct(visits).into_iter().for_each(|group| self.groups[group].add(ONE, value, 0));
            }
            Method::Markov { .. } => self.remember(visits.iter().map(|visit| visit.group).collect(), visits, value),
            Method::Shapley { .. } => self.remember(distinct(visits), visits, value),
        }
    }

    fn remember(&mut self, key: Vec<usize>, visits: &[Visit], value: Option<i128>) {
        self.count_touches(visits);
        let (conversions, worth) = self.together.entry(key).or_default();
        *conversions += 1;
        *worth = sum(*worth, value);
    }

    fn count_touches(&mut self, visits: &[Visit]) {
        visits.iter().for_each(|visit| self.groups[visit.group].touches += 1);
    }

    /// The totals.
    pub fn finish(mut self) -> Result<Totals, TooMany> {
        let (credits, values) = match self.method {
            Method::Single(_) | Method::Participation => {
                return Ok(Totals { groups: self.groups, nowhere: self.nowhere });
            }
            Method::Markov { order } => self.markov(order)?,
            Method::Shapley { seed } => self.shapley(seed)?,
        };
        let has_value = self.together.values().any(|(_, value)| value.is_some());
        for (group, (credit, value)) in self.groups.iter_mut().zip(credits.into_iter().zip(values)) {
            group.add(credit, has_value.then_some(value), 0);
        }
        Ok(Totals { groups: self.groups, nowhere: self.nowhere })
    }

    fn markov(&self, order: usize) -> Result<(Vec<i128>, Vec<i128>), TooManyStates> {
        let walks = self.together.iter();
        let walks =
            walks.map(|(groups, (converted, _))| Walk { channels: groups.clone(), converted: *converted, lost: 0 });
        let effects = removal_effects(self.groups.len(), &walks.collect::<Vec<_>>(), order)?;
        let weights = integer_weights(&effects);
        let conversions: u64 = self.together.values().map(|(conversions, _)| conversions).sum();
        let value: i128 = self.together.values().filter_map(|(_, value)| *value).sum();
        Ok((split(i128::from(conversions) * ONE, &weights), split(value, &weights)))
    }

    fn shapley(&self, seed: u64) -> Result<(Vec<i128>, Vec<i128>), TooManyChannels> {
        let game = |worth: &dyn Fn(u64, Option<i128>) -> i128| {
            let sets = self.together.iter();
            let sets = sets.map(|(groups, (conversions, value))| ChannelSet {
                channels: groups.clone(),
                worth: worth(*conversions, *value),
            });
            shapley(self.groups.len(), &sets.collect::<Vec<_>>(), seed)
        };
        Ok((game(&|conversions, _| i128::from(conversions) * ONE)?, game(&|_, value| value.unwrap_or(0))?))
    }
}

fn sum(a: Option<i128>, b: Option<i128>) -> Option<i128> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (known, None) | (None, known) => known,
    }
}

/// The groups of the visits, each once, in order.
fn distinct(visits: &[Visit]) -> Vec<usize> {
    let mut groups: Vec<usize> = visits.iter().map(|visit| visit.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn visits(groups: &[usize]) -> Vec<Visit> {
        let visit = |(place, group): (usize, &usize)| Visit {
            touch: Touch { at_us: place as i64 * 86_400_000_000, is_direct: *group == 0 },
            group: *group,
        };
        groups.iter().enumerate().map(visit).collect()
    }

    fn totals(method: Method, journeys: &[(Vec<usize>, Option<i128>)]) -> Totals {
        let mut tally = Tally::new(method);
        journeys.iter().for_each(|(groups, value)| tally.add(&visits(groups), *value));
        tally.finish().unwrap()
    }

    fn check(method: Method, journeys: &[(&[usize], i128)], expected: &[(i128, i128)]) {
        let journeys: Vec<_> = journeys.iter().map(|(groups, value)| (groups.to_vec(), Some(*value))).collect();
        let found: Vec<_> =
            totals(method, &journeys).groups.iter().map(|total| (total.credit, total.value.unwrap_or(0))).collect();
        assert_eq!(found, expected, "{method:?}");
    }

    #[test]
    fn each_method_shares_in_its_way() {
        let journeys: [(&[usize], i128); 2] = [(&[1, 2, 1, 0], 400), (&[2], 60)];
        check(Method::Single(Model::First), &journeys, &[(0, 0), (ONE, 400), (ONE, 60)]);
        check(Method::Single(Model::LastNonDirect), &journeys, &[(0, 0), (ONE, 400), (ONE, 60)]);
        check(Method::Single(Model::Linear), &journeys, &[(2_500, 100), (5_000, 200), (12_500, 160)]);
        // Everybody who took part gets all, and twice in one journey is once.
        check(Method::Participation, &journeys, &[(ONE, 400), (ONE, 400), (2 * ONE, 460)]);
        // The worth of {0, 1, 2} is shared by three, that of {2} is its own.
        check(Method::Shapley { seed: 0 }, &journeys, &[(3_333, 133), (3_333, 133), (13_334, 194)]);
    }

    /// start: 1 1/2, 2 1/2. 1: 2 1/2, 0 1/2. 2: 1 1/2, conversion 1/2. 0: conversion.
    /// A walk meets 1 with 1/2 + 1/2·1/2 = 3/4; 2 with 1/2 + 1/2·1/2 = 3/4; 0 when it goes from 1 to 0 before it converts
    /// from 2: x = 1/2 + 1/2 y from 1, y = 1/2 x from 2, so x = 2/3, y = 1/3, from the start 1/2. All of them convert, so
    /// these are the removal effects: 1/2, 3/4, 3/4 of 2, that is 1/4, 3/8, 3/8 of the conversions.
    #[test]
    fn markov_shares_by_removal_effects() {
        let journeys: [(&[usize], i128); 2] = [(&[1, 2, 1, 0], 400), (&[2], 80)];
        check(Method::Markov { order: 1 }, &journeys, &[(5_000, 120), (7_500, 180), (7_500, 180)]);
    }

    #[test]
    fn conversions_without_touches_keep_their_credit_apart() {
        for method in [
            Method::Single(Model::First),
            Method::Participation,
            Method::Markov { order: 2 },
            Method::Shapley { seed: 0 },
        ] {
            let found = totals(method, &[(Vec::new(), Some(7)), (Vec::new(), None)]);
            assert_eq!(
                found,
                Totals { groups: Vec::new(), nowhere: Total { credit: 2 * ONE, value: Some(7), touches: 0 } }
            );
        }
    }

    #[test]
    fn without_any_value_there_is_none() {
        for method in [Method::Single(Model::Linear), Method::Markov { order: 1 }, Method::Shapley { seed: 0 }] {
            let found = totals(method, &[(vec![0], None)]);
            assert_eq!(found.groups, [Total { credit: ONE, value: None, touches: 1 }], "{method:?}");
        }
    }

    fn methods() -> impl Iterator<Item = Method> {
        let single = Model::ALL.map(Method::Single);
        single.into_iter().chain((1..=3).map(|order| Method::Markov { order })).chain([Method::Shapley { seed: 3 }])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

        /// 50 times 200 journeys.
        #[test]
        fn credits_and_values_of_all_journeys_are_conserved(
            journeys in proptest::collection::vec(
                (proptest::collection::vec(0..5_usize, 0..9), proptest::option::of(-100_000..1_000_000_i128)), 200,
            ),
        ) {
            let value: i128 = journeys.iter().filter_map(|(_, value)| *value).sum();
            for method in methods() {
                let Totals { mut groups, nowhere } = totals(method, &journeys);
                groups.push(nowhere);
                prop_assert_eq!(groups.iter().map(|total| total.credit).sum::<i128>(), 200 * ONE, "{:?}", method);
                prop_assert_eq!(groups.iter().filter_map(|total| total.value).sum::<i128>(), value, "{:?}", method);
            }
        }
    }
}
