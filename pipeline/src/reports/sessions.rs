//! `sessions`: one row per session, newest first.

use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, sessions as column};

use super::listed::Listed;
use super::rows::{ListKey, Page, filtered, filters};
use super::{Answer, Bots, TimeRange, only};
use crate::{PipelineError, QueryEngine};

pub use crate::sessions::DEFINITION;

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// By the session's start.
    pub range: TimeRange,
    /// By who made it.
    pub bots: Bots,
    /// Column and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// Which of them.
    pub page: Page,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 1] = [Table::Sessions];

/// The columns of the report, which are also those that can be filtered by.
pub const COLUMNS: [&str; 43] = [
    column::SESSION_ID,
    TextField::VisitorId.column(),
    TextField::UserId.column(),
    column::CLIENT_SESSION_ID,
    column::IS_BOT,
    column::STARTED_AT,
    column::ENDED_AT,
    column::DURATION_S,
    column::EVENT_COUNT,
    column::PAGE_VIEW_COUNT,
    column::INTERACTION_COUNT,
    column::CONVERSION_COUNT,
    column::REVENUE,
    column::IS_BOUNCE,
    column::IS_ENGAGED,
    column::CHANNEL,
    column::ENTRY_PAGE,
    column::EXIT_PAGE,
    column::UTM_FIELDS[0].column(),
    column::UTM_FIELDS[1].column(),
    column::UTM_FIELDS[2].column(),
    column::UTM_FIELDS[3].column(),
    column::UTM_FIELDS[4].column(),
    column::UTM_FIELDS[5].column(),
    column::UTM_FIELDS[6].column(),
    column::UTM_FIELDS[7].column(),
    column::UTM_FIELDS[8].column(),
    column::UTM_FIELDS[9].column(),
    column::UTM_FIELDS[10].column(),
    column::UTM_FIELDS[11].column(),
    column::UTM_FIELDS[12].column(),
    column::REFERRER_FIELDS[0].column(),
    column::REFERRER_FIELDS[1].column(),
    column::FIRST_EVENT_FIELDS[0].column(),
    column::FIRST_EVENT_FIELDS[1].column(),
    column::FIRST_EVENT_FIELDS[2].column(),
    column::FIRST_EVENT_FIELDS[3].column(),
    column::FIRST_EVENT_ID,
    column::LAST_EVENT_ID,
    column::UTM_EVENT_ID,
    column::REFERRER_EVENT_ID,
    column::ENTRY_EVENT_ID,
    column::EXIT_EVENT_ID,
];

/// By what the rows are ordered.
pub const KEY: ListKey = ListKey { at: column::STARTED_AT, id: column::SESSION_ID };

/// Sessions that started in the range.
pub async fn query(engine: &QueryEngine, tenant: Tenant, params: &Params) -> Result<Answer, PipelineError> {
    let filters = filters(&params.filters, &COLUMNS)?;
    let (range, bots, page) = (params.range, params.bots, params.page.clone());
    let listed = Listed { table: Table::Sessions, range, key: KEY, page, definition: DEFINITION };
    let choose = move |frame| Ok(filtered(only(frame, bots)?, filters.clone())?.select(COLUMNS.map(col))?);
    listed.answer(engine, tenant, choose).await
}
