//! Where finished sessions wait, day by day, until no more of their day can come and they are written.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use chrono::NaiveDate;
use touchline_lake::{LakeTable, NewFile};
use touchline_schemas::Tenant;
use touchline_schemas::clock::SharedClock;

use crate::derived::{DerivedError, split_days, write_day};

/// Finished sessions of one tenant.
pub(super) struct Shelf<'a> {
    table: &'a LakeTable,
    tenant: Tenant,
    clock: &'a SharedClock,
    waiting: BTreeMap<NaiveDate, Vec<RecordBatch>>,
    written: Vec<NewFile>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(table: &'a LakeTable, tenant: Tenant, clock: &'a SharedClock) -> Self {
        Self { table, tenant, clock, waiting: BTreeMap::new(), written: Vec::new() }
    }

    /// Takes sessions that nothing can change any more.
    pub(super) fn put(&mut self, sessions: &[RecordBatch]) -> Result<(), DerivedError> {
        for (day, rows) in split_days(self.table.table(), self.tenant, sessions)? {
            self.waiting.entry(day).or_default().push(rows);
        }
        Ok(())
    }

    /// Takes off what began outside the days that `keep` names.
    pub(super) fn drop_days(&mut self, keep: impl Fn(NaiveDate) -> bool) {
        self.waiting.retain(|day, _| keep(*day));
    }

    /// Writes the days before `day`.
    pub(super) async fn write_before(&mut self, day: NaiveDate) -> Result<(), DerivedError> {
        let later = self.waiting.split_off(&day);
        for (day, rows) in std::mem::replace(&mut self.waiting, later) {
            let files = write_day(self.table, self.tenant, day, rows, self.clock.now()).await?;
            self.written.extend(files);
        }
        Ok(())
    }

    /// Writes what is left; all files.
    pub(super) async fn finish(mut self) -> Result<Vec<NewFile>, DerivedError> {
        self.write_before(NaiveDate::MAX).await?;
        Ok(self.written)
    }
}
