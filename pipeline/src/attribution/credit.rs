//! Sharing an amount out to the last unit.
//!
//! Amounts are whole numbers of units, the last decimal that the lake keeps. Everything here is integer arithmetic: the
//! parts sum to the whole because nothing is ever lost, and two machines give the same parts.

/// Units of one whole: credits and money have four decimals.
pub const ONE: i128 = 10_000;

/// The weight of the heaviest share in [`integer_weights`]. Products with it stay within 127 bits for journeys of up
/// to 100 million touches.
const HEAVIEST: f64 = (1_u64 << 50) as f64;

/// Shares `total` out in proportion to `weights`.
///
/// Each share is rounded to a whole unit, halves away from zero, but never more than what is left, so that no share
/// has another sign than the total; the last takes what is left. Without any weight, the last takes all.
pub fn split(total: i128, weights: &[u64]) -> Vec<i128> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let (amount, sign) = (total.unsigned_abs(), total.signum());
    let mut left = amount;
    let shares = weights.iter().map(|weight| {
        let share = if sum == 0 { 0 } else { proportion(amount, u128::from(*weight), sum).min(left) };
        left -= share;
        sign * share as i128
    });
    let mut shares: Vec<i128> = shares.collect();
    if let Some(last) = shares.last_mut() {
        *last += sign * left as i128;
    }
    shares
}

/// `amount * weight / sum`, halves rounded up. The amount is taken apart first, so that no product overflows.
fn proportion(amount: u128, weight: u128, sum: u128) -> u128 {
    amount / sum * weight + (amount % sum * weight + sum / 2) / sum
}

/// Whole weights in the proportions of `weights`, of which none is negative.
pub fn integer_weights(weights: &[f64]) -> Vec<u64> {
    let heaviest = weights.iter().copied().fold(0.0, f64::max);
    if heaviest == 0.0 {
        return vec![0; weights.len()];
    }
    weights.iter().map(|weight| (weight / heaviest * HEAVIEST).round() as u64).collect()
}

/// Whole units of the fractions `numerator / denominator`, which sum to a whole number of units: each is rounded, halves
/// away from zero, and the last takes the difference.
pub fn whole_units(numerators: &[i128], denominator: i128) -> Vec<i128> {
    let total = numerators.iter().sum::<i128>() / denominator;
    let mut units: Vec<i128> = numerators.iter().map(|numerator| rounded(*numerator, denominator)).collect();
    let difference = total - units.iter().sum::<i128>();
    if let Some(last) = units.last_mut() {
        *last += difference;
    }
    units
}

fn rounded(numerator: i128, denominator: i128) -> i128 {
    let (amount, denominator) = (numerator.unsigned_abs(), denominator.unsigned_abs());
    let units = amount / denominator + u128::from(amount % denominator >= denominator.div_ceil(2));
    numerator.signum() * units as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_share_takes_the_residue() {
        for (total, weights, expected) in [
            (10_000, &[1, 1, 1][..], &[3_333, 3_333, 3_334][..]),
            (20_000, &[1, 1, 1], &[6_667, 6_667, 6_666]),
            (-10_000, &[1, 1, 1], &[-3_333, -3_333, -3_334]),
            (1, &[1, 1], &[1, 0]),
            (-1, &[1, 1], &[-1, 0]),
            (0, &[1, 2], &[0, 0]),
            (7, &[0, 0], &[0, 7]),
            (7, &[3], &[7]),
            (5, &[1, 0], &[5, 0]),
            (7, &[], &[]),
        ] {
            assert_eq!(split(total, weights), expected, "{total} {weights:?}");
        }
    }

    #[test]
    fn no_share_turns_its_sign_however_many_there_are() {
        let shares = split(ONE, &vec![1; 15_000]);
        assert_eq!(shares.iter().sum::<i128>(), ONE);
        assert!(shares.iter().all(|share| (0..=1).contains(share)));
    }

    #[test]
    fn the_largest_amount_is_shared_without_overflow() {
        let largest = 10_i128.pow(28) - 1;
        let weights = integer_weights(&[1.0, 0.333, 1e-9, 0.999]);
        assert_eq!(split(largest, &weights).iter().sum::<i128>(), largest);
        assert_eq!(split(-largest, &weights).iter().sum::<i128>(), -largest);
    }

    #[test]
    fn fractions_become_units_that_sum_to_the_whole() {
        for (numerators, denominator, expected) in [
            (&[1, 1, 1][..], 3, &[0, 0, 1][..]),
            (&[50, 50], 100, &[1, 0]),
            (&[49, 51], 100, &[0, 1]),
            (&[-50, 150], 100, &[-1, 2]),
            (&[], 3, &[]),
        ] {
            assert_eq!(whole_units(numerators, denominator), expected, "{numerators:?}/{denominator}");
        }
    }

    #[test]
    fn weights_keep_their_proportions() {
        assert_eq!(integer_weights(&[0.5, 1.0, 0.0]), [1 << 49, 1 << 50, 0]);
        assert_eq!(integer_weights(&[0.0]), [0]);
        assert_eq!(integer_weights(&[]), [0; 0]);
    }
}
