//! `events`: what happened, by type.

use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, events as column};

use super::rows::{devices, filtered, filters, of_somebody, sorted, visitors};
use super::{Answer, Bots, TimeRange, only, rows_in, run};
use crate::{PipelineError, QueryEngine};

/// Names this definition in answers: events by type, as the rollups of `traffic/1` count them.
pub const DEFINITION: &str = "events/1";

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// By the time of the event.
    pub range: TimeRange,
    /// By who did it.
    pub bots: Bots,
    /// One of [`FILTERS`] and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// A column of the answer, descending with `-` in front; without it most events come first.
    pub sort: Option<String>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Events];

/// What events can be filtered by.
pub const FILTERS: [&str; 23] = [
    TextField::EventType.column(),
    TextField::VisitorId.column(),
    TextField::UserId.column(),
    TextField::Path.column(),
    TextField::Host.column(),
    TextField::ReferrerHost.column(),
    TextField::UtmSource.column(),
    TextField::UtmMedium.column(),
    TextField::UtmCampaign.column(),
    TextField::UtmContent.column(),
    TextField::UtmTerm.column(),
    TextField::Country.column(),
    TextField::DeviceType.column(),
    TextField::Browser.column(),
    TextField::Os.column(),
    TextField::Currency.column(),
    TextField::MessageId.column(),
    TextField::Variant.column(),
    TextField::Channel.column(),
    TextField::RuleName.column(),
    TextField::SequenceId.column(),
    TextField::StepId.column(),
    TextField::Source.column(),
];

/// Types of events of the range.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let filters = filters(&params.filters, &FILTERS)?;
    let (_, frame, meta) = rows_in(engine, Table::Events, tenant, params.range, DEFINITION).await?;
    let frame = filtered(only(frame, params.bots)?.filter(of_somebody())?, filters)?;
    let event_type = || col(TextField::EventType.column());
    let [with_id, without_id] = devices()?;
    let measures = vec![
        count(lit(1_i64)).alias("events"),
        with_id,
        without_id,
        max(col(column::OCCURRED_AT)).alias("last_occurred_at"),
    ];
    let frame = frame.aggregate(vec![event_type()], measures)?;
    let frame = frame.select(vec![event_type(), col("events"), visitors(), col("last_occurred_at")])?;
    let own = vec![col("events").sort(false, false), event_type().sort(true, true)];
    run(sorted(frame, params.sort.as_deref(), own)?.limit(0, params.limit)?, meta).await
}
