//! Off-policy answers: what another policy would have earned, from the logged choices of the one that ran.
//!
//! Each logged choice counts with the weight `w = π(chosen) / p`: how much more often the other policy would have made it
//! than it was made. Where the two policies hardly ever agree a few choices carry everything, and the answer is chance;
//! the *effective sample size* `(Σw)² / Σw²` says how many choices the answer really rests on.

use std::ops::Add;

use super::distributions::normal_critical;
use super::interval::Interval;

/// The effective sample size below which there is no answer.
pub const MIN_EFFECTIVE: f64 = 100.0;

/// A choice that was logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoggedChoice {
    /// What it earned.
    pub reward: f64,
    /// The probability with which it was made: above 0, at most 1.
    pub propensity: f64,
    /// The probability with which the other policy would have made it.
    pub target: f64,
    /// What a model expects the chosen arm to earn here. 0 without a model.
    pub predicted_chosen: f64,
    /// What it expects the other policy to earn here: the mean of its predictions over the arms, weighed by that policy.
    /// 0 without a model.
    pub predicted_target: f64,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum OffPolicyError {
    /// No choice could have been made so.
    #[error(
        "a logged choice needs a propensity above 0 and at most 1, a target probability from 0 to 1 and finite rewards"
    )]
    BadChoice,
    /// An error share that is none.
    #[error("alpha must lie between 0 and 1")]
    BadAlpha,
    /// Sums that no choices have.
    #[error("the sums of the logged choices are not finite")]
    BadSums,
    /// The answer would rest on too few choices.
    #[error(
        "the {n} logged choices weigh as much as {effective_sample_size:.1} (at least {MIN_EFFECTIVE} are needed): the \
         logged policy too seldom did what the other one would have done; the largest weight is {largest_weight:.1}"
    )]
    TooFewEffective {
        /// Logged choices.
        n: u64,
        /// What they weigh.
        effective_sample_size: f64,
        /// The largest weight of one choice.
        largest_weight: f64,
    },
}

/// All that the estimates need of any number of logged choices. The sums of parts are added.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OffPolicySums {
    /// Choices.
    pub n: u64,
    /// The sum of the weights `w`.
    pub weights: f64,
    /// The sum of `w²`.
    pub weights_squared: f64,
    /// The sum of `w r`, with `r` the reward.
    pub weighted_rewards: f64,
    /// The sum of `w² r`.
    pub weights_squared_rewards: f64,
    /// The sum of `(w r)²`.
    pub weighted_rewards_squared: f64,
    /// The sum of `v + w (r - q)`, with `q` and `v` what the model expects of the chosen arm and of the other policy.
    pub corrected: f64,
    /// The sum of the squares of that.
    pub corrected_squared: f64,
    /// The largest `w`.
    pub largest_weight: f64,
}

impl OffPolicySums {
    /// Of one choice.
    pub fn of(choice: &LoggedChoice) -> Result<Self, OffPolicyError> {
        let LoggedChoice { reward, propensity, target, predicted_chosen, predicted_target } = *choice;
        let rewards = [reward, predicted_chosen, predicted_target];
        let possible = propensity > 0.0 && propensity <= 1.0 && (0.0..=1.0).contains(&target);
        if !possible || rewards.iter().any(|reward| !reward.is_finite()) {
            return Err(OffPolicyError::BadChoice);
        }
        let weight = target / propensity;
        let corrected = predicted_target + weight * (reward - predicted_chosen);
        Ok(Self {
            n: 1,
            weights: weight,
            weights_squared: weight * weight,
            weighted_rewards: weight * reward,
            weights_squared_rewards: weight * weight * reward,
            weighted_rewards_squared: (weight * reward).powi(2),
            corrected,
            corrected_squared: corrected * corrected,
            largest_weight: weight,
        })
    }

    /// Of many choices.
    pub fn of_all<'a>(choices: impl IntoIterator<Item = &'a LoggedChoice>) -> Result<Self, OffPolicyError> {
        choices.into_iter().try_fold(Self::default(), |sums, choice| Ok(sums + Self::of(choice)?))
    }

    /// What they weigh: `(Σw)² / Σw²`; 0 if the other policy would have made none of them.
    pub fn effective_sample_size(&self) -> f64 {
        if self.weights_squared > 0.0 { self.weights * self.weights / self.weights_squared } else { 0.0 }
    }

    /// The three estimates, with intervals that hold with probability 1 - `alpha`; an error if they would rest on fewer
    /// than [`MIN_EFFECTIVE`] choices.
    ///
    /// - IPS, `Σ w r / n` (Horvitz, Thompson 1952): true on average, but it swings with the weights.
    /// - SNIPS, `Σ w r / Σ w` (Swaminathan, Joachims, *The self-normalized estimator for counterfactual learning*, NIPS
    ///   2015): a mean of rewards that were earned; its variance is the delta method's, `Σ w² (r - SNIPS)² / (Σ w)²`.
    /// - Doubly robust, `Σ (v + w (r - q)) / n` (Dudík, Langford, Li, *Doubly robust policy evaluation and learning*, ICML
    ///   2011): true on average if the propensities or the model are; without a model it is IPS.
    pub fn estimate(&self, alpha: f64) -> Result<OffPolicy, OffPolicyError> {
        let z = normal_critical(alpha).ok_or(OffPolicyError::BadAlpha)?;
        let effective_sample_size = self.effective_sample_size();
        if !effective_sample_size.is_finite() {
            return Err(OffPolicyError::BadSums);
        }
        if effective_sample_size < MIN_EFFECTIVE {
            let largest_weight = self.largest_weight;
            return Err(OffPolicyError::TooFewEffective { n: self.n, effective_sample_size, largest_weight });
        }
        let mean = |sum: f64, sum_of_squares: f64| {
            let n = self.n as f64;
            let variance = (sum_of_squares - sum * sum / n) / (n - 1.0);
            Estimate::new(sum / n, variance / n, z)
        };
        let rate = self.weighted_rewards / self.weights;
        let squares = self.weighted_rewards_squared - 2.0 * rate * self.weights_squared_rewards
            + rate * rate * self.weights_squared;
        Ok(OffPolicy {
            n: self.n,
            effective_sample_size,
            mean_weight: self.weights / self.n as f64,
            largest_weight: self.largest_weight,
            ips: mean(self.weighted_rewards, self.weighted_rewards_squared)?,
            snips: Estimate::new(rate, squares / (self.weights * self.weights), z)?,
            doubly_robust: mean(self.corrected, self.corrected_squared)?,
        })
    }
}

impl Add for OffPolicySums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            n: self.n.saturating_add(other.n),
            weights: self.weights + other.weights,
            weights_squared: self.weights_squared + other.weights_squared,
            weighted_rewards: self.weighted_rewards + other.weighted_rewards,
            weights_squared_rewards: self.weights_squared_rewards + other.weights_squared_rewards,
            weighted_rewards_squared: self.weighted_rewards_squared + other.weighted_rewards_squared,
            corrected: self.corrected + other.corrected,
            corrected_squared: self.corrected_squared + other.corrected_squared,
            largest_weight: self.largest_weight.max(other.largest_weight),
        }
    }
}

/// What the other policy would have earned per choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Where the true value lies, by the normal distribution.
    pub interval: Interval,
}

impl Estimate {
    fn new(value: f64, variance: f64, z: f64) -> Result<Self, OffPolicyError> {
        // Where all choices say the same, rounding leaves a little to either side of 0.
        let standard_error = variance.max(0.0).sqrt();
        let interval = Interval::around(value, z * standard_error).ok_or(OffPolicyError::BadSums)?;
        Ok(Self { value, standard_error, interval })
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OffPolicy {
    /// Logged choices.
    pub n: u64,
    /// What they weigh.
    pub effective_sample_size: f64,
    /// The mean weight. It is near 1 if the propensities are true and the other policy does nothing that was never done.
    pub mean_weight: f64,
    /// The largest weight of one choice.
    pub largest_weight: f64,
    /// Inverse propensity score.
    pub ips: Estimate,
    /// The same, self-normalised.
    pub snips: Estimate,
    /// Doubly robust.
    pub doubly_robust: Estimate,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Logged choices of the Open Bandit Dataset (tests/data/off-policy), against a policy that takes each item alike.
    fn against_uniform(csv: &str, items: u32) -> OffPolicySums {
        let choices = csv.lines().skip(1).map(|line| {
            let (propensity, click) = line.split_once(',').unwrap();
            LoggedChoice {
                reward: click.parse().unwrap(),
                propensity: propensity.parse().unwrap(),
                target: 1.0 / f64::from(items),
                predicted_chosen: 0.0,
                predicted_target: 0.0,
            }
        });
        OffPolicySums::of_all(&choices.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_known_answer_comes_out() {
        let sums = against_uniform(include_str!("../../../tests/data/off-policy/men.csv"), 34);
        let found = sums.estimate(0.05).unwrap();
        assert_eq!(found.n, 10_000);
        assert!((found.ips.value - 0.003_008_626_3).abs() < 5e-11, "{found:?}");
        assert!((found.snips.value - 0.003_189_423_2).abs() < 5e-11, "{found:?}");
        assert!((found.effective_sample_size - 655.709_8).abs() < 5e-5, "{found:?}");
        assert!((found.doubly_robust.value - found.ips.value).abs() < 1e-15);
    }

    #[test]
    fn policies_that_hardly_ever_agree_are_refused() {
        let sums = against_uniform(include_str!("../../../tests/data/off-policy/women.csv"), 46);
        let Err(OffPolicyError::TooFewEffective { n, effective_sample_size, largest_weight }) = sums.estimate(0.05)
        else {
            panic!("{:?}", sums.estimate(0.05))
        };
        assert_eq!(n, 10_000);
        assert!((effective_sample_size - 2.078).abs() < 5e-4, "{effective_sample_size}");
        // Chosen once with a probability of one in a million, where the other policy would take it once in 46.
        assert!((largest_weight - 1e6 / 46.0).abs() < 1e-6, "{largest_weight}");
        let message = sums.estimate(0.05).unwrap_err().to_string();
        assert!(
            message.starts_with("the 10000 logged choices weigh as much as 2.1 (at least 100 are needed)"),
            "{message}"
        );
    }

    fn choice(reward: f64, propensity: f64, target: f64) -> LoggedChoice {
        LoggedChoice { reward, propensity, target, predicted_chosen: 0.0, predicted_target: 0.0 }
    }

    /// 100 choices of weight 2 (half of them earn 1) and 100 of weight 0.5 (none does): Σw = 250, Σw² = 425, Σwr = 100.
    #[test]
    fn estimates_are_those_computed_by_hand() {
        let mut choices = vec![choice(0.0, 0.5, 1.0); 50];
        choices.extend(vec![choice(1.0, 0.5, 1.0); 50]);
        choices.extend(vec![choice(0.0, 1.0, 0.5); 100]);
        let found = OffPolicySums::of_all(&choices).unwrap().estimate(0.05).unwrap();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        close(found.ips.value, 0.5);
        close(found.snips.value, 0.4);
        close(found.effective_sample_size, 62_500.0 / 425.0);
        close(found.mean_weight, 1.25);
        // IPS: 50 values of 2 and 150 of 0: (200 - 100² / 200) / 199 / 200.
        close(found.ips.standard_error, (150.0_f64 / 199.0 / 200.0).sqrt());
        // SNIPS: 50 · 4 · 0.36 + 50 · 4 · 0.16 + 100 · 0.25 · 0.16 = 108, over 250².
        close(found.snips.standard_error, 108.0_f64.sqrt() / 250.0);
        close(found.ips.interval.width(), 2.0 * 1.959_963_984_540_054 * found.ips.standard_error);
    }

    #[test]
    fn a_policy_judged_by_its_own_log_earned_what_it_earned() {
        let choices: Vec<_> = (0..400).map(|i| choice(f64::from(i % 7), 0.3, 0.3)).collect();
        let found = OffPolicySums::of_all(&choices).unwrap().estimate(0.05).unwrap();
        let mean = choices.iter().map(|choice| choice.reward).sum::<f64>() / 400.0;
        for estimate in [found.ips, found.snips, found.doubly_robust] {
            assert!((estimate.value - mean).abs() < 1e-12);
        }
        assert!((found.effective_sample_size - 400.0).abs() < 1e-9);
    }

    /// Two arms that always earn 1 and 3, chosen with 0.9 and 0.1; the other policy takes them with 0.4 and 0.6.
    #[test]
    fn a_true_model_is_exact_however_few_choices_there_are() {
        let mut random = StdRng::seed_from_u64(5);
        let choices: Vec<_> = (0..2_000)
            .map(|_| {
                let (reward, propensity, target) =
                    if random.random_bool(0.9) { (1.0, 0.9, 0.4) } else { (3.0, 0.1, 0.6) };
                LoggedChoice { reward, propensity, target, predicted_chosen: reward, predicted_target: 2.2 }
            })
            .collect();
        let found = OffPolicySums::of_all(&choices).unwrap().estimate(0.05).unwrap();
        assert!((found.doubly_robust.value - 2.2).abs() < 1e-9, "{found:?}");
        assert!(found.doubly_robust.standard_error < 1e-6, "{found:?}");
        assert!(found.ips.standard_error > 0.05);
        assert!(found.ips.interval.contains(2.2) && found.snips.interval.contains(2.2), "{found:?}");
    }

    /// Arms that earn with 0.1 and 0.3, a model that believes in 0.8 for both.
    #[test]
    fn a_false_model_does_no_harm_if_propensities_are_true() {
        let mut random = StdRng::seed_from_u64(11);
        let choices: Vec<_> = (0..20_000)
            .map(|_| {
                let (rate, propensity, target) =
                    if random.random_bool(0.7) { (0.1, 0.7, 0.2) } else { (0.3, 0.3, 0.8) };
                let reward = f64::from(u8::from(random.random_bool(rate)));
                LoggedChoice { reward, propensity, target, predicted_chosen: 0.8, predicted_target: 0.8 }
            })
            .collect();
        let found = OffPolicySums::of_all(&choices).unwrap().estimate(0.01).unwrap();
        for estimate in [found.ips, found.snips, found.doubly_robust] {
            assert!(estimate.interval.contains(0.26), "{found:?}");
        }
        assert!((found.mean_weight - 1.0).abs() < 0.05);
    }

    #[test]
    fn impossible_choices_are_refused() {
        for bad in [
            choice(1.0, 0.0, 0.5),
            choice(1.0, 1.1, 0.5),
            choice(1.0, f64::NAN, 0.5),
            choice(1.0, 0.5, -0.1),
            choice(1.0, 0.5, 1.1),
            choice(f64::INFINITY, 0.5, 0.5),
            LoggedChoice { predicted_target: f64::NAN, ..choice(1.0, 0.5, 0.5) },
        ] {
            assert_eq!(OffPolicySums::of(&bad), Err(OffPolicyError::BadChoice), "{bad:?}");
        }
        let sums = OffPolicySums::of_all(&vec![choice(1.0, 0.5, 0.5); 200]).unwrap();
        assert_eq!(sums.estimate(0.0), Err(OffPolicyError::BadAlpha));
        assert_eq!(OffPolicySums { weights: f64::NAN, ..sums }.estimate(0.05), Err(OffPolicyError::BadSums));
        assert_eq!(OffPolicySums { corrected: f64::NAN, ..sums }.estimate(0.05), Err(OffPolicyError::BadSums));
        let refused = OffPolicyError::TooFewEffective { n: 0, effective_sample_size: 0.0, largest_weight: 0.0 };
        assert_eq!(OffPolicySums::default().estimate(0.05), Err(refused));
        let never = OffPolicySums::of_all(&vec![choice(1.0, 0.5, 0.0); 200]).unwrap();
        assert_eq!(
            never.estimate(0.05),
            Err(OffPolicyError::TooFewEffective { n: 200, effective_sample_size: 0.0, largest_weight: 0.0 })
        );
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            rows in proptest::collection::vec((0.0..5.0_f64, 0.05..1.0_f64, 0.0..=1.0_f64), 1..60), cut in 0..60_usize,
        ) {
            let made = rows.iter().map(|(reward, propensity, target)| choice(*reward, *propensity, *target));
            let choices: Vec<_> = made.collect();
            let (left, right) = choices.split_at(cut.min(choices.len()));
            let parts = OffPolicySums::of_all(left).unwrap() + OffPolicySums::of_all(right).unwrap();
            let whole = OffPolicySums::of_all(&choices).unwrap();
            prop_assert_eq!(parts.n, whole.n);
            let squares = (parts.weighted_rewards_squared, whole.weighted_rewards_squared);
            prop_assert!((squares.0 - squares.1).abs() <= 1e-9 * squares.1);
            prop_assert!((parts.effective_sample_size() - whole.effective_sample_size()).abs() < 1e-6);
            prop_assert!(whole.effective_sample_size() <= whole.n as f64 + 1e-9);
        }
    }
}
