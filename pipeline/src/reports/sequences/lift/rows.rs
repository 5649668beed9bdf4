//! Comparisons as rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;

use super::comparison::{Compared, Comparison, Metric};
use crate::days::DAY_US;
use crate::lift::interval::Interval;
use crate::lift::verdict::Verdict;

type Row = (Comparison, Compared);

/// A number of a row, and the name of its column.
type Number = (&'static str, fn(&Row) -> Option<f64>);

/// What is known of the effect, in the order of the columns.
const NUMBERS: [Number; 27] = [
    ("total", |(_, found)| Some(found.totals[1])),
    ("control_total", |(_, found)| Some(found.totals[0])),
    ("mean", |(_, found)| found.means[1]),
    ("control_mean", |(_, found)| found.means[0]),
    ("difference", |(_, found)| found.difference),
    ("fixed_lower", |(_, found)| found.fixed.map(lower)),
    ("fixed_upper", |(_, found)| found.fixed.map(upper)),
    ("fixed_p_value", |(_, found)| found.fixed_p_value),
    ("relative", |(_, found)| Some(found.relative?.estimate)),
    ("relative_fixed_lower", |(_, found)| Some(found.relative?.interval.lower)),
    ("relative_fixed_upper", |(_, found)| Some(found.relative?.interval.upper)),
    ("cuped_theta", |(_, found)| Some(found.cuped?.theta)),
    ("cuped_variance_left", |(_, found)| Some(found.cuped?.variance_left)),
    ("adjusted_difference", |(_, found)| Some(found.always_valid?.estimate)),
    ("always_valid_lower", |(_, found)| Some(found.always_valid?.interval.lower)),
    ("always_valid_upper", |(_, found)| Some(found.always_valid?.interval.upper)),
    ("always_valid_p_value", |(_, found)| Some(found.always_valid?.p_value)),
    ("adjusted_relative", |(_, found)| Some(found.relative_always_valid?.estimate)),
    ("adjusted_relative_lower", |(_, found)| Some(found.relative_always_valid?.interval.lower)),
    ("adjusted_relative_upper", |(_, found)| Some(found.relative_always_valid?.interval.upper)),
    ("incremental", |row| Some(incremental(row)?.0)),
    ("incremental_lower", |row| Some(incremental(row)?.1.lower)),
    ("incremental_upper", |row| Some(incremental(row)?.1.upper)),
    ("cost", |(asked, _)| Some(asked.extra_cost())),
    ("roi", |row| Some(return_on_cost(row)?.0)),
    ("roi_lower", |row| Some(return_on_cost(row)?.1.lower)),
    ("roi_upper", |row| Some(return_on_cost(row)?.1.upper)),
];

fn lower(interval: Interval) -> f64 {
    interval.lower
}

fn upper(interval: Interval) -> f64 {
    interval.upper
}

fn incremental((asked, found): &Row) -> Option<(f64, Interval)> {
    found.incremental(asked.sides[1].people.n)
}

fn return_on_cost((asked, found): &Row) -> Option<(f64, Interval)> {
    match asked.metric {
        Metric::Conversions => None,
        Metric::Value => found.return_on(asked.extra_cost(), asked.sides[1].people.n),
    }
}

/// A row for each comparison.
pub(super) fn batch(comparisons: &[Comparison]) -> Result<RecordBatch, DataFusionError> {
    let rows: Vec<Row> = comparisons.iter().map(|asked| (asked.clone(), asked.compare())).collect();
    let text =
        |of: &dyn Fn(&Row) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let whole =
        |of: &dyn Fn(&Row) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int64Array>()) };
    let count = |of: &dyn Fn(&Row) -> u64| whole(&|row| i64::try_from(of(row)).ok());
    let number =
        |of: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Float64Array>()) };
    let mut columns = vec![
        ("goal", text(&|(asked, _)| Some(asked.goal.clone())), false),
        ("metric", text(&|(asked, _)| Some(asked.metric.as_str().to_owned())), false),
        ("arm", text(&|(asked, _)| Some(asked.arms[1].clone())), false),
        ("control_arm", text(&|(asked, _)| Some(asked.arms[0].clone())), false),
        ("sequence_version", whole(&|(asked, _)| asked.sequence_version), true),
        ("window_days", whole(&|(asked, _)| Some(asked.window_us / DAY_US)), false),
        ("people", count(&|(asked, _)| asked.sides[1].people.n), false),
        ("control_people", count(&|(asked, _)| asked.sides[0].people.n), false),
        ("open_windows", count(&|(asked, _)| asked.sides[1].open_windows), false),
        ("control_open_windows", count(&|(asked, _)| asked.sides[0].open_windows), false),
    ];
    columns.extend(NUMBERS.map(|(name, of)| (name, number(&of), true)));
    columns.extend([
        ("srm_p_value", number(&|(asked, _)| Some(asked.shares.sequential?.p_value)), true),
        ("srm_chi_squared_p_value", number(&|(asked, _)| Some(asked.shares.chi_squared?.p_value)), true),
        ("verdict", text(&|(_, found)| Some(word(found.judgement.verdict).to_owned())), false),
        ("fixed_verdict", text(&|(_, found)| Some(word(found.judgement.fixed_horizon).to_owned())), false),
        ("withheld_because", text(&|(_, found)| why(found.judgement.verdict)), true),
    ]);
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Win => "win",
        Verdict::Loss => "loss",
        Verdict::NoDifferenceYet => "no_difference_yet",
        Verdict::Withheld(_) => "withheld",
    }
}

fn why(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Win | Verdict::Loss | Verdict::NoDifferenceYet => None,
        Verdict::Withheld(because) => Some(because.to_string()),
    }
}
