//! Requests by the second, with the crate `governor`, on our clock and in bounded memory.

use std::convert::Infallible;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use touchline_schemas::clock::SharedClock;

/// A rate, and how much of it each `K` has used: a bucket of `burst` requests that fills up at the rate.
#[derive(Debug)]
pub struct Rate<K: Clone + Eq + Hash> {
    limiter: RateLimiter<K, Buckets<K>, SteadyClock, StateInformationMiddleware>,
    buckets: Buckets<K>,
    clock: SteadyClock,
    /// The time in which one request comes back.
    interval: Duration,
    burst: u32,
}

impl<K: Clone + Eq + Hash> Rate<K> {
    /// `count` requests in each `time`, and `burst` at once; none if it is no limit. At most `most_remembered` are
    /// remembered.
    pub fn new(count: u32, time: Duration, burst: u32, most_remembered: usize, clock: SteadyClock) -> Option<Self> {
        let interval = time.checked_div(count)?;
        let quota = Quota::with_period(interval)?.allow_burst(NonZeroU32::new(burst)?);
        let buckets = Buckets(Arc::new(Cache::new(most_remembered)));
        let limiter = RateLimiter::new(quota, buckets.clone(), clock.clone());
        Some(Self { limiter, buckets, clock, interval, burst })
    }

    /// Counts one request: how many are left, or in how many seconds, rounded up, there is room for one.
    pub fn take(&self, key: &K) -> Result<u32, u32> {
        match self.limiter.check_key(key) {
            Ok(bucket) => Ok(bucket.remaining_burst_capacity()),
            Err(wait) => Err(seconds(wait.wait_time_from(self.clock.now())).max(1)),
        }
    }

    /// Takes back what was counted.
    pub fn give_back(&self, key: &K) {
        let interval = Nanos::from(self.interval);
        let returned = |full_at: Option<Nanos>| Ok(((), full_at.unwrap_or_default().saturating_sub(interval)));
        let Ok(()): Result<(), Infallible> = self.buckets.measure_and_replace(key, returned);
    }

    /// The limit as an item of `RateLimit-Policy`: so many at once, which come back within so many seconds.
    pub fn policy(&self, name: &str) -> String {
        format!("\"{name}\";q={};w={}", self.burst, self.filled_in_s(0).max(1))
    }

    /// What is left of it as an item of `RateLimit`, and in how many seconds all of it is back.
    pub fn left(&self, name: &str, left: u32) -> String {
        format!("\"{name}\";r={left};t={}", self.filled_in_s(left))
    }

    fn filled_in_s(&self, left: u32) -> u32 {
        seconds(self.interval.saturating_mul(self.burst.saturating_sub(left)))
    }
}

/// Seconds, rounded up.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
}

/// The buckets of those who asked lately. One that is forgotten is full when its owner comes again; who asks again and again is
/// not forgotten because of others who asked once.
#[derive(Debug)]
struct Buckets<K>(Arc<Cache<K, Arc<InMemoryState>>>);

impl<K> Clone for Buckets<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Clone + Eq + Hash> StateStore for Buckets<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let Ok(bucket): Result<_, Infallible> = self.0.get_or_insert_with(key, || Ok(Arc::default()));
        bucket.measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

/// Time that only goes forward: whoever sets the machine's clock back must not lock everybody out.
#[derive(Debug, Clone)]
pub struct SteadyClock {
    source: SharedClock,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    at_us: i64,
    elapsed_us: u64,
}

impl SteadyClock {
    /// Time from now on, as `source` has it.
    pub fn new(source: SharedClock) -> Self {
        let at_us = source.now().timestamp_micros();
        Self { source, seen: Arc::new(Mutex::new(Seen { at_us, elapsed_us: 0 })) }
    }
}

impl GovernorClock for SteadyClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let mut seen = self.seen.lock();
        let at_us = self.source.now().timestamp_micros();
        seen.elapsed_us += u64::try_from(at_us - seen.at_us).unwrap_or(0);
        seen.at_us = at_us;
        Nanos::new(seen.elapsed_us.saturating_mul(1_000))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use touchline_schemas::MockClock;

    use super::*;
    use crate::test_support::start;

    fn rate(count: u32, time_s: u64, burst: u32) -> (Rate<u64>, Arc<MockClock>) {
        let clock = Arc::new(MockClock::at(start()));
        let steady = SteadyClock::new(clock.clone());
        (Rate::new(count, Duration::from_secs(time_s), burst, 1_000, steady).unwrap(), clock)
    }

    #[test]
    fn a_burst_is_let_through_and_comes_back_at_the_rate() {
        let (rate, clock) = rate(2, 1, 3);
        let steps: [(i64, Result<u32, u32>); 9] = [
            (0, Ok(2)),
            (0, Ok(1)),
            (0, Ok(0)),
            (0, Err(1)),
            (499, Err(1)),
            (1, Ok(0)),
            (0, Err(1)),
            (10_000, Ok(2)),
            (0, Ok(1)),
        ];
        for (step, (ms, expected)) in steps.into_iter().enumerate() {
            clock.advance(TimeDelta::milliseconds(ms));
            assert_eq!(rate.take(&7), expected, "step {step}");
        }
        assert_eq!(rate.take(&8), Ok(2));
    }

    #[test]
    fn the_wait_that_is_told_is_long_enough_and_no_second_too_long() {
        for (count, time_s, ms) in [(1, 60, 0), (1, 60, 59_000), (7, 60, 100), (10, 1, 0)] {
            let (rate, clock) = rate(count, time_s, 1);
            assert_eq!(rate.take(&7), Ok(0));
            clock.advance(TimeDelta::milliseconds(ms));
            let wait_s = rate.take(&7).unwrap_err();
            clock.advance(TimeDelta::seconds(i64::from(wait_s)) - TimeDelta::milliseconds(1_000));
            assert!(wait_s == 1 || rate.take(&7).is_err(), "{count} in {time_s} s: {wait_s} s");
            clock.advance(TimeDelta::milliseconds(1_000));
            assert_eq!(rate.take(&7), Ok(0), "{count} in {time_s} s: {wait_s} s");
        }
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let (rate, clock) = rate(1, 60, 2);
        for _ in 0..5 {
            assert_eq!(rate.take(&7), Ok(1));
            rate.give_back(&7);
        }
        clock.advance(TimeDelta::seconds(1));
        rate.give_back(&7);
        // And no more than it holds.
        assert_eq!([rate.take(&7), rate.take(&7)], [Ok(1), Ok(0)]);
        assert!(rate.take(&7).is_err());
    }

    #[test]
    fn fields_say_how_much_at_once_and_when_it_is_back() {
        for (count, time_s, burst, policy, left) in [
            (200_000, 1, 400_000, "\"x\";q=400000;w=2", "\"x\";r=1;t=2"),
            (60, 60, 300, "\"x\";q=300;w=300", "\"x\";r=1;t=299"),
            (10_000_000, 1, 2, "\"x\";q=2;w=1", "\"x\";r=1;t=1"),
        ] {
            let (rate, _) = rate(count, time_s, burst);
            assert_eq!((rate.policy("x").as_str(), rate.left("x", 1).as_str()), (policy, left));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let (rate, clock) = rate(1, 1, 1);
        assert_eq!(rate.take(&7), Ok(0));
        clock.advance(TimeDelta::hours(-3));
        assert_eq!(rate.take(&7), Err(1));
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(rate.take(&7), Ok(0));
    }

    #[test]
    fn a_million_strangers_fill_no_memory_and_hide_nobody() {
        let (rate, _) = rate(1, 3_600, 10);
        for stranger in 0..1_000_000 {
            rate.take(&stranger).unwrap();
            if stranger % 10 == 0 {
                let _ = rate.take(&u64::MAX);
            }
        }
        assert!(rate.buckets.0.len() <= 1_000);
        assert!(rate.take(&u64::MAX).is_err());
    }

    #[test]
    fn no_rate_is_no_limit() {
        let clock = SteadyClock::new(Arc::new(MockClock::at(start())));
        assert!(Rate::<u64>::new(0, Duration::from_secs(1), 5, 10, clock).is_none());
    }
}
