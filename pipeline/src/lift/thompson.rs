//! Thompson sampling: arms that adapt to what is known, each with a known probability.
//!
//! An arm's rate is unknown; what is known of it after `k` successes among `n` people is Beta(1 + k, 1 + n - k). Thompson
//! sampling draws a rate for each arm and takes the arm with the highest, so it takes each arm with the probability that
//! this arm is the best. Here these probabilities are computed first, raised to a floor, and the arm is drawn from them
//! directly. That is the same policy, and the propensity that is logged with the choice is the true one and no estimate of
//! it: every answer by [`off_policy`](super::off_policy) rests on that. Thompson, *On the likelihood that one unknown
//! probability exceeds another*, Biometrika 25 (1933); Chapelle, Li, *An empirical evaluation of Thompson sampling*, NIPS
//! 2011.

use rand::{Rng, RngExt};

use super::posterior::Posterior;
use super::probability_best::probability_best;

/// The probability that every arm keeps, whatever is known of it.
pub const FLOOR: f64 = 0.01;
/// The most arms: with so many, the floor is all there is.
pub const MAX_ARMS: usize = 100;

/// Why there are no propensities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThompsonError {
    /// There is nothing to choose from.
    #[error("there are no arms to choose from")]
    NoArms,
    /// Not every arm could keep the floor.
    #[error("{arms} arms cannot all keep a probability of {FLOOR}: the most are {MAX_ARMS}")]
    TooManyArms {
        /// How many there are.
        arms: usize,
    },
    /// A parameter of a posterior is 0.
    #[error("a posterior is Beta(alpha, beta) with both at least 1")]
    NoPosterior,
}

/// The probability with which each arm is to be chosen: `FLOOR + (1 - K FLOOR) P(best)` for `K` arms. They sum to 1, and
/// none is below [`FLOOR`]. They hold until something more is seen, so they are computed once for many choices.
pub fn propensities(arms: &[Posterior]) -> Result<Vec<f64>, ThompsonError> {
    if arms.is_empty() {
        return Err(ThompsonError::NoArms);
    }
    if arms.len() > MAX_ARMS {
        return Err(ThompsonError::TooManyArms { arms: arms.len() });
    }
    let best = probability_best(arms).ok_or(ThompsonError::NoPosterior)?;
    let shared = 1.0 - arms.len() as f64 * FLOOR;
    Ok(best.iter().map(|probability| FLOOR + shared * probability).collect())
}

/// A choice, as it is logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The place of the arm.
    pub arm: usize,
    /// The probability with which it was chosen.
    pub propensity: f64,
}

/// Chooses an arm with the given propensities. `None` without arms.
pub fn choose(propensities: &[f64], random: &mut impl Rng) -> Option<Choice> {
    let drawn: f64 = random.random();
    let mut below = 0.0;
    let found = propensities.iter().position(|propensity| {
        below += propensity;
        drawn < below
    });
    // The sum may be short of 1 by rounding; what is drawn above it goes to the last arm.
    let arm = found.or_else(|| propensities.len().checked_sub(1))?;
    Some(Choice { arm, propensity: propensities[arm] })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use rand_distr::{Beta, Distribution};

    use super::*;
    use crate::lift::sample::Proportion;

    fn after(successes: u64, n: u64) -> Posterior {
        Posterior::after(&Proportion { successes, n }).unwrap()
    }

    #[test]
    fn a_hopeless_arm_keeps_the_floor() {
        let found = propensities(&[after(900, 1_000), after(100, 1_000)]).unwrap();
        assert!((found[0] - 0.99).abs() < 1e-12 && (found[1] - 0.01).abs() < 1e-12, "{found:?}");
        let even = propensities(&[after(1, 9); MAX_ARMS]).unwrap();
        assert!(even.iter().all(|propensity| (propensity - 0.01).abs() < 1e-12));
        assert_eq!(propensities(&[after(3, 9)]).unwrap(), [1.0]);
    }

    #[test]
    fn arms_that_cannot_be_weighed_are_refused() {
        assert_eq!(propensities(&[]), Err(ThompsonError::NoArms));
        assert_eq!(propensities(&[after(1, 2); MAX_ARMS + 1]), Err(ThompsonError::TooManyArms { arms: MAX_ARMS + 1 }));
        let none = Posterior { alpha: 0, beta: 1 };
        assert_eq!(propensities(&[none, after(1, 2)]), Err(ThompsonError::NoPosterior));
        assert_eq!(choose(&[], &mut StdRng::seed_from_u64(1)), None);
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        let propensities = propensities(&[after(3, 20), after(5, 20), after(4, 20)]).unwrap();
        let choices = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            (0..100).map(|_| choose(&propensities, &mut random).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
        assert!(choices(7).iter().all(|choice| choice.propensity.to_bits() == propensities[choice.arm].to_bits()));
    }

    /// The policy by its definition: a rate is drawn from each posterior, and the highest wins.
    #[test]
    fn arms_are_chosen_as_by_drawing_rates() {
        let arms = [after(3, 20), after(5, 20), after(40, 200), after(1, 1)];
        let propensities = propensities(&arms).unwrap();
        let rates: Vec<_> = arms.iter().map(|arm| Beta::new(arm.alpha as f64, arm.beta as f64).unwrap()).collect();
        let mut random = StdRng::seed_from_u64(2_026);
        let draws = 20_000;
        let (mut best_by_rate, mut chosen) = ([0.0; 4], [0.0; 4]);
        for _ in 0..draws {
            let sampled: Vec<f64> = rates.iter().map(|rate| rate.sample(&mut random)).collect();
            let best = (0..4).max_by(|a, b| sampled[*a].total_cmp(&sampled[*b])).unwrap();
            best_by_rate[best] += 1.0 / f64::from(draws);
            chosen[choose(&propensities, &mut random).unwrap().arm] += 1.0 / f64::from(draws);
        }
        // Five standard errors of a share of 1/2.
        for arm in 0..4 {
            let thompson = FLOOR + (1.0 - 4.0 * FLOOR) * best_by_rate[arm];
            assert!((propensities[arm] - thompson).abs() < 0.018, "{propensities:?} {best_by_rate:?}");
            assert!((propensities[arm] - chosen[arm]).abs() < 0.018, "{propensities:?} {chosen:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn propensities_keep_the_floor_and_sum_to_one(
            counts in proptest::collection::vec((0..5_000_u64, 0..5_000_u64), 1..8),
        ) {
            let arms: Vec<_> = counts.iter().map(|(k, more)| after(*k, k + more)).collect();
            let found = propensities(&arms).unwrap();
            prop_assert!(found.iter().all(|propensity| (FLOOR..=1.0 + 1e-12).contains(propensity)));
            prop_assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
