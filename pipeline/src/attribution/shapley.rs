//! Shapley attribution: a channel's contribution, averaged over all orders in which channels could have been added.
//!
//! The worth of a coalition of channels is the sum over the journeys all of whose channels are in it. A channel's
//! Shapley value is the mean, over all orders of all channels, of what the channel adds to the worth of those before it.
//! Everything is counted in whole units, so that the values sum to the worth of all channels exactly.

use super::credit::whole_units;

/// Up to so many channels, all coalitions are looked at; above, orders are sampled.
pub const EXACT_CHANNELS: usize = 12;
/// Orders that are sampled.
pub const SAMPLES: u32 = 10_000;
/// Most channels: every sampled order is one of all of them.
pub const MAX_CHANNELS: usize = 1_000;
/// Most channels of all sets together, each set counted for itself: every sampled order goes over all of them.
pub const MAX_SET_SIZES: usize = 100_000;

/// Journeys with the same set of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSet {
    /// The channels, each once.
    pub channels: Vec<usize>,
    /// What the journeys are worth together, in units.
    pub worth: i128,
}

/// There are more than [`MAX_CHANNELS`] channels, or more than [`MAX_SET_SIZES`] in all sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyChannels;

/// The Shapley value of each of `channels` channels, in whole units that sum to the worth of all journeys. `seed` decides
/// which orders are sampled, if any are.
pub fn shapley(channels: usize, sets: &[ChannelSet], seed: u64) -> Result<Vec<i128>, TooManyChannels> {
    if channels <= EXACT_CHANNELS {
        return Ok(exact(channels, sets));
    }
    if channels > MAX_CHANNELS || sets.iter().map(|set| set.channels.len()).sum::<usize>() > MAX_SET_SIZES {
        return Err(TooManyChannels);
    }
    Ok(sampled(channels, sets, SAMPLES, seed))
}

/// Over all coalitions `S` without a channel: `|S|! (n - |S| - 1)! (v(S ∪ channel) - v(S))`, divided by `n!`.
fn exact(channels: usize, sets: &[ChannelSet]) -> Vec<i128> {
    let worth = coalitions(channels, sets);
    let factorials: Vec<i128> = (0..=channels as i128).map(|n| (1..=n).product()).collect();
    let contribution = |channel: usize| {
        let without = (0..worth.len()).filter(|coalition| coalition & (1 << channel) == 0);
        let weighted = without.map(|coalition| {
            let size = coalition.count_ones() as usize;
            factorials[size] * factorials[channels - size - 1] * (worth[coalition | (1 << channel)] - worth[coalition])
        });
        weighted.sum()
    };
    let contributions: Vec<i128> = (0..channels).map(contribution).collect();
    whole_units(&contributions, factorials[channels])
}

/// The worth of each coalition; bit `c` of its place says whether channel `c` is in it.
fn coalitions(channels: usize, sets: &[ChannelSet]) -> Vec<i128> {
    let mut worth = vec![0; 1 << channels];
    for set in sets {
        worth[set.channels.iter().fold(0, |coalition, channel| coalition | (1 << channel))] += set.worth;
    }
    // Each coalition takes over what its parts are worth, one channel after the other.
    for channel in 0..channels {
        for coalition in 0..worth.len() {
            if coalition & (1 << channel) != 0 {
                worth[coalition] += worth[coalition & !(1 << channel)];
            }
        }
    }
    worth
}

/// The mean over sampled orders. The worth of a set comes about when the last of its channels is added.
fn sampled(channels: usize, sets: &[ChannelSet], samples: u32, seed: u64) -> Vec<i128> {
    let mut random = SplitMix(seed);
    let mut order: Vec<usize> = (0..channels).collect();
    let mut place_of = vec![0; channels];
    let mut contributions = vec![0_i128; channels];
    for _ in 0..samples {
        for last in (1..channels).rev() {
            order.swap(last, random.below(last as u64 + 1) as usize);
        }
        order.iter().enumerate().for_each(|(place, channel)| place_of[*channel] = place);
        for set in sets {
            if let Some(channel) = set.channels.iter().max_by_key(|channel| place_of[**channel]) {
                contributions[*channel] += set.worth;
            }
        }
    }
    whole_units(&contributions, i128::from(samples))
}

/// The generator SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same orders in every release.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `limit`; the bias of 2⁻⁶⁴ `limit` is far below what sampling does.
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(channels: &[usize], worth: i128) -> ChannelSet {
        ChannelSet { channels: channels.to_vec(), worth }
    }

    /// A alone converts 4, B alone 6, both together 10 more: v(A) = 4, v(B) = 6, v(AB) = 20.
    /// A adds 4 if it comes first and 14 if it comes second: 9. B adds 6 or 16: 11.
    #[test]
    fn two_channels_get_what_was_computed_by_hand() {
        let sets = [set(&[0], 4), set(&[1], 6), set(&[0, 1], 10)];
        assert_eq!(shapley(2, &sets, 0).unwrap(), [9, 11]);
        assert_eq!(shapley(0, &[], 0).unwrap(), [0; 0]);
        assert_eq!(shapley(1, &[set(&[0], -5)], 0).unwrap(), [-5]);
    }

    #[test]
    fn what_cannot_be_divided_goes_to_the_last() {
        assert_eq!(shapley(3, &[set(&[0, 1, 2], 10_000)], 0).unwrap(), [3_333, 3_333, 3_334]);
        assert_eq!(shapley(3, &[set(&[0, 1, 2], -10_000)], 0).unwrap(), [-3_333, -3_333, -3_334]);
    }

    #[test]
    fn sampling_comes_near_sums_to_the_whole_and_repeats_itself() {
        // 20 channels in a ring, each pair of neighbours worth one: every channel's value is one.
        let sets: Vec<_> = (0..20).map(|channel| set(&[channel, (channel + 1) % 20], 10_000)).collect();
        let values = shapley(20, &sets, 7).unwrap();
        assert_eq!(values.iter().sum::<i128>(), 200_000);
        assert!(values.iter().all(|value| (value - 10_000).abs() < 300), "{values:?}");
        assert_eq!(values, shapley(20, &sets, 7).unwrap());
        assert_ne!(values, shapley(20, &sets, 8).unwrap());
    }

    #[test]
    fn what_would_take_too_long_is_refused() {
        assert_eq!(shapley(MAX_CHANNELS + 1, &[set(&[0], 1)], 0), Err(TooManyChannels));
        let all: Vec<usize> = (0..MAX_CHANNELS).collect();
        let sets = vec![set(&all, 1); MAX_SET_SIZES / MAX_CHANNELS + 1];
        assert_eq!(shapley(MAX_CHANNELS, &sets, 0), Err(TooManyChannels));
        // Few channels have few sets, and these are looked at exactly.
        assert_eq!(shapley(2, &vec![set(&[0, 1], 2); MAX_SET_SIZES], 0).unwrap(), [100_000, 100_000]);
    }

    /// All orders of `0..channels`.
    fn orders(channels: usize) -> Vec<Vec<usize>> {
        if channels == 0 {
            return vec![Vec::new()];
        }
        let shorter = orders(channels - 1);
        let inserted = shorter.iter().flat_map(|order| {
            (0..channels).map(move |place| {
                let mut order = order.clone();
                order.insert(place, channels - 1);
                order
            })
        });
        inserted.collect()
    }

    fn worth(coalition: &[usize], sets: &[ChannelSet]) -> i128 {
        let inside = |set: &&ChannelSet| set.channels.iter().all(|channel| coalition.contains(channel));
        sets.iter().filter(inside).map(|set| set.worth).sum()
    }

    /// The definition, word for word: every order of all channels, and what each channel adds in it.
    fn by_definition(channels: usize, sets: &[ChannelSet]) -> Vec<i128> {
        let orders = orders(channels);
        let mut contributions = vec![0; channels];
        // Few coalitions occur in many orders.
        let mut known = std::collections::HashMap::new();
        for order in &orders {
            let mut before = 0;
            for place in 0..channels {
                let mut coalition = order[..=place].to_vec();
                coalition.sort_unstable();
                let after = *known.entry(coalition).or_insert_with_key(|coalition| worth(coalition, sets));
                contributions[order[place]] += after - before;
                before = after;
            }
        }
        whole_units(&contributions, orders.len() as i128)
    }

    fn games() -> impl Strategy<Value = (usize, Vec<ChannelSet>)> {
        let worths = prop_oneof![Just(10_000_i128), -50_000..500_000_i128, -10_i128.pow(18)..10_i128.pow(18)];
        (1..=8_usize).prop_flat_map(move |channels| {
            let set = (proptest::collection::btree_set(0..channels, 1..=channels), worths.clone())
                .prop_map(|(channels, worth)| ChannelSet { channels: channels.into_iter().collect(), worth });
            (Just(channels), proptest::collection::vec(set, 0..12))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn coalitions_give_what_all_orders_give((channels, sets) in games()) {
            let values = exact(channels, &sets);
            prop_assert_eq!(&values, &by_definition(channels, &sets));
            prop_assert_eq!(values.iter().sum::<i128>(), sets.iter().map(|set| set.worth).sum::<i128>());
        }

        #[test]
        fn sampling_sums_to_the_whole((channels, sets) in games(), seed in any::<u64>()) {
            let values = sampled(channels, &sets, 100, seed);
            prop_assert_eq!(values.iter().sum::<i128>(), sets.iter().map(|set| set.worth).sum::<i128>());
        }
    }
}
