//! `messages/overlap`: people by the set of channels that reached them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::common::exec_datafusion_err;
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use futures::TryStreamExt;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, message_deliveries as column};

pub use super::received::DEFINITION;
use super::received::received;
use crate::reports::{Answer, TimeRange, computed};
use crate::{PipelineError, QueryEngine};

/// The tables that are read: the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::MessageDeliveries];

const MESSAGES: &str = "messages";

/// People and messages of one set of channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    people: i64,
    messages: i64,
}

/// Sets of channels, most people first. A set is spelled in the order of the alphabet, with `+` between channels.
pub async fn query(engine: &QueryEngine, tenant: Tenant, range: TimeRange) -> Result<Answer, PipelineError> {
    let (frame, meta) = received(engine, tenant, range).await?;
    let channel = TextField::Channel.column();
    let frame = frame
        .filter(col(channel).is_not_null())?
        .aggregate(vec![col(column::PERSON_ID), col(channel)], vec![count(lit(1_i64)).alias(MESSAGES)])?
        .sort(vec![col(column::PERSON_ID).sort(true, false), col(channel).sort(true, false)])?
        .select(vec![col(column::PERSON_ID), col(channel), col(MESSAGES)])?;
    let mut sets = Sets::default();
    let mut batches = frame.execute_stream().await?;
    while let Some(batch) = batches.try_next().await? {
        sets.read(&batch)?;
    }
    Ok(computed(rows(sets.finish())?, meta))
}

/// Folds rows of one person and channel, which come person by person, channels in order.
#[derive(Default)]
struct Sets {
    found: BTreeMap<String, Reached>,
    person: Option<String>,
    channels: String,
    messages: i64,
}

impl Sets {
    fn read(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let text = |place: usize| {
            batch.column(place).as_string_view_opt().ok_or_else(|| exec_datafusion_err!("column {place} is no text"))
        };
        let (people, channels) = (text(0)?, text(1)?);
        let messages = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            if self.person.as_deref() == Some(people.value(row)) {
                self.channels.push('+');
            } else {
                self.close();
                self.person = Some(people.value(row).to_owned());
            }
            self.channels.push_str(channels.value(row));
            self.messages += messages.value(row);
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.person.take().is_some() {
            let reached = self.found.entry(std::mem::take(&mut self.channels)).or_default();
            reached.people += 1;
            reached.messages += std::mem::take(&mut self.messages);
        }
    }

    fn finish(mut self) -> Vec<(String, Reached)> {
        self.close();
        let mut found: Vec<_> = self.found.into_iter().collect();
        found.sort_by_key(|(_, reached)| std::cmp::Reverse(reached.people));
        found
    }
}

fn rows(found: Vec<(String, Reached)>) -> Result<RecordBatch, DataFusionError> {
    let count = |of: fn(&Reached) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(found.iter().map(|(_, reached)| of(reached))))
    };
    let channels = StringArray::from_iter_values(found.iter().map(|(channels, _)| channels));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("channels", Arc::new(channels) as ArrayRef, false),
        ("people", count(|reached| reached.people), false),
        (MESSAGES, count(|reached| reached.messages), false),
    ])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringViewArray;

    fn batch(rows: &[(&str, &str, i64)]) -> RecordBatch {
        let people = StringViewArray::from_iter_values(rows.iter().map(|row| row.0));
        let channels = StringViewArray::from_iter_values(rows.iter().map(|row| row.1));
        let messages = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
        RecordBatch::try_from_iter([
            ("person_id", Arc::new(people) as ArrayRef),
            ("channel", Arc::new(channels)),
            (MESSAGES, Arc::new(messages)),
        ])
        .unwrap()
    }

    #[test]
    fn a_person_counts_in_one_set_also_when_their_rows_come_in_two_batches() {
        let mut sets = Sets::default();
        sets.read(&batch(&[("a", "email", 2), ("a", "site", 1), ("b", "email", 5)])).unwrap();
        sets.read(&batch(&[("b", "sms", 1), ("c", "email", 1), ("d", "email", 2)])).unwrap();
        let reached = |people, messages| Reached { people, messages };
        assert_eq!(
            sets.finish(),
            [
                ("email".to_owned(), reached(2, 3)),
                ("email+site".to_owned(), reached(1, 3)),
                ("email+sms".to_owned(), reached(1, 6)),
            ]
        );
        assert_eq!(Sets::default().finish(), []);
    }
}
