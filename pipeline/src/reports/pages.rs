//! `pages`: what was looked at, and where sessions began and ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::rows::{filtered, filters, sorted};
use super::{Answer, AnswerMeta, Bots, TimeRange, run};
use crate::traffic::{Calendar, Dimension, Group, Question, groups};
use crate::{PipelineError, QueryEngine};

/// Names this definition in answers: page views as the rollups of `traffic/1` count them, beside the first and last pages
/// of sessions.
pub const DEFINITION: &str = "pages/1";

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// By the time of the page view, and by the session's start.
    pub range: TimeRange,
    /// By who looked.
    pub bots: Bots,
    /// A column of the answer and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// A column of the answer, descending with `-` in front; without it most views come first.
    pub sort: Option<String>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// The tables that are read: the first is the one whose version an answer names. Of the other that version is read which
/// the first was computed from, so that views and sessions fit together.
pub const TABLES: [Table; 2] = [Table::Sessions, Table::Events];

/// The columns of the report, which are also those that can be filtered by.
pub const COLUMNS: [&str; 6] = [PAGE, VIEWS, "visitors", "entries", "exits", "bounces"];

const PAGE: &str = "page";
const VIEWS: &str = "views";

/// What became of a page.
#[derive(Debug, Default)]
struct Page {
    views: i64,
    visitors: i64,
    entries: i64,
    exits: i64,
    bounces: i64,
}

/// Paths of page views of the range; page views without a path are left out.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let filters = filters(&params.filters, &COLUMNS)?;
    let (sessions, snapshot) = engine.scan(Table::Sessions, tenant).await?;
    let meta = AnswerMeta::new(&snapshot, DEFINITION);
    let events = match meta.source_version {
        Some(version) => engine.scan_source(Table::Events, tenant, version).await?,
        None => engine.scan(Table::Events, tenant).await?.0,
    };
    let of_events = Question {
        table: Table::Events,
        calendars: vec![Calendar::Whole],
        dimensions: vec![Dimension::Page],
        amounts: false,
        range: params.range,
        bots: params.bots,
        days: None,
        filters: Vec::new(),
        conversion_event_types: Vec::new(),
    };
    let of_sessions = Question {
        table: Table::Sessions,
        dimensions: vec![Dimension::LandingPage, Dimension::ExitPage],
        amounts: true,
        ..of_events.clone()
    };
    let mut pages: BTreeMap<String, Page> = BTreeMap::new();
    for Group { value, visitors, rows, .. } in groups(engine, events, &of_events).await? {
        let Some(path) = value else { continue };
        let page = pages.entry(path).or_default();
        (page.views, page.visitors) = (rows, visitors);
    }
    for Group { dimension, value, rows, amounts, .. } in groups(engine, sessions, &of_sessions).await? {
        let Some(path) = value else { continue };
        let page = pages.entry(path).or_default();
        if dimension == Dimension::LandingPage {
            (page.entries, page.bounces) = (rows, amounts.bounces);
        } else {
            page.exits = rows;
        }
    }
    let frame = filtered(engine.context().read_batch(batch(&pages)?)?, filters)?;
    let own = vec![col(VIEWS).sort(false, false), col(PAGE).sort(true, true)];
    run(sorted(frame, params.sort.as_deref(), own)?.limit(0, params.limit)?, meta).await
}

fn batch(pages: &BTreeMap<String, Page>) -> Result<RecordBatch, DataFusionError> {
    let counts: [fn(&Page) -> i64; 5] =
        [|page| page.views, |page| page.visitors, |page| page.entries, |page| page.exits, |page| page.bounces];
    let counts = counts.map(|of| Arc::new(Int64Array::from_iter_values(pages.values().map(of))) as ArrayRef);
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values(pages.keys()));
    let columns = COLUMNS.into_iter().zip(std::iter::once(paths).chain(counts));
    Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, false)))?)
}
