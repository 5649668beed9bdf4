//! Conversions: those among events, and those already known whose journey may have changed.
//!
//! Both come with the same columns: id, time (under the name `started_at`, by which people are looked up), type, the
//! ids that the event carried, value and currency.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::JoinType;
use datafusion::error::Result;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, SessionContext, col};
use touchline_schemas::event::{SOURCE_CONVERSION, TextField};
use touchline_schemas::tables::{events, sessions, touchpoints as column};

use super::Params;
use super::touchpoints::{COUNTS_FROM, beside, days};
use super::value::conversion_value;
use crate::identities::with_person;

/// The account's conversions among `events` (the columns of the scan of that table, one tenant).
pub fn conversions(context: &SessionContext, events: Arc<dyn TableProvider>, params: &Params) -> Result<DataFrame> {
    read_few(context);
    let event_type = || col(TextField::EventType.column());
    let types = params.conversion_event_types.iter().map(|event_type| lit(event_type.as_str())).collect();
    let is_conversion =
        event_type().in_list(types, false).or(col(TextField::Source.column()).eq(lit(SOURCE_CONVERSION)));
    let value = conversion_value(params.values.clone());
    let value = value.call(vec![event_type(), col(events::REVENUE), col(TextField::Properties.column())]);
    context.read_table(events)?.filter(is_conversion)?.filter(col(events::IS_BOT).is_not_true())?.select(vec![
        col(TextField::EventId.column()).alias(column::CONVERSION_ID),
        col(events::OCCURRED_AT).alias(sessions::STARTED_AT),
        event_type(),
        col(TextField::VisitorId.column()),
        col(TextField::UserId.column()),
        value.alias(column::VALUE),
        col(TextField::Currency.column()),
    ])
}

/// What has happened since touchpoints were computed.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Changed rows of `sessions`: those that went and those that came.
    pub sessions: Arc<dyn TableProvider>,
    /// Changed rows of `identities`, likewise.
    pub identities: Arc<dyn TableProvider>,
}

/// The conversions in `touchpoints` (the columns of the scan of that table) whose rows `changes` may have changed.
///
/// `identities` are those of now. A session whose person they changed is found by the changes of identities.
pub async fn affected(
    context: &SessionContext,
    touchpoints: Arc<dyn TableProvider>,
    changes: Changes,
    identities: Arc<dyn TableProvider>,
    params: &Params,
) -> Result<DataFrame> {
    let known = context
        .read_table(touchpoints)?
        // One row of each conversion.
        .filter(col(column::POSITION).lt_eq(lit(1_i64)))?
        .with_column(COUNTS_FROM, col(column::CONVERTED_AT) - days(params.lookback_days))?;
    let sessions = context.read_table(changes.sessions)?.filter(col(sessions::IS_BOT).is_not_true())?.select(vec![
        col(TextField::VisitorId.column()),
        col(TextField::UserId.column()),
        col(sessions::STARTED_AT),
    ])?;
    let sessions = with_person(&beside(context), sessions, identities).await?;
    context.register_table("known", known.into_view())?;
    context.register_table("changed_sessions", sessions.into_view())?;
    context.register_table("changed_identities", changes.identities)?;
    context.sql(include_str!("affected.sql")).await
}

/// When the sessions began: one column, for whoever wants to know how far they reach.
pub fn starts(context: &SessionContext, sessions: Arc<dyn TableProvider>) -> Result<DataFrame> {
    context.read_table(sessions)?.select(vec![col(sessions::STARTED_AT)])
}

/// The rows of `stored` (any columns, with the conversion's id) of other conversions than these.
pub fn without(
    context: &SessionContext,
    stored: Arc<dyn TableProvider>,
    conversions: Vec<RecordBatch>,
) -> Result<DataFrame> {
    const LEFT_OUT: &str = "left_out";
    let ids = context.read_batches(conversions)?.select(vec![col(column::CONVERSION_ID).alias(LEFT_OUT)])?;
    context.read_table(stored)?.join(ids, JoinType::LeftAnti, &[column::CONVERSION_ID], &[LEFT_OUT], None)
}

/// Makes scans decide row by row before they read the other columns. That pays where few rows are wanted, as here: of
/// most events only the type and the source are read.
fn read_few(context: &SessionContext) {
    context.state_ref().write().config_mut().options_mut().execution.parquet.pushdown_filters = true;
}
