//! Newcombe's interval of the difference of two proportions.

use super::interval::Interval;
use super::sample::Proportion;
use super::wilson::wilson;

/// The difference of two rates, treatment minus control, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Newcombe {
    /// `p_T - p_C`.
    pub estimate: f64,
    /// Where the true difference lies. Times the people treated, it is that of the incremental conversions.
    pub interval: Interval,
}

/// The hybrid score interval of `Δ = p_T - p_C`, that holds with probability 1 - `alpha` at one look.
///
/// With Wilson's bounds `l` and `u` of both rates: from `Δ - √((p_T - l_T)² + (u_C - p_C)²)` to
/// `Δ + √((u_T - p_T)² + (p_C - l_C)²)`. Newcombe, *Interval estimation for the difference between independent
/// proportions: comparison of eleven methods*, Statistics in Medicine 17 (1998), method 10.
///
/// `None` if one of the two has no Wilson interval.
pub fn newcombe(control: &Proportion, treatment: &Proportion, alpha: f64) -> Option<Newcombe> {
    let (p_control, p_treatment) = (control.rate()?, treatment.rate()?);
    let (of_control, of_treatment) = (wilson(control, alpha)?, wilson(treatment, alpha)?);
    let estimate = p_treatment - p_control;
    let below = (p_treatment - of_treatment.lower).hypot(of_control.upper - p_control);
    let above = (of_treatment.upper - p_treatment).hypot(p_control - of_control.lower);
    Some(Newcombe { estimate, interval: Interval::new(estimate - below, estimate + above)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proportion(successes: u64, n: u64) -> Proportion {
        Proportion { successes, n }
    }

    fn check(control: Proportion, treatment: Proportion, lower: f64, upper: f64) {
        let found = newcombe(&control, &treatment, 0.05).unwrap().interval;
        assert!((found.lower - lower).abs() < 5e-8 && (found.upper - upper).abs() < 5e-8, "{found:?}");
    }

    /// The paper's Table II, method 10: the first to the digits that are known, the others to the four of the paper.
    #[test]
    fn known_intervals_come_out() {
        check(proportion(48, 80), proportion(56, 70), 0.052_431_5, 0.333_872_7);
        for (treatment, control, lower, upper) in [
            (proportion(9, 10), proportion(3, 10), 0.1705, 0.8090),
            (proportion(5, 56), proportion(0, 29), -0.0381, 0.1926),
            (proportion(0, 10), proportion(0, 20), -0.1611, 0.2775),
            (proportion(10, 10), proportion(0, 10), 0.6075, 1.0),
        ] {
            let found = newcombe(&control, &treatment, 0.05).unwrap().interval;
            assert!((found.lower - lower).abs() < 5e-5 && (found.upper - upper).abs() < 5e-5, "{found:?}");
        }
    }

    #[test]
    fn without_two_proportions_there_is_no_difference() {
        assert_eq!(newcombe(&proportion(0, 0), &proportion(1, 2), 0.05), None);
        assert_eq!(newcombe(&proportion(1, 2), &proportion(3, 2), 0.05), None);
        assert_eq!(newcombe(&proportion(1, 2), &proportion(1, 2), 1.5), None);
    }

    proptest! {
        #[test]
        fn it_contains_the_difference_and_turns_around_when_the_arms_are_swapped(
            n in 1..1_000_000_u64, m in 1..1_000_000_u64, one in 0..1_000_000_u64, other in 0..1_000_000_u64,
        ) {
            let part = |n: u64, drawn: u64| proportion(drawn % (n + 1), n);
            let (control, treatment) = (part(n, one), part(m, other));
            let there = newcombe(&control, &treatment, 0.05).unwrap();
            let back = newcombe(&treatment, &control, 0.05).unwrap();
            prop_assert!(there.interval.contains(there.estimate));
            prop_assert!(there.interval.lower >= -1.0 - 1e-12 && there.interval.upper <= 1.0 + 1e-12);
            prop_assert!((there.interval.lower + back.interval.upper).abs() < 1e-12);
            prop_assert!((there.interval.upper + back.interval.lower).abs() < 1e-12);
        }

        #[test]
        fn more_people_make_it_narrower(successes in 0..=50_u64, others in 0..=50_u64) {
            let width = |times| {
                let arms = (proportion(successes * times, 50 * times), proportion(others * times, 50 * times));
                newcombe(&arms.0, &arms.1, 0.05).unwrap().interval.width()
            };
            prop_assert!(width(2) < width(1));
        }
    }
}
