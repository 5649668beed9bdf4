//! The verdict: what may be said of an effect today, or why nothing may be.

use super::interval::Interval;
use super::srm::{ALARM_BELOW, SequentialSrm, SrmChiSquared};

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// More is better: conversions, revenue.
    Higher,
    /// Less is better: unsubscribes, complaints.
    Lower,
}

/// What may be said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The treatment is better than the control.
    Win,
    /// It is worse.
    Loss,
    /// It may be either. That is no proof of equality: with more people a difference may yet show.
    NoDifferenceYet,
    /// Nothing may be said.
    Withheld(Withheld),
}

/// Why nothing may be said.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Withheld {
    /// People did not come to the arms in the shares asked for.
    #[error(
        "sample-ratio mismatch ({test} test, p = {p_value:.2e}, alarm below {ALARM_BELOW}): people did not come to the \
         arms in the shares asked for, so the arms may differ in more than the treatment"
    )]
    SampleRatioMismatch {
        /// Which test found it: `sequential` or `chi-squared`.
        test: &'static str,
        /// Its p-value.
        p_value: f64,
    },
    /// There is no interval yet.
    #[error("too little data: an arm has fewer than two people, or nobody differs from anybody")]
    TooLittleData,
}

/// All that a verdict rests on.
///
/// The intervals are those of the plain difference. A relative one has the same sign, but with few conversions its
/// interval is far too sure of losses (see [`relative`](super::effect::relative)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The always-valid interval of the difference.
    pub always_valid: Option<Interval>,
    /// The interval of the difference for one look: Newcombe's for proportions, else Welch's.
    pub fixed_horizon: Option<Interval>,
    /// The χ² test of the shares, if it could be made.
    pub chi_squared: Option<SrmChiSquared>,
    /// The sequential test of the shares.
    pub sequential: Option<SequentialSrm>,
}

/// Two verdicts on the same effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The one that counts: wrong with a probability of at most α, however often one looks.
    pub verdict: Verdict,
    /// What a test would say that is looked at only once, at an end fixed beforehand.
    pub fixed_horizon: Verdict,
}

/// Judges a difference. It is a win or a loss as soon as the interval leaves out 0. Both verdicts are withheld while
/// either test of the shares alarms. The sequential one holds for any number of looks; χ² sees a mismatch earlier, and
/// looked at daily it alarms somewhat more often than once in a thousand experiments without one.
///
/// It speaks of one metric and one pair of arms. Who reads several verdicts and picks one divides α by their number
/// first.
pub fn judge(evidence: &Evidence, better: Better) -> Judgement {
    if let Some(alarm) = alarm(evidence) {
        return Judgement { verdict: Verdict::Withheld(alarm), fixed_horizon: Verdict::Withheld(alarm) };
    }
    Judgement { verdict: side(evidence.always_valid, better), fixed_horizon: side(evidence.fixed_horizon, better) }
}

fn alarm(evidence: &Evidence) -> Option<Withheld> {
    let sequential = evidence.sequential.filter(|found| found.alarm).map(|found| ("sequential", found.p_value));
    let chi_squared = evidence.chi_squared.filter(|found| found.alarm).map(|found| ("chi-squared", found.p_value));
    sequential.or(chi_squared).map(|(test, p_value)| Withheld::SampleRatioMismatch { test, p_value })
}

/// On which side of 0 an interval lies.
fn side(interval: Option<Interval>, better: Better) -> Verdict {
    let Some(interval) = interval else { return Verdict::Withheld(Withheld::TooLittleData) };
    if interval.contains(0.0) {
        return Verdict::NoDifferenceYet;
    }
    if (interval.lower > 0.0) == (better == Better::Higher) { Verdict::Win } else { Verdict::Loss }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lift::srm::{sequential_srm, srm_chi_squared};

    const HALVES: [f64; 2] = [0.5, 0.5];

    fn evidence(lower: f64, upper: f64, people: [u64; 2]) -> Evidence {
        let interval = Interval::new(lower, upper);
        Evidence {
            always_valid: interval,
            fixed_horizon: interval,
            chi_squared: srm_chi_squared(&people, &HALVES),
            sequential: sequential_srm(&[people], &HALVES),
        }
    }

    #[test]
    fn an_interval_that_leaves_out_zero_decides() {
        let check = |lower, upper, better, expected| {
            let found = judge(&evidence(lower, upper, [500, 500]), better);
            assert_eq!(found, Judgement { verdict: expected, fixed_horizon: expected });
        };
        check(0.1, 0.2, Better::Higher, Verdict::Win);
        check(0.1, 0.2, Better::Lower, Verdict::Loss);
        check(-0.2, -0.1, Better::Higher, Verdict::Loss);
        check(-0.2, -0.1, Better::Lower, Verdict::Win);
        check(-0.1, 0.2, Better::Higher, Verdict::NoDifferenceYet);
        check(0.0, 0.2, Better::Higher, Verdict::NoDifferenceYet);
    }

    #[test]
    fn one_look_may_say_more_than_any_look() {
        let evidence = Evidence { fixed_horizon: Interval::new(0.01, 0.1), ..evidence(-0.01, 0.12, [500, 500]) };
        let expected = Judgement { verdict: Verdict::NoDifferenceYet, fixed_horizon: Verdict::Win };
        assert_eq!(judge(&evidence, Better::Higher), expected);
    }

    #[test]
    fn an_alarm_withholds_both_verdicts_and_says_why() {
        // χ² alarms, the sequential test does not yet.
        let found = judge(&evidence(0.1, 0.2, [5_200, 4_800]), Better::Higher);
        assert_eq!(found.verdict, found.fixed_horizon);
        let Verdict::Withheld(reason) = found.verdict else { panic!("{found:?}") };
        assert!(matches!(reason, Withheld::SampleRatioMismatch { test: "chi-squared", .. }), "{reason:?}");
        assert!(reason.to_string().starts_with("sample-ratio mismatch (chi-squared test, p = 6.33e-5"), "{reason}");
        // Both do.
        let found = judge(&evidence(0.1, 0.2, [5_300, 4_700]), Better::Higher);
        assert!(matches!(found.verdict, Verdict::Withheld(Withheld::SampleRatioMismatch { test: "sequential", .. })));
    }

    #[test]
    fn without_an_interval_there_is_too_little_data() {
        let none = Evidence { always_valid: None, fixed_horizon: None, chi_squared: None, sequential: None };
        let expected = Verdict::Withheld(Withheld::TooLittleData);
        assert_eq!(judge(&none, Better::Higher), Judgement { verdict: expected, fixed_horizon: expected });
    }
}
