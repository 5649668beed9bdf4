//! Welch's test: the interval and the p-value of an effect that is looked at once, when everybody is counted.

use super::distributions::{t_critical, t_p_value};
use super::effect::Effect;
use super::interval::Interval;

/// What one look at an effect says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// The effect.
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Degrees of freedom, after Welch and Satterthwaite.
    pub degrees_of_freedom: f64,
    /// Where the true effect lies.
    pub interval: Interval,
    /// The probability of an effect at least as far from 0 if there is none, two-sided.
    pub p_value: f64,
}

/// The fixed-horizon interval of an effect, that holds with probability 1 - `alpha` at one look: estimate ± `t`
/// standard errors, with `t` the quantile of Student's t of `1 - alpha / 2`. Welch, *The generalization of "Student's"
/// problem*, Biometrika 34 (1947). For a relative effect it is the delta method's.
///
/// Who looks every day and stops when it suits finds an effect far more often than `alpha` says: that is what
/// [`confidence_sequence`](super::confidence_sequence::confidence_sequence) is for.
pub fn welch(effect: &Effect, alpha: f64) -> Option<Welch> {
    let standard_error = effect.variance.sqrt();
    let half_width = t_critical(alpha, effect.degrees_of_freedom)? * standard_error;
    Some(Welch {
        estimate: effect.estimate,
        standard_error,
        degrees_of_freedom: effect.degrees_of_freedom,
        interval: Interval::around(effect.estimate, half_width)?,
        p_value: t_p_value(effect.estimate / standard_error, effect.degrees_of_freedom)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::effect::{difference, relative};
    use crate::lift::moments::Moments;
    use crate::lift::sample::Sample;

    fn samples() -> (Sample, Sample) {
        let control = Moments { n: 3_407, sum: 1_396.87, sum_of_squares: 52_377.976_7 };
        let treatment = Moments { n: 3_461, sum: 2_422.7, sum_of_squares: 134_698.29 };
        (control.sample().unwrap(), treatment.sample().unwrap())
    }

    fn check(effect: Option<Effect>, estimate: f64, lower: f64, upper: f64, p_value: f64) {
        let found = welch(&effect.unwrap(), 0.05).unwrap();
        let close = |found: f64, expected: f64| (found - expected).abs() <= 5e-6;
        assert!(close(found.estimate, estimate), "{found:?}");
        assert!(close(found.interval.lower, lower) && close(found.interval.upper, upper), "{found:?}");
        assert!(close(found.p_value, p_value), "{found:?}");
    }

    #[test]
    fn known_differences_come_out() {
        let (control, treatment) = samples();
        check(difference(&control, &treatment), 0.29, 0.045_38, 0.534_62, 0.020_16);
    }

    /// Only with the degrees of freedom of the plain difference; with those of the scaled one the interval would begin
    /// at -0.03524.
    #[test]
    fn known_relative_differences_come_out() {
        let (control, treatment) = samples();
        check(relative(&control, &treatment), 0.707_32, -0.035_26, 1.449_89, 0.061_91);
    }

    /// From `scipy.stats`: `ttest_ind_from_stats(3, 1, 5, 2, 2, 10, equal_var=False)`.
    #[test]
    fn few_people_have_wide_tails() {
        let control = Sample { n: 10, mean: 2.0, variance: 4.0 };
        let treatment = Sample { n: 5, mean: 3.0, variance: 1.0 };
        let found = welch(&difference(&control, &treatment).unwrap(), 0.05).unwrap();
        assert!((found.degrees_of_freedom - 12.96).abs() < 1e-9, "{found:?}");
        assert!((found.p_value - 0.219_259_504).abs() < 5e-10, "{found:?}");
        assert_eq!(welch(&difference(&control, &treatment).unwrap(), 0.0), None);
    }
}
