//! One arm against the control, in one metric: effects, intervals, verdict.

use crate::lift::confidence_sequence::{AlwaysValid, PLANNED_PEOPLE, confidence_sequence};
use crate::lift::cuped::{Cuped, cuped};
use crate::lift::effect::{difference, relative};
use crate::lift::interval::Interval;
use crate::lift::moments::{Moments, PairMoments};
use crate::lift::newcombe::newcombe;
use crate::lift::sample::{Proportion, Sample};
use crate::lift::srm::{SequentialSrm, SrmChiSquared};
use crate::lift::verdict::{Better, Evidence, Judgement, judge};
use crate::lift::welch::{Welch, welch};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metric {
    /// The share of people who reached the goal.
    Conversions,
    /// What a person's goals were worth.
    Value,
}

impl Metric {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conversions => "conversion_rate",
            Self::Value => "value_per_person",
        }
    }
}

/// The people of an arm.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Side {
    /// All, and those who reached the goal.
    pub people: Proportion,
    /// Conversions before, and whether there was one after.
    pub conversions: PairMoments,
    /// Value before, and after.
    pub value: PairMoments,
    /// What the messages cost.
    pub cost: f64,
    /// People who may still reach the goal in time.
    pub open_windows: u64,
}

/// Whether people came to the arms as they should.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ShareTests {
    pub chi_squared: Option<SrmChiSquared>,
    pub sequential: Option<SequentialSrm>,
}

/// The question.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub goal: String,
    pub window_us: i64,
    pub sequence_version: Option<i64>,
    /// Control, treatment.
    pub arms: [String; 2],
    pub sides: [Side; 2],
    pub metric: Metric,
    pub shares: ShareTests,
    pub alpha: f64,
}

/// The answer.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    /// Control, treatment: people who did, or the sum of values.
    pub totals: [f64; 2],
    pub means: [Option<f64>; 2],
    /// Treatment minus control, as counted.
    pub difference: Option<f64>,
    /// Its interval for one look: Newcombe's for shares of people, else Welch's.
    pub fixed: Option<Interval>,
    pub fixed_p_value: Option<f64>,
    /// Relative to the control, with the interval of the delta method for one look.
    pub relative: Option<Welch>,
    /// Adjusted by what people did before.
    pub cuped: Option<Cuped>,
    pub always_valid: Option<AlwaysValid>,
    pub relative_always_valid: Option<AlwaysValid>,
    pub judgement: Judgement,
}

impl Comparison {
    /// Compares. The verdict is taken from the adjusted difference, at any time; beside it stands what the plain one says
    /// to somebody who looks once.
    pub fn compare(&self) -> Compared {
        let [control, treatment] = &self.sides;
        let pairs = self.sides.map(|side| match self.metric {
            Metric::Conversions => side.conversions,
            Metric::Value => side.value,
        });
        let samples = [control, treatment].map(|side| self.sample(side));
        let both = samples[0].zip(samples[1]);
        let plain = both.and_then(|(control, treatment)| difference(&control, &treatment));
        let at_once = plain.and_then(|effect| welch(&effect, self.alpha));
        let (fixed, fixed_p_value) = match self.metric {
            Metric::Conversions => {
                (newcombe(&control.people, &treatment.people, self.alpha).map(|found| found.interval), None)
            }
            Metric::Value => (at_once.map(|found| found.interval), at_once.map(|found| found.p_value)),
        };
        let relative = both.and_then(|(control, treatment)| relative(&control, &treatment));
        let cuped = cuped(&pairs[0], &pairs[1]);
        let at_any_time = |effect| confidence_sequence(&effect, self.alpha, PLANNED_PEOPLE);
        let always_valid = cuped.and_then(|found| found.difference).and_then(at_any_time);
        let evidence = Evidence {
            always_valid: always_valid.map(|found| found.interval),
            fixed_horizon: fixed,
            chi_squared: self.shares.chi_squared,
            sequential: self.shares.sequential,
        };
        Compared {
            totals: pairs.map(|pair| pair.sum_y),
            means: samples.map(|sample| sample.map(|sample| sample.mean)),
            difference: both.map(|(control, treatment)| treatment.mean - control.mean),
            fixed,
            fixed_p_value,
            relative: relative.and_then(|effect| welch(&effect, self.alpha)),
            cuped,
            always_valid,
            relative_always_valid: cuped.and_then(|found| found.relative).and_then(at_any_time),
            judgement: judge(&evidence, Better::Higher),
        }
    }

    fn sample(&self, side: &Side) -> Option<Sample> {
        match self.metric {
            Metric::Conversions => side.people.sample(),
            Metric::Value => {
                let PairMoments { n, sum_y, sum_yy, .. } = side.value;
                Moments { n, sum: sum_y, sum_of_squares: sum_yy }.sample()
            }
        }
    }

    /// What the people treated cost more than as many of the control did.
    pub fn extra_cost(&self) -> f64 {
        let [control, treatment] = &self.sides;
        let (n_control, n_treatment) = (control.people.n as f64, treatment.people.n as f64);
        let otherwise = if n_control > 0.0 { control.cost / n_control * n_treatment } else { 0.0 };
        treatment.cost - otherwise
    }
}

impl Compared {
    /// What the people treated did more than they would have otherwise, with its always-valid interval.
    pub fn incremental(&self, people: u64) -> Option<(f64, Interval)> {
        let found = self.always_valid?;
        Some((found.estimate * people as f64, found.interval.times(people as f64)?))
    }

    /// `(incremental value - cost) / cost`, with its always-valid interval; none if nothing was spent.
    pub fn return_on(&self, cost: f64, people: u64) -> Option<(f64, Interval)> {
        let (value, interval) = self.incremental(people)?;
        let on = |value: f64| (value - cost) / cost;
        (cost > 0.0).then(|| Some((on(value), Interval::new(on(interval.lower), on(interval.upper))?)))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::verdict::Verdict;

    fn side(people: u64, converted: u64, value_each: f64, cost: f64) -> Side {
        let others = people - converted;
        let conversions =
            PairMoments { n: people, sum_y: converted as f64, sum_yy: converted as f64, ..PairMoments::default() };
        let value = PairMoments {
            n: converted + others,
            sum_y: converted as f64 * value_each,
            sum_yy: converted as f64 * value_each * value_each,
            ..PairMoments::default()
        };
        Side { people: Proportion { successes: converted, n: people }, conversions, value, cost, open_windows: 0 }
    }

    fn comparison(sides: [Side; 2], metric: Metric) -> Comparison {
        Comparison {
            goal: "bought".to_owned(),
            window_us: 0,
            sequence_version: None,
            arms: ["holdout", "treatment"].map(str::to_owned),
            sides,
            metric,
            shares: ShareTests::default(),
            alpha: 0.05,
        }
    }

    #[test]
    fn shares_of_people_have_newcombes_interval() {
        // Newcombe (1998), table II: 56 of 70 against 48 of 80.
        let found = comparison([side(80, 48, 1.0, 0.0), side(70, 56, 1.0, 0.0)], Metric::Conversions).compare();
        let fixed = found.fixed.unwrap();
        assert!((fixed.lower - 0.0524315).abs() < 1e-7 && (fixed.upper - 0.3338727).abs() < 1e-7, "{fixed:?}");
        assert_eq!((found.totals, found.judgement.fixed_horizon), ([48.0, 56.0], Verdict::Win));
        // Nobody has a history: nothing is adjusted.
        let cuped = found.cuped.unwrap();
        assert_eq!((cuped.theta, cuped.variance_left), (0.0, 1.0));
        assert!((found.always_valid.unwrap().estimate - found.difference.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn value_has_welchs_interval_and_a_return() {
        let found = comparison([side(1_000, 100, 20.0, 0.0), side(4_000, 800, 20.0, 400.0)], Metric::Value);
        assert_eq!(found.extra_cost(), 400.0);
        let compared = found.compare();
        assert_eq!(compared.means, [Some(2.0), Some(4.0)]);
        let (incremental, interval) = compared.incremental(4_000).unwrap();
        assert!((incremental - 8_000.0).abs() < 1e-6 && interval.contains(incremental));
        let (on, interval) = compared.return_on(400.0, 4_000).unwrap();
        assert!((on - 19.0).abs() < 1e-9 && interval.contains(on));
        assert_eq!(compared.return_on(0.0, 4_000), None);
        assert_eq!(compared.judgement.verdict, Verdict::Win);
    }

    #[test]
    fn an_alarm_about_shares_withholds_both_verdicts() {
        let mut question = comparison([side(5_200, 520, 1.0, 0.0), side(4_800, 960, 1.0, 0.0)], Metric::Conversions);
        question.shares.chi_squared = crate::lift::srm::srm_chi_squared(&[5_200, 4_800], &[0.5, 0.5]);
        let judgement = question.compare().judgement;
        assert!(
            matches!(judgement.verdict, Verdict::Withheld(_))
                && matches!(judgement.fixed_horizon, Verdict::Withheld(_))
        );
    }
}
