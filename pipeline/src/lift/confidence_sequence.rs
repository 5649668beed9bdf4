//! Confidence sequences: intervals that hold at every look together, so that one may look every day and stop when one
//! likes.

use super::distributions::share_of_errors;
use super::effect::Effect;
use super::interval::Interval;

/// The number of people of both arms at which the interval is narrowest in proportion to a fixed-horizon one.
pub const PLANNED_PEOPLE: u64 = 5_000;

/// What any look at an effect says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlwaysValid {
    /// The effect.
    pub estimate: f64,
    /// Where the true effect lies: with probability 1 - `alpha` at all looks together.
    pub interval: Interval,
    /// The always-valid p-value: the smallest error share at which the interval, with the same tuning, leaves out 0.
    pub p_value: f64,
}

/// The asymptotic confidence sequence of an effect, tuned to `planned` people.
///
/// With `n` people of both arms, `s² = n · variance` and `α` the share of errors, the half-width is
/// `√s² · √(2 (n ρ² + 1) / (n² ρ²) · ln(√(n ρ² + 1) / α))`, and `ρ = √((-2 ln α + ln(-2 ln α + 1)) / planned)`.
/// Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, *Time-uniform central limit theory and asymptotic confidence sequences*,
/// Annals of Statistics 52 (2024): the two-sided sequence of Robbins' normal mixture.
///
/// It is asymptotic: with few people, or with outcomes that hardly anybody has, it promises a little too much. `None` if
/// `alpha` is not between 0 and 1 or nobody is planned for.
pub fn confidence_sequence(effect: &Effect, alpha: f64, planned: u64) -> Option<AlwaysValid> {
    let rho_squared = rho_squared(share_of_errors(alpha)?, planned)?;
    let n = effect.n as f64;
    let grown = n * rho_squared + 1.0;
    let variance = effect.variance * n;
    let half_width = (variance * 2.0 * grown / (n * n * rho_squared) * (grown.sqrt() / alpha).ln()).sqrt();
    // The half-width as a function of alpha, ρ held fast, solved for half-width = |estimate|.
    let evidence = effect.estimate.powi(2) * n * n * rho_squared / (2.0 * variance * grown);
    let p_value = (grown.ln() / 2.0 - evidence).exp().min(1.0);
    let interval = Interval::around(effect.estimate, half_width)?;
    p_value.is_finite().then_some(AlwaysValid { estimate: effect.estimate, interval, p_value })
}

/// The tuning that makes the interval narrow around `planned` people.
fn rho_squared(alpha: f64, planned: u64) -> Option<f64> {
    let log = -2.0 * alpha.ln();
    let rho_squared = (log + (log + 1.0).ln()) / planned as f64;
    (rho_squared.is_finite() && rho_squared > 0.0).then_some(rho_squared)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lift::effect::{difference, relative};
    use crate::lift::sample::Proportion;
    use crate::lift::welch::welch;

    fn effect(n: u64, estimate: f64) -> Effect {
        Effect { estimate, variance: 1.0 / n as f64, n, degrees_of_freedom: n as f64 }
    }

    /// 1396 of 3000 against 2422 of 3461, with the variance `p (1 - p)` of a proportion; with the divisor n - 1 it would
    /// begin at 0.40096.
    #[test]
    fn the_known_relative_effect_comes_out() {
        let control = Proportion { successes: 1_396, n: 3_000 }.sample().unwrap();
        let treatment = Proportion { successes: 2_422, n: 3_461 }.sample().unwrap();
        let found = confidence_sequence(&relative(&control, &treatment).unwrap(), 0.05, PLANNED_PEOPLE).unwrap();
        assert!((found.estimate - 0.503_86).abs() < 5e-6, "{found:?}");
        assert!((found.interval.lower - 0.400_98).abs() < 5e-6, "{found:?}");
        assert!((found.interval.upper - 0.606_75).abs() < 5e-6, "{found:?}");
    }

    /// n = 5000, s² = 1: ρ² = (5.991465 + ln 6.991465) / 5000 = 0.001587236, n ρ² + 1 = 8.936179, half-width
    /// √(2 · 8.936179 / (5000 · 7.936179) · ln(2.989344 / 0.05)) = 0.042924.
    #[test]
    fn the_half_width_is_that_computed_by_hand() {
        let found = confidence_sequence(&effect(5_000, 0.3), 0.05, 5_000).unwrap();
        assert!((found.interval.width() / 2.0 - 0.042_924).abs() < 1e-6, "{found:?}");
        assert!((found.interval.lower - (0.3 - 0.042_924)).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn what_is_no_share_or_no_plan_gives_nothing() {
        for alpha in [0.0, 1.0, -1.0, f64::NAN] {
            assert_eq!(confidence_sequence(&effect(10, 0.1), alpha, 5_000), None);
        }
        assert_eq!(confidence_sequence(&effect(10, 0.1), 0.05, 0), None);
    }

    #[test]
    fn it_costs_width_to_look_at_any_time() {
        let control = Proportion { successes: 300, n: 3_000 }.sample().unwrap();
        let treatment = Proportion { successes: 360, n: 3_000 }.sample().unwrap();
        let effect = difference(&control, &treatment).unwrap();
        let (always, once) = (confidence_sequence(&effect, 0.05, 5_000).unwrap(), welch(&effect, 0.05).unwrap());
        assert!(always.interval.width() > 1.3 * once.interval.width());
        assert!(always.p_value > once.p_value);
    }

    proptest! {
        #[test]
        fn the_p_value_is_below_alpha_exactly_where_the_interval_leaves_out_zero(
            n in 2..10_000_000_u64, errors in -8.0..8.0_f64, alpha in 0.001..0.5_f64,
        ) {
            let effect = effect(n, errors / (n as f64).sqrt());
            let found = confidence_sequence(&effect, alpha, PLANNED_PEOPLE).unwrap();
            prop_assert!((0.0..=1.0).contains(&found.p_value));
            prop_assert_eq!(found.p_value < alpha, !found.interval.contains(0.0));
            prop_assert!(found.interval.contains(found.estimate));
        }
    }
}
