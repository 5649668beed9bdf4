//! `sequences/{id}/lift`: what a sequence changed, arm by arm, against the people who were held back from it.
//!
//! Who is compared are people, each in the arm that was drawn at their first entry in the range (*intention to treat*),
//! whatever then became of their run. What is compared are the goals of the account, reached within a window after the
//! entry: the share of people who did, and what that was worth per person.

mod comparison;
mod experiment;
mod rows;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use touchline_schemas::Tenant;
use touchline_schemas::control::Goal;
use touchline_schemas::tables::Table;

use super::outcomes::{Windows, outcomes};
use crate::reports::{Answer, TimeRange, computed};
use crate::{PipelineError, QueryEngine};
use comparison::{Comparison, Metric};
use experiment::Experiment;

/// Names the definition in answers.
pub const DEFINITION: &str = "lift/1";
/// The tables that are read: the first is the one whose version an answer names.
pub const TABLES: [Table; 4] = [Table::SequenceRuns, Table::Events, Table::Identities, Table::MessageDeliveries];

/// The share of errors when the caller does not say.
pub const DEFAULT_ALPHA: f64 = 0.05;
/// What it may be.
pub const ALPHAS: RangeInclusive<f64> = 1e-6..=0.5;
/// Names of the arm that others are compared with, unless the caller names one.
pub const CONTROL_ARMS: [&str; 2] = ["control", "holdout"];

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// The sequence.
    pub sequence_id: String,
    /// When people entered.
    pub range: TimeRange,
    /// The account's goals by name.
    pub goals: BTreeMap<String, Goal>,
    /// This goal only.
    pub goal: Option<String>,
    /// Days after the entry in which goals count, for all goals; else each goal's own.
    pub window_days: Option<u16>,
    /// This version of the sequence; else the latest that somebody entered.
    pub sequence_version: Option<i64>,
    /// The arm that others are compared with; else the first of [`CONTROL_ARMS`] that there is.
    pub control: Option<String>,
    /// The share of errors of each verdict, one of [`ALPHAS`].
    pub alpha: f64,
}

/// Refuses a share of errors that nobody can mean.
pub(super) fn check_alpha(alpha: f64) -> Result<(), PipelineError> {
    if ALPHAS.contains(&alpha) {
        return Ok(());
    }
    let detail = format!("must be from {} to {}, not {alpha}", ALPHAS.start(), ALPHAS.end());
    Err(PipelineError::BadParameter { name: "alpha", detail })
}

/// Two rows for each goal and arm: the share of people, and the value per person. None as long as there are fewer than two
/// arms.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    check_alpha(params.alpha)?;
    let windows = Windows::choose(&params.goals, params.goal.as_deref(), params.window_days)?;
    let (gathered, mut meta) = Experiment::read(engine, tenant, params).await?;
    let experiment = &gathered.found;
    meta.definition = DEFINITION;
    let mut compared = Vec::new();
    if let Some(control) = experiment.control(params.control.as_deref())? {
        let found = outcomes(engine, tenant, &experiment.starts, &windows).await?;
        let costs = experiment.costs(engine, tenant).await?;
        let shares = experiment.share_tests();
        let now_us = meta.watermark.map_or(i64::MAX, |at| at.timestamp_micros());
        for ((goal, window_us), outcomes) in windows.iter().zip(&found) {
            let sides = experiment.sides(outcomes, &costs, now_us.saturating_sub(window_us));
            for arm in (0..sides.len()).filter(|arm| *arm != control) {
                for metric in [Metric::Conversions, Metric::Value] {
                    compared.push(Comparison {
                        goal: goal.to_owned(),
                        window_us,
                        sequence_version: experiment.sequence_version,
                        arms: [control, arm].map(|arm| experiment.arms[arm].clone()),
                        sides: [sides[control], sides[arm]],
                        metric,
                        shares,
                        alpha: params.alpha,
                    });
                }
            }
        }
    }
    Ok(computed(rows::batch(&compared)?, meta))
}
