//! What can be added up over rows of `message_rollups`.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array, RecordBatch};
use datafusion::error::Result;
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;
use touchline_schemas::tables::message_rollups::{self as column, AMOUNTS, COUNTS};

use super::group::{Group, Grouping, filtered};
use super::people::{Counted, PEOPLE};
use super::{DEFINITION, Question};
use crate::columns::{amounts, counts, texts, times};
use crate::days::DAY_US;
use crate::gather::{self, Gathered};
use crate::reports::{AnswerMeta, rows_in};
use crate::{PipelineError, QueryEngine};

/// Rows added up.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    counts: [i64; COUNTS.len()],
    pub amounts_e4: [i128; AMOUNTS.len()],
    /// Of the checks of conservation, those that one of the rows fails.
    failed: BTreeSet<String>,
}

const NOTHING: Sums = Sums { counts: [0; COUNTS.len()], amounts_e4: [0; AMOUNTS.len()], failed: BTreeSet::new() };

impl Sums {
    /// A count by its name; 0 if there is none of that name.
    pub fn count(&self, name: &str) -> i64 {
        COUNTS.iter().position(|known| *known == name).map_or(0, |place| self.counts[place])
    }

    /// Says how many people there are.
    pub fn set_people(&mut self, counted: Option<&Counted>) {
        for (number, name) in PEOPLE.into_iter().enumerate() {
            if let Some(place) = COUNTS.iter().position(|known| *known == name) {
                self.counts[place] = counted.map_or(0, |counted| counted[number]);
            }
        }
    }

    /// The names of the checks that do not hold.
    pub fn failed_checks(&self) -> Option<String> {
        (!self.failed.is_empty()).then(|| self.failed.iter().map(String::as_str).collect::<Vec<_>>().join("; "))
    }
}

/// What is added up, by group.
pub(super) type Groups = HashMap<Group, Sums>;
/// Bytes of a group with its texts, about.
const GROUP_BYTES: usize = size_of::<Sums>() + 256;

/// Adds up the rows that are asked about.
pub(super) async fn gather(
    engine: &QueryEngine,
    tenant: Tenant,
    question: &Question,
    grouping: &Grouping,
) -> Result<(Gathered<Groups>, AnswerMeta), PipelineError> {
    let (context, frame, meta) = rows_in(engine, Table::MessageRollups, tenant, question.range, DEFINITION).await?;
    let frame = filtered(frame, &question.filters)?.filter(col(column::CALENDAR).eq(lit(question.calendar)))?;
    let mut names = vec![column::DAY_AT, column::FAILED_CHECKS];
    names.extend(column::DIMENSIONS.into_iter().chain(COUNTS).chain(AMOUNTS));
    let frame = frame.select_columns(&names)?;
    let read = |found: &mut Groups, batch: &RecordBatch| read(batch, grouping, found);
    let size_bytes = |found: &Groups| found.len() * GROUP_BYTES;
    Ok((gather::gather(&context, frame, "sums of messages", Groups::new(), read, size_bytes).await?, meta))
}

fn read(batch: &RecordBatch, grouping: &Grouping, found: &mut Groups) -> Result<()> {
    let (values, days) = (grouping.values(batch)?, times(batch, column::DAY_AT)?);
    let failed = texts(batch, column::FAILED_CHECKS)?;
    let (mut of_counts, mut of_amounts) = (Vec::new(), Vec::new());
    for name in COUNTS {
        of_counts.push(counts(batch, name)?);
    }
    for name in AMOUNTS {
        of_amounts.push(amounts(batch, name)?);
    }
    for row in 0..batch.num_rows() {
        let day = grouping.by_day().then(|| days.value(row).div_euclid(DAY_US) as i32);
        let sums = found.entry(Group::of(day, &values, row)).or_insert(NOTHING);
        for (sum, count) in sums.counts.iter_mut().zip(&of_counts) {
            *sum += count.value(row);
        }
        for (sum, amount) in sums.amounts_e4.iter_mut().zip(&of_amounts) {
            *sum += if amount.is_valid(row) { amount.value(row) } else { 0 };
        }
        if failed.is_valid(row) {
            sums.failed.extend(failed.value(row).split("; ").map(str::to_owned));
        }
    }
    Ok(())
}
