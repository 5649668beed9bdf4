//! Two writers of one lake, readers between them, and a lake that is older than the index: each event once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::path::Path;
use std::sync::Arc;

use touchline_ingest::event_ids::EventIdIndex;
use touchline_ingest::lake_writer::LakeWriter;
use touchline_ingest::record::decode;
use touchline_lake::{Lake, LakeOptions};
use touchline_schemas::MockClock;
use touchline_schemas::control::ControlDb;
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_tests::installation::Installation;
use touchline_tests::logged::{request, tenant};
use touchline_tests::rows::{only, rows};

fn clock() -> Arc<MockClock> {
    Arc::new(MockClock::at("2026-03-05T00:00:00Z".parse().unwrap()))
}

async fn store(writer: &mut LakeWriter, number: i64, ids: std::ops::Range<u32>) -> u64 {
    let payloads: Vec<_> = ids
        .map(|id| {
            let id = format!("event-{id}");
            request(tenant(), 1_772_000_000_000_000, &[(TextField::EventId, &id), (TextField::VisitorId, "v")])
        })
        .collect();
    let requests: Vec<_> = payloads.iter().map(|payload| decode(payload).unwrap()).collect();
    writer.store(number, &requests).await.unwrap().tally.stored
}

async fn second_writer(lake: Lake, index: &Path) -> LakeWriter {
    let control = ControlDb::open_in_memory().await.unwrap();
    let index = EventIdIndex::open(index, 1 << 20).unwrap();
    LakeWriter::new(lake, control, clock(), "second".into(), index)
}

async fn ids(installation: &Installation) -> Vec<String> {
    only(&rows(&installation.engine, Table::Events, tenant()).await.unwrap(), &["event_id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_with_views_of_their_own_store_an_event_once() {
    let (folder, index) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = Installation::open(folder.path(), clock(), 2).await.unwrap();
    let root = folder.path().join("lake");
    let other_view = Lake::open(&root, LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    let mut second = second_writer(other_view, index.path()).await;

    assert_eq!(store(&mut first.writer, 1, 0..10).await, 10);
    assert_eq!(store(&mut second, 1, 5..15).await, 5, "the second finds out by conflict");
    // A reader of the first process moves the view that its writer shares.
    assert_eq!(ids(&first).await.len(), 15);
    assert_eq!(store(&mut first.writer, 2, 12..20).await, 5, "the first learns what the second brought");
    assert_eq!(store(&mut second, 2, 0..25).await, 5);
    let found = ids(&first).await;
    let mut once = found.clone();
    once.dedup();
    assert_eq!((found.len(), once.len()), (25, 25));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_knows_more_than_the_lake_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = Installation::open(folder.path(), clock(), 2).await.unwrap();
    assert_eq!(store(&mut before.writer, 1, 0..10).await, 10);
    drop(before);
    // The lake is lost and made anew; the index is still there.
    std::fs::remove_dir_all(folder.path().join("lake")).unwrap();
    let mut after = Installation::open(folder.path(), clock(), 2).await.unwrap();
    assert_eq!(store(&mut after.writer, 1, 0..10).await, 10);
    assert_eq!(ids(&after).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_committed_once_however_often_it_is_brought() {
    let folder = tempfile::tempdir().unwrap();
    let mut installation = Installation::open(folder.path(), clock(), 2).await.unwrap();
    assert_eq!(store(&mut installation.writer, 1, 0..10).await, 10);
    assert_eq!(store(&mut installation.writer, 2, 0..10).await, 0, "the same events are duplicates");
    assert_eq!(ids(&installation).await.len(), 10);
}
