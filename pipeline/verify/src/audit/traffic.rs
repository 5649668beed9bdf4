//! Traffic by day.

use touchline_schemas::tables::Table;

use super::{Audit, in_front};
use crate::frame::{empty, read, stack};
use crate::report::TableReport;
use crate::verify::Subject;
use crate::{VerifyError, traffic};

impl Audit<'_> {
    pub(super) fn audit_traffic(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let Some(source) = &subject.sessions else {
            self.skip_without_sources(found);
            return Ok(());
        };
        let failed = VerifyError::computing("traffic");
        let (zone, types) = (self.rules.zone, self.rules.attribution.conversion_types.clone());
        let of_sessions = traffic::of_sessions(&self.sessions(source)?, zone).map_err(&failed)?;
        let none = empty(Table::Events, &traffic::EVENT_COLUMNS).map_err(&failed)?;
        let mut facts = vec![traffic::event_facts(none, &types, zone).map_err(&failed)?];
        for file in subject.events.files(self.tenant) {
            let rows = read(self.root, Table::Events, std::slice::from_ref(file), &traffic::EVENT_COLUMNS)?;
            facts.push(traffic::event_facts(rows, &types, zone).map_err(&failed)?);
        }
        let of_events = stack(facts).and_then(|facts| traffic::of_events(&facts, zone)).map_err(&failed)?;
        let computed = stack(vec![of_sessions, of_events]).map_err(&failed)?;
        let columns = in_front(&traffic::KEY, &traffic::COLUMNS);
        let stored = read(self.root, Table::TrafficRollups, subject.stored.files(self.tenant), &columns)?;
        self.compare(found, Table::TrafficRollups, (&traffic::KEY, &columns), (&stored, &computed))
    }
}
