//! By which parts of time rows are kept apart.

use chrono_tz::Tz;

use crate::days::{Days, HOUR_US, Interval};

/// Parts of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// None: the whole range is one.
    Whole,
    /// Full hours of UTC, which no zone repeats or leaves out.
    Hours,
    /// The days of a time zone.
    Days(Tz),
    /// Longer intervals of the days of a time zone.
    Intervals(Interval, Tz),
}

/// Numbers the parts of a calendar: the next one's number is one larger. It remembers what it found, so a copy for each
/// thread is better than one for all.
#[derive(Debug, Clone)]
pub enum Parts {
    /// Of [`Calendar::Whole`]: its only part is 0.
    Whole,
    /// Of [`Calendar::Hours`]: since 1970.
    Hours,
    /// Of [`Calendar::Days`]: as Arrow counts them.
    Days(Days),
    /// Of [`Calendar::Intervals`]: as [`Interval`] counts them.
    Intervals(Interval, Days),
}

impl Parts {
    /// The parts of `calendar`.
    pub fn of(calendar: Calendar) -> Self {
        match calendar {
            Calendar::Whole => Self::Whole,
            Calendar::Hours => Self::Hours,
            Calendar::Days(zone) => Self::Days(Days::new(zone)),
            Calendar::Intervals(interval, zone) => Self::Intervals(interval, Days::new(zone)),
        }
    }

    /// The part in which an instant lies.
    #[inline]
    pub fn part_of(&mut self, at_us: i64) -> i32 {
        match self {
            Self::Whole => 0,
            Self::Hours => i32::try_from(at_us.div_euclid(HOUR_US)).unwrap_or(i32::MAX),
            Self::Days(days) => days.day_of(at_us),
            Self::Intervals(interval, days) => interval.of_day(days.day_of(at_us)),
        }
    }

    /// The first instant of a part; none of the whole, and of a day that the zone left out.
    pub fn begin_us(&mut self, part: i32) -> Option<i64> {
        match self {
            Self::Whole => None,
            Self::Hours => Some(i64::from(part) * HOUR_US),
            Self::Days(days) => days.begin_us(part),
            Self::Intervals(interval, days) => {
                // A zone may have left out the first day.
                let first = interval.first_day(part);
                (first..=first.saturating_add(1)).find_map(|day| days.begin_us(day))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn an_instant_lies_in_the_part_that_began_last() {
        let us = |text: &str| text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros();
        let berlin = Tz::Europe__Berlin;
        for (calendar, at, begin) in [
            (Calendar::Hours, "2026-03-29T00:59:59.999999Z", "2026-03-29T00:00:00Z"),
            (Calendar::Hours, "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z"),
            (Calendar::Days(berlin), "2026-03-29T21:59:59Z", "2026-03-28T23:00:00Z"),
            (Calendar::Intervals(Interval::Week, berlin), "2026-03-29T21:59:59Z", "2026-03-22T23:00:00Z"),
            (Calendar::Intervals(Interval::Week, berlin), "2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z"),
            (Calendar::Intervals(Interval::Month, Tz::UTC), "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z"),
            // Samoa had no 30th of December, which was a Friday; the week began before.
            (Calendar::Intervals(Interval::Week, Tz::Pacific__Apia), "2011-12-31T12:00:00Z", "2011-12-26T10:00:00Z"),
        ] {
            let mut parts = Parts::of(calendar);
            let part = parts.part_of(us(at));
            assert_eq!(parts.begin_us(part), Some(us(begin)), "{calendar:?} {at}");
        }
        assert_eq!((Parts::Whole.part_of(5), Parts::Whole.begin_us(0)), (0, None));
    }
}
