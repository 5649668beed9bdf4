//! A sample: what all comparisons need to know of an arm, whatever its metric is.

use std::iter::Sum;
use std::ops::Add;

/// The people of an arm, the mean of a metric over them, and how much one person differs from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// People.
    pub n: u64,
    /// The mean.
    pub mean: f64,
    /// The variance of one person's value; that of the mean is `variance / n`.
    pub variance: f64,
}

impl Sample {
    /// The variance of the mean. `None` if the sample cannot be one: nobody in it, or numbers that are not finite.
    pub fn variance_of_mean(&self) -> Option<f64> {
        let sound = self.n > 0 && self.mean.is_finite() && self.variance.is_finite() && self.variance >= 0.0;
        sound.then(|| self.variance / self.n as f64)
    }
}

/// How many of the people of an arm did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proportion {
    /// People who did.
    pub successes: u64,
    /// All people.
    pub n: u64,
}

impl Proportion {
    /// The share of those who did. `None` for nobody, or if more did than there are.
    pub fn rate(&self) -> Option<f64> {
        (self.n > 0 && self.successes <= self.n).then(|| self.successes as f64 / self.n as f64)
    }

    /// As a sample: the variance of one person is `p (1 - p)`.
    pub fn sample(&self) -> Option<Sample> {
        let rate = self.rate()?;
        Some(Sample { n: self.n, mean: rate, variance: rate * (1.0 - rate) })
    }
}

impl Add for Proportion {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { successes: self.successes.saturating_add(other.successes), n: self.n.saturating_add(other.n) }
    }
}

impl Sum for Proportion {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proportion_is_a_sample_of_zeros_and_ones() {
        let sample = Proportion { successes: 1, n: 4 }.sample().unwrap();
        assert_eq!(sample, Sample { n: 4, mean: 0.25, variance: 0.1875 });
        assert_eq!(sample.variance_of_mean(), Some(0.046_875));
    }

    #[test]
    fn nobody_and_more_than_all_have_no_rate() {
        assert_eq!(Proportion { successes: 0, n: 0 }.rate(), None);
        assert_eq!(Proportion { successes: 5, n: 4 }.sample(), None);
        assert_eq!(Sample { n: 0, mean: 0.0, variance: 0.0 }.variance_of_mean(), None);
        assert_eq!(Sample { n: 1, mean: f64::NAN, variance: 0.0 }.variance_of_mean(), None);
        assert_eq!(Sample { n: 1, mean: 0.0, variance: -1.0 }.variance_of_mean(), None);
    }

    #[test]
    fn parts_add_up() {
        let parts = [Proportion { successes: 1, n: 4 }, Proportion { successes: 2, n: 3 }];
        assert_eq!(parts.into_iter().sum::<Proportion>(), Proportion { successes: 3, n: 7 });
    }
}
