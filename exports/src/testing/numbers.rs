//! A lake with one table, whose rows are a day and a number, and the one report over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{NaiveDate, TimeDelta};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use touchline_lake::LakeError;
use touchline_schemas::Tenant;
use touchline_schemas::control::{TableVersion, TableVersions};
use touchline_schemas::export::{ExportFormat, ExportSource};
use touchline_schemas::tables::Table;

use super::start;
use crate::manifest::Range;
use crate::question::{AskError, Question, Questions, Rows};
use crate::tables::{Days, Newest, Tables};

const TABLE: Table = Table::Sessions;

/// The `number`th day.
pub fn day(number: u8) -> NaiveDate {
    start().date_naive() + TimeDelta::days(i64::from(number))
}

/// Numbers by day. Every change is a version.
#[derive(Debug, Default)]
pub struct NumberLake(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    days: BTreeMap<NaiveDate, BTreeSet<u8>>,
    /// The days that each version changed; none once the log has forgotten it.
    log: Vec<Option<BTreeSet<NaiveDate>>>,
    table: u32,
    /// What happens while questions are answered: after so many more, this number comes to that day.
    surprises: Vec<(usize, NaiveDate, u8)>,
    refusal: Option<AskError>,
    asked: usize,
    definition: u32,
}

impl State {
    fn change(&mut self, day: NaiveDate, change: impl FnOnce(&mut BTreeSet<u8>)) {
        let numbers = self.days.entry(day).or_default();
        change(numbers);
        if numbers.is_empty() {
            self.days.remove(&day);
        }
        self.log.push(Some(BTreeSet::from([day])));
    }

    fn version(&self) -> TableVersion {
        TableVersion { id: format!("table-{}", self.table), version: i64::try_from(self.log.len()).unwrap() }
    }

    fn surprise(&mut self) {
        self.asked += 1;
        let asked = self.asked;
        let (now, later) = std::mem::take(&mut self.surprises).into_iter().partition(|(at, ..)| *at <= asked);
        self.surprises = later;
        for (_, day, number) in now {
            self.change(day, |numbers| {
                numbers.insert(number);
            });
        }
    }
}

impl NumberLake {
    pub fn add(&self, day: NaiveDate, number: u8) {
        self.0.lock().change(day, |numbers| {
            numbers.insert(number);
        });
    }

    pub fn remove(&self, day: NaiveDate, number: u8) {
        self.0.lock().change(day, |numbers| {
            numbers.remove(&number);
        });
    }

    pub fn empty(&self, day: NaiveDate) {
        self.0.lock().change(day, BTreeSet::clear);
    }

    /// The day's files are written once more, with the same rows.
    pub fn touch(&self, day: NaiveDate) {
        self.0.lock().change(day, |_| {});
    }

    /// Nobody can tell any more what changed so far.
    pub fn forget_log(&self) {
        self.0.lock().log.iter_mut().for_each(|entry| *entry = None);
    }

    /// The table is made anew, with these rows.
    pub fn replace_table(&self) {
        let mut state = self.0.lock();
        state.table += 1;
        state.log.truncate(1);
    }

    /// After so many more questions a number comes to a day.
    pub fn surprise(&self, after_questions: usize, day: NaiveDate, number: u8) {
        let mut state = self.0.lock();
        let at = state.asked + after_questions;
        state.surprises.push((at, day, number));
    }

    /// The report counts otherwise.
    pub fn redefine(&self) {
        self.0.lock().definition += 1;
    }

    /// From now on no question is answered, or every one is.
    pub fn refuse(&self, refusal: Option<AskError>) {
        self.0.lock().refusal = refusal;
    }

    /// What a reader should have.
    pub fn days(&self) -> BTreeMap<NaiveDate, BTreeSet<u8>> {
        self.0.lock().days.clone()
    }

    /// How many questions were asked.
    pub fn asked(&self) -> usize {
        self.0.lock().asked
    }
}

#[async_trait]
impl Questions for NumberLake {
    fn tables_by_day(&self, _: &ExportSource) -> Result<Vec<Table>, AskError> {
        Ok(vec![TABLE])
    }

    async fn ask(&self, question: Question<'_>) -> Result<Rows, AskError> {
        assert!(matches!(question.format, ExportFormat::Csv | ExportFormat::CsvGz));
        let mut state = self.0.lock();
        state.surprise();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let is_meant = |day: NaiveDate| {
            question.range.is_none_or(|range| {
                let day = Range::of_day(day);
                day.from >= range.from && day.to <= range.to
            })
        };
        let days = state.days.iter().filter(|(day, _)| is_meant(**day));
        let mut parts = vec![Bytes::from_static(b"day,number\r\n")];
        for (day, numbers) in days {
            parts.extend(numbers.iter().map(|number| Bytes::from(format!("{day},{number}\r\n"))));
        }
        let rows = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&rows);
        let counted = move |(place, part)| {
            counter.fetch_add(u64::from(place > 0), Ordering::Release);
            Ok(part)
        };
        let field = |name: &str, data_type: DataType| Field::new(name, data_type, false);
        Ok(Rows {
            schema: Arc::new(Schema::new(vec![field("day", DataType::Date32), field("number", DataType::Int64)])),
            tables: TableVersions::from([(TABLE.name().to_owned(), state.version())]),
            watermark: None,
            definition: format!("numbers/{}", state.definition),
            rows,
            bytes: stream::iter(parts.into_iter().enumerate().map(counted)).boxed(),
        })
    }
}

#[async_trait]
impl Tables for NumberLake {
    async fn newest(&self, _: Table) -> Result<Newest, LakeError> {
        Ok(Newest { version: self.0.lock().version(), watermark: None })
    }

    async fn days(&self, _: Table, _: Tenant) -> Result<BTreeSet<NaiveDate>, LakeError> {
        Ok(self.0.lock().days.keys().copied().collect())
    }

    async fn days_changed(&self, _: Table, _: Tenant, after: i64, through: i64) -> Result<Days, LakeError> {
        let state = self.0.lock();
        let range = usize::try_from(after).unwrap()..usize::try_from(through).unwrap();
        let entries: Option<Vec<_>> = state.log[range].iter().cloned().collect();
        Ok(entries.map(|entries| entries.into_iter().flatten().collect()))
    }
}
