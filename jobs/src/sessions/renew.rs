//! Cutting sessions from events alone: the first run, a full one, and days that somebody wants computed anew.
//!
//! Days are cut one after the other. What an event of the next day could still extend is carried over; everything else
//! is done. So each event is read once, and memory holds a few million events' sessions whatever the history's length.

use arrow::array::RecordBatch;
use chrono::NaiveDate;
use touchline_lake::{DataFile, LakeTable, NewFile};
use touchline_pipeline::QueryEngine;
use touchline_pipeline::scan::LakeScan;
use touchline_pipeline::sessions::SessionParams;
use touchline_pipeline::sessions::stored::{Fragments, open_and_over};
use touchline_schemas::Tenant;
use touchline_schemas::tables::Table;

use super::chunks::{Chunk, chunks};
use super::shelf::Shelf;
use crate::derived::{before, day_of, start_us};
use crate::{JobContext, JobError, JobReport, RunRequest};

/// Cuts the sessions that begin on the days that `request` names.
///
/// The day before the first of them is read as well: a session that began earlier is recognised by it and left out.
/// As many days after the last are read as its sessions run on.
#[expect(clippy::too_many_arguments, reason = "a job's step: where from, where to, whose, how")]
pub(super) async fn renew(
    engine: &QueryEngine,
    table: &LakeTable,
    tenant: Tenant,
    events: &[DataFile],
    params: &SessionParams,
    request: RunRequest,
    context: &JobContext,
    report: &mut JobReport,
) -> Result<Vec<NewFile>, JobError> {
    let from = request.from.map(before);
    let files: Vec<DataFile> =
        events.iter().filter(|file| from.is_none_or(|from| file.date >= from)).cloned().collect();
    let mut shelf = Shelf::new(table, tenant, &context.clock);
    let mut open: Vec<RecordBatch> = Vec::new();
    let mut waiting = chunks(files, |_| 0).into_iter().peekable();
    while let Some(Chunk { days, files }) = waiting.next() {
        context.check_cancelled()?;
        if request.to.is_some_and(|to| *days.start() >= to && !any_began_before(&open, to)) {
            break;
        }
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        report.rows_read += rows;
        report.bytes_read += files.iter().map(|file| file.size_bytes).sum::<u64>();
        let session_context = engine.context();
        let scan = std::sync::Arc::new(LakeScan::new(Table::Events, files));
        let mut fragments = Fragments::of_events(&session_context, scan, params).await.map_err(JobError::failed)?;
        fragments.push_sessions(&std::mem::take(&mut open), params).map_err(JobError::failed)?;
        let sessions = fragments.merge(&session_context, params).await.map_err(JobError::failed)?;
        let next_us = waiting.peek().map(|next| start_us(*next.days.start()));
        for batch in sessions {
            let over = match next_us {
                Some(next_us) => {
                    let (still_open, over) = open_and_over(&batch, next_us, params).map_err(JobError::failed)?;
                    open.push(still_open);
                    over
                }
                None => batch,
            };
            shelf.put(&[over]).map_err(JobError::failed)?;
        }
        shelf.drop_days(|day| request.names_day(day));
        if let Some(next) = waiting.peek() {
            // A session that is still open may have begun on the last day of this chunk.
            shelf.write_before(before(*next.days.start()).min(*days.end())).await.map_err(JobError::failed)?;
        }
        context.progress.advance(rows);
    }
    shelf.put(&open).map_err(JobError::failed)?;
    shelf.drop_days(|day| request.names_day(day));
    shelf.finish().await.map_err(JobError::failed)
}

fn any_began_before(sessions: &[RecordBatch], day: NaiveDate) -> bool {
    sessions.iter().flat_map(super::starts_us).any(|start_us| day_of(start_us) < day)
}
