//! Ratio metrics: a sum over another sum, where people are what was randomised (clicks per view, revenue per order).

use super::moments::PairMoments;
use super::sample::Sample;

/// The ratio `R = Σy / Σx` over the people of an arm, as a sample.
///
/// By the delta method `R` varies as the mean of `(y - R x) / mean x` does, so one person's variance is `(var y - 2 R
/// cov(x, y) + R² var x) / (mean x)²`. Deng, Knoblich, Lu, *Applying the delta method in metric analytics*, KDD 2018.
/// Views are not independent of each other: the views of one person rise and fall together, and the plain variance of a
/// rate over views is too small.
///
/// `None` for fewer than two people, and if the sum below the line is not above 0.
pub fn ratio(arm: &PairMoments) -> Option<Sample> {
    let spread = arm.spread()?;
    if spread.mean_x <= 0.0 {
        return None;
    }
    let ratio = spread.mean_y / spread.mean_x;
    let variance = spread.variance_of(1.0, ratio) / (spread.mean_x * spread.mean_x);
    (ratio.is_finite() && variance.is_finite()).then_some(Sample { n: arm.n, mean: ratio, variance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::moments::Moments;

    fn arm(people: &[(f64, f64)]) -> PairMoments {
        people.iter().map(|(views, clicks)| PairMoments::of(*views, *clicks)).sum()
    }

    /// Views 1, 2, 3 and clicks 0, 1, 2: R = 3/6. y - R x is -0.5, 0, 0.5: variance 0.25, over 2² = 0.0625.
    #[test]
    fn a_ratio_varies_as_was_computed_by_hand() {
        let sample = ratio(&arm(&[(1.0, 0.0), (2.0, 1.0), (3.0, 2.0)])).unwrap();
        assert_eq!(sample.n, 3);
        assert!((sample.mean - 0.5).abs() < 1e-12 && (sample.variance - 0.0625).abs() < 1e-12, "{sample:?}");
    }

    #[test]
    fn over_ones_it_is_the_mean() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0];
        let plain: Moments = values.map(Moments::of).into_iter().sum();
        let (found, expected) = (ratio(&arm(&values.map(|y| (1.0, y)))).unwrap(), plain.sample().unwrap());
        assert!((found.mean - expected.mean).abs() < 1e-12 && (found.variance - expected.variance).abs() < 1e-12);
    }

    #[test]
    fn a_ratio_that_everybody_shares_does_not_vary() {
        let sample = ratio(&arm(&[(1.0, 0.2), (7.0, 1.4), (3.0, 0.6)])).unwrap();
        assert!((sample.mean - 0.2).abs() < 1e-12 && sample.variance.abs() < 1e-12, "{sample:?}");
    }

    #[test]
    fn over_nothing_there_is_no_ratio() {
        assert_eq!(ratio(&arm(&[(0.0, 1.0), (0.0, 2.0)])), None);
        assert_eq!(ratio(&arm(&[(-1.0, 1.0), (-2.0, 2.0)])), None);
        assert_eq!(ratio(&arm(&[(1.0, 1.0)])), None);
        assert_eq!(ratio(&arm(&[(1.0, f64::NAN), (1.0, 1.0)])), None);
    }
}
