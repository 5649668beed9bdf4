//! `attribution`: conversions and their value, shared out among what their touches are grouped by.
//!
//! The models that look at one journey at a time are read from the table `attribution`. The others look at all journeys
//! of the range together, and are computed from `touchpoints`, as all are when the look-back is shorter than the account's.

mod journeys;

use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, col};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, attribution as column};

use super::{Answer, TimeRange, count_where, dimension, rows_in, run};
use crate::attribution::Model;
use crate::attribution::markov::ORDERS;
use crate::attribution::tally::Method;
use crate::{PipelineError, QueryEngine};

pub use crate::attribution::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the time of the conversion.
    pub range: TimeRange,
    /// One of [`MODELS`].
    pub model: String,
    /// Touches that a state of the model `markov` remembers, 1 to 3. Default 1; other models have none.
    pub order: Option<u8>,
    /// One of [`DIMENSIONS`].
    pub by: String,
    /// Conversions of this event type only.
    pub event_type: Option<String>,
    /// Days before a conversion in which sessions are touches, if fewer than the account's.
    pub lookback_days: Option<u16>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// Every model.
pub const MODELS: [&str; 9] = [
    Model::First.as_str(),
    Model::Last.as_str(),
    Model::LastNonDirect.as_str(),
    Model::Linear.as_str(),
    Model::Position.as_str(),
    Model::TimeDecay.as_str(),
    PARTICIPATION,
    MARKOV,
    SHAPLEY,
];
const PARTICIPATION: &str = "participation";
const MARKOV: &str = "markov";
const SHAPLEY: &str = "shapley";

/// What touches can be grouped by.
pub const DIMENSIONS: [&str; 8] = [
    column::CHANNEL,
    column::UTM[0],
    column::UTM[1],
    column::UTM[2],
    column::UTM[3],
    column::UTM[4],
    column::REFERRER_HOST,
    column::LANDING_PAGE,
];

/// Fixed, so that the same question has the same answer.
const SEED: u64 = 1;

/// Columns of the answer besides what the rows are grouped by.
const CONVERSIONS: &str = "conversions";
const VALUE: &str = "value";
const TOUCHES: &str = "touches";

/// The table that an answer is read from.
pub fn table(params: &Params) -> Result<Table, PipelineError> {
    Ok(match (method(params)?, params.lookback_days) {
        (Method::Single(_), None) => Table::Attribution,
        (Method::Single(_) | Method::Participation | Method::Markov { .. } | Method::Shapley { .. }, _) => {
            Table::Touchpoints
        }
    })
}

/// Credit of the conversions in the range, most first.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let by = dimension("by", &params.by, &DIMENSIONS)?;
    let method = method(params)?;
    let (context, frame, meta) = rows_in(engine, table(params)?, tenant, params.range, DEFINITION).await?;
    let frame = of_type(frame, params)?;
    let frame = match (method, params.lookback_days) {
        (Method::Single(model), None) => stored(frame, model, by)?,
        (method, lookback_days) => context.read_batch(journeys::totals(frame, method, lookback_days, by).await?)?,
    };
    let frame =
        frame.sort(vec![col(CONVERSIONS).sort(false, false), col(by).sort(true, true)])?.limit(0, params.limit)?;
    run(frame, meta).await
}

fn method(params: &Params) -> Result<Method, PipelineError> {
    let name = dimension("model", &params.model, &MODELS)?;
    let order = params.order.map_or(*ORDERS.start(), usize::from);
    let refused = |detail: &str| PipelineError::BadParameter { name: "order", detail: detail.to_owned() };
    if !ORDERS.contains(&order) {
        return Err(refused("must be 1, 2 or 3"));
    }
    if params.order.is_some() && name != MARKOV {
        return Err(refused("only the model `markov` has an order"));
    }
    Ok(match Model::ALL.into_iter().find(|model| model.as_str() == name) {
        Some(model) => Method::Single(model),
        None if name == MARKOV => Method::Markov { order },
        None if name == SHAPLEY => Method::Shapley { seed: SEED },
        None => Method::Participation,
    })
}

fn of_type(frame: DataFrame, params: &Params) -> Result<DataFrame, PipelineError> {
    Ok(match &params.event_type {
        Some(event_type) => frame.filter(col(column::EVENT_TYPE).eq(lit(event_type.as_str())))?,
        None => frame,
    })
}

fn stored(frame: DataFrame, model: Model, by: &str) -> Result<DataFrame, PipelineError> {
    let measures = vec![
        sum(col(column::CREDIT)).alias(CONVERSIONS),
        sum(col(column::VALUE)).alias(VALUE),
        count_where(col(column::POSITION).gt(lit(0_i64)))?.alias(TOUCHES),
    ];
    let frame = frame.filter(col(column::MODEL).eq(lit(model.as_str())))?;
    let frame = frame.aggregate(vec![col(by)], measures)?;
    Ok(frame.select([by, CONVERSIONS, VALUE, TOUCHES].map(col))?)
}
