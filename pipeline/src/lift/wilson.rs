//! Wilson's score interval of a proportion.

use super::distributions::normal_critical;
use super::interval::Interval;
use super::sample::Proportion;

/// The interval that holds the true proportion with probability 1 - `alpha`.
///
/// `(p + z²/2n ± z √(p (1 - p) / n + z²/4n²)) / (1 + z²/n)`, with `z` the normal quantile of `1 - alpha / 2`; without
/// continuity correction. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22 (1927).
/// It stays within 0 and 1, and says something also where nobody or everybody did it.
///
/// `None` for nobody, for more successes than people, and for an `alpha` that is not between 0 and 1.
pub fn wilson(proportion: &Proportion, alpha: f64) -> Option<Interval> {
    let (p, n) = (proportion.rate()?, proportion.n as f64);
    let z = normal_critical(alpha)?;
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let half_width = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    // There the bound is 0 or 1 exactly; rounding must not say otherwise.
    let lower = if proportion.successes == 0 { 0.0 } else { centre - half_width };
    let upper = if proportion.successes == proportion.n { 1.0 } else { centre + half_width };
    Interval::new(lower, upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(successes: u64, n: u64) -> Option<Interval> {
        wilson(&Proportion { successes, n }, 0.05)
    }

    fn check(successes: u64, n: u64, lower: f64, upper: f64) {
        let found = of(successes, n).unwrap();
        assert!((found.lower - lower).abs() < 5e-8 && (found.upper - upper).abs() < 5e-8, "{found:?}");
    }

    /// 81 of 263 is the example of Newcombe, *Two-sided confidence intervals for the single proportion* (1998).
    #[test]
    fn known_intervals_come_out() {
        check(81, 263, 0.255_288_5, 0.366_209_6);
        // By hand: z² / (n + z²) with z² = 3.841459.
        check(0, 10, 0.0, 0.277_532_8);
        check(10, 10, 0.722_467_2, 1.0);
    }

    #[test]
    fn what_is_no_proportion_has_no_interval() {
        assert_eq!(of(0, 0), None);
        assert_eq!(of(3, 2), None);
        assert_eq!(wilson(&Proportion { successes: 1, n: 2 }, 0.0), None);
        assert_eq!(wilson(&Proportion { successes: 1, n: 2 }, f64::NAN), None);
    }

    proptest! {
        #[test]
        fn it_contains_the_rate_stays_within_bounds_and_is_symmetric(
            n in 1..10_000_000_u64, drawn in 0..10_000_000_u64,
        ) {
            let successes = drawn % (n + 1);
            let interval = of(successes, n).unwrap();
            let mirrored = of(n - successes, n).unwrap();
            prop_assert!(interval.contains(successes as f64 / n as f64));
            prop_assert!(interval.lower >= 0.0 && interval.upper <= 1.0);
            prop_assert!((interval.lower + mirrored.upper - 1.0).abs() < 1e-12);
        }

        /// The bounds are the proportions that the score test just rejects: `(p - π)² = z² π (1 - π) / n`.
        #[test]
        fn its_bounds_solve_the_score_equation(n in 1..100_000_u64, drawn in 0..100_000_u64) {
            let successes = drawn % (n + 1);
            let (p, interval) = (successes as f64 / n as f64, of(successes, n).unwrap());
            for bound in [interval.lower, interval.upper] {
                let score = 3.841_458_820_694_124 * bound * (1.0 - bound) / n as f64;
                prop_assert!(((p - bound).powi(2) - score).abs() < 1e-10, "{p} {bound}");
            }
        }
    }
}
