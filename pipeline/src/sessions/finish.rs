//! What is derived from a session once it is whole.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use hashbrown::HashMap;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::sessions as column;

use crate::channels::{RuleSet, Signals};

/// Sessions longer than this are engaged.
const ENGAGED_AFTER_US: i64 = 10_000_000;
const US_PER_S: i64 = 1_000_000;

/// Gives whole fragments the session columns `wanted`, in that order.
pub(super) fn finish(whole: &RecordBatch, wanted: &SchemaRef, rules: RuleSet) -> Result<RecordBatch, ArrowError> {
    let columns = wanted.fields().iter().map(|field| match field.name().as_str() {
        column::DURATION_S => Ok(Arc::new(Int64Array::from_iter_values(
            durations_us(whole)?.into_iter().map(|duration_us| duration_us / US_PER_S),
        )) as ArrayRef),
        column::IS_BOUNCE => is_bounce(whole),
        column::IS_ENGAGED => is_engaged(whole),
        column::CHANNEL => channel(whole, rules),
        name => named(whole, name).cloned(),
    });
    RecordBatch::try_new_with_options(
        Arc::clone(wanted),
        columns.collect::<Result<Vec<_>, ArrowError>>()?,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(whole.num_rows())),
    )
}

fn named<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("fragments have no column `{name}`")))
}

fn durations_us(whole: &RecordBatch) -> Result<Vec<i64>, ArrowError> {
    let starts = named(whole, column::STARTED_AT)?.as_primitive::<TimestampMicrosecondType>();
    let ends = named(whole, column::ENDED_AT)?.as_primitive::<TimestampMicrosecondType>();
    Ok(starts.values().iter().zip(ends.values()).map(|(start, end)| end - start).collect())
}

fn count<'a>(whole: &'a RecordBatch, name: &str) -> Result<&'a [i64], ArrowError> {
    Ok(named(whole, name)?.as_primitive::<Int64Type>().values())
}

fn is_bounce(whole: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let views = count(whole, column::PAGE_VIEW_COUNT)?;
    let interactions = count(whole, column::INTERACTION_COUNT)?;
    let flags = views.iter().zip(interactions).map(|(views, interactions)| Some(*views == 1 && *interactions == 0));
    Ok(Arc::new(flags.collect::<BooleanArray>()))
}

fn is_engaged(whole: &RecordBatch) -> Result<ArrayRef, ArrowError> {
    let views = count(whole, column::PAGE_VIEW_COUNT)?;
    let conversions = count(whole, column::CONVERSION_COUNT)?;
    let flags =
        durations_us(whole)?.into_iter().zip(views).zip(conversions).map(|((duration_us, views), conversions)| {
            Some(duration_us > ENGAGED_AFTER_US || *conversions > 0 || *views >= 2)
        });
    Ok(Arc::new(flags.collect::<BooleanArray>()))
}

/// The channels of sessions. Many sessions come about in the same way, so each way is decided once.
fn channel(whole: &RecordBatch, rules: RuleSet) -> Result<ArrayRef, ArrowError> {
    let text = |field: TextField| Ok::<_, ArrowError>(named(whole, field.column())?.as_string_view());
    let [source, medium, campaign] =
        [text(TextField::UtmSource)?, text(TextField::UtmMedium)?, text(TextField::UtmCampaign)?];
    let referrer_host = text(TextField::ReferrerHost)?;
    let clicks = column::UTM_FIELDS[5..]
        .iter()
        .map(|field| Ok((*field, text(*field)?)))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    let mut decided: HashMap<Signals<'_>, &'static str> = HashMap::new();
    let mut channels = StringViewBuilder::with_capacity(whole.num_rows());
    for row in 0..whole.num_rows() {
        let signals = Signals {
            source: at(source, row),
            medium: at(medium, row),
            campaign: at(campaign, row),
            click_id: clicks.iter().find(|(_, values)| values.is_valid(row)).map(|(field, _)| *field),
            referrer_host: at(referrer_host, row),
        };
        channels.append_value(*decided.entry(signals).or_insert_with(|| rules.channel(&signals)));
    }
    Ok(Arc::new(channels.finish()))
}

fn at(values: &StringViewArray, row: usize) -> Option<&str> {
    values.is_valid(row).then(|| values.value(row))
}
