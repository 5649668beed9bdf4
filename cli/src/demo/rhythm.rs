//! When people shop: more in the evening than at night, more on Sunday than on Friday, a little more every day.

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::chance::Dice;

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// How busy each hour of the day is, UTC.
const HOUR_WEIGHTS: [u32; 24] =
    [10, 6, 4, 3, 3, 5, 12, 24, 36, 44, 50, 54, 58, 52, 50, 50, 54, 62, 74, 88, 92, 76, 48, 24];
/// How busy each day of the week is, from Monday.
const WEEKDAY_WEIGHTS: [u32; 7] = [98, 94, 96, 100, 88, 110, 124];
/// How much busier the window's last day is than its first, in percent.
const GROWTH_PERCENT: u64 = 25;

/// The busyness of every hour of a window, summed up, so that an instant can be drawn from it.
#[derive(Debug)]
pub struct Rhythm {
    start_ms: i64,
    end_ms: i64,
    summed_weights: Vec<u64>,
}

impl Rhythm {
    /// The rhythm of the `days` before `end`.
    pub fn new(end: DateTime<Utc>, days: i64) -> Self {
        let end_ms = end.timestamp_millis();
        let start_ms = end_ms - days * DAY_MS;
        let hours = u64::try_from(days * 24).unwrap_or(0);
        let mut sum = 0;
        let summed_weights = (0..hours)
            .map(|hour| {
                let at = instant(start_ms + i64::try_from(hour).unwrap_or(0) * HOUR_MS);
                let trend = 100 + GROWTH_PERCENT * hour / hours;
                sum += trend
                    * u64::from(HOUR_WEIGHTS[at.hour() as usize])
                    * u64::from(WEEKDAY_WEIGHTS[at.weekday().num_days_from_monday() as usize]);
                sum
            })
            .collect();
        Self { start_ms, end_ms, summed_weights }
    }

    /// The end of the window, in Unix milliseconds; no instant reaches it.
    pub const fn end_ms(&self) -> i64 {
        self.end_ms
    }

    /// An instant of the window, in Unix milliseconds.
    pub fn draw(&self, dice: &mut Dice) -> i64 {
        let total = self.summed_weights.last().copied().unwrap_or(0);
        let at = u64::try_from(dice.between(0, i64::try_from(total).unwrap_or(1) - 1)).unwrap_or(0);
        let hour = self.summed_weights.partition_point(|sum| *sum <= at);
        self.start_ms + i64::try_from(hour).unwrap_or(0) * HOUR_MS + dice.between(0, HOUR_MS - 1)
    }

    /// The instant at which somebody comes back who left at `left_ms`: some days later, at a likely hour.
    ///
    /// `None` when that is not before the window's end.
    pub fn draw_return(&self, dice: &mut Dice, left_ms: i64, mean_days: f64) -> Option<i64> {
        let hours: [usize; 24] = std::array::from_fn(|hour| hour);
        let earliest_ms = left_ms + 2 * HOUR_MS;
        let day_ms = (left_ms + days_to_ms(dice.wait(mean_days))).div_euclid(DAY_MS) * DAY_MS;
        let hour = i64::try_from(*dice.weighted(&hours, |hour| HOUR_WEIGHTS[*hour])).unwrap_or(0);
        let mut at_ms = day_ms + hour * HOUR_MS + dice.between(0, HOUR_MS - 1);
        while at_ms < earliest_ms {
            at_ms += DAY_MS;
        }
        (at_ms < self.end_ms).then_some(at_ms)
    }
}

/// The instant of `unix_ms`.
pub fn instant(unix_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(unix_ms).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "days of one demo are far from the ends of i64")]
fn days_to_ms(days: f64) -> i64 {
    (days * DAY_MS as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evenings_are_busier_than_nights_and_all_instants_are_in_the_window() {
        let end = "2026-03-31T12:34:56Z".parse().expect("valid");
        let rhythm = Rhythm::new(end, 30);
        let mut dice = Dice::new(3);
        let mut by_hour = [0; 24];
        for _ in 0..20_000 {
            let at_ms = rhythm.draw(&mut dice);
            assert!((rhythm.end_ms() - 30 * DAY_MS..rhythm.end_ms()).contains(&at_ms));
            by_hour[instant(at_ms).hour() as usize] += 1;
        }
        assert!(by_hour[20] > 10 * by_hour[3], "{by_hour:?}");
    }

    #[test]
    fn nobody_comes_back_before_two_hours_or_after_the_end() {
        let rhythm = Rhythm::new("2026-03-31T12:00:00Z".parse().expect("valid"), 30);
        let mut dice = Dice::new(4);
        let left_ms = rhythm.end_ms() - 3 * DAY_MS;
        for _ in 0..5_000 {
            if let Some(at_ms) = rhythm.draw_return(&mut dice, left_ms, 2.0) {
                assert!((left_ms + 2 * HOUR_MS..rhythm.end_ms()).contains(&at_ms));
            }
        }
    }
}
