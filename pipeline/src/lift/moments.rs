//! Moments: the sums over people from which means, variances and covariances follow.
//!
//! A variance from sums loses the digits that mean² and variance do not share: with a mean 10⁴ standard deviations from
//! 0 about 8 of 16 are left. Money and counts per person are far from that.

use std::iter::Sum;
use std::ops::Add;

use super::sample::Sample;

/// Rounding that is forgiven in a sum of squares, as part of it.
const ROUNDING: f64 = 1e-9;

/// Of one value per person.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    /// People.
    pub n: u64,
    /// The sum of their values.
    pub sum: f64,
    /// The sum of the squares of their values.
    pub sum_of_squares: f64,
}

impl Moments {
    /// One person's value.
    pub fn of(value: f64) -> Self {
        Self { n: 1, sum: value, sum_of_squares: value * value }
    }

    /// The mean, and the variance with the divisor `n - 1`. `None` for fewer than two people, and for sums that no
    /// values have.
    pub fn sample(&self) -> Option<Sample> {
        let squares = centred(self.n, self.sum, self.sum, self.sum_of_squares)?;
        let variance = not_negative(squares, self.sum_of_squares)? / (self.n - 1) as f64;
        Some(Sample { n: self.n, mean: self.sum / self.n as f64, variance })
    }
}

impl Add for Moments {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            n: self.n.saturating_add(other.n),
            sum: self.sum + other.sum,
            sum_of_squares: self.sum_of_squares + other.sum_of_squares,
        }
    }
}

impl Sum for Moments {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

/// Of two values per person: an outcome `y`, and an `x` that it is related to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairMoments {
    /// People.
    pub n: u64,
    /// The sum of `x`.
    pub sum_x: f64,
    /// The sum of `y`.
    pub sum_y: f64,
    /// The sum of `x²`.
    pub sum_xx: f64,
    /// The sum of `y²`.
    pub sum_yy: f64,
    /// The sum of `x y`.
    pub sum_xy: f64,
}

impl PairMoments {
    /// One person's values.
    pub fn of(x: f64, y: f64) -> Self {
        Self { n: 1, sum_x: x, sum_y: y, sum_xx: x * x, sum_yy: y * y, sum_xy: x * y }
    }

    /// Means, variances and covariance, with the divisor `n - 1`. `None` as for [`Moments::sample`].
    pub fn spread(&self) -> Option<Spread> {
        let xx = not_negative(centred(self.n, self.sum_x, self.sum_x, self.sum_xx)?, self.sum_xx)?;
        let yy = not_negative(centred(self.n, self.sum_y, self.sum_y, self.sum_yy)?, self.sum_yy)?;
        let xy = centred(self.n, self.sum_x, self.sum_y, self.sum_xy)?;
        // No values have a covariance above the product of the standard deviations.
        let scale = (self.sum_xx * self.sum_yy).sqrt();
        if xy.abs() > (xx * yy).sqrt() + ROUNDING * scale {
            return None;
        }
        let (n, others) = (self.n as f64, (self.n - 1) as f64);
        Some(Spread {
            n: self.n,
            mean_x: self.sum_x / n,
            mean_y: self.sum_y / n,
            variance_x: xx / others,
            variance_y: yy / others,
            covariance: xy / others,
        })
    }
}

impl Add for PairMoments {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            n: self.n.saturating_add(other.n),
            sum_x: self.sum_x + other.sum_x,
            sum_y: self.sum_y + other.sum_y,
            sum_xx: self.sum_xx + other.sum_xx,
            sum_yy: self.sum_yy + other.sum_yy,
            sum_xy: self.sum_xy + other.sum_xy,
        }
    }
}

impl Sum for PairMoments {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

/// How two values per person lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// People.
    pub n: u64,
    /// The mean of `x`.
    pub mean_x: f64,
    /// The mean of `y`.
    pub mean_y: f64,
    /// The variance of `x`.
    pub variance_x: f64,
    /// The variance of `y`.
    pub variance_y: f64,
    /// The covariance of `x` and `y`.
    pub covariance: f64,
}

impl Spread {
    /// The variance of `a y - b x`, for one person.
    pub fn variance_of(&self, a: f64, b: f64) -> f64 {
        let variance = a * a * self.variance_y - 2.0 * a * b * self.covariance + b * b * self.variance_x;
        // Where y is b x exactly, rounding leaves a little to either side of 0.
        variance.max(0.0)
    }
}

/// The sum of `(x - mean x) (y - mean y)`, from the sum of `x y`.
fn centred(n: u64, sum_x: f64, sum_y: f64, products: f64) -> Option<f64> {
    let centred = products - sum_x * sum_y / n as f64;
    (n >= 2 && sum_x.is_finite() && sum_y.is_finite() && centred.is_finite()).then_some(centred)
}

/// A centred sum of squares. Below 0 it is rounding if it is little beside the sum of squares itself, else no values
/// have such sums.
fn not_negative(centred: f64, sum_of_squares: f64) -> Option<f64> {
    (centred >= -ROUNDING * sum_of_squares).then_some(centred.max(0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mean_and_variance_are_those_computed_by_hand() {
        // 1, 2, 6: mean 3, squares of deviations 4 + 1 + 9 = 14, over 2.
        let moments: Moments = [1.0, 2.0, 6.0].map(Moments::of).into_iter().sum();
        assert_eq!(moments, Moments { n: 3, sum: 9.0, sum_of_squares: 41.0 });
        assert_eq!(moments.sample(), Some(Sample { n: 3, mean: 3.0, variance: 7.0 }));
    }

    #[test]
    fn covariance_is_that_computed_by_hand() {
        // x 0, 1, 2; y 1, 1, 4: deviations -1, 0, 1 and -1, -1, 2; products 1 + 0 + 2 = 3, over 2.
        let moments: PairMoments =
            [(0.0, 1.0), (1.0, 1.0), (2.0, 4.0)].map(|(x, y)| PairMoments::of(x, y)).into_iter().sum();
        let expected = Spread { n: 3, mean_x: 1.0, mean_y: 2.0, variance_x: 1.0, variance_y: 3.0, covariance: 1.5 };
        assert_eq!(moments.spread(), Some(expected));
        // y - x is 1, 0, 2: variance 1. 2 y - 3 x is 2, -1, 2: variance 3.
        assert!((expected.variance_of(1.0, 1.0) - 1.0).abs() < 1e-12);
        assert!((expected.variance_of(2.0, 3.0) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn sums_that_no_values_have_give_nothing() {
        let moments = |n, sum, sum_of_squares| Moments { n, sum, sum_of_squares }.sample();
        assert_eq!(moments(0, 0.0, 0.0), None);
        assert_eq!(moments(1, 1.0, 1.0), None);
        assert_eq!(moments(2, 10.0, 10.0), None);
        assert_eq!(moments(2, f64::NAN, 10.0), None);
        assert_eq!(moments(2, 1.0, f64::INFINITY), None);
        assert_eq!(moments(2, 0.0, -1.0), None);
        let pairs = PairMoments { n: 3, sum_x: 0.0, sum_y: 0.0, sum_xx: 1.0, sum_yy: 1.0, sum_xy: 2.0 };
        assert_eq!(pairs.spread(), None);
        assert_eq!(PairMoments { sum_xy: f64::NAN, ..pairs }.spread(), None);
        assert_eq!(PairMoments::default().spread(), None);
    }

    #[test]
    fn equal_values_have_no_variance_even_after_rounding() {
        let moments: Moments = (0..1_000).map(|_| Moments::of(0.1)).sum();
        let variance = moments.sample().unwrap().variance;
        assert!((0.0..1e-12).contains(&variance), "{variance}");
    }

    proptest! {
        #[test]
        fn sums_give_what_deviations_give(
            values in proptest::collection::vec(-1e3..1e3_f64, 2..50), cut in 0..50_usize,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let parts = [left, right].map(|part| part.iter().copied().map(Moments::of).sum::<Moments>());
            let sample = (parts[0] + parts[1]).sample().unwrap();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            prop_assert!((sample.mean - mean).abs() < 1e-9);
            prop_assert!((sample.variance - squares / (values.len() - 1) as f64).abs() < 1e-6);
        }

        #[test]
        fn real_pairs_always_have_a_spread(
            pairs in proptest::collection::vec((-1e3..1e3_f64, -1e3..1e3_f64), 2..50),
            slope in -5.0..5.0_f64,
            noise in prop_oneof![Just(0.0), 0.0..1.0_f64],
        ) {
            let people = pairs.iter().map(|(x, other)| PairMoments::of(*x, slope * x + noise * other));
            let moments: PairMoments = people.sum();
            prop_assert!(moments.spread().is_some());
        }
    }
}
