//! Times as the database keeps them: to the microsecond, which is what PostgreSQL and the lake keep too.

use chrono::{DateTime, Utc};
use uuid::{NoContext, Timestamp, Uuid};

/// `time` without what is finer than a microsecond, so that a row that was read equals the row that was written.
pub(super) fn micros(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

/// A new id that sorts by `now`.
pub(super) fn new_id(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// 2026-03-01T12:00:00Z and `seconds`.
    pub fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_772_366_400 + seconds, 0).unwrap()
    }

    #[test]
    fn nanoseconds_are_cut() {
        assert_eq!(micros(DateTime::from_timestamp(1, 123_456_789).unwrap()).timestamp_subsec_nanos(), 123_456_000);
    }

    #[test]
    fn ids_sort_by_time() {
        assert!(new_id(at(0)) < new_id(at(1)));
    }
}
