//! One tenant: its tables computed and compared, one after the other.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use polars::prelude::*;
use touchline_lake::{DataFile, Snapshot};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{
    Table, event_sets, message_deliveries as delivery, sequence_metrics as metric, sequence_runs as run,
    sessions as session, touchpoints as touch, visitors as visitor,
};

use crate::compare::compare;
use crate::frame::{day_number, empty, read, read_lists, stack};
use crate::identities::with_person;
use crate::report::{Check, Report, Skipped, TableReport};
use crate::rules::Rules;
use crate::sessions::{SessionRules, counts, sessions};
use crate::verify::{SessionSource, Subject};
use crate::visitors::visitors;
use crate::{
    VerifyError, VerifyRequest, attribution, edges, identities, messages, sequence_metrics, sequences, traffic,
};

/// Days are read together up to so many events, so that memory is bounded by a day or this.
const EVENTS_PER_CHUNK: u64 = 1_000_000;

/// What follows from the events of messages.
struct Messages {
    facts: DataFrame,
    attempts: DataFrame,
    conversions: DataFrame,
}

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

/// Runs through sequences with their steps and events, one row each.
#[derive(Clone)]
struct Runs {
    runs: DataFrame,
    steps: DataFrame,
    events: DataFrame,
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
                _ => {}
            }
        }
        Ok(())
    }

    fn audit_sessions(
        &mut self,
        subject: &Subject,
        found: &mut TableReport,
        checks: &mut Vec<Check>,
    ) -> Result<(), VerifyError> {
        let rules = match &self.rules.sessions {
            Ok(rules) => rules.clone(),
            Err(reason) => {
                found.skipped.push(Skipped { tenant: Some(self.tenant), reason: reason.clone() });
                return Ok(());
            }
        };
        let names = crate::sessions::columns();
        let columns = in_front(&[session::SESSION_ID], &names);
        let (events, stored) = (subject.events.files(self.tenant), subject.stored.files(self.tenant));
        let (mut in_sessions, mut whole) = (0, vec![no_sessions()?]);
        for days in chunks(events, stored, self.request) {
            let computed = self.cut(events, &days, &rules)?;
            let files = of_days(stored, &days);
            let rows = read(self.root, Table::Sessions, &files, &columns)?;
            in_sessions += sum(&rows, session::EVENT_COUNT)?;
            self.compare(found, Table::Sessions, (&[session::SESSION_ID], &columns), (&rows, &computed))?;
            whole.push(self.with_channel(computed, &files)?);
        }
        if self.request.all_days() {
            let whole = stack(whole).map_err(VerifyError::computing("sessions"))?;
            self.sessions.insert((subject.stored.version, subject.events.version), whole);
            let (all, sessionless) = self.count_events(events)?;
            checks.push(Check {
                tenant: self.tenant,
                name: "events in sessions and sessionless events = events",
                left: format!("{in_sessions} + {sessionless} = {}", in_sessions + sessionless),
                right: format!("{in_sessions} + {sessionless} = {all}"),
            });
        }
        Ok(())
    }

    fn audit_edges(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let computed = self.edges(&subject.events)?;
        let stored = read(self.root, Table::IdentityEdges, subject.stored.files(self.tenant), &edges::COLUMNS)?;
        let columns = in_front(&edges::KEY, &edges::COLUMNS);
        self.compare(found, Table::IdentityEdges, (&edges::KEY, &columns), (&stored, &computed))
    }

    fn audit_identities(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let computed = self.identities(&subject.events)?;
        let stored = read(self.root, Table::Identities, subject.stored.files(self.tenant), &identities::COLUMNS)?;
        let columns = in_front(&identities::KEY, &identities::COLUMNS);
        self.compare(found, Table::Identities, (&identities::KEY, &columns), (&stored, &computed))
    }

    fn audit_visitors(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let Some((sessions, known)) = self.sessions_and_people(subject, found)? else { return Ok(()) };
        let people = with_person(sessions.lazy(), (session::SESSION_ID, session::STARTED_AT), &known);
        let computed = visitors(people).map_err(VerifyError::computing("visitors"))?;
        let names = crate::visitors::columns();
        let columns = in_front(&[visitor::PERSON_ID], &names);
        let stored = read(self.root, Table::Visitors, subject.stored.files(self.tenant), &columns)?;
        self.compare(found, Table::Visitors, (&[visitor::PERSON_ID], &columns), (&stored, &computed))
    }

    fn audit_touchpoints(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
        let Some(computed) = self.touchpoints(subject, found)? else { return Ok(()) };
        let names = attribution::columns(Table::Touchpoints);
        let columns = in_front(&attribution::TOUCHPOINT_KEY, &names);
        let stored = read(self.root, Table::Touchpoints, subject.stored.files(self.tenant), &columns)?;
        self.compare(found, Table::Touchpoints, (&attribution::TOUCHPOINT_KEY, &columns), (&stored, &computed))
    }

    fn audit_credits(
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

    fn audit_traffic(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
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

    fn audit_deliveries(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
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

    fn audit_rollups(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
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

    fn audit_sequence_runs(&mut self, subject: &Subject, found: &mut TableReport) -> Result<(), VerifyError> {
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

    fn audit_sequence_metrics(
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

    /// The sessions and the identities that a table was computed from.
    fn sessions_and_people(
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

    fn skip_without_sources(&self, found: &mut TableReport) {
        let reason = "its commit does not name its sources".to_owned();
        found.skipped.push(Skipped { tenant: Some(self.tenant), reason });
    }

    /// All sessions that follow from the events behind a version of `sessions`, with that version's channels. Sessions
    /// that are not computed here are taken as they are stored.
    fn sessions(&mut self, source: &SessionSource) -> Result<DataFrame, VerifyError> {
        let versions = (source.stored.version, source.events.version);
        if let Some(known) = self.sessions.get(&versions) {
            return Ok(known.clone());
        }
        let (events, stored) = (source.events.files(self.tenant), source.stored.files(self.tenant));
        let computed = match self.rules.sessions.clone() {
            Ok(rules) => {
                let everything = VerifyRequest::default();
                let mut parts = vec![no_sessions()?];
                for days in chunks(events, stored, &everything) {
                    parts.push(self.with_channel(self.cut(events, &days, &rules)?, &of_days(stored, &days))?);
                }
                stack(parts).map_err(VerifyError::computing("sessions"))?
            }
            Err(_) => read(self.root, Table::Sessions, stored, &with_channel_column(&crate::sessions::columns()))?,
        };
        self.sessions.insert(versions, computed.clone());
        Ok(computed)
    }

    /// The sessions that begin on `days`.
    ///
    /// The day before tells which sessions began earlier; as many days after are read as the sessions run on.
    fn cut(
        &self,
        events: &[DataFile],
        days: &RangeInclusive<NaiveDate>,
        rules: &SessionRules,
    ) -> Result<DataFrame, VerifyError> {
        let failed = VerifyError::computing("sessions");
        let first = *days.start() - Days::new(1);
        let mut last = *days.end() + Days::new(1);
        let mut step_days = 1;
        loop {
            let files = of_days(events, &(first..=last));
            let rows = read(self.root, Table::Events, &files, &crate::sessions::event_columns())?;
            let begins_here = col(session::SESSION_DATE).is_between(
                lit(day_number(*days.start())),
                lit(day_number(*days.end())),
                ClosedInterval::Both,
            );
            let cut = sessions(rows, rules).map_err(&failed)?.lazy().filter(begins_here).collect().map_err(&failed)?;
            let ends = cut.column(session::ENDED_AT).and_then(|ends| ends.i64().cloned()).map_err(&failed)?;
            let goes_on = ends.max().is_some_and(|end_us| end_us.div_euclid(crate::frame::DAY_US) >= day_number(last));
            if !goes_on || events.iter().all(|file| file.date <= last) {
                return Ok(cut);
            }
            last = last + Days::new(step_days);
            step_days *= 2;
        }
    }

    /// Adds the channel that is stored of each session.
    fn with_channel(&self, computed: DataFrame, stored: &[DataFile]) -> Result<DataFrame, VerifyError> {
        let channels = read(self.root, Table::Sessions, stored, &[session::SESSION_ID, session::CHANNEL])?;
        let joined = computed.lazy().left_join(channels.lazy(), col(session::SESSION_ID), col(session::SESSION_ID));
        joined.collect().map_err(VerifyError::computing("channels"))
    }

    /// All events, and those that are in no session.
    fn count_events(&self, events: &[DataFile]) -> Result<(i64, i64), VerifyError> {
        use touchline_schemas::event::TextField;
        let columns = [TextField::EventType, TextField::VisitorId, TextField::UserId].map(TextField::column);
        let (mut all, mut sessionless) = (0, 0);
        for file in events {
            let rows = read(self.root, Table::Events, std::slice::from_ref(file), &columns)?;
            all += rows.height() as i64;
            let without = rows.lazy().filter(counts().not()).collect().map_err(VerifyError::computing("events"))?;
            sessionless += without.height() as i64;
        }
        Ok((all, sessionless))
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

    fn identities(&mut self, events: &Arc<Snapshot>) -> Result<DataFrame, VerifyError> {
        let edges = self.edges(events)?;
        identities::identities(&edges).map_err(VerifyError::computing("identities"))
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
}

/// The columns that are computed, and the channel.
fn with_channel_column(columns: &[String]) -> Vec<&str> {
    columns.iter().map(String::as_str).chain(std::iter::once(session::CHANNEL)).collect()
}

fn no_sessions() -> Result<DataFrame, VerifyError> {
    let columns = crate::sessions::columns();
    empty(Table::Sessions, &with_channel_column(&columns)).map_err(VerifyError::computing("sessions"))
}

/// The key, and behind it the other columns.
fn in_front<'a>(key: &[&'a str], columns: &'a [impl AsRef<str>]) -> Vec<&'a str> {
    let others = columns.iter().map(AsRef::as_ref).filter(|name| !key.contains(name));
    key.iter().copied().chain(others).collect()
}

/// The columns of `sequence_runs` that are no lists, and those that are.
fn lists_among<'a>(columns: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let schema = Table::SequenceRuns.file_schema();
    let is_list = |name: &&str| schema.field_with_name(name).is_ok_and(|field| field.data_type().is_list());
    columns.iter().copied().partition(|name| !is_list(name))
}

fn of_days(files: &[DataFile], days: &RangeInclusive<NaiveDate>) -> Vec<DataFile> {
    files.iter().filter(|file| days.contains(&file.date)).cloned().collect()
}

/// The days on which there is something and that were asked for, in parts that hold few enough events.
fn chunks(events: &[DataFile], stored: &[DataFile], request: &VerifyRequest) -> Vec<RangeInclusive<NaiveDate>> {
    let mut rows_of: BTreeMap<NaiveDate, u64> = BTreeMap::new();
    for file in events {
        *rows_of.entry(file.date).or_default() += file.rows;
    }
    for file in stored {
        rows_of.entry(file.date).or_default();
    }
    let mut chunks: Vec<RangeInclusive<NaiveDate>> = Vec::new();
    let mut rows = 0;
    for (day, of_day) in rows_of.into_iter().filter(|(day, _)| request.names_day(*day)) {
        rows += of_day;
        match chunks.last_mut() {
            Some(chunk) if rows <= EVENTS_PER_CHUNK => *chunk = *chunk.start()..=day,
            _ => {
                rows = of_day;
                chunks.push(day..=day);
            }
        }
    }
    chunks
}

fn sum(rows: &DataFrame, name: &str) -> Result<i64, VerifyError> {
    let sum = rows.column(name).and_then(|column| Ok(column.i64()?.sum()));
    Ok(sum.map_err(VerifyError::computing("a sum"))?.unwrap_or(0))
}
