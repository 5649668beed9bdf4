//! What a run of the job has to do, and for whom.

use std::collections::BTreeMap;

use touchline_pipeline::QueryEngine;
use touchline_pipeline::sequences::DEFINITION;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::event_sets::{Sources, Todo};
use crate::{JobContext, JobError, RunRequest};

/// What is to be done, and on which versions.
pub(super) struct Work {
    pub sources: Sources,
    /// Tenants for whom there is something to do. A run may go on over any number of days, so that days cannot be
    /// computed for themselves.
    pub tenants: BTreeMap<Tenant, Todo>,
    /// Per tenant what its rows will have been computed by: the definition, as no setting of an account bears on them.
    pub settings: BTreeMap<String, String>,
}

impl Work {
    pub(super) async fn find(engine: &QueryEngine, request: RunRequest) -> Result<Self, JobError> {
        let sources = Sources::of(engine.lake(), Table::SequenceRuns).await?;
        let mut since = sources.since(engine.lake()).await?;
        let (mut tenants, mut settings) = (BTreeMap::new(), BTreeMap::new());
        for tenant in sources.tenants() {
            let made_otherwise = (!sources.is_made_with(tenant, DEFINITION)).then_some("the definition changed");
            settings.insert(tenant.to_string(), DEFINITION.to_owned());
            if let Some(todo) = since.todo(tenant, made_otherwise, request) {
                tenants.insert(tenant, todo);
            }
        }
        Ok(Self { sources, tenants, settings })
    }
}

/// One tenant's part of a run of the job.
pub(super) struct Part<'a> {
    pub engine: &'a QueryEngine,
    pub sources: &'a Sources,
    pub tenant: Tenant,
    pub context: &'a JobContext,
}
