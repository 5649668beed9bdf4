//! The models that look at one journey at a time: what weight each touch has.

use super::credit::{ONE, integer_weights, split};

/// Time in which a touch of [`Model::TimeDecay`] loses half of its weight: 7 days.
pub const HALF_LIFE_US: i64 = 7 * 24 * 3_600 * 1_000_000;

/// A touch, as far as these models look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// When it began, microseconds.
    pub at_us: i64,
    /// Whether nothing is known of where it came from.
    pub is_direct: bool,
}

/// How the credit of a conversion is shared among the touches of its journey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// The first touch takes all.
    First,
    /// The last touch takes all.
    Last,
    /// The last touch that is not direct takes all; if all are direct, the last.
    LastNonDirect,
    /// All alike.
    Linear,
    /// The first and the last 40 % each, those between 20 % together; two touches 50 % each.
    Position,
    /// A touch weighs `2^(-age / 7 days)`, its age being the time from the touch to the conversion.
    TimeDecay,
}

impl Model {
    /// Every model, in the order in which they are stored.
    pub const ALL: [Model; 6] =
        [Self::First, Self::Last, Self::LastNonDirect, Self::Linear, Self::Position, Self::TimeDecay];

    /// Its name in tables and parameters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::LastNonDirect => "last_non_direct",
            Self::Linear => "linear",
            Self::Position => "position",
            Self::TimeDecay => "time_decay",
        }
    }

    /// The weight of each touch; `touches` are in the order of time.
    pub fn weights(self, touches: &[Touch]) -> Vec<u64> {
        let Some(last) = touches.len().checked_sub(1) else { return Vec::new() };
        match self {
            Self::First => only(0, touches.len()),
            Self::Last => only(last, touches.len()),
            Self::LastNonDirect => {
                only(touches.iter().rposition(|touch| !touch.is_direct).unwrap_or(last), touches.len())
            }
            Self::Linear => vec![1; touches.len()],
            Self::Position => position(touches.len()),
            Self::TimeDecay => time_decay(touches),
        }
    }

    /// The shares of the touches that have any weight in a conversion worth `value` units. They sum to [`ONE`] and to
    /// the value.
    pub fn shares(self, touches: &[Touch], value: Option<i128>) -> Vec<Share> {
        let weighted = self.weights(touches).into_iter().enumerate().filter(|(_, weight)| *weight > 0);
        let (places, weights): (Vec<usize>, Vec<u64>) = weighted.unzip();
        let values = value.map(|value| split(value, &weights));
        let credits = split(ONE, &weights).into_iter().enumerate();
        let share = |(at, credit)| Share {
            touch: places[at],
            credit,
            value: values.as_ref().map(|values: &Vec<_>| values[at]),
        };
        credits.map(share).collect()
    }
}

/// What a touch gets of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its place among the touches, from 0.
    pub touch: usize,
    /// Units of the conversion; the shares of a conversion sum to [`ONE`].
    pub credit: i128,
    /// Units of the conversion's value, if it has one.
    pub value: Option<i128>,
}

fn only(place: usize, touches: usize) -> Vec<u64> {
    (0..touches).map(|touch| u64::from(touch == place)).collect()
}

/// 40 % to each end and 20 % / (n - 2) to each touch between, times 5 (n - 2).
fn position(touches: usize) -> Vec<u64> {
    match touches {
        0..=2 => vec![1; touches],
        _ => {
            let mut weights = vec![1; touches];
            let end = 2 * (touches as u64 - 2);
            weights[0] = end;
            weights[touches - 1] = end;
            weights
        }
    }
}

/// Weights relative to the last touch: how long before the conversion that was is a factor of all weights, and falls
/// out. So the last touch weighs 1, and a journey long ago does not vanish.
fn time_decay(touches: &[Touch]) -> Vec<u64> {
    let last_us = touches.last().map_or(0, |touch| touch.at_us);
    let weight = |touch: &Touch| (-((last_us - touch.at_us) as f64) / HALF_LIFE_US as f64).exp2();
    // However old, a touch that counts has some weight.
    integer_weights(&touches.iter().map(weight).collect::<Vec<_>>()).into_iter().map(|weight| weight.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_US: i64 = 24 * 3_600 * 1_000_000;

    /// Touches so many days before the conversion; `-` before the number says that the touch is direct.
    fn touches(days_before: &[&str]) -> Vec<Touch> {
        let touch = |text: &&str| Touch {
            at_us: -text.trim_start_matches('-').parse::<i64>().unwrap() * DAY_US,
            is_direct: text.starts_with('-'),
        };
        days_before.iter().map(touch).collect()
    }

    fn check(model: Model, days_before: &[&str], expected: &[(usize, i128)]) {
        let shares = model.shares(&touches(days_before), Some(3 * ONE));
        let credits: Vec<_> = shares.iter().map(|share| (share.touch, share.credit)).collect();
        assert_eq!(credits, expected, "{model:?} {days_before:?}");
        assert_eq!(
            shares.iter().filter_map(|share| share.value).sum::<i128>(),
            if expected.is_empty() { 0 } else { 3 * ONE }
        );
    }

    #[test]
    fn one_touch_takes_all_where_only_one_counts() {
        check(Model::First, &["-3", "2", "-1"], &[(0, ONE)]);
        check(Model::Last, &["-3", "2", "-1"], &[(2, ONE)]);
        check(Model::LastNonDirect, &["3", "2", "-1"], &[(1, ONE)]);
        check(Model::LastNonDirect, &["-3", "-2"], &[(1, ONE)]);
    }

    #[test]
    fn every_model_gives_a_single_touch_everything_and_nothing_to_nobody() {
        for model in Model::ALL {
            check(model, &["365"], &[(0, ONE)]);
            check(model, &["-0"], &[(0, ONE)]);
            check(model, &[], &[]);
        }
    }

    #[test]
    fn linear_shares_alike() {
        check(Model::Linear, &["9", "9", "-1"], &[(0, 3_333), (1, 3_333), (2, 3_334)]);
    }

    #[test]
    fn position_gives_40_20_40() {
        check(Model::Position, &["4", "3", "2", "1"], &[(0, 4_000), (1, 1_000), (2, 1_000), (3, 4_000)]);
        check(Model::Position, &["3", "2", "1"], &[(0, 4_000), (1, 2_000), (2, 4_000)]);
        check(Model::Position, &["2", "1"], &[(0, 5_000), (1, 5_000)]);
    }

    #[test]
    fn time_decay_halves_in_seven_days() {
        check(Model::TimeDecay, &["14", "7", "0"], &[(0, 1_429), (1, 2_857), (2, 5_714)]);
        // The age of the whole journey does not matter, only the time between its touches.
        check(Model::TimeDecay, &["28", "21", "14"], &[(0, 1_429), (1, 2_857), (2, 5_714)]);
        check(Model::TimeDecay, &["5", "5"], &[(0, 5_000), (1, 5_000)]);
    }

    fn journeys() -> impl Strategy<Value = (Vec<Touch>, Option<i128>)> {
        let touch = (0..400 * DAY_US, any::<bool>()).prop_map(|(at_us, is_direct)| Touch { at_us, is_direct });
        let touches = proptest::collection::vec(touch, 1..40).prop_map(|mut touches| {
            touches.sort_by_key(|touch| touch.at_us);
            touches
        });
        // Refunds, amounts smaller than the number of touches, and the largest that the lake holds.
        let largest = 10_i128.pow(18) - 1;
        (touches, proptest::option::of(prop_oneof![-60..60_i128, -10_000_000..10_000_000_i128, -largest..=largest]))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

        #[test]
        fn credits_sum_to_one_and_to_the_value((touches, value) in journeys()) {
            for model in Model::ALL {
                let shares = model.shares(&touches, value);
                prop_assert_eq!(shares.iter().map(|share| share.credit).sum::<i128>(), ONE);
                prop_assert!(shares.iter().all(|share| share.credit >= 0 && share.value.is_some() == value.is_some()));
                prop_assert!(shares.is_sorted_by_key(|share| share.touch) && shares.len() <= touches.len());
                if let Some(value) = value {
                    let values = || shares.iter().filter_map(|share| share.value);
                    prop_assert_eq!(values().sum::<i128>(), value);
                    prop_assert!(values().all(|share| share == 0 || share.signum() == value.signum()));
                }
            }
        }
    }
}
