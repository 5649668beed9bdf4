//! `utm`: sessions by what their campaign says, all five words of it or some.

use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::lit;
use datafusion::prelude::{Expr, col};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, sessions as column};

use super::rows::{devices, filtered, filters, sorted, visitors};
use super::{Answer, Bots, TimeRange, dimension, only, rows_in, run, sessions};
use crate::{PipelineError, QueryEngine};

pub use crate::sessions::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// By the session's start.
    pub range: TimeRange,
    /// Some of [`DIMENSIONS`], separated by commas; without it all of them.
    pub by: Option<String>,
    /// By who made it.
    pub bots: Bots,
    /// Column of `sessions` and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// A column of the answer, descending with `-` in front; without it most sessions come first.
    pub sort: Option<String>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Sessions];

/// What sessions can be grouped by.
pub const DIMENSIONS: [&str; 5] = [
    column::UTM_FIELDS[0].column(),
    column::UTM_FIELDS[1].column(),
    column::UTM_FIELDS[2].column(),
    column::UTM_FIELDS[3].column(),
    column::UTM_FIELDS[4].column(),
];

/// Campaigns of the sessions that began in the range; null where a session has none.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let by = by(params.by.as_deref())?;
    let filters = filters(&params.filters, &sessions::COLUMNS)?;
    let (_, frame, meta) = rows_in(engine, Table::Sessions, tenant, params.range, DEFINITION).await?;
    let frame = filtered(only(frame, params.bots)?, filters)?;
    let group: Vec<Expr> = by.iter().map(|name| col(*name)).collect();
    let [with_id, without_id] = devices()?;
    let measures = vec![
        count(lit(1_i64)).alias("sessions"),
        with_id,
        without_id,
        sum(col(column::CONVERSION_COUNT)).alias("conversions"),
        sum(col(column::REVENUE)).alias("revenue"),
    ];
    let mut columns = group.clone();
    columns.extend([visitors(), col("sessions"), col("conversions"), col("revenue")]);
    let frame = frame.aggregate(group.clone(), measures)?.select(columns)?;
    let mut own = vec![col("sessions").sort(false, false)];
    own.extend(group.into_iter().map(|name| name.sort(true, true)));
    run(sorted(frame, params.sort.as_deref(), own)?.limit(0, params.limit)?, meta).await
}

/// Reads names that are separated by commas.
fn by(given: Option<&str>) -> Result<Vec<&'static str>, PipelineError> {
    let Some(given) = given else { return Ok(Vec::from(DIMENSIONS)) };
    let mut names = Vec::new();
    for name in given.split(',') {
        let name = dimension("by", name, &DIMENSIONS)?;
        if names.contains(&name) {
            return Err(PipelineError::BadParameter { name: "by", detail: format!("`{name}` is named twice") });
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_read_in_their_order() {
        for (given, expected) in [
            (None, Some(&DIMENSIONS[..])),
            (Some("utm_term,utm_source"), Some(&["utm_term", "utm_source"][..])),
            (Some("utm_source,utm_source"), None),
            (Some("channel"), None),
            (Some(""), None),
        ] {
            assert_eq!(by(given).ok().as_deref(), expected, "{given:?}");
        }
    }
}
