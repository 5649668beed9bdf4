//! Lift: what a message, a sequence or an arm of it changed, and how sure one may be of that.
//!
//! People are assigned to arms before the first step, and stay in their arm whatever then happens to them (*intention to
//! treat*). So every count and sum here is over all people of an arm, also those who were never reached.
//!
//! ```text
//! Proportion ┐                ┌ difference ┐          ┌ welch                (one look, at the end)
//! Moments    ┼► Sample ──────►┤            ├► Effect ►┤                                │
//! ratio      ┘                └ relative ──┘          └ confidence_sequence  (looks at any time)
//! cuped ──────────────────────────────────────►┘                                       │
//! Proportion ─► newcombe (one look)                                 srm ─► judge ◄─────┘
//! ```
//!
//! An arm becomes a [`Sample`], two samples an [`Effect`], and two kinds of interval can be laid around any effect. What
//! can be aggregated ([`Proportion`], [`Moments`], [`PairMoments`], [`OffPolicySums`]) is a sum: the parts of an arm are
//! added in any order, and adding is the only thing that has to be done where the rows are.
//!
//! Everything is a pure function of its arguments: no clock, no table, no state; chance comes from a generator that is
//! passed in. Where a number cannot be known (nobody in an arm, more successes than people, a sum that is not finite) the
//! answer is `None` or an error, never a number that is not one.

pub mod confidence_sequence;
pub mod cuped;
mod distributions;
pub mod effect;
pub mod interval;
pub mod kaplan_meier;
pub mod moments;
pub mod newcombe;
pub mod off_policy;
pub mod posterior;
pub mod probability_best;
pub mod ratio;
pub mod sample;
#[cfg(test)]
mod simulations;
pub mod srm;
pub mod thompson;
pub mod verdict;
pub mod welch;
pub mod wilson;

pub use confidence_sequence::{AlwaysValid, PLANNED_PEOPLE, confidence_sequence};
pub use cuped::{Cuped, cuped};
pub use effect::{Effect, difference, relative};
pub use interval::Interval;
pub use kaplan_meier::{Survival, kaplan_meier};
pub use moments::{Moments, PairMoments};
pub use newcombe::newcombe;
pub use off_policy::{LoggedChoice, OffPolicy, OffPolicyError, OffPolicySums};
pub use posterior::Posterior;
pub use probability_best::probability_best;
pub use ratio::ratio;
pub use sample::{Proportion, Sample};
pub use srm::{SequentialSrm, SrmChiSquared, sequential_srm, srm_chi_squared};
pub use thompson::{Choice, ThompsonError, choose, propensities};
pub use verdict::{Better, Evidence, Judgement, Verdict, Withheld, judge};
pub use welch::{Welch, welch};
pub use wilson::wilson;

/// The share of errors that is accepted: intervals hold with probability 1 - `ALPHA`.
pub const ALPHA: f64 = 0.05;
