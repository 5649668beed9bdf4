//! Merging, sweeping, retention and erasure: nothing is lost, nobody reads twice, and what should go is gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod erasing;
mod log;
mod merging;
mod vacuum;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use touchline_ingest::lake_writer::LakeWriter;
use touchline_ingest::record::{Event, decode};
use touchline_jobs::{CompactionJob, Job, JobContext, JobReport, RunRequest};
use touchline_lake::Lake;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{MockClock, Tenant};
use touchline_tests::logged;

const TARGET_BYTES: u64 = 1 << 20;

fn begin() -> DateTime<Utc> {
    "2026-03-05T12:00:00Z".parse().unwrap()
}

fn clock() -> Arc<MockClock> {
    Arc::new(MockClock::at(begin()))
}

/// What matters of an event here.
#[derive(Debug, Clone)]
struct Sent {
    id: u32,
    visitor: Option<u8>,
    hours_ago: u32,
    revenue_e4: Option<i64>,
}

fn sent(ids: std::ops::Range<u32>) -> Vec<Sent> {
    ids.map(|id| Sent { id, visitor: (id % 4 != 0).then_some(id as u8 % 4), hours_ago: id % 60, revenue_e4: None })
        .collect()
}

fn event(sent: &Sent) -> Event<'static> {
    let at = begin() - TimeDelta::hours(i64::from(sent.hours_ago));
    let mut event = Event::at(at.timestamp_micros());
    event.revenue_e4 = sent.revenue_e4;
    event.set(TextField::EventId, format!("event-{:05}", sent.id));
    event.set(TextField::EventType, "page_view");
    event.set(TextField::Path, format!("/{}", sent.id % 5));
    match sent.visitor {
        Some(visitor) => event.set(TextField::VisitorId, format!("visitor-{visitor}")),
        None => event.set(TextField::UserId, format!("user-{}", sent.id % 3)),
    }
    event
}

async fn store(writer: &mut LakeWriter, number: i64, tenant: Tenant, events: &[Sent]) -> u64 {
    let payload = logged::of(tenant, begin().timestamp_micros(), events.iter().map(event));
    writer.store(number, &[decode(&payload).unwrap()]).await.unwrap().tally.stored
}

fn context(clock: &Arc<MockClock>) -> JobContext {
    JobContext { clock: clock.clone(), cancellation: Default::default(), progress: Arc::default() }
}

async fn compact(lake: &Lake, clock: &Arc<MockClock>, full: bool) -> JobReport {
    let job = CompactionJob::new(lake.clone(), TARGET_BYTES);
    job.run(RunRequest { full, ..RunRequest::default() }, &context(clock)).await.unwrap()
}

/// The data files in a table's folder.
async fn stored(lake: &Lake, table: Table) -> BTreeSet<String> {
    lake.table(table).stored_files().await.unwrap().into_iter().map(|file| file.path).collect()
}
