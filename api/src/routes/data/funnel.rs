//! `GET /api/v1/data/funnel`: visits, events and conversions, row by row.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use chrono::NaiveDate;
use serde::Serialize;
use serde_json::value::RawValue;
use touchline_pipeline::reports::data::funnel::{Happening, Params, TABLES, query};
use touchline_schemas::control::Scope;
use touchline_schemas::event::DEFAULT_CONVERSION_EVENT_TYPES;
use utoipa::ToSchema;

use super::{DataPage, DataParams, DataQuery, Said, amount, answer, day, engine};
use crate::AppState;
use crate::auth::Caller;
use crate::error::{ApiError, DataProblems};

/// A visit, an event or a conversion.
#[derive(Debug, Serialize, ToSchema)]
pub struct FunnelRow {
    /// Its day, UTC.
    date: Option<NaiveDate>,
    /// `visit`, `event` or `conversion`.
    #[serde(rename = "type")]
    #[schema(example = "event")]
    kind: &'static str,
    /// Type of the event; null for a visit.
    #[schema(example = "page_view")]
    name: Option<String>,
    /// The property `funnel` of the event.
    funnel: Option<String>,
    /// Channel of the visit, or of that in which the event happened; null if it happened in none.
    #[schema(example = "organic_search")]
    channel: Option<String>,
    /// Campaign of the visit.
    utm_source: Option<String>,
    /// Campaign of the visit.
    utm_medium: Option<String>,
    /// Campaign of the visit.
    utm_campaign: Option<String>,
    /// The money that a conversion carried.
    #[schema(example = 149.0)]
    revenue: Option<f64>,
    /// ISO 4217; of a conversion.
    #[schema(example = "EUR")]
    currency: Option<String>,
    /// The property `is_acquisition` of a conversion.
    is_acquisition: Option<bool>,
    /// What the event said; null for a visit.
    #[schema(value_type = Option<Object>)]
    properties: Option<Box<RawValue>>,
}

impl From<Happening> for FunnelRow {
    fn from(row: Happening) -> Self {
        let said = Said::of(row.properties);
        Self {
            date: day(row.at_us),
            kind: row.kind.as_str(),
            name: row.name,
            funnel: said.funnel,
            channel: row.campaign.channel,
            utm_source: row.campaign.source,
            utm_medium: row.campaign.medium,
            utm_campaign: row.campaign.campaign,
            revenue: row.revenue_e4.map(amount),
            currency: row.currency,
            is_acquisition: said.is_acquisition,
            properties: said.properties,
        }
    }
}

/// Lists visits, events and conversions
///
/// Needs the scope `can_view_reports`. One row for each session that began in the range, and for each event of the range,
/// oldest first; a visit stands before what happened in it. Bots, and events of messages, are left out.
#[utoipa::path(
    get,
    path = "/api/v1/data/funnel",
    tag = "reports",
    security(("key" = ["can_view_reports"])),
    params(DataParams),
    responses((status = 200, description = "A page of rows", body = DataPage<FunnelRow>), DataProblems)
)]
pub async fn get_funnel(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    caller.require(Scope::CanViewReports)?;
    let asked = DataQuery::read(&uri, None, state.clock.now())?;
    let defaults = || DEFAULT_CONVERSION_EVENT_TYPES.map(str::to_owned).to_vec();
    let conversion_event_types = caller.key().settings.conversion_event_types.clone().unwrap_or_else(defaults);
    let params = Params { range: asked.range, conversion_event_types, channels: asked.channels, page: asked.page };
    let engine = engine(&state, &caller, &TABLES).await?;
    let found = query(&engine, caller.tenant(), &params).await?;
    Ok(answer(found, asked.page, FunnelRow::from))
}
