//! CUPED: what people did before they entered explains part of what they do after, and that part is taken out.
//!
//! Deng, Xu, Kohavi, Walker, *Improving the sensitivity of online controlled experiments by utilizing pre-experiment
//! data*, WSDM 2013. In the paired moments `x` is the outcome over the 28 days before a person's entry, and `y` the
//! outcome after it. A person with no history has `x = 0`.

use super::effect::{Effect, difference, effect};
use super::moments::{PairMoments, Spread};
use super::sample::Sample;

/// Both arms, adjusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cuped {
    /// How much of the outcome one unit of the outcome before stands for. 0 where there is nothing before.
    pub theta: f64,
    /// The control, adjusted.
    pub control: Sample,
    /// The treatment, adjusted.
    pub treatment: Sample,
    /// The difference of the adjusted means.
    pub difference: Option<Effect>,
    /// The relative difference of the adjusted means.
    pub relative: Option<Effect>,
    /// The variance of the difference as a share of that without adjustment. 1 where nothing was gained.
    pub variance_left: f64,
}

/// Adjusts the means of both arms: `ȳ - θ (x̄ - m)`, with `θ = cov(x, y) / var x` within the arms and `m` the mean of `x`
/// over both. The variance of one person is `var y - 2 θ cov(x, y) + θ² var x`.
///
/// `θ` is pooled over deviations within each arm, so that the effect itself does not enter it; where `x` does not vary
/// it is 0, and everything is as without CUPED.
///
/// The relative effect is `R - 1` with `R = a_T / a_C`, the quotient of the adjusted means. The mean `m` is estimated from
/// the same people and stands in both. With `w` an arm's share of the people and `κ = θ (w_C + R w_T)`, the delta method
/// gives the variance `(var(y - κ x)_T / n_T + var(R y - κ x)_C / n_C) / a_C²`.
///
/// `None` if an arm has fewer than two people or sums that no values have.
pub fn cuped(control: &PairMoments, treatment: &PairMoments) -> Option<Cuped> {
    let (of_control, of_treatment) = (control.spread()?, treatment.spread()?);
    let (n_control, n_treatment) = (control.n as f64, treatment.n as f64);
    let all = n_control + n_treatment;
    let theta = theta(&of_control, &of_treatment);
    let centre = (control.sum_x + treatment.sum_x) / all;
    let adjusted = |arm: &Spread| Sample {
        n: arm.n,
        mean: arm.mean_y - theta * (arm.mean_x - centre),
        variance: arm.variance_of(1.0, theta),
    };
    let (control, treatment) = (adjusted(&of_control), adjusted(&of_treatment));
    let plain = of_control.variance_y / n_control + of_treatment.variance_y / n_treatment;
    let left = control.variance_of_mean()? + treatment.variance_of_mean()?;

    let times = treatment.mean / control.mean;
    let shared = theta * (n_control + times * n_treatment) / all;
    let variance =
        of_treatment.variance_of(1.0, shared) / n_treatment + of_control.variance_of(times, shared) / n_control;
    let relative = (control.mean > 0.0)
        .then(|| effect(times - 1.0, variance / (control.mean * control.mean), &control, &treatment));
    Some(Cuped {
        theta,
        control,
        treatment,
        difference: difference(&control, &treatment),
        relative: relative.flatten(),
        variance_left: if plain > 0.0 { left / plain } else { 1.0 },
    })
}

fn theta(control: &Spread, treatment: &Spread) -> f64 {
    let (a, b) = ((control.n - 1) as f64, (treatment.n - 1) as f64);
    let theta =
        (a * control.covariance + b * treatment.covariance) / (a * control.variance_x + b * treatment.variance_x);
    if theta.is_finite() { theta } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::effect::relative;
    use crate::lift::moments::Moments;

    fn arm(people: &[(f64, f64)]) -> PairMoments {
        people.iter().map(|(before, after)| PairMoments::of(*before, *after)).sum()
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    /// Control: x 0, 2, 4, y 1, 2, 6: deviations of x -2, 0, 2, so Sxx = 8, Sxy = 10. Treatment: x 2, 4, y 5, 6: Sxx = 2,
    /// Sxy = 1. θ = 11 / 10. All x: mean 12/5. Adjusted: 3 - 1.1 (2 - 2.4) = 3.44 and 5.5 - 1.1 (3 - 2.4) = 4.84.
    #[test]
    fn the_adjustment_is_that_computed_by_hand() {
        let found = cuped(&arm(&[(0.0, 1.0), (2.0, 2.0), (4.0, 6.0)]), &arm(&[(2.0, 5.0), (4.0, 6.0)])).unwrap();
        close(found.theta, 1.1);
        close(found.control.mean, 3.44);
        close(found.treatment.mean, 4.84);
        // y - θ x: 1, -0.2, 1.6 and 2.8, 1.6.
        close(found.control.variance, 0.84);
        close(found.treatment.variance, 0.72);
        close(found.difference.unwrap().estimate, 1.4);
        close(found.difference.unwrap().variance, 0.84 / 3.0 + 0.72 / 2.0);
        close(found.relative.unwrap().estimate, 4.84 / 3.44 - 1.0);
    }

    /// `R` by its definition as a function of the four means, differentiated numerically, with the covariances of the means
    /// of each arm.
    #[test]
    fn the_relative_variance_is_that_of_the_delta_method() {
        let control = arm(&[(0.0, 1.0), (2.0, 2.0), (4.0, 6.0), (1.0, 4.0), (7.0, 9.0)]);
        let treatment = arm(&[(2.0, 15.0), (4.0, 26.0), (3.0, 12.0)]);
        let found = cuped(&control, &treatment).unwrap();
        let spreads = [control.spread().unwrap(), treatment.spread().unwrap()];
        let times = |[x_control, y_control, x_treatment, y_treatment]: [f64; 4]| {
            let centre = (5.0 * x_control + 3.0 * x_treatment) / 8.0;
            let adjusted = |x: f64, y: f64| y - found.theta * (x - centre);
            adjusted(x_treatment, y_treatment) / adjusted(x_control, y_control)
        };
        let means = [spreads[0].mean_x, spreads[0].mean_y, spreads[1].mean_x, spreads[1].mean_y];
        let slope = |place: usize| {
            let moved = |by: f64| {
                let mut means = means;
                means[place] += by;
                times(means)
            };
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        };
        let variance = |arm: usize| {
            let (x, y, spread) = (slope(2 * arm), slope(2 * arm + 1), spreads[arm]);
            (x * x * spread.variance_x + 2.0 * x * y * spread.covariance + y * y * spread.variance_y) / spread.n as f64
        };
        let relative = found.relative.unwrap();
        assert!((relative.estimate - (times(means) - 1.0)).abs() < 1e-12);
        assert!((relative.variance / (variance(0) + variance(1)) - 1.0).abs() < 1e-6, "{relative:?}");
    }

    #[test]
    fn without_a_past_nothing_is_adjusted() {
        let (control, treatment) = ([1.0, 2.0, 6.0, 3.0], [5.0, 2.0, 7.0]);
        let found = cuped(&arm(&control.map(|y| (0.0, y))), &arm(&treatment.map(|y| (0.0, y)))).unwrap();
        let control = control.map(Moments::of).into_iter().sum::<Moments>().sample().unwrap();
        let treatment = treatment.map(Moments::of).into_iter().sum::<Moments>().sample().unwrap();
        close(found.theta, 0.0);
        close(found.variance_left, 1.0);
        let plain = relative(&control, &treatment).unwrap();
        close(found.relative.unwrap().estimate, plain.estimate);
        close(found.relative.unwrap().variance, plain.variance);
        close(found.difference.unwrap().variance, difference(&control, &treatment).unwrap().variance);
        // The same past for all is none.
        let constant = cuped(&arm(&[(3.0, 1.0), (3.0, 2.0)]), &arm(&[(3.0, 4.0), (3.0, 5.0)])).unwrap();
        close(constant.theta, 0.0);
    }

    #[test]
    fn a_past_that_tells_everything_leaves_no_variance() {
        let found = cuped(&arm(&[(0.0, 1.0), (2.0, 5.0), (4.0, 9.0)]), &arm(&[(1.0, 4.0), (5.0, 12.0)])).unwrap();
        close(found.theta, 2.0);
        close(found.variance_left, 0.0);
        close(found.treatment.mean - found.control.mean, 1.0);
        // Nothing is left that would say how sure the difference is.
        assert_eq!(found.difference, None);
    }

    #[test]
    fn bad_sums_give_nothing() {
        let good = arm(&[(0.0, 1.0), (2.0, 5.0)]);
        assert_eq!(cuped(&good, &PairMoments::default()), None);
        assert_eq!(cuped(&PairMoments { sum_y: f64::NAN, ..good }, &good), None);
        assert_eq!(cuped(&arm(&[(0.0, 1.0)]), &good), None);
        // A control without outcome has a difference, but no relative one.
        let none = cuped(&arm(&[(0.0, 0.0), (1.0, 0.0)]), &arm(&[(0.0, 1.0), (1.0, 3.0), (2.0, 3.0)])).unwrap();
        assert!(none.difference.is_some());
    }
}
