//! Sample-ratio mismatch: people did not come to the arms in the shares that were asked for, so whatever sorted them
//! may have sorted the outcome too. Then no effect is to be believed, and the cause has to be found.

use statrs::function::gamma::ln_gamma;

use super::distributions::chi_squared_p_value;

/// Below this p-value there is an alarm.
pub const ALARM_BELOW: f64 = 0.001;
/// The people that an arm must be expected to have for the χ² distribution to hold.
const MIN_EXPECTED: f64 = 5.0;
/// How fast the sequential test gives up the asked-for shares: its alternative is Dirichlet(`CONCENTRATION` · shares).
pub const CONCENTRATION: f64 = 100.0;

/// What one look says, by χ².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SrmChiSquared {
    /// Pearson's χ².
    pub statistic: f64,
    /// Arms less one.
    pub degrees_of_freedom: f64,
    /// The probability of counts at least as far from the shares, if people come as asked for.
    pub p_value: f64,
    /// Whether it is below [`ALARM_BELOW`].
    pub alarm: bool,
}

/// Pearson's test that `people` came to the arms in the given `shares`: `χ² = Σ (n - e)² / e`.
///
/// It is for one look. `None` for fewer than two arms, for shares that are not above 0 or do not sum to 1, and as long
/// as an arm is expected to have fewer than 5 people.
pub fn srm_chi_squared(people: &[u64], shares: &[f64]) -> Option<SrmChiSquared> {
    check_shares(people, shares)?;
    let all = total(people);
    let expected = shares.iter().map(|share| share * all);
    if expected.clone().any(|expected| expected < MIN_EXPECTED) {
        return None;
    }
    let statistic = people.iter().zip(expected).map(|(n, expected)| (*n as f64 - expected).powi(2) / expected).sum();
    let degrees_of_freedom = (people.len() - 1) as f64;
    let p_value = chi_squared_p_value(statistic, degrees_of_freedom)?;
    Some(SrmChiSquared { statistic, degrees_of_freedom, p_value, alarm: p_value < ALARM_BELOW })
}

/// What all looks up to now say together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SequentialSrm {
    /// The logarithm of the Bayes factor against the shares, at the last look.
    pub ln_bayes_factor: f64,
    /// The smallest `min(1, 1 / Bayes factor)` of all looks.
    pub p_value: f64,
    /// Whether it is below [`ALARM_BELOW`].
    pub alarm: bool,
}

/// The sequential test of the same: it may be looked at as often as one likes. `looks` are the people of each arm up to
/// each look, in the order of time.
///
/// The Bayes factor weighs shares drawn from Dirichlet(k θ), k = [`CONCENTRATION`], against the shares θ asked for:
/// `Γ(k) / Γ(k + n) · Π Γ(k θᵢ + nᵢ) / Γ(k θᵢ) / Π θᵢ^nᵢ`. If people come as asked for it is a martingale that begins
/// at 1, so it ever exceeds `1 / α` with a probability of at most `α` (Ville). Lindon, Malek, *Anytime-valid inference
/// for multinomial count data*, Advances in Neural Information Processing Systems 35 (2022).
///
/// `None` for fewer than two arms, for shares that are not above 0 or do not sum to 1, and if a look has another number
/// of arms. Without looks, and without people, p is 1.
pub fn sequential_srm<Look: AsRef<[u64]>>(looks: &[Look], shares: &[f64]) -> Option<SequentialSrm> {
    check_shares(shares, shares)?;
    let (mut ln_bayes_factor, mut p_value) = (0.0_f64, 1.0_f64);
    for look in looks {
        check_shares(look.as_ref(), shares)?;
        ln_bayes_factor = ln_bayes_factor_of(look.as_ref(), shares);
        p_value = p_value.min((-ln_bayes_factor).exp());
    }
    ln_bayes_factor.is_finite().then_some(SequentialSrm { ln_bayes_factor, p_value, alarm: p_value < ALARM_BELOW })
}

fn ln_bayes_factor_of(people: &[u64], shares: &[f64]) -> f64 {
    let of_arm = |(n, share): (&u64, &f64)| {
        let (n, prior) = (*n as f64, CONCENTRATION * share);
        ln_gamma(prior + n) - ln_gamma(prior) - n * share.ln()
    };
    ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + total(people))
        + people.iter().zip(shares).map(of_arm).sum::<f64>()
}

/// As a float, so that no sum of counts overflows.
fn total(people: &[u64]) -> f64 {
    people.iter().map(|n| *n as f64).sum()
}

/// Whether there is a share above 0 for each of at least two arms, and all sum to 1.
fn check_shares<T>(arms: &[T], shares: &[f64]) -> Option<()> {
    let sound = shares.iter().all(|share| *share > 0.0) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9;
    (arms.len() == shares.len() && arms.len() >= 2 && sound).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HALVES: [f64; 2] = [0.5, 0.5];

    #[test]
    fn known_statistics_come_out() {
        let check = |people: [u64; 2], statistic: f64, p_value: f64| {
            let found = srm_chi_squared(&people, &HALVES).unwrap();
            assert!((found.statistic - statistic).abs() < 5e-6, "{found:?}");
            assert!((found.p_value / p_value - 1.0).abs() < 4e-6, "{found:?}");
            assert!(found.alarm);
        };
        check([821_588, 815_482], 22.774_37, 1.821_79e-6);
        check([5_200, 4_800], 16.0, 6.334_25e-5);
    }

    #[test]
    fn known_sequential_p_values_come_out() {
        let check = |people: [u64; 2], p_value: f64, alarm: bool| {
            let found = sequential_srm(&[people], &HALVES).unwrap();
            assert!((found.p_value / p_value - 1.0).abs() < 4e-6, "{found:?}");
            assert_eq!(found.alarm, alarm);
        };
        check([5_200, 4_800], 0.003_647_86, false);
        check([5_100, 4_900], 1.0, false);
        check([821_588, 815_482], 0.001_455_56, false);
        check([5_300, 4_700], 1.811_371e-7, true);
    }

    /// Shares 1/4, 1/4, 1/2 of 400: expected 100, 100, 200; deviations 10, -10, 0: χ² = 2, p = e⁻¹.
    #[test]
    fn several_arms_are_those_computed_by_hand() {
        let found = srm_chi_squared(&[110, 90, 200], &[0.25, 0.25, 0.5]).unwrap();
        assert!((found.statistic - 2.0).abs() < 1e-12 && (found.p_value - (-1.0_f64).exp()).abs() < 1e-12);
        assert!(!found.alarm);
    }

    #[test]
    fn what_was_once_seen_is_not_forgotten() {
        let alarmed = sequential_srm(&[[5_200, 4_800]], &HALVES).unwrap();
        let later = sequential_srm(&[[100, 100], [5_200, 4_800], [50_000, 50_000]], &HALVES).unwrap();
        assert!((later.p_value - alarmed.p_value).abs() < 1e-15);
        assert!(later.ln_bayes_factor < 0.0 && alarmed.ln_bayes_factor > 0.0);
    }

    #[test]
    fn without_people_nothing_is_wrong() {
        let none: [[u64; 2]; 0] = [];
        for found in [sequential_srm(&none, &HALVES), sequential_srm(&[[0, 0]], &HALVES)] {
            assert!((found.unwrap().p_value - 1.0).abs() < 1e-9);
        }
        assert_eq!(srm_chi_squared(&[0, 0], &HALVES), None);
        assert_eq!(srm_chi_squared(&[4, 5], &HALVES), None);
        assert!(srm_chi_squared(&[4, 6], &HALVES).is_some());
        assert!(srm_chi_squared(&[u64::MAX, u64::MAX], &HALVES).is_some());
    }

    #[test]
    fn bad_shares_give_nothing() {
        for shares in [&[0.5, 0.4][..], &[1.0, 0.0], &[1.5, -0.5], &[f64::NAN, 0.5], &[1.0], &[], &[0.2, 0.3, 0.5]] {
            assert_eq!(srm_chi_squared(&[100, 100], shares), None, "{shares:?}");
            assert_eq!(sequential_srm(&[[100, 100]], shares), None, "{shares:?}");
        }
        assert_eq!(sequential_srm(&[vec![1, 2], vec![1, 2, 3]], &HALVES), None);
    }

    /// The Bayes factor is a ratio of probabilities: over all ways to fill the arms, its expectation under the shares
    /// is 1.
    #[test]
    fn its_mean_over_all_outcomes_is_one() {
        let (n, share) = (30_u64, 0.3_f64);
        let mut mean = 0.0;
        for k in 0..=n {
            let (k_float, rest) = (k as f64, (n - k) as f64);
            let ways = ln_gamma(n as f64 + 1.0) - ln_gamma(k_float + 1.0) - ln_gamma(rest + 1.0);
            let ln_probability = ways + k_float * share.ln() + rest * (1.0 - share).ln();
            mean += (ln_probability + ln_bayes_factor_of(&[k, n - k], &[share, 1.0 - share])).exp();
        }
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
    }

    proptest! {
        #[test]
        fn the_order_of_the_arms_does_not_matter(people in proptest::collection::vec(0..1_000_000_u64, 3)) {
            let backwards: Vec<u64> = people.iter().rev().copied().collect();
            let (shares, mirrored) = ([0.2, 0.3, 0.5], [0.5, 0.3, 0.2]);
            let there = sequential_srm(std::slice::from_ref(&people), &shares).unwrap();
            let back = sequential_srm(std::slice::from_ref(&backwards), &mirrored).unwrap();
            prop_assert!((there.ln_bayes_factor - back.ln_bayes_factor).abs() < 1e-6);
            let chi_squared = |people: &[u64], shares| srm_chi_squared(people, shares).map(|found| found.statistic);
            if let Some(statistic) = chi_squared(&people, &shares) {
                let mirror_image = chi_squared(&backwards, &mirrored).unwrap();
                prop_assert!((statistic - mirror_image).abs() <= 1e-9 * statistic.max(1.0));
            }
        }
    }
}
