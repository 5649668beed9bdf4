//! One tenant: its tables computed and compared, one after the other. A file a subject; here is what they share.

mod attribution;
mod messages;
mod people;
mod sequences;
mod sessions;
mod traffic;

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::*;
use touchline_lake::DataFile;
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use self::sequences::Runs;
use crate::compare::compare;
use crate::frame::{day_number, empty, read, stack};
use crate::report::{Report, Skipped, TableReport};
use crate::rules::Rules;
use crate::verify::Subject;
use crate::{VerifyError, VerifyRequest};

/// A tenant's part of a verification.
pub struct Audit<'a> {
    root: &'a Path,
    request: &'a VerifyRequest,
    subjects: &'a BTreeMap<Table, Subject>,
    tenant: Tenant,
    rules: Rules,
    /// Whole tables that were computed, by the versions that they stand for: most tables stand for the same ones.
    sessions: BTreeMap<(i64, i64), DataFrame>,
    edges: BTreeMap<i64, DataFrame>,
    touchpoints: BTreeMap<(i64, i64, i64), DataFrame>,
    sequence_runs: BTreeMap<(i64, i64), Runs>,
}

impl<'a> Audit<'a> {
    /// A tenant's part.
    pub fn new(
        root: &'a Path,
        request: &'a VerifyRequest,
        subjects: &'a BTreeMap<Table, Subject>,
        tenant: Tenant,
        rules: Rules,
    ) -> Self {
        let (sessions, edges, touchpoints) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let sequence_runs = BTreeMap::new();
        Self { root, request, subjects, tenant, rules, sessions, edges, touchpoints, sequence_runs }
    }

    /// Computes and compares what was asked for.
    pub fn run(mut self, report: &mut Report) -> Result<(), VerifyError> {
        let subjects = self.subjects;
        for (table, subject) in VerifyRequest::TABLES.iter().filter_map(|table| Some((*table, subjects.get(table)?))) {
            let Some(place) = report.tables.iter().position(|found| found.table == table.name()) else { continue };
            let found = &mut report.tables[place];
            match table {
                Table::Sessions => self.audit_sessions(subject, found, &mut report.checks)?,
                Table::IdentityEdges => self.audit_edges(subject, found)?,
                Table::Identities => self.audit_identities(subject, found)?,
                Table::Visitors => self.audit_visitors(subject, found)?,
                Table::Touchpoints => self.audit_touchpoints(subject, found)?,
                Table::Attribution => self.audit_credits(subject, found, &mut report.checks)?,
                Table::TrafficRollups => self.audit_traffic(subject, found)?,
                Table::MessageDeliveries => self.audit_deliveries(subject, found)?,
                Table::MessageRollups => self.audit_rollups(subject, found)?,
                Table::SequenceRuns => self.audit_sequence_runs(subject, found)?,
                Table::SequenceMetrics => self.audit_sequence_metrics(subject, found, &mut report.checks)?,
                // Not among the tables that can be verified.
                Table::Events | Table::RejectedEvents | Table::SessionRevisions => {
                    return Err(VerifyError::NotDerived(table));
                }
            }
        }
        Ok(())
    }

    /// What `of` makes of `columns` of events, file by file.
    fn events(
        &self,
        files: &[DataFile],
        columns: &[&str],
        of: impl Fn(&DataFrame) -> PolarsResult<DataFrame>,
    ) -> Result<DataFrame, VerifyError> {
        let failed = VerifyError::computing("events");
        let mut parts = vec![empty(Table::Events, columns).and_then(|none| of(&none)).map_err(&failed)?];
        for file in files {
            let rows = read(self.root, Table::Events, std::slice::from_ref(file), columns)?;
            parts.push(of(&rows).map_err(&failed)?);
        }
        stack(parts).map_err(&failed)
    }

    /// Compares the rows of the days that were asked for.
    fn compare(
        &self,
        found: &mut TableReport,
        table: Table,
        columns: (&[&str], &[&str]),
        rows: (&DataFrame, &DataFrame),
    ) -> Result<(), VerifyError> {
        let [_, _, date] = table.partition_columns();
        let chosen = |rows: &DataFrame| {
            let from = self.request.from.map_or(lit(true), |from| col(date).gt_eq(lit(day_number(from))));
            let to = self.request.to.map_or(lit(true), |to| col(date).lt(lit(day_number(to))));
            if self.request.all_days() { Ok(rows.clone()) } else { rows.clone().lazy().filter(from.and(to)).collect() }
        };
        let failed = VerifyError::computing("a choice of days");
        let (stored, computed) = (chosen(rows.0).map_err(&failed)?, chosen(rows.1).map_err(&failed)?);
        compare(found, (table, self.tenant), columns, (&stored, &computed), self.request.max_examples)
    }

    fn skip_without_sources(&self, found: &mut TableReport) {
        let reason = "its commit does not name its sources".to_owned();
        found.skipped.push(Skipped { tenant: Some(self.tenant), reason });
    }
}

/// The key, and behind it the other columns.
fn in_front<'a>(key: &[&'a str], columns: &'a [impl AsRef<str>]) -> Vec<&'a str> {
    let others = columns.iter().map(AsRef::as_ref).filter(|name| !key.contains(name));
    key.iter().copied().chain(others).collect()
}
