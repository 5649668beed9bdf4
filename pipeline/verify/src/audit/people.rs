//! Who is who, and what each person did.

use std::sync::Arc;

use polars::prelude::*;
use touchline_lake::Snapshot;
use touchline_schemas::tables::{Table, sessions as session, visitors as visitor};

use super::{Audit, in_front};
use crate::frame::{empty, read, stack};
use crate::identities::with_person;
use crate::report::TableReport;
use crate::verify::Subject;
use crate::visitors::visitors;
use crate::{VerifyError, edges, identities};

impl Audit<'_> {
    pub(super) fn audit_edges(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let computed = self.edges(&subject.events)?;
        let stored = read(self.root, Table::IdentityEdges, subject.stored.files(self.tenant), &edges::COLUMNS)?;
        let columns = in_front(&edges::KEY, &edges::COLUMNS);
        self.compare(found, Table::IdentityEdges, (&edges::KEY, &columns), (&stored, &computed))
    }

    pub(super) fn audit_identities(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let computed = self.identities(&subject.events)?;
        let stored = read(self.root, Table::Identities, subject.stored.files(self.tenant), &identities::COLUMNS)?;
        let columns = in_front(&identities::KEY, &identities::COLUMNS);
        self.compare(found, Table::Identities, (&identities::KEY, &columns), (&stored, &computed))
    }

    pub(super) fn audit_visitors(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let Some((sessions, known)) = self.sessions_and_people(subject, found)? else { return Ok(()) };
        let people = with_person(sessions.lazy(), (session::SESSION_ID, session::STARTED_AT), &known);
        let computed = visitors(people).map_err(VerifyError::computing("visitors"))?;
        let names = crate::visitors::columns();
        let columns = in_front(&[visitor::PERSON_ID], &names);
        let stored = read(self.root, Table::Visitors, subject.stored.files(self.tenant), &columns)?;
        self.compare(found, Table::Visitors, (&[visitor::PERSON_ID], &columns), (&stored, &computed))
    }

    /// The edges of a version of `events`.
    fn edges(&mut self, events: &Arc<Snapshot>) -> Result<DataFrame, VerifyError> {
        if let Some(known) = self.edges.get(&events.version) {
            return Ok(known.clone());
        }
        let failed = VerifyError::computing("edges");
        let mut all = vec![empty(Table::IdentityEdges, &edges::COLUMNS).map_err(&failed)?];
        for file in events.files(self.tenant) {
            let rows = read(self.root, Table::Events, std::slice::from_ref(file), &edges::EVENT_COLUMNS)?;
            all.push(edges::edges(&rows).map_err(&failed)?);
        }
        let merged = stack(all).and_then(edges::merged).map_err(&failed)?;
        self.edges.insert(events.version, merged.clone());
        Ok(merged)
    }

    pub(super) fn identities(&mut self, events: &Arc<Snapshot>) -> Result<DataFrame, VerifyError> {
        let edges = self.edges(events)?;
        identities::identities(&edges).map_err(VerifyError::computing("identities"))
    }

    /// The sessions and the identities that a table was computed from.
    pub(super) fn sessions_and_people(
        &mut self,
        subject: &Subject,
        found: &mut TableReport,
    ) -> Result<Option<(DataFrame, DataFrame)>, VerifyError> {
        let (Some(source), Some(identity_events)) = (&subject.sessions, &subject.identity_events) else {
            self.skip_without_sources(found);
            return Ok(None);
        };
        let known = self.identities(identity_events)?;
        Ok(Some((self.sessions(source)?, known)))
    }
}
