//! Touches before conversions, and their credit.

use std::sync::Arc;

use polars::prelude::*;
use touchline_lake::Snapshot;
use touchline_schemas::tables::{Table, sessions as session, touchpoints as touch};

use super::{Audit, in_front};
use crate::frame::{empty, read, stack};
use crate::identities::with_person;
use crate::report::{Check, TableReport};
use crate::verify::Subject;
use crate::{VerifyError, attribution};

impl Audit<'_> {
    pub(super) fn audit_touchpoints(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let Some(computed) = self.touchpoints(subject, found)? else { return Ok(()) };
        let names = attribution::columns(Table::Touchpoints);
        let columns = in_front(&attribution::TOUCHPOINT_KEY, &names);
        let stored = read(self.root, Table::Touchpoints, subject.stored.files(self.tenant), &columns)?;
        self.compare(found, Table::Touchpoints, (&attribution::TOUCHPOINT_KEY, &columns), (&stored, &computed))
    }

    pub(super) fn audit_credits(
        &mut self,
        subject: &Subject,
        found: &mut TableReport,
        checks: &mut Vec<Check>,
    ) -> Result<(), VerifyError> {
        let failed = VerifyError::computing("credits");
        let Some(journeys) = self.touchpoints(subject, found)? else { return Ok(()) };
        let computed = attribution::credits(&journeys).map_err(&failed)?;
        let names = attribution::columns(Table::Attribution);
        let columns = in_front(&attribution::CREDIT_KEY, &names);
        let stored = read(self.root, Table::Attribution, subject.stored.files(self.tenant), &columns)?;
        if self.request.all_days() {
            let (holding, all) = attribution::conserved(&stored, &journeys).map_err(&failed)?;
            checks.push(Check {
                tenant: self.tenant,
                name: "conversions whose credits by a model sum to 1 and to their value = conversions × models",
                left: holding.to_string(),
                right: all.to_string(),
            });
        }
        self.compare(found, Table::Attribution, (&attribution::CREDIT_KEY, &columns), (&stored, &computed))
    }

    /// The touchpoints that follow from the sources of a table.
    fn touchpoints(&mut self, subject: &Subject, found: &mut TableReport) -> Result<Option<DataFrame>, VerifyError> {
        let Some((sessions, known)) = self.sessions_and_people(subject, found)? else { return Ok(None) };
        let of = |snapshot: Option<&Arc<Snapshot>>| snapshot.map_or(-1, |snapshot| snapshot.version);
        let versions = (
            subject.events.version,
            of(subject.sessions.as_ref().map(|source| &source.stored)),
            of(subject.identity_events.as_ref()),
        );
        if let Some(known) = self.touchpoints.get(&versions) {
            return Ok(Some(known.clone()));
        }
        let failed = VerifyError::computing("touchpoints");
        let rules = &self.rules.attribution;
        let none = empty(Table::Events, &attribution::EVENT_COLUMNS).map_err(&failed)?;
        let mut conversions = vec![attribution::conversions(none, rules).map_err(&failed)?];
        for file in subject.events.files(self.tenant) {
            let rows = read(self.root, Table::Events, std::slice::from_ref(file), &attribution::EVENT_COLUMNS)?;
            conversions.push(attribution::conversions(rows, rules).map_err(&failed)?);
        }
        let conversions = stack(conversions).map_err(&failed)?.lazy();
        let conversions = with_person(conversions, (touch::CONVERSION_ID, touch::CONVERTED_AT), &known);
        let people = with_person(sessions.lazy(), (session::SESSION_ID, session::STARTED_AT), &known);
        let computed = attribution::touchpoints(conversions, people, rules).map_err(&failed)?;
        self.touchpoints.insert(versions, computed.clone());
        Ok(Some(computed))
    }
}
