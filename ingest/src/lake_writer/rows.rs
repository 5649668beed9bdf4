//! Logged events and refusals as Arrow rows.
//!
//! Most text columns of most events are null: a column is only touched by the rows that have it, and the nulls between
//! are added in one go.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder,
};
use arrow::error::ArrowError;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, money_type};

use crate::record::{LoggedEvent, Rejected};

/// An event with the time of its request.
#[derive(Debug, Clone, Copy)]
pub struct EventRow<'a> {
    pub received_at_us: i64,
    pub event: &'a LoggedEvent<'a>,
}

/// Rows of `events`, in the order given.
pub fn events(rows: &[EventRow<'_>]) -> Result<RecordBatch, ArrowError> {
    let mut occurred_at = TimestampMicrosecondBuilder::with_capacity(rows.len()).with_timezone("UTC");
    let mut received_at = TimestampMicrosecondBuilder::with_capacity(rows.len()).with_timezone("UTC");
    let mut is_bot = BooleanBuilder::with_capacity(rows.len());
    let mut revenue = Decimal128Builder::with_capacity(rows.len()).with_data_type(money_type());
    let mut texts: Vec<SparseText> = (0..TextField::COUNT).map(|_| SparseText::default()).collect();
    for (row, EventRow { received_at_us, event }) in rows.iter().enumerate() {
        occurred_at.append_value(event.occurred_at_us);
        received_at.append_value(*received_at_us);
        is_bot.append_value(event.is_bot);
        revenue.append_option(event.revenue_e4.map(i128::from));
        for (field, text) in event.texts() {
            texts[field].set(row, text);
        }
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(occurred_at.finish()),
        Arc::new(received_at.finish()),
        Arc::new(is_bot.finish()),
        Arc::new(revenue.finish()),
    ];
    columns.extend(texts.into_iter().map(|text| text.finish(rows.len())));
    RecordBatch::try_new(Table::Events.file_schema(), columns)
}

#[derive(Debug, Default)]
struct SparseText {
    builder: StringBuilder,
    rows: usize,
}

impl SparseText {
    fn set(&mut self, row: usize, text: &str) {
        self.builder.append_nulls(row - self.rows);
        self.builder.append_value(text);
        self.rows = row + 1;
    }

    fn finish(mut self, rows: usize) -> ArrayRef {
        self.builder.append_nulls(rows - self.rows);
        Arc::new(self.builder.finish())
    }
}

/// Rows of `rejected_events`: each refusal with the time of its request.
pub fn rejected(rows: &[(i64, &Rejected<'_>)]) -> Result<RecordBatch, ArrowError> {
    fn text<'a>(rows: &'a [(i64, &'a Rejected<'_>)], of: impl Fn(&'a Rejected<'a>) -> &'a str) -> ArrayRef {
        let texts = rows.iter().map(|(_, rejected)| Some(of(rejected)).filter(|text| !text.is_empty()));
        Arc::new(texts.collect::<StringArray>())
    }
    let received_at = rows.iter().map(|(received_at_us, _)| *received_at_us);
    let columns = vec![
        text(rows, |rejected| &rejected.rejected_id),
        Arc::new(TimestampMicrosecondArray::from_iter_values(received_at).with_timezone("UTC")) as ArrayRef,
        text(rows, |rejected| &rejected.event_id),
        text(rows, |rejected| &rejected.event_type),
        text(rows, |rejected| &rejected.code),
        text(rows, |rejected| &rejected.errors),
        text(rows, |rejected| &rejected.body),
        text(rows, |rejected| &rejected.source),
    ];
    RecordBatch::try_new(Table::RejectedEvents.file_schema(), columns)
}
