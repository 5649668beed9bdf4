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
use crate::columns::within_money;

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
        column::REVENUE => within_money(named(whole, column::REVENUE)?),
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
    let mut clicks = column::UTM_FIELDS[5..]
        .iter()
        .map(|field| Ok((*field, text(*field)?)))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    clicks.retain(|(_, values)| values.null_count() < values.len());
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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BooleanArray, StringViewArray, TimestampMicrosecondArray, new_null_array};
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;
    use touchline_schemas::tables::{Table, events};

    use super::*;
    use crate::scan::scan_schema;
    use crate::sessions::{SessionParams, sessions};

    /// Channel and referring host of the session of one event, whose texts are given.
    async fn session_of(texts: &[(TextField, &str)], params: &SessionParams) -> (String, Option<String>) {
        let schema = scan_schema(Table::Events);
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            events::OCCURRED_AT | events::RECEIVED_AT => {
                Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")) as ArrayRef
            }
            events::IS_BOT => Arc::new(BooleanArray::from(vec![false])),
            name => match texts.iter().find(|(field, _)| field.column() == name) {
                Some((_, text)) => Arc::new(StringViewArray::from(vec![*text])),
                None => new_null_array(field.data_type(), 1),
            },
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        let events = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
        let context = SessionContext::new();
        let found = sessions(&context, Arc::new(events), params.clone()).unwrap().collect().await.unwrap();
        let text = |name: &str| {
            let column = found[0].column_by_name(name).unwrap().as_string_view();
            column.is_valid(0).then(|| column.value(0).to_owned())
        };
        (text(column::CHANNEL).unwrap(), text(TextField::ReferrerHost.column()))
    }

    #[tokio::test]
    async fn an_account_chooses_its_rules_and_names_its_domains() {
        let ours = SessionParams::default();
        let ga4 = SessionParams {
            channel_rules: RuleSet::ga4(),
            own_domains: vec!["pay.example".to_owned()],
            ..SessionParams::default()
        };
        let from = |referrer_host: &'static str| {
            [
                (TextField::EventId, "e"),
                (TextField::EventType, "page_view"),
                (TextField::VisitorId, "v"),
                (TextField::Host, "www.shop.example.com"),
                (TextField::ReferrerHost, referrer_host),
            ]
        };
        let check = async |referrer_host: &'static str, params: &SessionParams, channel: &str, is_external: bool| {
            let found = session_of(&from(referrer_host), params).await;
            assert_eq!(found, (channel.to_owned(), is_external.then(|| referrer_host.to_owned())));
        };
        check("www.google.com", &ours, "organic_search", true).await;
        check("www.google.com", &ga4, "Organic Search", true).await;
        check("eu.pay.example", &ours, "referral", true).await;
        check("eu.pay.example", &ga4, "Direct", false).await;
        check("blog.example.com", &ours, "direct", false).await;
        check("example.com.evil.example", &ours, "referral", true).await;

        let mut tagged = from("www.google.com").to_vec();
        tagged.extend([(TextField::UtmSource, "google"), (TextField::UtmMedium, "CPC"), (TextField::Gclid, "x")]);
        assert_eq!(session_of(&tagged, &ours).await.0, "paid_search");
        assert_eq!(session_of(&tagged, &ga4).await.0, "Paid Search");
    }
}
