//! `sequences/{id}/branches`: what the ways out of a branching step are worth, from the logged choices.
//!
//! Ways are chosen with probabilities that may change with what is known, so they cannot be compared like arms that were
//! drawn once. Every choice was logged with its probability, and from that follows what always going one way would have
//! earned, as long as that way was gone often enough.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use touchline_schemas::Tenant;
use touchline_schemas::control::Goal;
use touchline_schemas::tables::{Table, sequence_metrics};

use super::counted::{Question, runs};
use super::grouping::Grouping;
use super::lift::check_alpha;
use super::outcomes::{Outcome, Start, Windows, outcomes};
use crate::gather::{blocking, gather};
use crate::lift::off_policy::{Estimate, LoggedChoice, OffPolicy, OffPolicyError, OffPolicySums};
use crate::lift::posterior::Posterior;
use crate::lift::probability_best::probability_best;
use crate::lift::sample::Proportion;
use crate::lift::thompson::{MAX_ARMS, propensities};
use crate::lift::wilson::wilson;
use crate::reports::{Answer, TimeRange, computed};
use crate::sequences::StoredRuns;
use crate::{PipelineError, QueryEngine};

/// Names the definition in answers.
pub const DEFINITION: &str = "branches/1";
/// The tables that are read: the first is the one whose version an answer names.
pub const TABLES: [Table; 3] = [Table::SequenceRuns, Table::Events, Table::Identities];

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// The sequence.
    pub sequence_id: String,
    /// When runs were entered.
    pub range: TimeRange,
    /// The account's goals by name.
    pub goals: BTreeMap<String, Goal>,
    /// This goal only.
    pub goal: Option<String>,
    /// This version of the sequence; else the latest that somebody entered.
    pub sequence_version: Option<i64>,
    /// Days after the choice in which goals count, for all goals; else each goal's own.
    pub window_days: Option<u16>,
    /// The share of errors of the intervals, one of [`ALPHAS`](super::lift::ALPHAS).
    pub alpha: f64,
}

/// Bytes of a choice that is held, about.
const CHOICE_BYTES: usize = 160;

/// A choice, besides when and for whom it was made.
struct Choice {
    sequence_version: Option<i64>,
    step_id: String,
    arm: String,
    propensity: Option<f64>,
}

/// A row for each goal, step and way.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    check_alpha(params.alpha)?;
    let windows = Windows::choose(&params.goals, params.goal.as_deref(), params.window_days)?;
    let calendar = sequence_metrics::CALENDAR_COHORT;
    let question = Question {
        sequence_id: Some(params.sequence_id.clone()),
        range: params.range,
        calendar,
        grouping: Grouping::read("", &[], calendar)?,
    };
    let (context, frame, mut meta) = runs(engine, tenant, &question).await?;
    meta.definition = DEFINITION;
    let size_bytes = |choices: &Vec<(Choice, Start)>| choices.capacity() * CHOICE_BYTES;
    let mut gathered = gather(&context, frame, "branches", Vec::new(), read, size_bytes).await?;
    // Fractions are added up, whose sum depends on the order.
    gathered.found.sort_unstable_by(|(a, of_a), (b, of_b)| {
        let by_start =
            (of_a.at_us, &of_a.person_id, &a.step_id, &a.arm).cmp(&(of_b.at_us, &of_b.person_id, &b.step_id, &b.arm));
        by_start.then_with(|| a.propensity.unwrap_or(0.0).total_cmp(&b.propensity.unwrap_or(0.0)))
    });
    // Ways of different versions did not compete.
    let latest = gathered.found.iter().map(|(choice, _)| choice.sequence_version).max().flatten();
    let sequence_version = params.sequence_version.or(latest);
    gathered.found.retain(|(choice, _)| choice.sequence_version == sequence_version);
    let (choices, starts): (Vec<Choice>, Vec<Start>) = std::mem::take(&mut gathered.found).into_iter().unzip();
    let found = outcomes(engine, tenant, &starts, &windows).await?;
    let goals: Vec<String> = windows.iter().map(|(goal, _)| goal.to_owned()).collect();
    let alpha = params.alpha;
    let weighed = move || {
        let ways = goals.iter().zip(&found).flat_map(|(goal, outcomes)| weigh(goal, &choices, outcomes, alpha));
        rows(sequence_version, &ways.collect::<Vec<_>>())
    };
    let rows = blocking(weighed).await??;
    drop(gathered);
    Ok(computed(rows, meta))
}

fn read(choices: &mut Vec<(Choice, Start)>, batch: &RecordBatch) -> Result<(), DataFusionError> {
    for (run, person_id) in StoredRuns::read(batch)?.iter() {
        // Of an orphan nobody knows what was drawn, nor how many others were entered with it.
        for step in run.steps.iter().filter(|_| run.entered_at_us.is_some()) {
            let Some(arm) = step.branch_arm else { continue };
            let choice = Choice {
                sequence_version: run.sequence_version,
                step_id: step.step_id.to_owned(),
                arm: arm.to_owned(),
                propensity: step.branch_propensity,
            };
            let at_us = step.done_at_us.unwrap_or(step.reached_at_us);
            choices.push((choice, Start { person_id: person_id.map(str::to_owned), at_us }));
        }
    }
    Ok(())
}

/// What is known of a way.
struct Way {
    goal: String,
    step_id: String,
    arm: String,
    chosen: Proportion,
    bounds: Option<(f64, f64)>,
    probability_best: Option<f64>,
    thompson_propensity: Option<f64>,
    effective_sample_size: f64,
    always: Result<OffPolicy, OffPolicyError>,
}

/// Weighs the ways of all steps for one goal.
fn weigh(goal: &str, choices: &[Choice], outcomes: &[Outcome], alpha: f64) -> Vec<Way> {
    let mut steps: BTreeMap<&str, BTreeMap<&str, Chosen>> = BTreeMap::new();
    for (choice, outcome) in choices.iter().zip(outcomes) {
        let chosen = steps.entry(&choice.step_id).or_default().entry(&choice.arm).or_default();
        let has_succeeded = outcome.conversions > 0;
        chosen.seen = chosen.seen + Proportion { successes: u64::from(has_succeeded), n: 1 };
        chosen.logged.extend(choice.propensity.map(|propensity| (propensity, has_succeeded)));
    }
    let mut ways = Vec::new();
    for (step_id, arms) in steps {
        let posteriors = arms.values().map(|chosen| Posterior::after(&chosen.seen));
        // The work grows with the square of the ways.
        let posteriors = posteriors.collect::<Option<Vec<_>>>().filter(|arms| arms.len() <= MAX_ARMS);
        let best = posteriors.as_ref().and_then(|posteriors| probability_best(posteriors));
        let next = posteriors.as_ref().and_then(|posteriors| propensities(posteriors).ok());
        let logged: usize = arms.values().map(|chosen| chosen.logged.len()).sum();
        for (place, (arm, chosen)) in arms.iter().enumerate() {
            let sums = chosen.sums(logged);
            ways.push(Way {
                goal: goal.to_owned(),
                step_id: step_id.to_owned(),
                arm: (*arm).to_owned(),
                chosen: chosen.seen,
                bounds: wilson(&chosen.seen, alpha).map(|interval| (interval.lower, interval.upper)),
                probability_best: best.as_ref().map(|best| best[place]),
                thompson_propensity: next.as_ref().map(|next| next[place]),
                effective_sample_size: sums.as_ref().map_or(0.0, OffPolicySums::effective_sample_size),
                always: sums.and_then(|sums| sums.estimate(alpha)),
            });
        }
    }
    ways
}

/// The choices of one way out of a step.
#[derive(Debug, Default)]
struct Chosen {
    seen: Proportion,
    /// Of those whose probability is known: that, and whether they succeeded.
    logged: Vec<(f64, bool)>,
}

impl Chosen {
    /// All `logged` choices of the step, against a policy that always goes this way. What the way earns on average is the
    /// model of the doubly robust estimate.
    fn sums(&self, logged: usize) -> Result<OffPolicySums, OffPolicyError> {
        let earns = self.seen.rate().unwrap_or(0.0);
        let choice = |(propensity, has_succeeded): &(f64, bool)| LoggedChoice {
            reward: if *has_succeeded { 1.0 } else { 0.0 },
            propensity: *propensity,
            target: 1.0,
            predicted_chosen: earns,
            predicted_target: earns,
        };
        let own: Vec<LoggedChoice> = self.logged.iter().map(choice).collect();
        // Other ways weigh nothing under that policy: of them there is the model alone.
        let others = logged - self.logged.len();
        let modelled = others as f64;
        let others = OffPolicySums {
            n: others as u64,
            corrected: modelled * earns,
            corrected_squared: modelled * earns * earns,
            ..OffPolicySums::default()
        };
        Ok(OffPolicySums::of_all(&own)? + others)
    }
}

/// An estimate, and the name of its column.
type Named = (&'static str, fn(&OffPolicy) -> Estimate);

const ESTIMATES: [Named; 3] =
    [("ips", |found| found.ips), ("snips", |found| found.snips), ("doubly_robust", |found| found.doubly_robust)];

fn rows(sequence_version: Option<i64>, ways: &[Way]) -> Result<RecordBatch, DataFusionError> {
    let text =
        |of: &dyn Fn(&Way) -> Option<String>| -> ArrayRef { Arc::new(ways.iter().map(of).collect::<StringArray>()) };
    let count = |of: &dyn Fn(&Way) -> u64| -> ArrayRef {
        Arc::new(ways.iter().map(|way| i64::try_from(of(way)).ok()).collect::<Int64Array>())
    };
    let number =
        |of: &dyn Fn(&Way) -> Option<f64>| -> ArrayRef { Arc::new(ways.iter().map(of).collect::<Float64Array>()) };
    let version: ArrayRef = Arc::new(ways.iter().map(|_| sequence_version).collect::<Int64Array>());
    let mut columns = vec![
        ("goal".to_owned(), text(&|way| Some(way.goal.clone())), false),
        ("sequence_version".to_owned(), version, true),
        ("step_id".to_owned(), text(&|way| Some(way.step_id.clone())), false),
        ("arm".to_owned(), text(&|way| Some(way.arm.clone())), false),
        ("choices".to_owned(), count(&|way| way.chosen.n), false),
        ("conversions".to_owned(), count(&|way| way.chosen.successes), false),
        ("rate".to_owned(), number(&|way| way.chosen.rate()), true),
        ("rate_lower".to_owned(), number(&|way| Some(way.bounds?.0)), true),
        ("rate_upper".to_owned(), number(&|way| Some(way.bounds?.1)), true),
        ("probability_best".to_owned(), number(&|way| way.probability_best), true),
        ("thompson_propensity".to_owned(), number(&|way| way.thompson_propensity), true),
        ("effective_sample_size".to_owned(), number(&|way| Some(way.effective_sample_size)), false),
    ];
    for (name, of) in ESTIMATES {
        let estimate = |way: &Way| way.always.as_ref().ok().map(of);
        columns.push((name.to_owned(), number(&|way| Some(estimate(way)?.value)), true));
        columns.push((format!("{name}_lower"), number(&|way| Some(estimate(way)?.interval.lower)), true));
        columns.push((format!("{name}_upper"), number(&|way| Some(estimate(way)?.interval.upper)), true));
    }
    columns.push(("refused_because".to_owned(), text(&|way| way.always.as_ref().err().map(ToString::to_string)), true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(arm: &str, count: usize, conversions: usize, propensity: f64) -> Vec<(Choice, Outcome)> {
        let choice = |number: usize| {
            let step_id = "which".to_owned();
            let choice = Choice { sequence_version: None, step_id, arm: arm.to_owned(), propensity: Some(propensity) };
            (choice, Outcome { conversions: u32::from(number < conversions), ..Outcome::default() })
        };
        (0..count).map(choice).collect()
    }

    #[test]
    fn a_way_that_was_gone_often_is_estimated_and_another_is_refused() {
        let all = [choices("often", 900, 90, 0.9), choices("seldom", 100, 20, 0.1), choices("rare", 50, 5, 0.05)];
        let (choices, outcomes): (Vec<_>, Vec<_>) = all.into_iter().flatten().unzip();
        let ways = weigh("bought", &choices, &outcomes, 0.05);
        let way = |arm: &str| ways.iter().find(|way| way.arm == arm).unwrap();
        let often = way("often");
        assert!((often.effective_sample_size - 900.0).abs() < 1e-9);
        let found = often.always.as_ref().unwrap();
        // Of what was earned in one way alone, every estimate is that way's rate but for the share of choices it had.
        assert!((found.snips.value - 0.1).abs() < 1e-12, "{found:?}");
        assert!((found.doubly_robust.value - 0.1).abs() < 1e-12, "{found:?}");
        assert!((way("seldom").always.as_ref().unwrap().snips.value - 0.2).abs() < 1e-12);
        assert!(matches!(way("rare").always, Err(OffPolicyError::TooFewEffective { n: 1_050, .. })));
        let whole: f64 = ways.iter().filter_map(|way| way.probability_best).sum();
        assert!((whole - 1.0).abs() < 1e-9);
        assert!(ways.iter().all(|way| way.thompson_propensity.is_some_and(|propensity| propensity >= 0.01)));
    }

    #[test]
    fn a_choice_without_a_probability_is_no_evidence_but_counts() {
        let (mut choices, outcomes): (Vec<_>, Vec<_>) = choices("way", 200, 20, 0.5).into_iter().unzip();
        choices.iter_mut().for_each(|choice: &mut Choice| choice.propensity = None);
        let ways = weigh("bought", &choices, &outcomes, 0.05);
        assert_eq!(ways[0].chosen, Proportion { successes: 20, n: 200 });
        assert!(ways[0].always.is_err());
    }
}
