//! The whole of it: find the versions, read, compute, compare, tenant by tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use touchline_lake::{Lake, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use crate::audit::Audit;
use crate::report::{Report, Skipped, TableReport};
use crate::rules::Rules;
use crate::sources::Sources;
use crate::{VerifyError, VerifyRequest};

/// A derived table in its newest version, and what that was made from.
pub struct Subject {
    /// The files of the table.
    pub stored: Arc<Snapshot>,
    /// The events, of the version that the table stands for.
    pub events: Arc<Snapshot>,
    /// The sessions that the table was computed from.
    pub sessions: Option<SessionSource>,
    /// The events behind the identities that the table was computed from.
    pub identity_events: Option<Arc<Snapshot>>,
}

/// A version of `sessions`.
#[derive(Clone)]
pub struct SessionSource {
    /// The stored sessions: the channel is theirs.
    pub stored: Arc<Snapshot>,
    /// The events that they were cut from.
    pub events: Arc<Snapshot>,
}

/// Computes the tables of a request anew and compares them with what is stored.
///
/// # Errors
///
/// When something cannot be read or computed. Rows that differ are no error; they are in the report.
pub async fn verify(lake: &Lake, request: &VerifyRequest) -> Result<Report, VerifyError> {
    if let Some(table) = request.tables.iter().find(|table| !VerifyRequest::TABLES.contains(table)) {
        return Err(VerifyError::NotDerived(*table));
    }
    let mut sources = Sources::new(lake);
    let mut report = Report::default();
    let mut subjects = BTreeMap::new();
    for table in VerifyRequest::TABLES.into_iter().filter(|table| request.wants(*table)) {
        let mut found = TableReport { table: table.name(), ..TableReport::default() };
        match subject(&mut sources, table).await? {
            Ok(subject) => drop(subjects.insert(table, subject)),
            Err(reason) => found.skipped.push(Skipped { tenant: None, reason }),
        }
        report.tables.push(found);
    }
    let (root, request) = (lake.root().to_owned(), request.clone());
    // Polars keeps its caller waiting, on threads of its own.
    let computed = tokio::task::spawn_blocking(move || compute(&root, &request, &subjects, report));
    computed.await.map_err(|error| VerifyError::Interrupted(error.to_string()))?
}

/// The subject, or why there is none.
async fn subject(sources: &mut Sources<'_>, table: Table) -> Result<Result<Subject, String>, VerifyError> {
    let version = sources.newest(table).await?;
    let Some(mut made_from) = sources.made_from(table, version).await? else {
        return Ok(Err("no job has written it yet, or its log no longer tells from what".to_owned()));
    };
    // Metrics follow from runs, and with them from what those were made from.
    if let Some(runs) = made_from.get(&Table::SequenceRuns) {
        let behind = sources.made_from(Table::SequenceRuns, *runs).await?.unwrap_or_default();
        for (source, version) in behind {
            made_from.entry(source).or_insert(version);
        }
    }
    let unknown = |table: Table| Ok(Err(format!("the log of {} no longer tells what it was made from", table.name())));
    let Some(events) = sources.events_behind(table, version).await? else { return unknown(table) };
    let sessions = match made_from.get(&Table::Sessions) {
        Some(version) => match sources.events_behind(Table::Sessions, *version).await? {
            Some(events) => Some(SessionSource {
                stored: sources.files(Table::Sessions, *version).await?,
                events: sources.files(Table::Events, events).await?,
            }),
            None => return unknown(Table::Sessions),
        },
        None => None,
    };
    let identity_events = match made_from.get(&Table::Identities) {
        Some(version) => match sources.events_behind(Table::Identities, *version).await? {
            Some(events) => Some(sources.files(Table::Events, events).await?),
            None => return unknown(Table::Identities),
        },
        None => None,
    };
    let (stored, events) = (sources.files(table, version).await?, sources.files(Table::Events, events).await?);
    Ok(Ok(Subject { stored, events, sessions, identity_events }))
}

fn compute(
    root: &Path,
    request: &VerifyRequest,
    subjects: &BTreeMap<Table, Subject>,
    mut report: Report,
) -> Result<Report, VerifyError> {
    let tenants: BTreeSet<Tenant> = subjects
        .values()
        .flat_map(|subject| subject.stored.tenants().chain(subject.events.tenants()))
        .filter(|tenant| request.account.is_none_or(|account| account == tenant.account_id))
        .collect();
    for tenant in tenants {
        let settings = request.settings.get(&tenant.account_id).cloned().unwrap_or_default();
        let rules = Rules::new(&settings, request.default_timeout)?;
        Audit::new(root, request, subjects, tenant, rules).run(&mut report)?;
    }
    Ok(report.finish())
}
