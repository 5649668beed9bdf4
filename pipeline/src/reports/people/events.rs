//! `people/{id}/events`: all that a person did or got, newest first.

use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::{Table, events as column};

use super::Person;
use crate::reports::rows::{ListKey, Page, filtered, filters};
use crate::reports::{Answer, TimeRange, rows_in, run};
use crate::{PipelineError, QueryEngine};

/// Names this definition in answers.
pub const DEFINITION: &str = "people/1";

/// What the caller may choose.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// By the time of the event.
    pub range: TimeRange,
    /// One of [`columns`] and value; all must hold.
    pub filters: Vec<(String, String)>,
    /// Which of them.
    pub page: Page,
}

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 3] = [Table::Events, Table::Identities, Table::Visitors];

/// By what the rows are ordered.
pub const KEY: ListKey = ListKey { at: column::OCCURRED_AT, id: TextField::EventId.column() };

/// The columns of the report, which are also those that can be filtered by: all but the address and the user agent.
pub fn columns() -> Vec<&'static str> {
    let first = [
        TextField::EventId.column(),
        TextField::EventType.column(),
        column::OCCURRED_AT,
        column::RECEIVED_AT,
        column::IS_BOT,
        column::REVENUE,
    ];
    let texts = TextField::ALL.into_iter().filter(|field| !matches!(field, TextField::Ip | TextField::UserAgent));
    let others = texts.map(TextField::column).filter(|name| !first.contains(name));
    first.into_iter().chain(others).collect()
}

/// Events of the range, messages among them; bots' too.
pub async fn query(
    engine: &QueryEngine,
    tenant: Tenant,
    person: &Person,
    params: &Params,
) -> Result<Answer, PipelineError> {
    let columns = columns();
    let filters = filters(&params.filters, &columns)?;
    let (_, frame, meta) = rows_in(engine, Table::Events, tenant, params.range, DEFINITION).await?;
    let frame = filtered(frame.filter(person.owns(Table::Events))?, filters)?;
    let frame = frame.select(columns.into_iter().map(col).collect::<Vec<_>>())?;
    run(KEY.page(frame, &params.page)?, meta).await
}
