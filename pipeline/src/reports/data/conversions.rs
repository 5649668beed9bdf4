//! `data/conversions`: what each touch of a conversion is credited with.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use datafusion::common::JoinType;
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, attribution as column, events, touchpoints};

use super::{Campaign, DEFINITION, Found, Page, count, e4, text, time_us};
use crate::attribution::Model;
use crate::reports::{TimeRange, dimension, rows_in};
use crate::{PipelineError, QueryEngine};

/// The model when the caller does not say.
pub const DEFAULT_MODEL: &str = Model::LastNonDirect.as_str();

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 3] = [Table::Attribution, Table::Touchpoints, Table::Events];

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the time of the conversion.
    pub range: TimeRange,
    /// One of the models that look at one journey at a time.
    pub model: String,
    /// Touches of one of these channels; of all if there are none.
    pub channels: Vec<String>,
    /// Which of them.
    pub page: Page,
}

/// A touch that was credited, or a conversion without touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The conversion.
    pub conversion_id: String,
    /// When it happened, in microseconds since 1970.
    pub converted_at_us: i64,
    /// Its type.
    pub event_type: Option<String>,
    /// What it is worth, in ten-thousandths.
    pub value_e4: Option<i128>,
    /// In which currency.
    pub currency: Option<String>,
    /// What its event said, as JSON; none if the event is gone.
    pub properties: Option<String>,
    /// Place of the touch among those of the conversion, from 1 on; 0 if it has none.
    pub position: i64,
    /// How many touches the conversion has.
    pub touch_count: Option<i64>,
    /// When the touch began, in microseconds since 1970.
    pub touched_at_us: Option<i64>,
    /// What led to it.
    pub campaign: Campaign,
    /// Its share of the conversion, in ten-thousandths.
    pub credit_e4: Option<i128>,
    /// Its share of the value, in ten-thousandths.
    pub credited_value_e4: Option<i128>,
}

const OF_CONVERSION: &str = "touch_conversion_id";
const OF_POSITION: &str = "touch_position";
const FULL_VALUE: &str = "full_value";

/// Credits of the conversions of the range, oldest conversion first and its touches in order.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Found<Credit>, PipelineError> {
    let model = dimension("model", &params.model, &Model::ALL.map(Model::as_str))?;
    let (_, credits, meta) = rows_in(engine, Table::Attribution, tenant, params.range, DEFINITION).await?;
    let mut credits = credits.filter(col(column::MODEL).eq(lit(model)))?;
    if !params.channels.is_empty() {
        let channels = params.channels.iter().map(|channel| lit(channel.as_str())).collect();
        credits = credits.filter(col(column::CHANNEL).in_list(channels, false))?;
    }
    let total_count = credits.clone().count().await?;

    let order = [column::CONVERTED_AT, column::CONVERSION_ID, column::POSITION].map(|name| col(name).sort(true, true));
    let page = params.page.of(credits.sort(order.to_vec())?)?;
    let (_, touches, _) = rows_in(engine, Table::Touchpoints, tenant, params.range, DEFINITION).await?;
    let touches = touches.select(vec![
        col(touchpoints::CONVERSION_ID).alias(OF_CONVERSION),
        col(touchpoints::POSITION).alias(OF_POSITION),
        col(touchpoints::VALUE).alias(FULL_VALUE),
        col(touchpoints::TOUCH_COUNT),
        col(touchpoints::TOUCHED_AT),
    ])?;
    let on = ([column::CONVERSION_ID, column::POSITION], [OF_CONVERSION, OF_POSITION]);
    // A join keeps no order.
    let page = page.join(touches, JoinType::Left, &on.0, &on.1, None)?.sort(order.to_vec())?;
    let mut rows = Vec::new();
    for batch in page.collect().await? {
        for row in 0..batch.num_rows() {
            rows.push(Credit {
                conversion_id: text(&batch, column::CONVERSION_ID, row)?.unwrap_or_default(),
                converted_at_us: time_us(&batch, column::CONVERTED_AT, row)?.unwrap_or_default(),
                event_type: text(&batch, column::EVENT_TYPE, row)?,
                value_e4: e4(&batch, FULL_VALUE, row)?,
                currency: text(&batch, column::CURRENCY, row)?,
                properties: None,
                position: count(&batch, column::POSITION, row)?.unwrap_or_default(),
                touch_count: count(&batch, touchpoints::TOUCH_COUNT, row)?,
                touched_at_us: time_us(&batch, touchpoints::TOUCHED_AT, row)?,
                campaign: Campaign::read(&batch, row)?,
                credit_e4: e4(&batch, column::CREDIT, row)?,
                credited_value_e4: e4(&batch, column::VALUE, row)?,
            });
        }
    }
    let said = properties(engine, tenant, &rows).await?;
    for row in &mut rows {
        row.properties = said.get(&row.conversion_id).cloned();
    }
    Ok(Found { rows, total_count, meta })
}

/// What the events of these conversions said, by their ids.
async fn properties(
    engine: &QueryEngine,
    tenant: Tenant,
    credits: &[Credit],
) -> Result<BTreeMap<String, String>, PipelineError> {
    let times = credits.iter().map(|credit| credit.converted_at_us);
    let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { return Ok(BTreeMap::new()) };
    let instant = DateTime::from_timestamp_micros;
    let after = |time_us| instant(time_us).and_then(|time| time.checked_add_signed(TimeDelta::microseconds(1)));
    let range = TimeRange { from: instant(first), to: after(last) };
    let (_, frame, _) = rows_in(engine, Table::Events, tenant, range, DEFINITION).await?;
    let id = TextField::EventId.column();
    let ids = credits.iter().map(|credit| lit(credit.conversion_id.as_str())).collect();
    let frame = frame.filter(col(id).in_list(ids, false))?;
    let frame = frame.select(vec![col(id), col(TextField::Properties.column()), col(events::OCCURRED_AT)])?;
    let mut said = BTreeMap::new();
    for batch in frame.collect().await? {
        for row in 0..batch.num_rows() {
            let found = (text(&batch, id, row)?, text(&batch, TextField::Properties.column(), row)?);
            if let (Some(id), Some(properties)) = found {
                said.insert(id, properties);
            }
        }
    }
    Ok(said)
}
