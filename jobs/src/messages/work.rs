//! What a run has to do: for whom, with which goals.

use std::collections::BTreeMap;

use touchline_pipeline::QueryEngine;
use touchline_pipeline::messages::goals::Goals;
use touchline_schemas::Tenant;
use touchline_schemas::control::ControlDb;
use touchline_schemas::tables::Table;

use crate::event_sets::{Sources, Todo};
use crate::{JobContext, JobError, RunRequest};

/// What a run has to do, and on which versions.
pub(super) struct Work {
    pub sources: Sources,
    /// Tenants for whom there is something to do, with their goals.
    pub tenants: BTreeMap<Tenant, (Todo, Goals)>,
    /// Per tenant the fingerprint of the goals that its rows will have been computed with.
    pub settings: BTreeMap<String, String>,
}

impl Work {
    pub(super) async fn find(engine: &QueryEngine, control: &ControlDb, request: RunRequest) -> Result<Self, JobError> {
        let sources = Sources::of(engine.lake(), Table::MessageDeliveries).await?;
        let mut since = sources.since(engine.lake()).await?;
        let (mut tenants, mut settings) = (BTreeMap::new(), BTreeMap::new());
        for tenant in sources.tenants() {
            let account = control.account(tenant.account_id).await.map_err(JobError::failed)?;
            let goals = Goals::of(&account.map(|account| account.settings).unwrap_or_default());
            let fingerprint = goals.fingerprint();
            let made_otherwise = (!sources.is_made_with(tenant, &fingerprint)).then_some("settings changed");
            settings.insert(tenant.to_string(), fingerprint);
            if let Some(todo) = since.todo(tenant, made_otherwise, request) {
                tenants.insert(tenant, (todo, goals));
            }
        }
        Ok(Self { sources, tenants, settings })
    }
}

/// One tenant's part of a run.
pub(super) struct Part<'a> {
    pub engine: &'a QueryEngine,
    pub sources: &'a Sources,
    pub tenant: Tenant,
    pub goals: &'a Goals,
    pub context: &'a JobContext,
}

/// Long work of the processor, away from the threads that answer requests.
pub(super) async fn blocking<T: Send + 'static, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, JobError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(JobError::failed)?.map_err(JobError::failed)
}
