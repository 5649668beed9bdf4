//! `people/{id}/touches`: what led to a person's conversions, and the credit that it got.

use datafusion::common::JoinType;
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, attribution, touchpoints as column};

use super::Person;
use crate::attribution::Model;
use crate::reports::{Answer, TimeRange, dimension, rows_in, run};
use crate::{PipelineError, QueryEngine};

pub use crate::attribution::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the time of the conversion.
    pub range: TimeRange,
    /// One of the models that look at one journey at a time.
    pub model: String,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 4] = [Table::Touchpoints, Table::Attribution, Table::Identities, Table::Visitors];

/// The model when the caller does not say.
pub const DEFAULT_MODEL: &str = Model::LastNonDirect.as_str();

const OF_CONVERSION: &str = "credit_conversion_id";
const OF_POSITION: &str = "credit_position";
const CREDITED_VALUE: &str = "credited_value";

/// Touches of the conversions of the range, newest conversion first and its touches in order; a conversion without touches
/// has one row, without a session.
pub async fn query(
    engine: &QueryEngine,
    tenant: Tenant,
    person: &Person,
    params: &Params,
) -> Result<Answer, PipelineError> {
    let model = dimension("model", &params.model, &Model::ALL.map(Model::as_str))?;
    let is_person = |name: &str| col(name).eq(lit(person.person_id.as_str()));
    let (_, credits, _) = rows_in(engine, Table::Attribution, tenant, params.range, DEFINITION).await?;
    let credits =
        credits.filter(is_person(attribution::PERSON_ID).and(col(attribution::MODEL).eq(lit(model))))?.select(vec![
            col(attribution::CONVERSION_ID).alias(OF_CONVERSION),
            col(attribution::POSITION).alias(OF_POSITION),
            col(attribution::CREDIT),
            col(attribution::VALUE).alias(CREDITED_VALUE),
        ])?;
    let (_, touches, meta) = rows_in(engine, Table::Touchpoints, tenant, params.range, DEFINITION).await?;
    let on = ([column::CONVERSION_ID, column::POSITION], [OF_CONVERSION, OF_POSITION]);
    let touches = touches.filter(is_person(column::PERSON_ID))?.join(credits, JoinType::Left, &on.0, &on.1, None)?;
    let mut columns = vec![
        column::CONVERSION_ID,
        column::CONVERTED_AT,
        column::EVENT_TYPE,
        column::VALUE,
        column::CURRENCY,
        column::POSITION,
        column::TOUCH_COUNT,
        column::SESSION_ID,
        column::TOUCHED_AT,
        column::CHANNEL,
    ];
    columns.extend(column::UTM);
    columns.extend([column::REFERRER_HOST, column::LANDING_PAGE, attribution::CREDIT, CREDITED_VALUE]);
    let order = vec![
        col(column::CONVERTED_AT).sort(false, false),
        col(column::CONVERSION_ID).sort(false, false),
        col(column::POSITION).sort(true, true),
    ];
    let frame = touches.select(columns.into_iter().map(col).collect::<Vec<_>>())?.sort(order)?;
    run(frame.limit(0, params.limit)?, meta).await
}
