//! Sessions: cut anew from the events, and counted against them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};
use polars::prelude::*;
use touchline_lake::DataFile;
use touchline_schemas::tables::{Table, sessions as session};

use super::{Audit, in_front};
use crate::frame::{DAY_US, day_number, empty, read, stack};
use crate::report::{Check, Skipped, TableReport};
use crate::sessions::{SessionRules, counts, sessions};
use crate::verify::{SessionSource, Subject};
use crate::{VerifyError, VerifyRequest};

/// Days are read together up to so many events, so that memory is bounded by a day or this.
const EVENTS_PER_CHUNK: u64 = 1_000_000;

impl Audit<'_> {
    pub(super) fn audit_sessions(
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

    /// All sessions that follow from the events behind a version of `sessions`, with that version's channels. Sessions
    /// that are not computed here are taken as they are stored.
    pub(super) fn sessions(&mut self, source: &SessionSource) -> Result<DataFrame, VerifyError> {
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
            let goes_on = ends.max().is_some_and(|end_us| end_us.div_euclid(DAY_US) >= day_number(last));
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
}

/// The columns that are computed, and the channel.
fn with_channel_column(columns: &[String]) -> Vec<&str> {
    columns.iter().map(String::as_str).chain(std::iter::once(session::CHANNEL)).collect()
}

fn no_sessions() -> Result<DataFrame, VerifyError> {
    let columns = crate::sessions::columns();
    empty(Table::Sessions, &with_channel_column(&columns)).map_err(VerifyError::computing("sessions"))
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
