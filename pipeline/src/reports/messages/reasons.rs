//! `messages/reasons`: why messages were held back, failed, were closed and so on.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use futures::TryStreamExt;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, message_rollups as column};

pub use super::DEFINITION;
use super::group::{Group, Grouping, filtered, filters};
use super::{CALENDARS, Params, whole_days};
use crate::columns::times;
use crate::days::DAY_US;
use crate::reports::{Answer, computed, dimension, rows_in};
use crate::{PipelineError, QueryEngine};

/// The tables that are read: the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::MessageRollups];

/// What reasons are given for, the reason, and how often.
type Reasons = BTreeMap<(Group, String, String), i64>;

/// A row for each group, kind of outcome and reason; the most frequent reason first.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let grouping = Grouping::read(&params.by)?;
    let calendar = dimension("calendar", &params.calendar, &CALENDARS)?;
    let range = whole_days(params.range)?;
    let (_, frame, meta) = rows_in(engine, Table::MessageRollups, tenant, range, DEFINITION).await?;
    let frame = filtered(frame, &filters(&params.filters)?)?.filter(col(column::CALENDAR).eq(lit(calendar)))?;
    let mut names = vec![column::DAY_AT, column::REASON_OF, column::REASON, column::REASON_COUNT];
    names.extend(column::DIMENSIONS);
    let mut batches = frame.select_columns(&names)?.execute_stream().await?;
    let mut found = Reasons::new();
    while let Some(batch) = batches.try_next().await? {
        read(&batch, &grouping, &mut found)?;
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by(|((a, of_a, _), count_a), ((b, of_b, _), count_b)| {
        (a, of_a).cmp(&(b, of_b)).then_with(|| count_b.cmp(count_a))
    });
    found.truncate(params.limit.unwrap_or(usize::MAX));
    Ok(computed(rows(&grouping, &found)?, meta))
}

fn read(batch: &RecordBatch, grouping: &Grouping, found: &mut Reasons) -> Result<()> {
    let list = |name: &str| -> Result<&ListArray> {
        let lists = batch.column_by_name(name).and_then(|lists| lists.as_list_opt::<i32>());
        lists.ok_or_else(|| exec_datafusion_err!("there are no lists `{name}`"))
    };
    let (values, days) = (grouping.values(batch)?, times(batch, column::DAY_AT)?);
    let kinds = list(column::REASON_OF)?;
    let texts = |lists: &'static str| {
        list(lists)?.values().as_string_opt::<i32>().ok_or_else(|| exec_datafusion_err!("`{lists}` holds no texts"))
    };
    let (of, reasons) = (texts(column::REASON_OF)?, texts(column::REASON)?);
    let counts = list(column::REASON_COUNT)?.values().as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let day = grouping.by_day().then(|| days.value(row).div_euclid(DAY_US) as i32);
        let group = Group::of(day, &values, row);
        for place in kinds.value_offsets()[row] as usize..kinds.value_offsets()[row + 1] as usize {
            let key = (group.clone(), of.value(place).to_owned(), reasons.value(place).to_owned());
            *found.entry(key).or_default() += counts.value(place);
        }
    }
    Ok(())
}

fn rows(grouping: &Grouping, found: &[((Group, String, String), i64)]) -> Result<RecordBatch, DataFusionError> {
    let mut columns = grouping.columns(found.iter().map(|((group, ..), _)| group));
    let of = StringArray::from_iter_values(found.iter().map(|((_, of, _), _)| of));
    let reasons = StringArray::from_iter_values(found.iter().map(|((.., reason), _)| reason));
    let counts = Int64Array::from_iter_values(found.iter().map(|(_, count)| *count));
    columns.push(("outcome", Arc::new(of) as ArrayRef, false));
    columns.push(("reason", Arc::new(reasons), false));
    columns.push(("count", Arc::new(counts), false));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
