//! `people/{id}/sessions`: a person's sessions, newest first.

use datafusion::prelude::col;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::Person;
use crate::reports::rows::{filtered, filters};
use crate::reports::sessions::{COLUMNS, KEY, Params};
use crate::reports::{Answer, only, rows_in, run};
use crate::{PipelineError, QueryEngine};

pub use crate::reports::sessions::DEFINITION;

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 3] = [Table::Sessions, Table::Identities, Table::Visitors];

/// Sessions that started in the range, as in the report `sessions`.
pub async fn query(
    engine: &QueryEngine,
    tenant: Tenant,
    person: &Person,
    params: &Params,
) -> Result<Answer, PipelineError> {
    let filters = filters(&params.filters, &COLUMNS)?;
    let (_, frame, meta) = rows_in(engine, Table::Sessions, tenant, params.range, DEFINITION).await?;
    let frame = filtered(only(frame, params.bots)?.filter(person.owns(Table::Sessions))?, filters)?;
    run(KEY.page(frame.select(COLUMNS.map(col))?, &params.page)?, meta).await
}
