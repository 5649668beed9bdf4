//! Which session ids went out of use, and which session holds their events now.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::logical_expr::lit;
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::scalar::ScalarValue;
use touchline_schemas::tables::session_revisions as column;

/// The ids that `changes` (the change rows of one commit to `sessions`) took out of use, found out `at`.
///
/// The events of a session that went lie in the session of the same device that spans its beginning.
pub async fn revisions(
    context: &SessionContext,
    changes: Arc<dyn TableProvider>,
    at: DateTime<Utc>,
) -> Result<DataFrame> {
    context.register_table("changes", changes)?;
    let found = context.sql(include_str!("revisions.sql")).await?;
    found.with_column(
        column::REVISED_AT,
        lit(ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into()))),
    )
}
