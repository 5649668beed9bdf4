//! Compaction: rows stay, readers find nothing new, and writers beside it lose nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use proptest::prelude::*;
use touchline_lake::{Commit, CommitInfo, EncodedRows, Lake, LakeOptions};
use touchline_schemas::Clock;
use touchline_schemas::tables::Table;
use touchline_tests::installation::Installation;
use touchline_tests::logged::tenant;
use touchline_tests::rows::{only, rows};

use super::{Sent, begin, clock, compact, sent, store};

fn batches() -> impl Strategy<Value = Vec<Vec<Sent>>> {
    let event = (0..2_000_u32, proptest::option::of(0..4_u8), 0..60_u32, proptest::option::of(0..9_i64));
    let event = event.prop_map(|(id, visitor, hours_ago, revenue_e4)| Sent { id, visitor, hours_ago, revenue_e4 });
    proptest::collection::vec(proptest::collection::vec(event, 1..30), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn merging_changes_no_row_and_gives_readers_nothing_new(batches in batches(), merged_after in 0..14_usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
            let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
            let lake = installation.engine.lake().clone();
            for (number, batch) in batches.iter().enumerate() {
                store(&mut installation.writer, number as i64 + 1, tenant(), batch).await;
                if number == merged_after {
                    compact(&lake, &clock, true).await;
                }
            }
            installation.run_jobs(false).await.unwrap();
            let tables = [Table::Events, Table::Sessions, Table::Visitors];
            let mut before = Vec::new();
            for table in tables {
                before.push(rows(&installation.engine, table, tenant()).await.unwrap());
            }
            let version = lake.table(Table::Events).version().await.unwrap();
            compact(&lake, &clock, true).await;
            let snapshot = lake.table(Table::Events).snapshot().await.unwrap();
            let added = lake.table(Table::Events).files_added(version, snapshot.version).await.unwrap();
            assert_eq!(added, Some(Vec::new()), "nothing is new for those who read what is");
            let days: BTreeSet<_> = snapshot.files(tenant()).iter().map(|file| file.date).collect();
            assert_eq!(snapshot.files(tenant()).len(), days.len(), "a file a day is left");
            let reports = installation.run_jobs(false).await.unwrap();
            assert!(reports.iter().all(|report| report.rows_read == 0), "{reports:?}");
            for (table, before) in tables.into_iter().zip(before) {
                assert_eq!(rows(&installation.engine, table, tenant()).await.unwrap(), before);
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_files_hold_their_rows_by_visitor_time_and_id() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    let lake = installation.engine.lake().clone();
    // Twice, so that sorted files are merged with new ones.
    for round in 0..2_u32 {
        for number in 0..10_u32 {
            let from = (round * 10 + number) * 30;
            store(&mut installation.writer, i64::from(round * 10 + number) + 1, tenant(), &sent(from..from + 30)).await;
        }
        compact(&lake, &clock, true).await;
    }
    let table = lake.table(Table::Events);
    let snapshot = table.snapshot().await.unwrap();
    let mut total = 0;
    for file in snapshot.files(tenant()) {
        let mut keys = Vec::new();
        for rows in table.rows(file).await.unwrap() {
            let text = |name: &str| rows.column_by_name(name).unwrap().clone();
            let columns = [text("visitor_id"), text("occurred_at"), text("event_id")];
            let options = arrow::util::display::FormatOptions::default().with_null("");
            let cells: Vec<_> = columns
                .iter()
                .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
                .collect();
            keys.extend(
                (0..rows.num_rows()).map(|row| cells.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>()),
            );
        }
        assert!(file.is_sorted() && keys.is_sorted(), "{keys:?}");
        total += keys.len();
    }
    assert_eq!(total, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_and_a_compaction_side_by_side_lose_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    for number in 0..10_u32 {
        store(&mut installation.writer, i64::from(number) + 1, tenant(), &sent(number * 10..number * 10 + 10)).await;
    }
    // A view of its own, as another process has.
    let lake = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    let (writing, done) = (
        async {
            for number in 10..40_u32 {
                store(&mut installation.writer, i64::from(number) + 1, tenant(), &sent(number * 10..number * 10 + 10))
                    .await;
            }
        },
        std::sync::atomic::AtomicU64::new(0),
    );
    let merging = async {
        for _ in 0..12 {
            let report = compact(&lake, &clock, true).await;
            done.fetch_add(report.rows_written, std::sync::atomic::Ordering::Relaxed);
        }
    };
    tokio::join!(writing, merging);
    assert!(done.into_inner() > 0, "something was merged");
    let ids = only(&rows(&installation.engine, Table::Events, tenant()).await.unwrap(), &["event_id"]);
    let expected: Vec<_> = (0..400).map(|id| format!("event_id=event-{id:05}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn change_files_without_revisions_are_read_once() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    let lake = installation.engine.lake().clone();
    let read_up_to = async || {
        let info = lake.table(Table::SessionRevisions).snapshot().await.unwrap().info.clone();
        info.and_then(|info| info.source_version)
    };
    store(&mut installation.writer, 1, tenant(), &sent(0..5)).await;
    installation.run_jobs(false).await.unwrap();
    assert_eq!(read_up_to().await, None, "the first run names no change files");
    store(&mut installation.writer, 2, tenant(), &sent(5..10)).await;
    installation.run_jobs(false).await.unwrap();
    assert_eq!(read_up_to().await, Some(lake.table(Table::Sessions).version().await.unwrap()));
    let revisions = rows(&installation.engine, Table::SessionRevisions, tenant()).await.unwrap();
    assert_eq!(revisions, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_table_that_only_a_job_writes_are_merged_and_the_job_knows_where_it_was() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    let lake = installation.engine.lake();
    let table = lake.table(Table::SessionRevisions);
    for number in (0..10_i64).rev() {
        let revised_at = TimestampMicrosecondArray::from_iter_values([begin().timestamp_micros() + number]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values([format!("session-{number}")])),
            Arc::new(StringArray::new_null(1)),
            Arc::new(revised_at.with_timezone("UTC")),
        ];
        let revision = RecordBatch::try_new(Table::SessionRevisions.file_schema(), columns).unwrap();
        let encoded = EncodedRows::new(Table::SessionRevisions, &revision).unwrap();
        let written =
            table.write_file(tenant(), begin().date_naive(), &format!("{number}"), encoded, clock.now()).await;
        let info = CommitInfo { source_version: Some(20 - number), ..CommitInfo::default() };
        let based_on = table.version().await.unwrap();
        let commit = Commit { add: vec![written.unwrap()], info, based_on, ..Commit::default() };
        table.commit(commit, clock.now()).await.unwrap();
    }
    let before = rows(&installation.engine, Table::SessionRevisions, tenant()).await.unwrap();
    compact(lake, &clock, false).await;
    let snapshot = table.snapshot().await.unwrap();
    let [merged] = snapshot.files(tenant()) else { panic!("one file is left: {:?}", snapshot.files(tenant())) };
    assert!(merged.is_sorted());
    assert_eq!(rows(&installation.engine, Table::SessionRevisions, tenant()).await.unwrap(), before);
    assert_eq!(snapshot.info.as_ref().unwrap().source_version, Some(20));
}
