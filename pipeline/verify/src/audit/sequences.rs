//! Runs through sequences, and their metrics.

use polars::prelude::*;
use touchline_schemas::tables::{Table, event_sets, sequence_metrics as metric, sequence_runs as run};

use super::{Audit, in_front};
use crate::frame::{read, read_lists};
use crate::identities::with_person;
use crate::report::{Check, TableReport};
use crate::verify::Subject;
use crate::{VerifyError, sequence_metrics, sequences};

/// Runs through sequences with their steps and events, one row each.
#[derive(Clone)]
pub(super) struct Runs {
    runs: DataFrame,
    steps: DataFrame,
    events: DataFrame,
}

impl Audit<'_> {
    pub(super) fn audit_sequence_runs(
        &mut self,
        subject: &Subject,
        found: &mut TableReport,
    ) -> Result<(), VerifyError> {
        let Some(computed) = self.sequence_runs(subject, found)? else { return Ok(()) };
        let (table, files) = (Table::SequenceRuns, subject.stored.files(self.tenant));
        let stored = read(self.root, table, files, &sequences::RUN_COLUMNS)?;
        self.compare(found, table, (&[run::RUN_ID], &sequences::RUN_COLUMNS), (&stored, &computed.runs))?;
        let columns = &sequences::STEP_COLUMNS;
        let (beside, lists) = lists_among(columns);
        let steps = read_lists(self.root, table, files, &beside, &lists)?;
        self.compare(found, table, (&[run::RUN_ID, run::STEPS_ID], columns), (&steps, &computed.steps))?;
        let columns = &sequences::SET_COLUMNS;
        let (beside, lists) = lists_among(columns);
        let events = read_lists(self.root, table, files, &beside, &lists)?;
        self.compare(found, table, (&[run::RUN_ID, event_sets::EVENT_ID], columns), (&events, &computed.events))
    }

    pub(super) fn audit_sequence_metrics(
        &mut self,
        subject: &Subject,
        found: &mut TableReport,
        checks: &mut Vec<Check>,
    ) -> Result<(), VerifyError> {
        let Some(runs) = self.sequence_runs(subject, found)? else { return Ok(()) };
        let failed = VerifyError::computing("metrics of sequences");
        let watermark = subject.stored.info.as_ref().and_then(|info| info.watermark);
        let as_of_us = watermark.map_or(0, |watermark| watermark.timestamp_micros());
        let computed = sequence_metrics::metrics(&runs.runs, &runs.steps, as_of_us).map_err(&failed)?;
        let names = sequence_metrics::columns();
        let columns = in_front(&metric::KEY, &names);
        let stored = read(self.root, Table::SequenceMetrics, subject.stored.files(self.tenant), &columns)?;
        if self.request.all_days() {
            let (left, right) = sequence_metrics::conserved(&stored).map_err(&failed)?;
            checks.push(Check {
                tenant: self.tenant,
                name: "runs entered − runs ended = runs under way",
                left: left.to_string(),
                right: right.to_string(),
            });
        }
        self.compare(found, Table::SequenceMetrics, (&metric::KEY, &columns), (&stored, &computed))
    }

    /// The runs that follow from the sources of a table.
    fn sequence_runs(&mut self, subject: &Subject, found: &mut TableReport) -> Result<Option<Runs>, VerifyError> {
        let Some(identity_events) = &subject.identity_events else {
            self.skip_without_sources(found);
            return Ok(None);
        };
        let versions = (subject.events.version, identity_events.version);
        if let Some(known) = self.sequence_runs.get(&versions) {
            return Ok(Some(known.clone()));
        }
        let failed = VerifyError::computing("runs of sequences");
        let known = self.identities(identity_events)?;
        let said = self.events(subject.events.files(self.tenant), &sequences::event_columns(), sequences::of_runs)?;
        let runs = sequences::runs(&said).map_err(&failed)?;
        let runs = with_person(runs.lazy(), (run::RUN_ID, run::BEGAN_AT), &known).collect().map_err(&failed)?;
        let steps = sequences::steps(&said, &runs).map_err(&failed)?;
        let events = sequences::events_of_runs(&said, &runs).map_err(&failed)?;
        let computed = Runs { runs, steps, events };
        self.sequence_runs.insert(versions, computed.clone());
        Ok(Some(computed))
    }
}

/// The columns of `sequence_runs` that are no lists, and those that are.
fn lists_among<'a>(columns: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let schema = Table::SequenceRuns.file_schema();
    let is_list = |name: &&str| schema.field_with_name(name).is_ok_and(|field| field.data_type().is_list());
    columns.iter().copied().partition(|name| !is_list(name))
}
