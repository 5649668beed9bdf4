//! Attempts to bring messages to people, and their rollups.

use polars::prelude::*;
use touchline_schemas::tables::{Table, message_deliveries as delivery};

use super::{Audit, in_front};
use crate::frame::{read, read_lists};
use crate::identities::with_person;
use crate::report::TableReport;
use crate::verify::Subject;
use crate::{VerifyError, messages};

/// What follows from the events of messages.
struct Messages {
    facts: DataFrame,
    attempts: DataFrame,
    conversions: DataFrame,
}

impl Audit<'_> {
    pub(super) fn audit_deliveries(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let Some(Messages { facts, attempts, conversions }) = self.messages(subject, found)? else { return Ok(()) };
        let table = Table::MessageDeliveries;
        let (files, key) = (subject.stored.files(self.tenant), [delivery::ATTEMPT_ID]);
        let failed = VerifyError::computing("deliveries");
        let names = messages::flat_columns(table);
        let columns = in_front(&key, &names);
        let computed = messages::finished(&attempts, &conversions).map_err(&failed)?;
        let stored = read(self.root, table, files, &columns)?;
        self.compare(found, table, (&key, &columns), (&stored, &computed))?;

        // The lists, with the day of the row that they stand in.
        let day = [delivery::COHORT_DATE, delivery::ATTEMPT_ID];
        let days = attempts.lazy().select(day.map(col)).collect().map_err(&failed)?;
        let lists = messages::set_columns();
        for (key, lists, computed) in [
            (&messages::EVENT_KEY[..], &lists[..], facts),
            (&messages::CONVERSION_KEY[..], &messages::CONVERSION_COLUMNS[..], conversions),
        ] {
            let with_day = computed.lazy().inner_join(days.clone().lazy(), col(day[1]), col(day[1]));
            let computed = with_day.collect().map_err(&failed)?;
            let names = [&day[..1], lists].concat();
            let columns = in_front(key, &names);
            let stored = read_lists(self.root, table, files, &day, lists)?;
            self.compare(found, table, (key, &columns), (&stored, &computed))?;
        }
        Ok(())
    }

    pub(super) fn audit_rollups(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let Some(Messages { facts, attempts, conversions }) = self.messages(subject, found)? else { return Ok(()) };
        let failed = VerifyError::computing("rollups of messages");
        let (computed, reasons) = messages::rollups(&attempts, &facts, &conversions).map_err(&failed)?;
        let (table, files) = (Table::MessageRollups, subject.stored.files(self.tenant));
        let (key, names) = (messages::ROLLUP_KEY, messages::flat_columns(table));
        let columns = in_front(&key, &names);
        let stored = read(self.root, table, files, &columns)?;
        self.compare(found, table, (&key, &columns), (&stored, &computed))?;
        let stored = read_lists(self.root, table, files, &key, &messages::REASON_COLUMNS)?;
        let columns = [&key[..], &messages::REASON_COLUMNS].concat();
        let key = &columns[..columns.len() - 1];
        self.compare(found, table, (key, &columns), (&stored, &reasons))
    }

    /// Attempts, their events and their conversions, as they follow from the sources of a table.
    fn messages(&mut self, subject: &Subject, found: &mut TableReport) -> Result<Option<Messages>, VerifyError> {
        let Some(identity_events) = &subject.identity_events else {
            self.skip_without_sources(found);
            return Ok(None);
        };
        let known = self.identities(identity_events)?;
        let failed = VerifyError::computing("messages");
        let (files, goals) = (subject.events.files(self.tenant), &self.rules.goals);
        let facts = self.events(files, &messages::event_columns(), messages::facts)?;
        let of_goals = |rows: &DataFrame| messages::goal_events(rows, goals);
        let of_goals_in = if goals.is_empty() { &[] } else { files };
        let reached = self.events(of_goals_in, &messages::goal_columns(goals), of_goals)?.lazy();
        let attempts = messages::attempts(&facts).map_err(&failed)?;
        let people = with_person(attempts, (delivery::ATTEMPT_ID, delivery::IDENTIFIED_AT), &known);
        let attempts = people.collect().map_err(&failed)?;
        let reached = with_person(reached, ("reached", delivery::CONVERSION_OCCURRED_AT), &known);
        let conversions = messages::conversions(&attempts, reached, goals).map_err(&failed)?;
        Ok(Some(Messages { facts, attempts, conversions }))
    }
}
