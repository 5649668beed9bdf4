//! Markov attribution: what would be lost without a channel.
//!
//! Journeys are walks from *start* over the channels of their touches to *conversion* or *null*. A walk's state is the
//! channel it is at and, for an order above 1, the channels before it: the last `order` touches, fewer at the begin of
//! a journey. The walks give the probability of each step. The *removal effect* of a channel is the part of all
//! conversions that would not come about if every walk that reaches the channel ended in null there. Credit is shared
//! in proportion to the removal effects.
//!
//! # The solution
//!
//! With `Q` the probabilities of steps between states, `N = (I - Q)⁻¹` has the expected visits of each state from each.
//! Row *start* of it, `n`, has the visits from the start, and `v = N r` (`r`: steps to conversion) the probability of
//! converting from each state. Where a walk first meets a channel with the states `C` is `h = n_C (N_CC)⁻¹`: its visits
//! of `C` are those of the walks that begin there with `h`. All conversions that pass the channel pass it a first time,
//! so the removal effect is `h · v_C / v_start`. One elimination and a small one per channel give it exactly.

use std::collections::BTreeMap;

use super::linear::{Matrix, solve};

/// Touches that a state may remember.
pub const ORDERS: std::ops::RangeInclusive<usize> = 1..=3;
/// Most states of a solution: the work grows with the third power of it.
pub const MAX_STATES: usize = 1_000;

/// Journeys over the same channels in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// The channel of each touch, in the order of time.
    pub channels: Vec<usize>,
    /// Journeys that converted.
    pub converted: u64,
    /// Journeys that did not.
    pub lost: u64,
}

/// There are more than [`MAX_STATES`] states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyStates;

/// The removal effect of each of `channels` channels, 0 to 1. All are 0 if nothing converts.
pub fn removal_effects(channels: usize, walks: &[Walk], order: usize) -> Result<Vec<f64>, TooManyStates> {
    let graph = Graph::new(walks, order)?;
    Ok(graph.removal_effects(channels).unwrap_or_else(|| vec![0.0; channels]))
}

/// The place of the state in which every walk begins.
const START: usize = 0;

struct Graph {
    /// The channel of each state; none of the start.
    channels: Vec<Option<usize>>,
    /// Steps from each state to others, by the state that they lead to.
    steps: Vec<BTreeMap<usize, u64>>,
    /// Steps from each state to conversion.
    conversions: Vec<u64>,
    /// All steps from each state.
    totals: Vec<u64>,
}

impl Graph {
    fn new(walks: &[Walk], order: usize) -> Result<Self, TooManyStates> {
        let mut graph =
            Self { channels: vec![None], steps: vec![BTreeMap::new()], conversions: vec![0], totals: vec![0] };
        let mut places: BTreeMap<&[usize], usize> = BTreeMap::new();
        for walk in walks.iter().filter(|walk| walk.converted + walk.lost > 0) {
            let journeys = walk.converted + walk.lost;
            let mut state = START;
            for (touch, channel) in walk.channels.iter().enumerate() {
                let remembered = &walk.channels[(touch + 1).saturating_sub(order)..=touch];
                let next = *places.entry(remembered).or_insert_with(|| graph.add(*channel));
                if graph.channels.len() > MAX_STATES {
                    return Err(TooManyStates);
                }
                *graph.steps[state].entry(next).or_default() += journeys;
                graph.totals[state] += journeys;
                state = next;
            }
            graph.conversions[state] += walk.converted;
            graph.totals[state] += journeys;
        }
        Ok(graph)
    }

    fn add(&mut self, channel: usize) -> usize {
        self.channels.push(Some(channel));
        self.steps.push(BTreeMap::new());
        self.conversions.push(0);
        self.totals.push(0);
        self.channels.len() - 1
    }

    /// `I - Q`: every state of it can be left for good, because each comes from a journey that ended. So it has an
    /// inverse.
    fn system(&self) -> Matrix {
        let mut system = Matrix::identity(self.channels.len());
        for (state, steps) in self.steps.iter().enumerate() {
            for (next, count) in steps {
                *system.cell(state, *next) -= *count as f64 / self.totals[state] as f64;
            }
        }
        system
    }

    fn removal_effects(&self, channels: usize) -> Option<Vec<f64>> {
        let size = self.channels.len();
        let visits = solve(self.system(), Matrix::identity(size))?;
        let converting = |state: usize| match self.totals[state] {
            0 => 0.0,
            total => self.conversions[state] as f64 / total as f64,
        };
        let steps: Vec<f64> = (0..size).map(converting).collect();
        let value =
            |state: usize| visits.row(state).iter().zip(&steps).map(|(visits, step)| visits * step).sum::<f64>();
        let values: Vec<f64> = (0..size).map(value).collect();
        if values[START] <= 0.0 {
            return None;
        }
        let mut states_of = vec![Vec::new(); channels];
        for (state, channel) in self.channels.iter().enumerate() {
            if let Some(channel) = channel {
                states_of[*channel].push(state);
            }
        }
        let effect = |states: &Vec<usize>| {
            let within = visits.part(states, states).transposed();
            let first = solve(within, visits.part(&[START], states).transposed())?;
            let lost: f64 = states.iter().enumerate().map(|(place, state)| first.at(place, 0) * values[*state]).sum();
            Some((lost / values[START]).clamp(0.0, 1.0))
        };
        states_of.iter().map(effect).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(channels: &[usize], converted: u64, lost: u64) -> Walk {
        Walk { channels: channels.to_vec(), converted, lost }
    }

    fn check(order: usize, walks: &[Walk], expected: &[f64]) {
        let found = removal_effects(expected.len(), walks, order).unwrap();
        let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12);
        assert!(close, "{found:?}, not {expected:?}");
    }

    /// A = 0, B = 1; the journeys A B conversion, A null, B conversion, B A null.
    ///
    /// start: A 2/4, B 2/4. A: B 1/3, null 2/3. B: conversion 2/3, A 1/3.
    /// Conversion from A = 1/3 b and from B = 2/3 + 1/3 a, so b = 3/4, a = 1/4, and from the start 1/2.
    /// Without A: b = 2/3, from the start 1/3: the effect is 1 - (1/3)/(1/2) = 1/3. Without B nothing converts: 1.
    #[test]
    fn removal_effects_of_a_loop_are_those_computed_by_hand() {
        check(1, &[walk(&[0, 1], 1, 0), walk(&[0], 0, 1), walk(&[1], 1, 0), walk(&[1, 0], 0, 1)], &[1.0 / 3.0, 1.0]);
    }

    /// The journeys A B C conversion, A null, B C null.
    ///
    /// start: A 2/3, B 1/3. A: B 1/2, null 1/2. B: C. C: conversion 1/2, null 1/2. From the start 2/3·1/2·1/2 + 1/3·1/2 =
    /// 1/3. Without A 1/6 are left: the effect is 1/2. Without B or C nothing: 1.
    #[test]
    fn removal_effects_of_a_chain_are_those_computed_by_hand() {
        check(1, &[walk(&[0, 1, 2], 1, 0), walk(&[0], 0, 1), walk(&[1, 2], 0, 1)], &[0.5, 1.0, 1.0]);
    }

    /// The journeys A B conversion, C B null, with what came before B remembered or not.
    ///
    /// Order 1: B converts half of the walks, from the start 1/2; without A the half that comes from C is left: 1/2.
    /// Order 2: A B always converts and C B never; from the start 1/2; without A nothing is left, without C all.
    #[test]
    fn a_higher_order_remembers_where_a_walk_came_from() {
        let walks = [walk(&[0, 1], 1, 0), walk(&[2, 1], 0, 1)];
        check(1, &walks, &[0.5, 1.0, 0.5]);
        check(2, &walks, &[1.0, 1.0, 0.0]);
        check(3, &walks, &[1.0, 1.0, 0.0]);
    }

    #[test]
    fn where_all_journeys_convert_the_effect_is_the_part_that_meets_the_channel() {
        check(1, &[walk(&[0], 3, 0), walk(&[1], 1, 0)], &[0.75, 0.25]);
        check(1, &[walk(&[0, 0, 0], 3, 0)], &[1.0]);
    }

    #[test]
    fn nothing_converts_without_conversions() {
        check(1, &[walk(&[0, 1], 0, 5)], &[0.0, 0.0]);
        check(2, &[], &[0.0]);
    }

    #[test]
    fn too_many_states_are_refused() {
        let walks = [walk(&(0..MAX_STATES).collect::<Vec<_>>(), 1, 0)];
        assert_eq!(removal_effects(MAX_STATES, &walks, 1), Err(TooManyStates));
    }

    /// The effect by its definition: the channel's states are taken out of the graph, and the rest is solved anew.
    fn by_definition(channels: usize, walks: &[Walk], order: usize) -> Vec<f64> {
        let graph = Graph::new(walks, order).unwrap();
        let converting = |without: Option<usize>| {
            let kept: Vec<usize> = (0..graph.channels.len())
                .filter(|state| without.is_none() || graph.channels[*state] != without)
                .collect();
            let mut steps = Matrix::zeros(kept.len(), 1);
            for (place, state) in kept.iter().enumerate() {
                *steps.cell(place, 0) = graph.conversions[*state] as f64 / graph.totals[*state].max(1) as f64;
            }
            solve(graph.system().part(&kept, &kept), steps).unwrap().at(0, 0)
        };
        let whole = converting(None);
        (0..channels).map(|channel| if whole > 0.0 { 1.0 - converting(Some(channel)) / whole } else { 0.0 }).collect()
    }

    proptest! {
        #[test]
        fn one_elimination_gives_what_removing_each_channel_gives(
            walks in proptest::collection::vec((proptest::collection::vec(0..5_usize, 0..8), 0..4_u64, 0..4_u64), 0..30),
            order in ORDERS,
        ) {
            let walks: Vec<_> = walks.iter().map(|(channels, converted, lost)| walk(channels, *converted, *lost)).collect();
            let found = removal_effects(5, &walks, order).unwrap();
            for (found, expected) in found.iter().zip(by_definition(5, &walks, order)) {
                prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
    }
}
