//! Kaplan–Meier: how long it takes until something happens, when it has not yet happened to everybody.
//!
//! Who is still waiting (*censored*) has waited at least so long. Leaving these out, or counting them as done, makes
//! times look shorter than they are. Kaplan, Meier, *Nonparametric estimation from incomplete observations*, JASA 53
//! (1958).

use std::collections::BTreeMap;

/// A quantile is reached when survival falls to its level; products of fractions reach it up to this rounding.
const ROUNDING: f64 = 1e-9;

/// How many it happened to, and how many were last seen waiting, at one time since their start. Rows with the same time
/// are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Time since the start, in any unit.
    pub time: u64,
    /// Those it happened to then.
    pub happened: u64,
    /// Those who had waited so long when they were last seen.
    pub censored: u64,
}

/// A row of the table: one time at which something happened or somebody was last seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Time since the start.
    pub time: u64,
    /// Those who were still waiting just before. Who is censored at a time was waiting then.
    pub at_risk: u64,
    /// Those it happened to then.
    pub happened: u64,
    /// Those who were last seen then.
    pub censored: u64,
    /// The probability of still waiting after this time.
    pub survival: f64,
}

/// The survival function: a step for each time, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Survival {
    /// The table.
    pub steps: Vec<Step>,
}

/// Times by which a quarter, half and three quarters have come. `None` where not so many have, as far as was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quartiles {
    /// By which a quarter have.
    pub first: Option<u64>,
    /// By which half have.
    pub median: Option<u64>,
    /// By which three quarters have.
    pub third: Option<u64>,
}

/// The product-limit estimate: `S(t) = Π (1 - dᵢ / nᵢ)` over the times up to `t`, with `d` those it happened to and `n`
/// those at risk. The rows may come in any order.
pub fn kaplan_meier(rows: &[Waited]) -> Survival {
    // Wide enough for any sum of counts.
    let mut times: BTreeMap<u64, (u128, u128)> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.happened > 0 || row.censored > 0) {
        let (happened, censored) = times.entry(row.time).or_default();
        *happened += u128::from(row.happened);
        *censored += u128::from(row.censored);
    }
    let mut at_risk: u128 = times.values().map(|(happened, censored)| happened + censored).sum();
    let mut survival = 1.0;
    let step = |(time, (happened, censored)): (u64, (u128, u128))| {
        // Above 0: those of this time are among them.
        survival *= (at_risk - happened) as f64 / at_risk as f64;
        let step =
            Step { time, at_risk: shown(at_risk), happened: shown(happened), censored: shown(censored), survival };
        at_risk -= happened + censored;
        step
    };
    Survival { steps: times.into_iter().map(step).collect() }
}

fn shown(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Survival {
    /// The probability of still waiting after `time`.
    pub fn at(&self, time: u64) -> f64 {
        let past = self.steps.partition_point(|step| step.time <= time);
        past.checked_sub(1).map_or(1.0, |last| self.steps[last].survival)
    }

    /// The first time at which at least the share `p` have come: the smallest `t` with `S(t) ≤ 1 - p`. `None` if that
    /// was not seen, or if `p` is not above 0 and at most 1.
    pub fn quantile(&self, p: f64) -> Option<u64> {
        if !(p > 0.0 && p <= 1.0) {
            return None;
        }
        self.steps.iter().find(|step| step.survival <= 1.0 - p + ROUNDING).map(|step| step.time)
    }

    /// The first time at which half have come.
    pub fn median(&self) -> Option<u64> {
        self.quantile(0.5)
    }

    /// Median and quartiles.
    pub fn quartiles(&self) -> Quartiles {
        Quartiles { first: self.quantile(0.25), median: self.median(), third: self.quantile(0.75) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(time: u64, happened: u64, censored: u64) -> Waited {
        Waited { time, happened, censored }
    }

    fn check(rows: &[Waited], survival: &[(u64, u64, f64)], quartiles: [Option<u64>; 3]) {
        let found = kaplan_meier(rows);
        let table: Vec<_> = found.steps.iter().map(|step| (step.time, step.at_risk)).collect();
        assert_eq!(table, survival.iter().map(|(time, at_risk, _)| (*time, *at_risk)).collect::<Vec<_>>());
        for (step, (_, _, expected)) in found.steps.iter().zip(survival) {
            assert!((step.survival - expected).abs() < 5e-5, "{step:?}, not {expected}");
        }
        let [first, median, third] = quartiles;
        assert_eq!(found.quartiles(), Quartiles { first, median, third });
    }

    /// The 6-MP arm of Freireich et al. (1963), the textbooks' example: 21 patients, weeks of remission, 12 censored.
    #[test]
    fn the_textbook_table_comes_out() {
        let rows = [
            row(6, 3, 1),
            row(7, 1, 0),
            row(9, 0, 1),
            row(10, 1, 1),
            row(11, 0, 1),
            row(13, 1, 0),
            row(16, 1, 0),
            row(17, 0, 1),
            row(19, 0, 1),
            row(20, 0, 1),
            row(22, 1, 0),
            row(23, 1, 0),
            row(25, 0, 1),
            row(32, 0, 2),
            row(34, 0, 1),
            row(35, 0, 1),
        ];
        let table = [
            (6, 21, 0.8571),
            (7, 17, 0.8067),
            (9, 16, 0.8067),
            (10, 15, 0.7529),
            (11, 13, 0.7529),
            (13, 12, 0.6902),
            (16, 11, 0.6275),
            (17, 10, 0.6275),
            (19, 9, 0.6275),
            (20, 8, 0.6275),
            (22, 7, 0.5378),
            (23, 6, 0.4482),
            (25, 5, 0.4482),
            (32, 4, 0.4482),
            (34, 2, 0.4482),
            (35, 1, 0.4482),
        ];
        check(&rows, &table, [Some(13), Some(23), None]);
    }

    /// 10 start. 2 at 1: 8/10. 1 of 8 at 2, then 2 censored: 7/8 of it, 7/10. 2 of 5 at 3: 3/5, 42/100. 1 of 3 at 5, 1
    /// censored: 2/3, 28/100. The last is censored at 9.
    #[test]
    fn survival_is_that_computed_by_hand() {
        let rows = [row(9, 0, 1), row(1, 2, 0), row(3, 2, 0), row(2, 1, 1), row(2, 0, 1), row(5, 1, 1), row(4, 0, 0)];
        let table = [(1, 10, 0.8), (2, 8, 0.7), (3, 5, 0.42), (5, 3, 0.28), (9, 1, 0.28)];
        check(&rows, &table, [Some(2), Some(3), None]);
    }

    /// Products of fractions miss a half by a rounding: 9/10 · 8/9 · 7/8 · 6/7 · 5/6.
    #[test]
    fn a_quantile_is_reached_exactly() {
        let rows: Vec<_> = (1..=10).map(|time| row(time, 1, 0)).collect();
        let found = kaplan_meier(&rows);
        assert_eq!(found.median(), Some(5));
        assert_eq!(found.quantile(0.9), Some(9));
        assert_eq!(found.quantile(1.0), Some(10));
    }

    #[test]
    fn where_too_few_have_come_there_is_no_median() {
        check(&[], &[], [None; 3]);
        check(&[row(7, 0, 5)], &[(7, 5, 1.0)], [None; 3]);
        check(&[row(7, 1, 3)], &[(7, 4, 0.75)], [Some(7), None, None]);
        check(&[row(0, 4, 0)], &[(0, 4, 0.0)], [Some(0); 3]);
        for p in [0.0, -1.0, 1.1, f64::NAN] {
            assert_eq!(kaplan_meier(&[row(0, 4, 0)]).quantile(p), None);
        }
    }

    #[test]
    fn survival_holds_until_the_next_step() {
        let found = kaplan_meier(&[row(2, 1, 0), row(5, 1, 0), row(8, 0, 2)]);
        let at = [0, 1, 2, 4, 5, 100].map(|time| found.at(time));
        assert_eq!(at, [1.0, 1.0, 0.75, 0.75, 0.5, 0.5]);
    }

    #[test]
    fn counts_of_any_size_do_not_stop_the_process() {
        let found = kaplan_meier(&[row(1, u64::MAX, u64::MAX), row(2, u64::MAX, 1)]);
        assert!(found.steps.iter().all(|step| (0.0..=1.0).contains(&step.survival)), "{found:?}");
    }

    proptest! {
        #[test]
        fn without_censoring_it_is_the_share_still_waiting(times in proptest::collection::vec(0..50_u64, 1..100)) {
            let rows: Vec<_> = times.iter().map(|time| row(*time, 1, 0)).collect();
            let found = kaplan_meier(&rows);
            for time in 0..50 {
                let waiting = times.iter().filter(|other| **other > time).count();
                prop_assert!((found.at(time) - waiting as f64 / times.len() as f64).abs() < 1e-12);
            }
        }

        #[test]
        fn survival_never_rises_and_censoring_never_lowers_it(
            rows in proptest::collection::vec((0..30_u64, 0..4_u64, 0..4_u64), 0..40),
        ) {
            let rows: Vec<_> = rows.iter().map(|(time, happened, censored)| row(*time, *happened, *censored)).collect();
            let found = kaplan_meier(&rows);
            prop_assert!(found.steps.windows(2).all(|pair| pair[1].survival <= pair[0].survival));
            let as_done = |row: &Waited| Waited { happened: row.happened + row.censored, censored: 0, ..*row };
            let counted_as_done: Vec<_> = rows.iter().map(as_done).collect();
            let done = kaplan_meier(&counted_as_done);
            prop_assert!((0..30).all(|time| found.at(time) >= done.at(time) - 1e-12));
        }
    }
}
