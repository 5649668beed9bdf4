//! Touchpoints: each conversion with the sessions that may have led to it.
//!
//! Only sessions of people who converted are looked at: the conversions, which are few, are held in a hash table by
//! person, and the sessions stream past it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, SessionContext, col};
use datafusion::scalar::ScalarValue;
use serde_json::json;
use touchline_schemas::control::{AccountSettings, ConversionValue};
use touchline_schemas::event::{DEFAULT_CONVERSION_EVENT_TYPES, TextField};
use touchline_schemas::tables::{sessions, touchpoints as column};

use super::DEFINITION;
use crate::identities::with_person;

/// Days before a conversion in which sessions are touches, unless the account chooses otherwise.
pub const DEFAULT_LOOKBACK_DAYS: u16 = 30;

/// The earliest time at which a touch of the conversion may begin.
pub(super) const COUNTS_FROM: &str = "counts_from";

/// The account's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Event types that are conversions, besides events posted as conversions.
    pub conversion_event_types: Vec<String>,
    /// What conversions are worth, by event type; without a rule, their revenue.
    pub values: BTreeMap<String, ConversionValue>,
    /// Days before a conversion in which sessions are touches.
    pub lookback_days: u16,
}

impl Params {
    /// What an account's settings say.
    pub fn of(settings: &AccountSettings) -> Self {
        let defaults = || DEFAULT_CONVERSION_EVENT_TYPES.map(str::to_owned).to_vec();
        let mut conversion_event_types = settings.conversion_event_types.clone().unwrap_or_else(defaults);
        conversion_event_types.sort();
        conversion_event_types.dedup();
        Self {
            conversion_event_types,
            values: settings.conversion_values.clone(),
            lookback_days: settings.attribution_lookback_days.unwrap_or(DEFAULT_LOOKBACK_DAYS),
        }
    }

    /// Text that differs when touchpoints and credits would.
    pub fn fingerprint(&self) -> String {
        let Self { conversion_event_types, values, lookback_days } = self;
        json!([DEFINITION, conversion_event_types, values, lookback_days]).to_string()
    }
}

/// The touchpoints of `conversions` (the columns of the table `touchpoints`), in the order of conversion and position.
///
/// `sessions` (the columns of the scan of that table, one tenant) are at least those within the look-back; `identities`
/// are all.
pub async fn touchpoints(
    context: &SessionContext,
    conversions: DataFrame,
    sessions: Arc<dyn TableProvider>,
    identities: Arc<dyn TableProvider>,
    params: &Params,
) -> Result<DataFrame> {
    let conversions = with_person(&beside(context), conversions, Arc::clone(&identities)).await?;
    let conversions = conversions.with_column(COUNTS_FROM, col(sessions::STARTED_AT) - days(params.lookback_days))?;
    let touches = with_person(&beside(context), touches(context, sessions)?, identities).await?;
    context.register_table("conversions", conversions.into_view())?;
    context.register_table("touches", touches.into_view())?;
    context.sql(include_str!("touchpoints.sql")).await
}

fn touches(context: &SessionContext, sessions: Arc<dyn TableProvider>) -> Result<DataFrame> {
    let mut columns = vec![
        col(sessions::SESSION_ID),
        col(TextField::VisitorId.column()),
        col(TextField::UserId.column()),
        col(sessions::STARTED_AT),
        col(sessions::CHANNEL),
    ];
    columns.extend(column::UTM.map(col));
    columns.extend([col(column::REFERRER_HOST), col(sessions::ENTRY_PAGE).alias(column::LANDING_PAGE)]);
    context.read_table(sessions)?.filter(col(sessions::IS_BOT).is_not_true())?.select(columns)
}

/// Another context of the same engine, for a transform that names tables of its own.
pub(super) fn beside(context: &SessionContext) -> SessionContext {
    SessionContext::new_with_config_rt(context.copied_config(), context.runtime_env())
}

pub(super) fn days(days: u16) -> Expr {
    lit(ScalarValue::new_interval_dt(i32::from(days), 0))
}
