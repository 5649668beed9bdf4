//! News: only the deliveries that they touch are computed anew.
//!
//! Three kinds of news touch deliveries. Events of messages touch those of their keys. Events of goals touch those of
//! the same person to whom they may count. And where an id changed hands, all of the people concerned. A delivery that
//! was touched touches others in turn: it may be the last one before a goal, or no longer be. So for each person there
//! is a span of time in which something changed, and deliveries are computed anew that were exposed not further from it
//! than the longest window.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringViewArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use touchline_lake::DataFile;
use touchline_pipeline::event_sets::{EventSets, read_together};
use touchline_pipeline::identities::{People, USER_PREFIX, VISITOR_PREFIX};
use touchline_pipeline::messages::SOURCE;
use touchline_pipeline::messages::conversions::Journeys;
use touchline_pipeline::messages::goals::goal_events;
use touchline_pipeline::messages::rows::Attempts;
use touchline_pipeline::scan::LakeScan;
use touchline_schemas::tables::message_deliveries::{self as column, ATTEMPT_ID};
use touchline_schemas::tables::{Table, identities, identity_edges};

use super::work::{Part, blocking};
use crate::event_sets::{Found, News, Replaced, find, replace, scan_events};
use crate::{JobError, JobReport};

/// The columns by which one sees whether a person's delivery is touched.
const WHOSE: [&str; 6] =
    [ATTEMPT_ID, column::PERSON_ID, column::IDS[0], column::IDS[1], column::IDENTIFIED_AT, column::EXPOSED_AT];

/// A span of time of one person in which something changed, in µs since 1970.
#[derive(Debug, Clone, Copy)]
struct Span {
    from_us: i64,
    to_us: i64,
}

/// The people of whom something changed.
#[derive(Debug, Default)]
struct Touched {
    people: HashMap<String, Span>,
    /// Whether ids changed hands.
    identities: bool,
}

impl Touched {
    fn add(&mut self, person: &str, from_us: i64, to_us: i64) {
        match self.people.get_mut(person) {
            Some(span) => {
                *span = Span { from_us: span.from_us.min(from_us), to_us: span.to_us.max(to_us) };
            }
            None => {
                self.people.insert(person.to_owned(), Span { from_us, to_us });
            }
        }
    }

    /// Everything in which something changed.
    fn whole(&self) -> Option<Span> {
        let spans = || self.people.values();
        let (from, to) = (spans().map(|span| span.from_us).min(), spans().map(|span| span.to_us).max());
        from.zip(to).map(|(from_us, to_us)| Span { from_us, to_us })
    }
}

impl Part<'_> {
    /// Computes the deliveries that came, and those that the news have touched.
    pub(super) async fn absorb(&self, news: &News, report: &mut JobReport) -> Result<Replaced, JobError> {
        let people = self.sources.people(self.engine, self.tenant).await?;
        let stored = self.sources.stored.files(self.tenant);
        let mut touched = self.changed_people(news, report).await?;
        let scan = scan_events(&news.events, report);
        let mut sets = read_together(self.engine, scan, &SOURCE).await.map_err(JobError::failed)?;
        let keys: HashSet<String> = sets.keys().map(|key| key.into_owned()).collect();
        let mut found = if keys.is_empty() {
            Vec::new()
        } else {
            let wants =
                |rows: &RecordBatch| Ok(texts(rows, ATTEMPT_ID)?.iter().map(|key| Some(is_in(&keys, key))).collect());
            find(self.engine, Table::MessageDeliveries, stored, &[ATTEMPT_ID], wants, report).await?
        };
        for Found { rows, .. } in &found {
            sets.push_rows(rows, ATTEMPT_ID, true).map_err(JobError::failed)?;
            add_exposed(rows, &mut touched).map_err(JobError::failed)?;
        }
        let mut attempts = vec![self.attempts_of(sets, &people).await?];
        let exposures = attempts[0].exposures(|person, _, at_us| touched.add(person, at_us, at_us));
        exposures.map_err(JobError::failed)?;
        let scan = scan_events(&news.events, report);
        let reached = goal_events(self.engine, scan, &people, self.goals, |event| {
            touched.add(event.person, event.at_us, event.at_us);
        });
        reached.await.map_err(JobError::failed)?;

        let mut journeys = Journeys::default();
        let others = self.others(&touched, &keys, stored, &people, report).await?;
        let mut sets = EventSets::default();
        for Found { file, rows } in others {
            let (anew, later) = self.split(&rows, &touched, &people).map_err(JobError::failed)?;
            add_journeys(&later, &people, &mut journeys).map_err(JobError::failed)?;
            if anew.num_rows() > 0 {
                sets.push_rows(&anew, ATTEMPT_ID, true).map_err(JobError::failed)?;
                found.push(Found { file, rows: anew });
            }
        }
        attempts.push(self.attempts_of(sets, &people).await?);
        attempts.iter().try_for_each(|attempts| attempts.add_to(&mut journeys)).map_err(JobError::failed)?;
        let conversions = self.conversions(journeys, &people, report).await?;
        let mut rows = Vec::new();
        for attempts in attempts.into_iter().filter(|attempts| !attempts.is_empty()) {
            let conversions = Arc::clone(&conversions);
            rows.extend(blocking(move || attempts.rows(&conversions)).await?);
        }
        let schema = touchline_pipeline::scan::scan_schema(Table::MessageDeliveries);
        let came = arrow::compute::concat_batches(&schema, &rows).map_err(JobError::failed)?;
        let table = self.engine.lake().table(Table::MessageDeliveries);
        replace(table, self.tenant, stored, found, &came, ATTEMPT_ID, self.context).await
    }

    async fn attempts_of(&self, sets: EventSets, people: &Arc<People>) -> Result<Attempts, JobError> {
        let people = Arc::clone(people);
        blocking(move || Ok::<_, Infallible>(Attempts::of(sets, &people))).await
    }

    /// Everybody one of whose ids changed hands, before or now.
    async fn changed_people(&self, news: &News, report: &mut JobReport) -> Result<Touched, JobError> {
        let mut touched = Touched { identities: !news.identities.is_empty(), ..Touched::default() };
        if news.identities.is_empty() {
            return Ok(touched);
        }
        report.rows_read += news.identities.iter().map(|file| file.rows).sum::<u64>();
        let scan = Arc::new(LakeScan::changes(Table::Identities, news.identities.clone()));
        let rows = self.engine.context().read_table(scan).map_err(JobError::failed)?;
        for batch in rows.collect().await.map_err(JobError::failed)? {
            for person in named_by(&batch).map_err(JobError::failed)? {
                touched.add(&person, i64::MIN, i64::MAX);
            }
        }
        Ok(touched)
    }

    /// Stored deliveries of touched people, besides those of `keys`: such as are to be computed anew, and such as came
    /// after them.
    async fn others(
        &self,
        touched: &Touched,
        keys: &HashSet<String>,
        stored: &[DataFile],
        people: &Arc<People>,
        report: &mut JobReport,
    ) -> Result<Vec<Found>, JobError> {
        let Some(whole) = touched.whole() else { return Ok(Vec::new()) };
        if self.goals.is_empty() && !touched.identities {
            return Ok(Vec::new());
        }
        let window_us = self.goals.longest_window_us();
        let (from_us, to_us) =
            (whole.from_us.saturating_sub(window_us), whole.to_us.saturating_add(window_us).saturating_add(window_us));
        let near = |file: &&DataFile| match (file.earliest_begin, file.latest_end) {
            (Some(begin), Some(end)) => begin.timestamp_micros() <= to_us && end.timestamp_micros() >= from_us,
            _ => true,
        };
        let files: Vec<DataFile> = stored.iter().filter(near).cloned().collect();
        let wants = |rows: &RecordBatch| {
            let (anew, later) = self.which(rows, touched, people)?;
            let known = texts(rows, ATTEMPT_ID)?;
            let wanted = anew.iter().zip(&later).zip(known);
            Ok(wanted.map(|((anew, later), key)| Some((*anew || *later) && !is_in(keys, key))).collect())
        };
        find(self.engine, Table::MessageDeliveries, &files, &WHOSE, wants, report).await
    }

    /// Of rows, which are to be computed anew, and which came after such.
    fn which(
        &self,
        rows: &RecordBatch,
        touched: &Touched,
        people: &People,
    ) -> Result<(Vec<bool>, Vec<bool>), ArrowError> {
        let stored = texts(rows, column::PERSON_ID)?;
        let now = if touched.identities { people_of(rows, people)? } else { stored.clone() };
        let exposed = times(rows, column::EXPOSED_AT)?;
        let window_us = self.goals.longest_window_us();
        let (mut anew, mut later) = (Vec::with_capacity(rows.num_rows()), Vec::with_capacity(rows.num_rows()));
        for row in 0..rows.num_rows() {
            let person = |people: &StringViewArray| people.is_valid(row).then(|| people.value(row).to_owned());
            let (before, after) = (person(stored), person(&now));
            let spans = [&before, &after].map(|person| person.as_ref().and_then(|person| touched.people.get(person)));
            let at_us = exposed.is_valid(row).then(|| exposed.value(row)).filter(|_| !self.goals.is_empty());
            let within = |span: &Span, after_us: i64| {
                at_us.is_some_and(|at_us| {
                    at_us >= span.from_us.saturating_sub(window_us) && at_us <= span.to_us.saturating_add(after_us)
                })
            };
            let spans = || spans.iter().flatten();
            let is_touched = before != after || spans().any(|span| within(span, window_us));
            anew.push(is_touched);
            later.push(!is_touched && spans().any(|span| within(span, window_us.saturating_mul(2))));
        }
        Ok((anew, later))
    }

    fn split(
        &self,
        rows: &RecordBatch,
        touched: &Touched,
        people: &People,
    ) -> Result<(RecordBatch, RecordBatch), ArrowError> {
        let (anew, later) = self.which(rows, touched, people)?;
        Ok((
            filter_record_batch(rows, &BooleanArray::from(anew))?,
            filter_record_batch(rows, &BooleanArray::from(later))?,
        ))
    }
}

/// Adds the people of stored deliveries, with the times from which on goals counted.
fn add_exposed(rows: &RecordBatch, touched: &mut Touched) -> Result<(), ArrowError> {
    let (people, exposed) = (texts(rows, column::PERSON_ID)?, times(rows, column::EXPOSED_AT)?);
    for row in (0..rows.num_rows()).filter(|row| people.is_valid(*row) && exposed.is_valid(*row)) {
        touched.add(people.value(row), exposed.value(row), exposed.value(row));
    }
    Ok(())
}

/// Adds the exposures of stored deliveries.
fn add_journeys(rows: &RecordBatch, people: &People, journeys: &mut Journeys) -> Result<(), ArrowError> {
    let (people, exposed) = (people_of(rows, people)?, times(rows, column::EXPOSED_AT)?);
    let keys = texts(rows, ATTEMPT_ID)?;
    for row in (0..rows.num_rows()).filter(|row| people.is_valid(*row) && exposed.is_valid(*row)) {
        journeys.add_exposure(people.value(row), exposed.value(row), keys.value(row));
    }
    Ok(())
}

fn people_of(rows: &RecordBatch, people: &People) -> Result<StringViewArray, ArrowError> {
    let column = |name: &str| rows.column_by_name(name).ok_or_else(|| missing(name));
    let [visitor, user] = column::IDS;
    people.of_columns(column(visitor)?, column(user)?, column(column::IDENTIFIED_AT)?)
}

/// The people that changed rows of `identities` name, and whom their ids stand for by themselves.
fn named_by(changes: &RecordBatch) -> Result<Vec<String>, ArrowError> {
    let people = texts(changes, identities::PERSON_ID)?;
    let (types, ids) = (texts(changes, identities::ID_TYPE)?, texts(changes, identities::ID)?);
    let mut named = Vec::with_capacity(2 * changes.num_rows());
    for row in 0..changes.num_rows() {
        let is_user = types.value(row) == identity_edges::TYPE_USER;
        let prefix = if is_user { USER_PREFIX } else { VISITOR_PREFIX };
        named.push(format!("{prefix}{}", ids.value(row)));
        named.push(people.value(row).to_owned());
    }
    Ok(named)
}

fn is_in(keys: &HashSet<String>, key: Option<&str>) -> bool {
    key.is_some_and(|key| keys.contains(key))
}

fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringViewArray, ArrowError> {
    rows.column_by_name(name).and_then(|texts| texts.as_string_view_opt()).ok_or_else(|| missing(name))
}

fn times<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a arrow::array::TimestampMicrosecondArray, ArrowError> {
    let times = rows.column_by_name(name).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    times.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("deliveries have no column `{name}`"))
}
