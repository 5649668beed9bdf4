//! `first-touch`: visitors by what brought them first, with all that they did since.

use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::{Answer, TimeRange, dimension, rows_in, run};
use crate::{PipelineError, QueryEngine};

pub use crate::visitors::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the visitor's first session.
    pub range: TimeRange,
    /// One of [`DIMENSIONS`].
    pub by: String,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Visitors];

/// What visitors can be grouped by: what their first session in time says.
pub const DIMENSIONS: [&str; 8] =
    ["channel", "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "referrer", "landing_page"];

/// Visitors first seen in the range, most first.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let by = dimension("by", &params.by, &DIMENSIONS)?;
    let (_, frame, meta) = rows_in(engine, Table::Visitors, tenant, params.range, DEFINITION).await?;
    let totals = [
        ("sessions", "session_count"),
        ("events", "event_count"),
        ("page_views", "page_view_count"),
        ("conversions", "conversion_count"),
        ("revenue", "revenue"),
    ];
    let mut measures = vec![count(lit(1_i64)).alias("visitors")];
    measures.extend(totals.map(|(name, source)| sum(col(source)).alias(name)));
    let columns = [by, "visitors"].into_iter().chain(totals.map(|(name, _)| name)).map(col);
    let frame = frame
        .aggregate(vec![col(format!("first_touch_{by}")).alias(by)], measures)?
        .select(columns.collect::<Vec<_>>())?
        .sort(vec![col("visitors").sort(false, false), col(by).sort(true, true)])?
        .limit(0, params.limit)?;
    run(frame, meta).await
}
