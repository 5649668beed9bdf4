//! `people/{id}/ids`: by which ids a person is known, and when.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, identities as column};

use super::{Person, PersonId};
use crate::reports::{Answer, AnswerMeta, computed};
use crate::{PipelineError, QueryEngine};

pub use crate::identities::DEFINITION;

/// The tables that it reads; the first is the one whose version an answer names.
pub const TABLES: [Table; 2] = [Table::Identities, Table::Visitors];

/// A row for each id, and for each span in which a shared one is this person's; user ids first.
pub async fn query(engine: &QueryEngine, tenant: Tenant, person: &Person) -> Result<Answer, PipelineError> {
    let meta = AnswerMeta::new(&*engine.snapshot(Table::Identities, tenant).await?, DEFINITION);
    let ids = || person.ids.iter();
    let times = |of: fn(&PersonId) -> Option<i64>| -> ArrayRef {
        Arc::new(ids().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let texts = |of: fn(&PersonId) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(ids().map(of))) };
    let rows = RecordBatch::try_from_iter_with_nullable([
        (column::ID_TYPE, texts(|id| id.id_type), false),
        (column::ID, texts(|id| &id.id), false),
        (column::VALID_FROM, times(|id| id.valid_from_us), true),
        (column::VALID_TO, times(|id| id.valid_to_us), true),
        (column::LINKED_AT, times(|id| id.linked_at_us), true),
    ])?;
    Ok(computed(rows, meta))
}
