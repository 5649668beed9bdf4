//! The probability that an arm is the best of all, by what is known of their rates.

use statrs::function::gamma::ln_gamma;

use super::posterior::Posterior;

/// The most terms that are summed for the exact probability of two arms; if every sum has more, it is integrated.
const EXACT_TERMS: u64 = 10_000;
/// The largest count in such a sum: of larger ones the gamma function leaves too few digits.
const EXACT_COUNT: u64 = 1_000_000;

/// For each arm the probability that its rate is the highest. They sum to 1.
///
/// Two arms are done exactly, by a finite sum, unless all counts are above 10,000 or one is above a million. Otherwise
/// `∫ f_j(x) Π F_i(x) dx`, over the arms `i` other than `j`, is integrated numerically, with an error below 10⁻⁶; the
/// work grows with the square of the number of arms.
///
/// `None` without arms, and if a parameter is 0.
pub fn probability_best(arms: &[Posterior]) -> Option<Vec<f64>> {
    if arms.iter().any(|arm| arm.alpha == 0 || arm.beta == 0) {
        return None;
    }
    match arms {
        [] => None,
        [_] => Some(vec![1.0]),
        [first, second] => Some(match exceeds(second, first) {
            Some(probability) => vec![1.0 - probability, probability],
            None => integrated(arms),
        }),
        many => Some(integrated(many)),
    }
}

/// The probability that the rate of `one`, Beta(c, d), exceeds that of `other`, Beta(a, b), exactly.
///
/// `Σ B(a + i, b + d) / ((d + i) B(1 + i, d) B(a, b))` over `i` from 0 to `c - 1`: Miller, *Formulas for Bayesian A/B
/// testing* (2015), and Cook, *Exact calculation of beta inequalities* (2005). Swapping arms, and successes with
/// failures, gives three more sums, over `a`, `b` and `d` terms; the shortest is taken. `None` if even that has more
/// than [`EXACT_TERMS`], or if a count is above [`EXACT_COUNT`].
fn exceeds(one: &Posterior, other: &Posterior) -> Option<f64> {
    let (a, b, c, d) = (other.alpha, other.beta, one.alpha, one.beta);
    let fewest = a.min(b).min(c).min(d);
    if fewest > EXACT_TERMS || a.max(b).max(c).max(d) > EXACT_COUNT {
        return None;
    }
    let probability = if fewest == c {
        sum(a, b, c, d)
    } else if fewest == b {
        sum(d, c, b, a)
    } else if fewest == a {
        1.0 - sum(c, d, a, b)
    } else {
        1.0 - sum(b, a, d, c)
    };
    Some(probability.clamp(0.0, 1.0))
}

/// Miller's sum over `c` terms. Each term is the one before times `(a + i) (d + i) / ((a + b + d + i) (1 + i))`.
fn sum(a: u64, b: u64, c: u64, d: u64) -> f64 {
    let (a, b, d) = (a as f64, b as f64, d as f64);
    let mut ln_term = ln_gamma(b + d) - ln_gamma(b) + ln_gamma(a + b) - ln_gamma(a + b + d);
    let term = |place: u64| {
        let (place, term) = (place as f64, ln_term.exp());
        ln_term += ((a + place) * (d + place) / ((a + b + d + place) * (1.0 + place))).ln();
        term
    };
    (0..c).map(term).sum()
}

/// By Simpson's rule on one grid for all arms, that is fine wherever the density of any arm changes.
fn integrated(arms: &[Posterior]) -> Vec<f64> {
    let raw = integrals(arms);
    // What the integrals miss together, they miss alike.
    let whole: f64 = raw.iter().sum();
    raw.iter().map(|probability| probability / whole).collect()
}

/// For each arm the integral of its density times the distributions of all others.
fn integrals(arms: &[Posterior]) -> Vec<f64> {
    let points = points(arms);
    let curves: Vec<Curve> = arms.iter().map(|arm| Curve::new(arm, &points)).collect();
    let (mut integrals, mut others) = (vec![0.0; arms.len()], vec![0.0; arms.len()]);
    for (point, weight) in weights(&points).into_iter().enumerate() {
        // The product over all arms but one is that over those before it times that over those behind it.
        let (mut before, mut behind) = (1.0, 1.0);
        for (product, curve) in others.iter_mut().zip(&curves) {
            *product = before;
            before *= curve.distribution[point];
        }
        for (product, curve) in others.iter_mut().zip(&curves).rev() {
            *product *= behind;
            behind *= curve.distribution[point];
        }
        for ((integral, product), curve) in integrals.iter_mut().zip(&others).zip(&curves) {
            *integral += weight * curve.density[point] * product;
        }
    }
    integrals
}

/// What each point of the grid counts in an integral: a sixth of the panel at its ends, two thirds in its middle.
fn weights(points: &[f64]) -> Vec<f64> {
    let mut weights = vec![0.0; points.len()];
    for start in (0..points.len() - 2).step_by(2) {
        let width = points[start + 2] - points[start];
        weights[start] += width / 6.0;
        weights[start + 1] += width * 4.0 / 6.0;
        weights[start + 2] += width / 6.0;
    }
    weights
}

/// The ends of the grid's panels and, between any two, their middle.
fn points(arms: &[Posterior]) -> Vec<f64> {
    let mut ends: Vec<f64> = arms.iter().flat_map(landmarks).chain([0.0, 1.0]).collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let mut points = Vec::with_capacity(2 * ends.len());
    for pair in ends.windows(2) {
        points.extend([pair[0], f64::midpoint(pair[0], pair[1])]);
    }
    points.push(1.0);
    points
}

/// A panel of the grid is a twentieth of a standard deviation wide up to `NEAR` of them on both sides of the mean.
const NEAR: f64 = 6.0;
const STEP: f64 = 0.05;
/// From there on panels grow by this factor, up to `FAR` standard deviations. A beta density with parameters of at
/// least 1 falls at least exponentially: beyond lies less than 10⁻¹⁵ of it.
const GROWTH: f64 = 1.05;
const FAR: f64 = 40.0;

/// Points around an arm's mean at which the grid has the end of a panel.
fn landmarks(arm: &Posterior) -> Vec<f64> {
    let (alpha, beta) = (arm.alpha as f64, arm.beta as f64);
    let all = alpha + beta;
    let mean = alpha / all;
    let deviation = (mean * (beta / all) / (all + 1.0)).sqrt();
    let near = (0..).map(|step| f64::from(step) * STEP).take_while(|distance| *distance < NEAR);
    let far = std::iter::successors(Some(NEAR), |distance| Some(distance * GROWTH));
    let distances = near.chain(far.take_while(|distance| *distance < FAR));
    let both = distances.flat_map(|distance| [mean - distance * deviation, mean + distance * deviation]);
    both.filter(|point| *point > 0.0 && *point < 1.0).collect()
}

/// An arm's density at `x` as a share of its highest. Both logarithms are taken of the same distance from the mode:
/// what cancels between them, cancels whatever the counts.
fn relative_density(arm: &Posterior, x: f64) -> f64 {
    let (successes, failures) = ((arm.alpha - 1) as f64, (arm.beta - 1) as f64);
    if successes + failures == 0.0 {
        return 1.0;
    }
    let mode = successes / (successes + failures);
    let part = |count: f64, distance: f64| {
        let share = distance / (count / (successes + failures));
        if count > 0.0 { count * share.max(-1.0).ln_1p() } else { 0.0 }
    };
    (part(successes, x - mode) + part(failures, mode - x)).exp()
}

/// An arm's density and distribution at the points of the grid.
struct Curve {
    density: Vec<f64>,
    distribution: Vec<f64>,
}

impl Curve {
    fn new(arm: &Posterior, points: &[f64]) -> Self {
        let mut density: Vec<f64> = points.iter().map(|x| relative_density(arm, *x)).collect();
        let mut distribution = vec![0.0; points.len()];
        for start in (0..points.len() - 2).step_by(2) {
            let width = points[start + 2] - points[start];
            let (first, middle, last) = (density[start], density[start + 1], density[start + 2]);
            // The parabola through the three, up to its middle and to its end.
            distribution[start + 1] = distribution[start] + width / 24.0 * (5.0 * first + 8.0 * middle - last);
            distribution[start + 2] = distribution[start] + width / 6.0 * (first + 4.0 * middle + last);
        }
        let whole = distribution[points.len() - 1];
        density.iter_mut().chain(&mut distribution).for_each(|value| *value /= whole);
        Self { density, distribution }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn beta(alpha: u64, beta: u64) -> Posterior {
        Posterior { alpha, beta }
    }

    fn check(arms: &[Posterior], expected: &[f64], tolerance: f64) {
        let found = probability_best(arms).unwrap();
        let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < tolerance);
        assert!(close && found.len() == expected.len(), "{found:?}, not {expected:?}");
    }

    #[test]
    fn known_probabilities_come_out() {
        check(&[beta(15, 15), beta(17, 15)], &[1.0 - 0.598_548_206_7, 0.598_548_206_7], 5e-11);
        check(&[beta(121, 881), beta(151, 851)], &[1.0 - 0.975_067_836_8, 0.975_067_836_8], 5e-11);
    }

    /// Beta(1, 1) and Beta(2, 1) have the densities 1 and 2x: the second is higher with ∫ 2x · x dx = 2/3. With a third
    /// Beta(1, 1): ∫ 2x · x² dx = 1/2, and 1/4 each for the others.
    #[test]
    fn few_observations_are_those_computed_by_hand() {
        check(&[beta(1, 1), beta(2, 1)], &[1.0 / 3.0, 2.0 / 3.0], 1e-12);
        check(&[beta(1, 1), beta(2, 1), beta(1, 1)], &[0.25, 0.5, 0.25], 1e-7);
        check(&[beta(3, 8)], &[1.0], 1e-15);
        check(&[beta(5, 9); 7], &[1.0 / 7.0; 7], 1e-12);
    }

    /// From `scipy.integrate.quad`.
    #[test]
    fn several_arms_are_those_of_another_quadrature() {
        let expected = [0.027_790_332_324, 0.157_345_529_905, 0.072_476_568_349, 0.742_387_569_422];
        check(&[beta(11, 91), beta(15, 87), beta(13, 89), beta(3, 9)], &expected, 1e-9);
    }

    #[test]
    fn arms_of_any_size_can_be_compared() {
        // As good as normal: means 2 · 10⁻⁴ apart, both variances 0.36 · 0.64 / 25 · 10⁶: Φ(1.473).
        check(&[beta(9_000_000, 16_000_000), beta(9_005_000, 15_995_000)], &[0.070_369, 0.929_631], 1e-6);
        check(&[beta(1, 1_000_000_000), beta(1, 1)], &[0.0, 1.0], 1e-8);
        check(&[beta(1, 1_000_000), beta(1, 1_000_000), beta(1, 1_000_000)], &[1.0 / 3.0; 3], 1e-9);
        // As good as gamma distributions: the sum of two waits is longer than one with 3/4.
        check(&[beta(2, 1_000_000_000_000), beta(1, 1_000_000_000_000)], &[0.75, 0.25], 1e-6);
        check(&[beta(u64::MAX / 2, u64::MAX / 2), beta(1, 1), beta(1, 1)], &[0.25, 0.375, 0.375], 1e-6);
    }

    #[test]
    fn no_count_is_too_large_to_be_a_number() {
        let extremes = [1, 2, u64::MAX - 1, u64::MAX];
        let arms: Vec<_> = extremes.iter().flat_map(|a| extremes.map(|b| beta(*a, b))).collect();
        for arms in arms.windows(2).chain(arms.windows(3)).chain([&arms[..]]) {
            let found = probability_best(arms).unwrap();
            assert!(found.iter().all(|probability| (0.0..=1.0).contains(probability)), "{arms:?} {found:?}");
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{arms:?} {found:?}");
        }
    }

    #[test]
    fn without_arms_or_prior_nothing_is_known() {
        assert_eq!(probability_best(&[]), None);
        assert_eq!(probability_best(&[beta(0, 1), beta(1, 1)]), None);
        assert_eq!(probability_best(&[beta(1, 1), beta(1, 0)]), None);
    }

    #[test]
    fn all_four_sums_give_the_same() {
        let (a, b, c, d) = (12, 41, 17, 38);
        let expected = sum(a, b, c, d);
        for found in [sum(d, c, b, a), 1.0 - sum(c, d, a, b), 1.0 - sum(b, a, d, c)] {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn integration_gives_what_the_sum_gives(
            parameters in proptest::array::uniform4(prop_oneof![1..10_u64, 1..1_000_u64, 1..1_000_000_u64]),
        ) {
            let [a, b, c, d] = parameters;
            let arms = [beta(a, b), beta(c, d)];
            if let Some(exact) = exceeds(&arms[1], &arms[0]) {
                let found = integrated(&arms)[1];
                prop_assert!((found - exact).abs() < 1e-7, "{found} {exact}");
            }
        }

        /// Before they are made to.
        #[test]
        fn integrals_sum_to_one_by_themselves(arms in proptest::collection::vec((1..2_000_u64, 1..2_000_u64), 3..6)) {
            let arms: Vec<_> = arms.iter().map(|(a, b)| beta(*a, *b)).collect();
            let whole: f64 = integrals(&arms).iter().sum();
            prop_assert!((whole - 1.0).abs() < 1e-6, "{whole}");
        }
    }
}
