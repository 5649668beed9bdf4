//! The columns of a batch of attempts, as far as they are counted.

use arrow::array::{
    AsArray, BooleanArray, Decimal128Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Decimal128Type, TimestampMicrosecondType};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use touchline_schemas::tables::event_sets::{EVENT_TYPE, IS_BOT, Member, OCCURRED_AT};
use touchline_schemas::tables::message_deliveries as attempt;

use super::counts::{DECIDED, DELIVERED, FAILED, HOLDOUT, SENT, SUPPRESSED, UNIQUES};
use crate::columns::{flags, times};

/// The columns of a batch of attempts.
pub(super) struct Columns<'a> {
    pub cohort_at: &'a TimestampMicrosecondArray,
    pub outcomes: [(&'a TimestampMicrosecondArray, usize); 6],
    pub uniques: [&'a TimestampMicrosecondArray; UNIQUES.len()],
    pub is_pending: &'a BooleanArray,
    pub is_orphan: &'a BooleanArray,
    pub offsets: &'a [i32],
    pub types: &'a StringArray,
    pub times: &'a TimestampMicrosecondArray,
    pub bots: &'a BooleanArray,
    pub reasons: &'a StringArray,
    pub elements: &'a StringArray,
    pub event_outcomes: &'a StringArray,
    pub event_costs: &'a Decimal128Array,
    pub reached: &'a [i32],
    pub goals: &'a StringArray,
    pub reached_at: &'a TimestampMicrosecondArray,
    pub worth: &'a Decimal128Array,
    pub is_last_touch: &'a BooleanArray,
    pub is_credited: &'a BooleanArray,
}

fn lists<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ListArray> {
    let lists = batch.column_by_name(name).and_then(|lists| lists.as_list_opt::<i32>());
    lists.ok_or_else(|| exec_datafusion_err!("there are no lists `{name}`"))
}

fn list_texts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let texts = lists(batch, name)?.values().as_string_opt::<i32>();
    texts.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of texts"))
}

fn list_times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray> {
    let times = lists(batch, name)?.values().as_primitive_opt::<TimestampMicrosecondType>();
    times.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of times"))
}

fn list_amounts<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Decimal128Array> {
    let amounts = lists(batch, name)?.values().as_primitive_opt::<Decimal128Type>();
    amounts.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of amounts"))
}

fn list_flags<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BooleanArray> {
    let flags = lists(batch, name)?.values().as_boolean_opt();
    flags.ok_or_else(|| exec_datafusion_err!("the lists `{name}` are not of flags"))
}

impl<'a> Columns<'a> {
    pub fn of(batch: &'a RecordBatch) -> Result<Self> {
        let [viewed, human_viewed, clicked, human_clicked] = UNIQUES.map(|(name, ..)| times(batch, name));
        Ok(Self {
            cohort_at: times(batch, attempt::COHORT_AT)?,
            outcomes: [
                (times(batch, attempt::DECIDED_AT)?, DECIDED),
                (times(batch, attempt::SENT_AT)?, SENT),
                (times(batch, attempt::SUPPRESSED_AT)?, SUPPRESSED),
                (times(batch, attempt::HOLDOUT_AT)?, HOLDOUT),
                (times(batch, attempt::FAILED_AT)?, FAILED),
                (times(batch, attempt::DELIVERED_AT)?, DELIVERED),
            ],
            uniques: [viewed?, human_viewed?, clicked?, human_clicked?],
            is_pending: flags(batch, attempt::IS_PENDING)?,
            is_orphan: flags(batch, attempt::IS_ORPHAN)?,
            offsets: lists(batch, EVENT_TYPE)?.value_offsets(),
            types: list_texts(batch, EVENT_TYPE)?,
            times: list_times(batch, OCCURRED_AT)?,
            bots: list_flags(batch, IS_BOT)?,
            reasons: list_texts(batch, Member::Reason.column())?,
            elements: list_texts(batch, Member::Element.column())?,
            event_outcomes: list_texts(batch, Member::Outcome.column())?,
            event_costs: list_amounts(batch, Member::Cost.column())?,
            reached: lists(batch, attempt::CONVERSION_GOAL)?.value_offsets(),
            goals: list_texts(batch, attempt::CONVERSION_GOAL)?,
            reached_at: list_times(batch, attempt::CONVERSION_OCCURRED_AT)?,
            worth: list_amounts(batch, attempt::CONVERSION_VALUE)?,
            is_last_touch: list_flags(batch, attempt::CONVERSION_IS_LAST_TOUCH)?,
            is_credited: list_flags(batch, attempt::CONVERSION_IS_CREDITED)?,
        })
    }
}
