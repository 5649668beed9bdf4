//! Quantiles and tails of the three distributions that the tests need: normal, Student's t, χ².
//!
//! They come from `statrs`, except Student's t with many degrees of freedom: there the library inverts the incomplete
//! beta function, which loses half its digits at 10⁵ and does not end at 10⁸. The asymptotic expansions of Abramowitz &
//! Stegun, *Handbook of Mathematical Functions* (1964), 26.7.5 and 26.7.8, are exact there to more digits than anybody
//! needs.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};

/// From so many degrees of freedom on, t's quantile is that of the expansion.
const MANY_FOR_QUANTILE: f64 = 1e3;
/// From so many degrees of freedom on, t's tail is that of the approximation.
const MANY_FOR_TAIL: f64 = 1e6;

/// Below it the library's quantiles of Student's t no longer come to an end, and nobody asks for so few errors.
const SMALLEST: f64 = 1e-9;

/// A probability strictly between 0 and 1, and not below [`SMALLEST`]: a share of errors, or `None`.
pub(super) fn share_of_errors(alpha: f64) -> Option<f64> {
    (SMALLEST..1.0).contains(&alpha).then_some(alpha)
}

/// The `z` that a standard normal variable exceeds in absolute value with probability `alpha`.
pub(super) fn normal_critical(alpha: f64) -> Option<f64> {
    let z = -Normal::standard().inverse_cdf(share_of_errors(alpha)? / 2.0);
    z.is_finite().then_some(z)
}

/// The `t` that Student's t with `degrees_of_freedom` exceeds in absolute value with probability `alpha`.
pub(super) fn t_critical(alpha: f64, degrees_of_freedom: f64) -> Option<f64> {
    let t = if degrees_of_freedom >= MANY_FOR_QUANTILE {
        t_expansion(normal_critical(alpha)?, degrees_of_freedom)
    } else {
        -StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?.inverse_cdf(share_of_errors(alpha)? / 2.0)
    };
    t.is_finite().then_some(t)
}

/// Abramowitz & Stegun 26.7.5: t's quantile from the normal one.
fn t_expansion(z: f64, degrees_of_freedom: f64) -> f64 {
    let square = z * z;
    let terms = [
        z * (square + 1.0) / 4.0,
        z * ((5.0 * square + 16.0) * square + 3.0) / 96.0,
        z * (((3.0 * square + 19.0) * square + 17.0) * square - 15.0) / 384.0,
        z * ((((79.0 * square + 776.0) * square + 1482.0) * square - 1920.0) * square - 945.0) / 92_160.0,
    ];
    z + terms.iter().rev().fold(0.0, |sum, term| (sum + term) / degrees_of_freedom)
}

/// The probability that Student's t is at least as far from 0 as `t`.
pub(super) fn t_p_value(t: f64, degrees_of_freedom: f64) -> Option<f64> {
    if !t.is_finite() {
        return None;
    }
    let tail = if degrees_of_freedom >= MANY_FOR_TAIL {
        let squeezed = t.abs() * (1.0 - 0.25 / degrees_of_freedom) / (1.0 + t * t / (2.0 * degrees_of_freedom)).sqrt();
        Normal::standard().sf(squeezed)
    } else {
        StudentsT::new(0.0, 1.0, degrees_of_freedom).ok()?.sf(t.abs())
    };
    Some((2.0 * tail).clamp(0.0, 1.0))
}

/// The probability that χ² with `degrees_of_freedom` is at least `statistic`.
pub(super) fn chi_squared_p_value(statistic: f64, degrees_of_freedom: f64) -> Option<f64> {
    if !statistic.is_finite() || statistic < 0.0 {
        return None;
    }
    Some(ChiSquared::new(degrees_of_freedom).ok()?.sf(statistic).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `scipy.stats`.
    fn check(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found / expected - 1.0).abs() < 1e-9, "{found:e}, not {expected:e}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        check(normal_critical(0.05), 1.959_963_984_540_054);
        check(normal_critical(0.001), 3.290_526_731_491_925_5);
        check(t_critical(0.05, 1.0), 12.706_204_736_174_694);
        check(t_critical(0.05, 2.5), 3.574_654_842_003_682);
        check(t_critical(0.05, 10.0), 2.228_138_851_986_274);
        check(t_critical(0.05, 6_869.0), 1.960_309_403_405_730_5);
        check(t_critical(0.05, 1e5), 1.959_987_707_534_609_5);
        check(t_critical(0.05, 1e6), 1.959_966_356_814_107);
        check(t_critical(0.05, 1e12), 1.959_963_984_542);
    }

    /// With 30 degrees of freedom every term of it still counts.
    #[test]
    fn the_expansion_comes_near_even_with_few_degrees_of_freedom() {
        let found = t_expansion(normal_critical(0.05).unwrap(), 30.0);
        assert!((found - 2.042_272_456_301).abs() < 5e-7, "{found}");
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        check(t_p_value(-5.0, 10.0), 2.0 * 2.686_668_013_782_263_4e-4);
        check(t_p_value(1.96, 6_869.0), 2.0 * 2.501_808_034_235_946e-2);
        check(t_p_value(1.96, 1e6), 2.0 * 2.499_803_379_263_492_6e-2);
        check(t_p_value(5.0, 1e6), 2.0 * 2.866_998_935_445_372_3e-7);
        check(chi_squared_p_value(16.0, 1.0), 6.334_248_366_623_985e-5);
        check(chi_squared_p_value(100.0, 3.0), 1.554_159_431_389_605e-21);
        check(chi_squared_p_value(0.0, 3.0), 1.0);
    }

    /// The expansion and the library meet where one takes over from the other.
    #[test]
    fn quantile_and_tail_are_inverse_for_any_degrees_of_freedom() {
        for degrees_of_freedom in [1.0, 1.3, 3.0, 30.0, 999.0, 1e3, 12_345.6, 999_999.0, 1e6, 1e9, 1e15] {
            for alpha in [0.5, 0.1, 0.05, 0.01, 1e-3, 1e-6] {
                let back = t_p_value(t_critical(alpha, degrees_of_freedom).unwrap(), degrees_of_freedom).unwrap();
                assert!((back / alpha - 1.0).abs() < 1e-6, "{degrees_of_freedom} {alpha} {back}");
            }
        }
    }

    #[test]
    fn what_is_no_probability_or_no_number_has_no_quantile() {
        for alpha in [0.0, 1.0, -0.1, f64::NAN] {
            assert_eq!(normal_critical(alpha), None);
            assert_eq!(t_critical(alpha, 5.0), None);
            assert_eq!(t_critical(alpha, 1e4), None);
        }
        for degrees_of_freedom in [0.0, -1.0, f64::NAN] {
            assert_eq!(t_critical(0.05, degrees_of_freedom), None);
            assert_eq!(t_p_value(1.0, degrees_of_freedom), None);
            assert_eq!(chi_squared_p_value(1.0, degrees_of_freedom), None);
        }
        assert_eq!(t_p_value(f64::NAN, 5.0), None);
        assert_eq!(chi_squared_p_value(f64::INFINITY, 1.0), None);
    }
}
