//! Merging new events into stored sessions.
//!
//! Only devices that have new events can have new sessions, and only sessions within the timeout of a new event can
//! take it up. So the files that may hold such sessions are read, and of their rows only those of these devices are
//! merged with the new events; the others are written back as they were. The events of stored sessions are not read:
//! their rows say all that merging needs.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use touchline_lake::{ChangeKind, DataFile, LakeTable, NewFile};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::sessions::SessionParams;
use touchline_pipeline::sessions::stored::{Fragments, open_and_over};
use touchline_schemas::Tenant;
use touchline_schemas::tables::{Table, sessions as column};

use super::chunks::{Chunk, chunks};
use super::shelf::Shelf;
use crate::derived::before;
use crate::{JobContext, JobError, JobReport};

/// A stored session row is much wider than the part of an event that is merged.
const ROWS_PER_STORED_ROW: u64 = 3;

/// What became of a tenant's sessions.
pub(super) struct Absorbed {
    /// The files that hold the rows of `removed`, changed or not, and the new ones.
    pub(super) added: Vec<NewFile>,
    /// Stored files that were read and are to be taken out.
    pub(super) removed: Vec<DataFile>,
    /// The rows that went and those that came.
    pub(super) changes: Vec<(ChangeKind, RecordBatch)>,
}

/// Merges the rows of `new_events` into those of `stored`.
#[expect(clippy::too_many_arguments, reason = "a job's step: where from, where to, whose, how")]
pub(super) async fn absorb(
    engine: &QueryEngine,
    table: &LakeTable,
    tenant: Tenant,
    new_events: Vec<DataFile>,
    stored: &[DataFile],
    params: &SessionParams,
    context: &JobContext,
    report: &mut JobReport,
) -> Result<Absorbed, JobError> {
    let failed = |error: ArrowError| JobError::failed(error);
    let mut stored: Vec<DataFile> = stored.to_vec();
    let mut removed = Vec::new();
    let mut shelf = Shelf::new(table, tenant, &context.clock);
    let mut ledger = Ledger::default();
    // Sessions that the next chunk's events may extend: as they are stored, and as they were merged.
    let (mut open_stored, mut open_merged): (Vec<RecordBatch>, Vec<RecordBatch>) = Default::default();
    let stored_rows = |day| stored.iter().filter(|file| file.date == day).map(|file| file.rows).sum::<u64>();
    let mut waiting = chunks(new_events, |day| ROWS_PER_STORED_ROW * stored_rows(day)).into_iter().peekable();
    while let Some(Chunk { days, files }) = waiting.next() {
        context.check_cancelled()?;
        let reach = Reach::of(&files, params);
        let (near, far): (Vec<_>, Vec<_>) = stored.into_iter().partition(|file| reach.may_meet(file));
        stored = far;
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        for file in files.iter().chain(&near) {
            report.rows_read += file.rows;
            report.bytes_read += file.size_bytes;
        }

        let session_context = engine.context();
        let scan = Arc::new(LakeScan::new(Table::Events, files));
        let mut fragments = Fragments::of_events(&session_context, scan, params).await.map_err(JobError::failed)?;
        let devices = fragments.devices();
        let scan = Arc::new(LakeScan::new(Table::Sessions, near.clone()));
        let read = session_context.read_table(scan).map_err(JobError::failed)?.collect().await;
        removed.extend(near);
        let mut touched = std::mem::take(&mut open_merged);
        let mut untouched = Vec::new();
        for batch in read.map_err(JobError::failed)?.into_iter().chain(std::mem::take(&mut open_stored)) {
            let (theirs, others) = devices.split(&batch).map_err(failed)?;
            ledger.went(&theirs).map_err(failed)?;
            touched.push(theirs);
            untouched.push(others);
        }
        fragments.push_sessions(&touched, params).map_err(failed)?;
        let merged = fragments.merge(&session_context, params).await.map_err(JobError::failed)?;

        let next_us = match waiting.peek() {
            Some(next) => Reach::of(&next.files, params).earliest.map_or(i64::MIN, |time| time.timestamp_micros()),
            None => i64::MAX,
        };
        for batch in untouched {
            let (open, over) = open_and_over(&batch, next_us, params).map_err(failed)?;
            open_stored.push(open);
            shelf.put(&[over]).map_err(JobError::failed)?;
        }
        for batch in merged {
            let (open, over) = open_and_over(&batch, next_us, params).map_err(failed)?;
            open_merged.push(open);
            ledger.came(&over).map_err(failed)?;
            shelf.put(&[over]).map_err(JobError::failed)?;
        }
        shelf.write_before(before(*days.start())).await.map_err(JobError::failed)?;
        context.progress.advance(rows);
    }
    let added = shelf.finish().await.map_err(JobError::failed)?;
    Ok(Absorbed { added, removed, changes: ledger.changes().map_err(failed)? })
}

/// The time in which stored sessions may meet new events.
struct Reach {
    earliest: Option<DateTime<Utc>>,
    latest: Option<DateTime<Utc>>,
    timeout: chrono::Duration,
}

impl Reach {
    fn of(files: &[DataFile], params: &SessionParams) -> Self {
        // A file that does not say when its rows happened may reach anywhere.
        let known = files.iter().all(|file| file.time_range.is_some());
        let ranges = || files.iter().filter(|_| known).filter_map(|file| file.time_range);
        Self {
            earliest: ranges().map(|(earliest, _)| earliest).min(),
            latest: ranges().map(|(_, latest)| latest).max(),
            timeout: params.rules.longest_pause(),
        }
    }

    fn may_meet(&self, sessions: &DataFile) -> bool {
        let (Some(earliest), Some(latest)) = (self.earliest, self.latest) else { return true };
        let (Some((start, _)), Some(end)) = (sessions.time_range, sessions.latest_end) else { return true };
        start - latest <= self.timeout && earliest - end <= self.timeout
    }
}

/// Which rows went and which came.
#[derive(Default)]
struct Ledger {
    went: Vec<RecordBatch>,
    /// Events of each session that went, by its id.
    events: HashMap<String, i64>,
    came: Vec<RecordBatch>,
}

impl Ledger {
    /// These rows are going to be merged.
    fn went(&mut self, sessions: &RecordBatch) -> Result<(), ArrowError> {
        for (id, events) in ids_and_events(sessions)? {
            self.events.insert(id.to_owned(), events);
        }
        self.went.push(sessions.clone());
        Ok(())
    }

    /// These rows have been merged, and some are as they were: events only ever come, so that a session with as many
    /// as before is the same.
    fn came(&mut self, sessions: &RecordBatch) -> Result<(), ArrowError> {
        let new: BooleanArray = ids_and_events(sessions)?
            .into_iter()
            .map(|(id, events)| {
                let same = self.events.get(id) == Some(&events);
                if same {
                    self.events.remove(id);
                }
                Some(!same)
            })
            .collect();
        self.came.push(filter_record_batch(sessions, &new)?);
        Ok(())
    }

    fn changes(self) -> Result<Vec<(ChangeKind, RecordBatch)>, ArrowError> {
        let mut changes = Vec::new();
        for sessions in self.went {
            let gone: BooleanArray =
                ids_and_events(&sessions)?.into_iter().map(|(id, _)| Some(self.events.contains_key(id))).collect();
            changes.push((ChangeKind::Delete, filter_record_batch(&sessions, &gone)?));
        }
        changes.extend(self.came.into_iter().map(|rows| (ChangeKind::Insert, rows)));
        changes.retain(|(_, rows)| rows.num_rows() > 0);
        Ok(changes)
    }
}

fn ids_and_events(sessions: &RecordBatch) -> Result<Vec<(&str, i64)>, ArrowError> {
    let missing = |name: &str| ArrowError::SchemaError(format!("sessions have no column `{name}`"));
    let ids = sessions.column_by_name(column::SESSION_ID).and_then(|ids| ids.as_string_view_opt());
    let ids = ids.ok_or_else(|| missing(column::SESSION_ID))?;
    let events = sessions.column_by_name(column::EVENT_COUNT).and_then(|events| events.as_primitive_opt::<Int64Type>());
    let events = events.ok_or_else(|| missing(column::EVENT_COUNT))?;
    Ok((0..sessions.num_rows()).map(|row| (ids.value(row), events.value(row))).collect())
}
