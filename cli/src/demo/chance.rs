//! Seeded chance: the generator's only source of variety, so that the same seed gives the same shop.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use uuid::Builder;

/// A sequence of chances that depends on nothing but its seed.
#[derive(Debug)]
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// True in `probability` of all cases, 0 to 1.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number from `low` to `high`, both possible.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high.max(low))
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.0.random_range(0..choices.len())]
    }

    /// One of `choices`, each as likely as its weight; at least one weight must not be 0.
    pub fn weighted<'a, T>(&mut self, choices: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
        let total: u32 = choices.iter().map(&weight).sum();
        let mut left = self.0.random_range(0..total);
        let chosen = choices.iter().position(|choice| match left.checked_sub(weight(choice)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        &choices[chosen.unwrap_or(0)]
    }

    /// An exponentially distributed waiting time with the given mean, in the mean's unit.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// `digits` hexadecimal digits, at most 32.
    pub fn hex(&mut self, digits: usize) -> String {
        let mut text = format!("{:032x}", self.0.random::<u128>());
        text.truncate(digits);
        text
    }

    /// A random UUID.
    pub fn uuid(&mut self) -> String {
        Builder::from_random_bytes(self.0.random()).into_uuid().to_string()
    }

    fn unit(&mut self) -> f64 {
        self.0.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_come_as_often_as_they_weigh() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 3];
        for _ in 0..10_000 {
            seen[*dice.weighted(&[0_usize, 1, 2], |choice| [1, 0, 3][*choice])] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((2_200..2_800).contains(&seen[0]), "{seen:?}");
    }

    #[test]
    fn waits_have_their_mean() {
        let mut dice = Dice::new(2);
        let mean = (0..10_000).map(|_| dice.wait(5.0)).sum::<f64>() / 10_000.0;
        assert!((4.8..5.2).contains(&mean), "{mean}");
    }
}
