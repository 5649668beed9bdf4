//! Visitors: per visitor the first and last sessions in time, and totals.
//!
//! Definition, version 1: a row per `visitor_id` (else `user_id`) that has a session and is no bot. `first_touch` is
//! the first session; `first_utm_touch` the first that carries any campaign parameter, so that a later null never
//! hides an earlier value and a later value never replaces it; `last_touch` and `last_non_direct_touch` likewise from
//! the end. Ties in time are ordered by session id. Computed from all sessions of the tenant, so the order in which
//! events arrived cannot matter.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use datafusion::prelude::{DataFrame, SessionContext};

/// Names this definition in answers.
pub const DEFINITION: &str = "visitors/1";

/// The visitors of `sessions` (the columns of the table `sessions`, one tenant).
pub async fn visitors(context: &SessionContext, sessions: Arc<dyn TableProvider>) -> Result<DataFrame> {
    context.register_table("sessions", sessions)?;
    context.sql(include_str!("visitors/visitors.sql")).await
}
