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
use super::outcomes::{Outcome, Start, Windows, outcomes};
use crate::gather::gather;
use crate::lift::off_policy::{Estimate, LoggedChoice, OffPolicy, OffPolicyError, OffPolicySums};
use crate::lift::posterior::Posterior;
use crate::lift::probability_best::probability_best;
use crate::lift::sample::Proportion;
use crate::lift::thompson::propensities;
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
    /// Days after the choice in which goals count, for all goals; else each goal's own.
    pub window_days: Option<u16>,
    /// The share of errors of the intervals: above 0, below 1.
    pub alpha: f64,
}

/// Bytes of a choice that is held, about.
const CHOICE_BYTES: usize = 160;

/// A choice, besides when and for whom it was made.
struct Choice {
    step_id: String,
    arm: String,
    propensity: Option<f64>,
}

/// A row for each goal, step and way.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
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
    let (choices, starts): (Vec<Choice>, Vec<Start>) = gathered.found.into_iter().unzip();
    let found = outcomes(engine, tenant, &starts, &windows).await?;
    let mut ways = Vec::new();
    for ((goal, _), outcomes) in windows.iter().zip(&found) {
        ways.extend(weigh(goal, &choices, outcomes, params.alpha)?);
    }
    Ok(computed(rows(&ways)?, meta))
}

fn read(choices: &mut Vec<(Choice, Start)>, batch: &RecordBatch) -> Result<(), DataFusionError> {
    for (run, person_id) in StoredRuns::read(batch)?.iter() {
        for step in &run.steps {
            let Some(arm) = step.branch_arm else { continue };
            let choice =
                Choice { step_id: step.step_id.to_owned(), arm: arm.to_owned(), propensity: step.branch_propensity };
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
fn weigh(goal: &str, choices: &[Choice], outcomes: &[Outcome], alpha: f64) -> Result<Vec<Way>, PipelineError> {
    let mut steps: BTreeMap<&str, BTreeMap<&str, Proportion>> = BTreeMap::new();
    for (choice, outcome) in choices.iter().zip(outcomes) {
        let seen = steps.entry(&choice.step_id).or_default().entry(&choice.arm).or_default();
        *seen = *seen + Proportion { successes: u64::from(outcome.conversions > 0), n: 1 };
    }
    let mut ways = Vec::new();
    for (step_id, arms) in steps {
        let posteriors: Option<Vec<Posterior>> = arms.values().map(Posterior::after).collect();
        let posteriors = posteriors.unwrap_or_default();
        let best = probability_best(&posteriors);
        let next = propensities(&posteriors).ok();
        for (place, (arm, chosen)) in arms.iter().enumerate() {
            let logged = logged(step_id, arm, &arms, choices, outcomes);
            let sums = OffPolicySums::of_all(&logged);
            ways.push(Way {
                goal: goal.to_owned(),
                step_id: step_id.to_owned(),
                arm: (*arm).to_owned(),
                chosen: *chosen,
                bounds: wilson(chosen, alpha).map(|interval| (interval.lower, interval.upper)),
                probability_best: best.as_ref().map(|best| best[place]),
                thompson_propensity: next.as_ref().map(|next| next[place]),
                effective_sample_size: sums.as_ref().map_or(0.0, OffPolicySums::effective_sample_size),
                always: sums.and_then(|sums| sums.estimate(alpha)),
            });
        }
    }
    Ok(ways)
}

/// The choices of a step whose probability is known, against a policy that always goes one way. What a way earns on
/// average is the model of the doubly robust estimate.
fn logged(
    step_id: &str,
    always: &str,
    arms: &BTreeMap<&str, Proportion>,
    choices: &[Choice],
    outcomes: &[Outcome],
) -> Vec<LoggedChoice> {
    let earns = |arm: &str| arms.get(arm).and_then(Proportion::rate).unwrap_or(0.0);
    let of_step = choices.iter().zip(outcomes).filter(|(choice, _)| choice.step_id == step_id);
    let logged = of_step.filter_map(|(choice, outcome)| {
        Some(LoggedChoice {
            reward: if outcome.conversions > 0 { 1.0 } else { 0.0 },
            propensity: choice.propensity?,
            target: if choice.arm == always { 1.0 } else { 0.0 },
            predicted_chosen: earns(&choice.arm),
            predicted_target: earns(always),
        })
    });
    logged.collect()
}

/// An estimate, and the name of its column.
type Named = (&'static str, fn(&OffPolicy) -> Estimate);

const ESTIMATES: [Named; 3] =
    [("ips", |found| found.ips), ("snips", |found| found.snips), ("doubly_robust", |found| found.doubly_robust)];

fn rows(ways: &[Way]) -> Result<RecordBatch, DataFusionError> {
    let text =
        |of: &dyn Fn(&Way) -> Option<String>| -> ArrayRef { Arc::new(ways.iter().map(of).collect::<StringArray>()) };
    let count = |of: &dyn Fn(&Way) -> u64| -> ArrayRef {
        Arc::new(ways.iter().map(|way| i64::try_from(of(way)).ok()).collect::<Int64Array>())
    };
    let number =
        |of: &dyn Fn(&Way) -> Option<f64>| -> ArrayRef { Arc::new(ways.iter().map(of).collect::<Float64Array>()) };
    let mut columns = vec![
        ("goal".to_owned(), text(&|way| Some(way.goal.clone())), false),
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
            let choice = Choice { step_id: "which".to_owned(), arm: arm.to_owned(), propensity: Some(propensity) };
            (choice, Outcome { conversions: u32::from(number < conversions), ..Outcome::default() })
        };
        (0..count).map(choice).collect()
    }

    #[test]
    fn a_way_that_was_gone_often_is_estimated_and_another_is_refused() {
        let all = [choices("often", 900, 90, 0.9), choices("seldom", 100, 20, 0.1), choices("rare", 50, 5, 0.05)];
        let (choices, outcomes): (Vec<_>, Vec<_>) = all.into_iter().flatten().unzip();
        let ways = weigh("bought", &choices, &outcomes, 0.05).unwrap();
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
        let ways = weigh("bought", &choices, &outcomes, 0.05).unwrap();
        assert_eq!(ways[0].chosen, Proportion { successes: 20, n: 200 });
        assert!(ways[0].always.is_err());
    }
}
