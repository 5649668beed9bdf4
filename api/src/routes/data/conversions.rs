//! `GET /api/v1/data/conversions`: what each touch of a conversion is credited with, row by row.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use chrono::NaiveDate;
use serde::Serialize;
use serde_json::value::RawValue;
use touchline_pipeline::reports::data::conversions::{Credit, DEFAULT_MODEL, Params, TABLES, query};
use touchline_schemas::control::Scope;
use utoipa::{IntoParams, ToSchema};

use super::{DataPage, DataParams, DataQuery, Said, amount, answer, day, engine};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, DataProblems};

const MODEL: &str = "model";

/// How credit is given.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the description of the API only")]
pub struct ModelParam {
    /// `first`, `last`, `last_non_direct` (default), `linear`, `position` or `time_decay`.
    #[param(example = "linear")]
    pub model: Option<String>,
}

/// A touch that was credited with a part of a conversion, or a conversion without touches.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionRow {
    /// Day of the conversion, UTC.
    date: Option<NaiveDate>,
    /// Always `conversion`.
    #[serde(rename = "type")]
    #[schema(example = "conversion")]
    kind: &'static str,
    /// Type of the conversion.
    #[schema(example = "purchase")]
    name: Option<String>,
    /// The property `funnel` of its event.
    funnel: Option<String>,
    /// The model.
    #[schema(example = "linear")]
    attribution_model: String,
    /// The same.
    #[schema(example = "linear")]
    algorithm: String,
    /// Channel of the touch; null if the conversion has none.
    #[schema(example = "paid_search")]
    channel: Option<String>,
    /// Its share of the conversion, from 0 to 1.
    #[schema(example = 0.5)]
    credit: Option<f64>,
    /// What the conversion is worth.
    #[schema(example = 149.0)]
    revenue: Option<f64>,
    /// The touch's share of that.
    #[schema(example = 74.5)]
    revenue_credit: Option<f64>,
    /// ISO 4217.
    #[schema(example = "EUR")]
    currency: Option<String>,
    /// Campaign of the touch.
    utm_source: Option<String>,
    /// Campaign of the touch.
    utm_medium: Option<String>,
    /// Campaign of the touch.
    utm_campaign: Option<String>,
    /// The property `is_acquisition` of its event.
    is_acquisition: Option<bool>,
    /// What its event said; null if that is gone.
    #[schema(value_type = Option<Object>)]
    properties: Option<Box<RawValue>>,
    /// `first_touch`, `assisted` or `last_touch`; null without a touch.
    #[schema(example = "first_touch")]
    journey_position: Option<&'static str>,
    /// Place of the touch, from 0 on; null without a touch.
    touchpoint_index: Option<i64>,
    /// How many touches the conversion has; null without a touch.
    journey_length: Option<i64>,
    /// Days (UTC) from the touch to the conversion; null without a touch.
    days_to_conversion: Option<i64>,
}

impl From<(Credit, &str)> for ConversionRow {
    fn from((credit, model): (Credit, &str)) -> Self {
        let date = day(credit.converted_at_us);
        let index = Some(credit.position - 1).filter(|index| *index >= 0);
        let length = credit.touch_count.filter(|_| index.is_some());
        let days = date.zip(credit.touched_at_us.and_then(day)).map(|(date, touched)| (date - touched).num_days());
        let said = Said::of(credit.properties);
        Self {
            date,
            kind: "conversion",
            name: credit.event_type,
            funnel: said.funnel,
            attribution_model: model.to_owned(),
            algorithm: model.to_owned(),
            channel: credit.campaign.channel,
            credit: credit.credit_e4.map(amount),
            revenue: credit.value_e4.map(amount),
            revenue_credit: credit.credited_value_e4.map(amount),
            currency: credit.currency,
            utm_source: credit.campaign.source,
            utm_medium: credit.campaign.medium,
            utm_campaign: credit.campaign.campaign,
            is_acquisition: said.is_acquisition,
            properties: said.properties,
            journey_position: index.and_then(|index| journey_position(index, length?)),
            touchpoint_index: index,
            journey_length: length,
            days_to_conversion: days.filter(|_| index.is_some()),
        }
    }
}

/// A single touch is the first.
fn journey_position(index: i64, length: i64) -> Option<&'static str> {
    match index {
        0 => Some("first_touch"),
        index if index == length - 1 => Some("last_touch"),
        index if index < length => Some("assisted"),
        _ => None,
    }
}

/// Lists what touches are credited with
///
/// Needs the scope `can_view_reports`. One row for each touch that got credit for a conversion of the range, by one model;
/// a conversion without touches has one row without a channel. Oldest conversion first, and its touches in order.
#[utoipa::path(
    get,
    path = "/api/v1/data/conversions",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(DataParams, ModelParam),
    responses((status = 200, description = "A page of rows", body = DataPage<ConversionRow>), DataProblems)
)]
pub async fn get_conversions(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::CanViewReports)?;
    let asked = DataQuery::read(&uri, Some(MODEL), state.clock.now())?;
    let model = asked.own.unwrap_or_else(|| DEFAULT_MODEL.to_owned());
    let params = Params { range: asked.range, model: model.clone(), channels: asked.channels, page: asked.page };
    let engine = engine(&state, &caller, &TABLES).await?;
    let found = query(&engine, caller.tenant(), &params).await?;
    Ok(answer(found, asked.page, |credit| ConversionRow::from((credit, model.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_is_the_first_the_last_or_between() {
        for (index, length, expected) in [
            (0, 1, Some("first_touch")),
            (0, 3, Some("first_touch")),
            (1, 3, Some("assisted")),
            (2, 3, Some("last_touch")),
            (3, 3, None),
        ] {
            assert_eq!(journey_position(index, length), expected, "{index} of {length}");
        }
    }
}
