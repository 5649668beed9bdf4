//! `paths`: which page follows which, as a tree.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use chrono::DateTime;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::lit;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::{PAGE_VIEW, TextField};
use touchline_schemas::tables::{Table, events, sessions as column};

use super::{Answer, Bots, TimeRange, computed, only, rows_in};
use crate::gather::{blocking, gather};
use crate::paths::{Node, OTHER, Tree, Visits};
use crate::{PipelineError, QueryEngine};

pub use crate::paths::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone)]
pub struct Params {
    /// By the session's start.
    pub range: TimeRange,
    /// The page from which on; the entry page without it.
    pub start: Option<String>,
    /// Levels of the tree, 1 to [`MAX_DEPTH`].
    pub depth: Option<String>,
    /// Nodes of each level.
    pub limit: Option<usize>,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 2] = [Table::Sessions, Table::Events];

/// Most levels of a tree.
pub const MAX_DEPTH: usize = 10;
/// Levels of a tree when the caller does not say.
pub const DEFAULT_DEPTH: usize = 3;
/// Nodes of each level when the caller does not say.
pub const DEFAULT_LIMIT: usize = 20;

/// A row for each node, level by level, most sessions first.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let tree = Tree {
        start: params.start.clone(),
        depth: params.depth.as_deref().map_or(Ok(DEFAULT_DEPTH), depth)?,
        nodes_per_level: params.limit.unwrap_or(DEFAULT_LIMIT),
    };
    let device = [TextField::VisitorId.column(), TextField::UserId.column()];
    let (context, frame, meta) = rows_in(engine, Table::Sessions, tenant, params.range, DEFINITION).await?;
    let columns = [column::STARTED_AT, column::ENDED_AT, column::FIRST_EVENT_ID];
    let frame = only(frame, Bots::Exclude)?.select(device.into_iter().chain(columns).map(col).collect::<Vec<_>>())?;
    let mut visits =
        gather(&context, frame, "paths", Visits::default(), Visits::read_sessions, Visits::size_bytes).await?;

    if let Some(end_us) = visits.found.latest_end_us() {
        // Sessions that began in the range may end after it.
        let views =
            TimeRange { from: params.range.from, to: DateTime::from_timestamp_micros(end_us.saturating_add(1)) };
        let (context, frame, _) = rows_in(engine, Table::Events, tenant, views, DEFINITION).await?;
        let columns = [events::OCCURRED_AT, TextField::EventId.column(), TextField::Path.column()];
        let frame = only(frame, Bots::Exclude)?
            .filter(col(TextField::EventType.column()).eq(lit(PAGE_VIEW)))?
            .select(device.into_iter().chain(columns).map(col).collect::<Vec<_>>())?;
        visits = gather(&context, frame, "paths", visits.found, Visits::read_views, Visits::size_bytes).await?;
    }
    let counted = blocking(move || rows(&visits.found.tree(&tree)));
    Ok(computed(counted.await??, meta))
}

fn depth(text: &str) -> Result<usize, PipelineError> {
    let depth = text.parse().ok().filter(|depth| (1..=MAX_DEPTH).contains(depth));
    depth.ok_or_else(|| PipelineError::BadParameter {
        name: "depth",
        detail: format!("`{text}` is no whole number from 1 to {MAX_DEPTH}"),
    })
}

fn rows(nodes: &[Node]) -> Result<RecordBatch, DataFusionError> {
    let count = |of: &dyn Fn(&Node) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(nodes.iter().map(|node| of(node) as i64)))
    };
    let parents = nodes.iter().map(|node| node.parent.map(|place| place as i64 + 1));
    let pages = nodes.iter().map(|node| node.page.as_deref().unwrap_or(OTHER));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("node", Arc::new(Int64Array::from_iter_values(1..=nodes.len() as i64)) as ArrayRef, false),
        ("parent", Arc::new(parents.collect::<Int64Array>()), true),
        ("level", count(&|node| node.level as u64), false),
        ("page", Arc::new(StringArray::from_iter_values(pages)), false),
        ("sessions", count(&|node| node.sessions), false),
        ("exits", count(&|node| node.exits), false),
    ])?)
}
