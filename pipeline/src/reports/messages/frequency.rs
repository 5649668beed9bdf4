//! `messages/frequency`: how many messages people received in a week and in four weeks.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use chrono::{DateTime, Duration, Utc};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, col};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, message_deliveries as column};

pub use super::received::DEFINITION;
use super::received::received;
use crate::reports::{Answer, AnswerMeta, TimeRange, computed};
use crate::{PipelineError, QueryEngine};

/// The tables that are read: the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::MessageDeliveries];

/// Days over which messages are counted.
pub const WINDOWS_DAYS: [i64; 2] = [7, 28];

/// Columns of the histogram, and how many messages its people received.
const HISTOGRAM: [(&str, std::ops::RangeInclusive<i64>); 6] = [
    ("people_1", 1..=1),
    ("people_2", 2..=2),
    ("people_3", 3..=3),
    ("people_4_to_7", 4..=7),
    ("people_8_to_14", 8..=14),
    ("people_15_or_more", 15..=i64::MAX),
];

const MESSAGES: &str = "messages";
const PEOPLE: &str = "people";

/// How many messages, and how many people received that many; fewest messages first.
type Found = [(i64, i64)];

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// The end of the windows, excluded; without it, what the table is complete up to.
    pub to: Option<DateTime<Utc>>,
}

/// A row for each window, and the range of the longest.
pub struct Counted {
    /// The rows.
    pub answer: Answer,
    /// What they look at.
    pub range: TimeRange,
}

/// Counts both windows.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Counted, PipelineError> {
    let snapshot = engine.snapshot(Table::MessageDeliveries, tenant).await?;
    let meta = AnswerMeta::new(&snapshot, DEFINITION);
    let (mut windows, mut longest) = (Vec::new(), TimeRange { from: None, to: params.to });
    if let Some(to) = params.to.or(meta.watermark) {
        for days in WINDOWS_DAYS {
            let range = TimeRange { from: Some(to - Duration::days(days)), to: Some(to) };
            longest = range;
            let (frame, _) = received(engine, tenant, range).await?;
            windows.push((days, people_by_messages(frame).await?));
        }
    }
    Ok(Counted { answer: computed(rows(&windows)?, meta), range: longest })
}

/// How many people received how many messages, fewest messages first.
async fn people_by_messages(frame: DataFrame) -> Result<Vec<(i64, i64)>, PipelineError> {
    let by_person = frame.aggregate(vec![col(column::PERSON_ID)], vec![count(lit(1_i64)).alias(MESSAGES)])?;
    let by_person = by_person.select(vec![col(MESSAGES)])?;
    let by_messages = by_person.aggregate(vec![col(MESSAGES)], vec![count(lit(1_i64)).alias(PEOPLE)])?;
    let by_messages = by_messages.select(vec![col(MESSAGES), col(PEOPLE)])?;
    let batches = by_messages.sort(vec![col(MESSAGES).sort(true, false)])?.collect().await?;
    let pairs = batches.iter().flat_map(|batch| {
        let [messages, people] = [0, 1].map(|place| batch.column(place).as_primitive::<Int64Type>().values());
        messages.iter().copied().zip(people.iter().copied())
    });
    Ok(pairs.collect())
}

fn rows(windows: &[(i64, Vec<(i64, i64)>)]) -> Result<RecordBatch, DataFusionError> {
    let whole = |of: &dyn Fn(&Found) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(windows.iter().map(|(_, found)| of(found))))
    };
    let maybe = |of: &dyn Fn(&Found) -> Option<f64>| -> ArrayRef {
        Arc::new(windows.iter().map(|(_, found)| of(found)).collect::<Float64Array>())
    };
    let days: ArrayRef = Arc::new(Int64Array::from_iter_values(windows.iter().map(|(days, _)| *days)));
    let mut columns = vec![
        ("window_days", days, false),
        (PEOPLE, whole(&people), false),
        (MESSAGES, whole(&messages), false),
        ("mean", maybe(&|found| (people(found) > 0).then(|| messages(found) as f64 / people(found) as f64)), true),
        ("median", maybe(&|found| quantile(found, 0.5)), true),
        ("p90", maybe(&|found| quantile(found, 0.9)), true),
        ("max", maybe(&|found| found.last().map(|(messages, _)| *messages as f64)), true),
    ];
    for (name, of) in HISTOGRAM {
        let in_bar = move |found: &Found| {
            found.iter().filter(|(messages, _)| of.contains(messages)).map(|(_, people)| people).sum()
        };
        columns.push((name, whole(&in_bar), false));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn people(found: &Found) -> i64 {
    found.iter().map(|(_, people)| people).sum()
}

fn messages(found: &Found) -> i64 {
    found.iter().map(|(messages, people)| messages * people).sum()
}

/// A quantile of the messages of a person, between two people by linear interpolation.
fn quantile(found: &Found, part: f64) -> Option<f64> {
    let place = part * (people(found) - 1) as f64;
    let at = |rank: i64| {
        let mut before = 0;
        found.iter().find_map(|(messages, people)| {
            before += people;
            (rank < before).then_some(*messages as f64)
        })
    };
    let (low, high) = (at(place.floor() as i64)?, at(place.ceil() as i64)?);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;

    #[test]
    fn a_window_is_summed_up() {
        // Five people received one message, three received two, two four and one fourteen.
        let found = vec![(1, 5), (2, 3), (4, 2), (14, 1)];
        let table = pretty_format_batches(&[rows(&[(7, found), (28, Vec::new())]).unwrap()]).unwrap().to_string();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().join(",");
        let lines: Vec<_> = table.lines().filter(|line| line.starts_with('|')).skip(1).map(cells).collect();
        assert_eq!(lines, [",7,11,33,3.0,2.0,4.0,14.0,5,3,0,2,1,0,", ",28,0,0,,,,,0,0,0,0,0,0,"]);
    }
}
