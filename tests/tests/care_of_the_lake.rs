//! Merging, sweeping, retention and erasure: nothing is lost, nobody reads twice, and what should go is gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use touchline_ingest::event_ids::{EventIdIndex, IdHash};
use touchline_ingest::lake_writer::LakeWriter;
use touchline_ingest::record::{EncodedEvents, Event, RequestHead, decode, put_head};
use touchline_jobs::erase::{Certificate, Erased, Exported, FORMAT, HASH, Needles, Sweeper, Verification, erase_rows};
use touchline_jobs::{CompactionJob, Job, JobContext, JobReport, RetentionJob, RunRequest, VacuumJob};
use touchline_lake::{Commit, CommitInfo, EncodedRows, Lake, LakeOptions};
use touchline_schemas::control::{AccountSettings, ControlDb, NewRun, RunOutcome, Trigger};
use touchline_schemas::event::TextField;
use touchline_schemas::tables::Table;
use touchline_schemas::{AccountId, Clock, Environment, MockClock, Tenant, TypedId};
use touchline_tests::installation::Installation;
use touchline_tests::rows::{only, rows};
use uuid::Uuid;

const TARGET_BYTES: u64 = 1 << 20;
const KEPT_HOURS: u64 = 24;

fn begin() -> DateTime<Utc> {
    "2026-03-05T12:00:00Z".parse().unwrap()
}

fn clock() -> Arc<MockClock> {
    Arc::new(MockClock::at(begin()))
}

fn tenant() -> Tenant {
    Tenant { account_id: AccountId(Uuid::from_u128(1)), environment: Environment::Live }
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

fn payload(tenant: Tenant, events: &[Sent]) -> Vec<u8> {
    let mut encoded = EncodedEvents::default();
    for sent in events {
        let at = begin() - TimeDelta::hours(i64::from(sent.hours_ago));
        let mut event = Event::at(at.timestamp_micros());
        let id = format!("event-{:05}", sent.id);
        event.revenue_e4 = sent.revenue_e4;
        event.set(TextField::EventType, "page_view");
        event.set(TextField::Path, format!("/{}", sent.id % 5));
        match sent.visitor {
            Some(visitor) => event.set(TextField::VisitorId, format!("visitor-{visitor}")),
            None => event.set(TextField::UserId, format!("user-{}", sent.id % 3)),
        }
        event.set(TextField::EventId, id.clone());
        encoded.push(IdHash::new(tenant, &id), &event);
    }
    let head = RequestHead {
        tenant,
        received_at_us: begin().timestamp_micros(),
        duplicates: 0,
        events: events.len() as u32,
        rejected: 0,
    };
    let mut payload = Vec::new();
    put_head(&mut payload, &head);
    encoded.iter().for_each(|(_, bytes)| payload.extend_from_slice(bytes));
    payload
}

async fn store(writer: &mut LakeWriter, number: i64, tenant: Tenant, events: &[Sent]) -> u64 {
    let payload = payload(tenant, events);
    writer.store(number, &[decode(&payload).unwrap()]).await.unwrap().tally.stored
}

fn context(clock: &Arc<MockClock>) -> JobContext {
    JobContext { clock: clock.clone(), cancellation: Default::default(), progress: Arc::default() }
}

async fn compact(lake: &Lake, clock: &Arc<MockClock>, full: bool) -> JobReport {
    let job = CompactionJob::new(lake.clone(), TARGET_BYTES);
    job.run(RunRequest { full, ..RunRequest::default() }, &context(clock)).await.unwrap()
}

async fn vacuum(lake: &Lake, control: &ControlDb, clock: &Arc<MockClock>) -> JobReport {
    let job = VacuumJob::new(lake.clone(), control.clone(), KEPT_HOURS);
    job.run(RunRequest::default(), &context(clock)).await.unwrap()
}

/// The data files in a table's folder.
async fn stored(lake: &Lake, table: Table) -> BTreeSet<String> {
    lake.table(table).stored_files().await.unwrap().into_iter().map(|file| file.path).collect()
}

async fn named(lake: &Lake, table: Table) -> BTreeSet<String> {
    lake.table(table).named_files().await.unwrap().into_iter().collect()
}

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
async fn vacuum_deletes_what_is_not_named_for_long_enough_and_nothing_else() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    let (lake, control) = (installation.engine.lake().clone(), ControlDb::open_in_memory().await.unwrap());
    for number in 0..10_u32 {
        store(&mut installation.writer, i64::from(number) + 1, tenant(), &sent(number * 10..number * 10 + 10)).await;
    }
    let before = rows(&installation.engine, Table::Events, tenant()).await.unwrap();
    compact(&lake, &clock, true).await;
    // What a writer left that died.
    let leftover: PathBuf = lake.root().join("events").join("account_id=1").join("leftover.zstd.parquet");
    std::fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    std::fs::write(&leftover, "half a file").unwrap();

    let all = stored(&lake, Table::Events).await;
    let wanted = named(&lake, Table::Events).await;
    assert!(all.len() > wanted.len() && all.is_superset(&wanted));
    vacuum(&lake, &control, &clock).await;
    assert_eq!(stored(&lake, Table::Events).await, all, "it has only just seen them");
    clock.advance(TimeDelta::hours(KEPT_HOURS as i64 - 1));
    vacuum(&lake, &control, &clock).await;
    assert_eq!(stored(&lake, Table::Events).await, all, "readers of older versions have their time");

    // A run that began before the files left the table may still read them.
    let run = control
        .start_run(NewRun::first("sessions", Trigger::Manual, None), begin() - TimeDelta::hours(1))
        .await
        .unwrap();
    clock.advance(TimeDelta::hours(2));
    vacuum(&lake, &control, &clock).await;
    assert_eq!(stored(&lake, Table::Events).await, all, "a job is running");
    control
        .finish_run(run, RunOutcome::Failed { error: "over".into() }, Duration::from_secs(1), begin())
        .await
        .unwrap();
    let report = vacuum(&lake, &control, &clock).await;
    assert!(!report.unchanged);
    assert_eq!(stored(&lake, Table::Events).await, wanted);
    assert_eq!(rows(&installation.engine, Table::Events, tenant()).await.unwrap(), before);
    assert!(vacuum(&lake, &control, &clock).await.unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_comes_late_knows_ids_whose_files_were_merged_and_deleted() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    let (lake, control) = (installation.engine.lake().clone(), ControlDb::open_in_memory().await.unwrap());
    assert_eq!(store(&mut installation.writer, 1, tenant(), &sent(0..5)).await, 5);
    // The second writer's index covers this version and no later one.
    let index_folder = tempfile::tempdir().unwrap();
    let view = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    let index = EventIdIndex::open(index_folder.path(), 1 << 20).unwrap();
    let mut second = LakeWriter::new(view, control.clone(), clock.clone(), "second".into(), index);
    assert_eq!(store(&mut second, 1, tenant(), &sent(5..6)).await, 1);

    installation.engine.lake().table(Table::Events).refresh().await.unwrap();
    for number in 1..12_u32 {
        store(&mut installation.writer, i64::from(number) + 1, tenant(), &sent(number * 10..number * 10 + 10)).await;
    }
    compact(&lake, &clock, true).await;
    vacuum(&lake, &control, &clock).await;
    clock.advance(TimeDelta::hours(KEPT_HOURS as i64 + 1));
    vacuum(&lake, &control, &clock).await;
    assert_eq!(stored(&lake, Table::Events).await, named(&lake, Table::Events).await);

    assert_eq!(store(&mut second, 2, tenant(), &sent(0..121)).await, 5, "6 to 9 and 120 are new");
    let ids = only(&rows(&installation.engine, Table::Events, tenant()).await.unwrap(), &["event_id"]);
    let once: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), once.len()), (121, 121));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_log_go_and_the_table_stays() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock, 2).await.unwrap();
    for number in 0..45_u32 {
        store(&mut installation.writer, i64::from(number) + 1, tenant(), &sent(number..number + 1)).await;
    }
    let table = installation.engine.lake().table(Table::Events).clone();
    let version = table.version().await.unwrap();
    let log = folder.path().join("lake/events/_delta_log");
    let checkpoints = || {
        let names = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(".checkpoint.")).count()
    };
    assert_eq!(checkpoints(), 2, "one for each 20 commits");
    // Files have the system's times, and those are past by then.
    let later = DateTime::<Utc>::MAX_UTC - TimeDelta::days(1);
    assert!(table.expire_log(later, later).await.unwrap() >= 40);
    assert_eq!(checkpoints(), 1);
    assert_eq!(table.files_added(3, version).await.unwrap(), None, "only a full run can tell now");
    let fresh = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    let snapshot = fresh.table(Table::Events).snapshot().await.unwrap();
    assert_eq!((snapshot.version, snapshot.files(tenant()).len()), (version, 45));
    assert_eq!(store(&mut installation.writer, 46, tenant(), &sent(44..46)).await, 1);
}

/// A table's log whose files have the times that the test gives them.
struct Log {
    folder: PathBuf,
    dated: BTreeSet<String>,
}

impl Log {
    /// Names of files, in order.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Gives every file that has come since the last time this one.
    fn date(&mut self, at: DateTime<Utc>) {
        for name in self.names() {
            if self.dated.insert(name.clone()) {
                std::fs::File::open(self.folder.join(name)).unwrap().set_modified(at.into()).unwrap();
            }
        }
    }

    /// Versions of files whose names end so.
    fn versions(&self, ending: &str) -> Vec<i64> {
        self.names().iter().filter_map(|name| name.strip_suffix(ending)?.parse().ok()).collect()
    }
}

async fn commit_nothing(lake: &Lake, clock: &Arc<MockClock>) {
    let table = lake.table(Table::Events);
    let commit = Commit { based_on: table.version().await.unwrap(), ..Commit::default() };
    table.commit(commit, clock.now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_all_the_time_keeps_two_days_and_tells_each_version_of_them() {
    const COMMITS_PER_HOUR: i64 = 3;
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let lake = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 4 }).await.unwrap();
    let table = lake.table(Table::Events);
    let mut log = Log { folder: folder.path().join("lake/events/_delta_log"), dated: BTreeSet::new() };
    log.date(clock.now());
    for number in 1..=80 * COMMITS_PER_HOUR {
        clock.advance(TimeDelta::minutes(60 / COMMITS_PER_HOUR));
        commit_nothing(&lake, &clock).await;
        log.date(clock.now());
        if number % 2 == 0 {
            table.expire_log(clock.now() - TimeDelta::days(2), clock.now()).await.unwrap();
            log.date(clock.now());
        }
    }
    let entries = log.versions(".json");
    let (oldest, newest) = (entries[0], *entries.last().unwrap());
    assert_eq!(newest, 80 * COMMITS_PER_HOUR);
    let two_days = newest - 48 * COMMITS_PER_HOUR;
    assert!((two_days - 5 * COMMITS_PER_HOUR..=two_days).contains(&oldest), "the log begins with version {oldest}");
    assert_eq!(entries, (oldest..=newest).collect::<Vec<_>>());
    let checkpoints = log.versions(".checkpoint.parquet").len();
    assert!((10..=20).contains(&checkpoints), "{checkpoints} checkpoints are kept");
    for version in two_days..=newest {
        assert_eq!(table.snapshot_at(version).await.unwrap().version, version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_never_finished_is_none() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let lake = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    let table = lake.table(Table::Events);
    for _ in 0..3 {
        commit_nothing(&lake, &clock).await;
    }
    let mut log = Log { folder: folder.path().join("lake/events/_delta_log"), dated: BTreeSet::new() };
    let leftovers = ["00000000000000000003.checkpoint.5-1.tmp", "_0197f0.tmp"];
    for leftover in leftovers {
        std::fs::write(log.folder.join(leftover), "half a checkpoint").unwrap();
    }
    log.date(clock.now() - TimeDelta::days(3));
    std::fs::write(log.folder.join("_0197f1.tmp"), "somebody writes this").unwrap();
    log.date(clock.now());
    table.expire_log(clock.now() - TimeDelta::days(2), clock.now()).await.unwrap();
    assert_eq!(log.versions(".checkpoint.parquet"), [3]);
    assert_eq!(log.versions(".json"), [3]);
    assert_eq!(log.names().iter().filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>(), ["_0197f1.tmp"]);
    let fresh = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    assert_eq!(fresh.table(Table::Events).version().await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_whole_days_of_the_accounts_that_want_it() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    let (lake, control) = (installation.engine.lake().clone(), ControlDb::open_in_memory().await.unwrap());
    let short = control.create_account("short", "Short", begin()).await.unwrap();
    let settings = AccountSettings { retention_days: Some(1), ..AccountSettings::default() };
    control.set_account_settings(short.id, &settings, begin()).await.unwrap();
    let short = Tenant { account_id: short.id, environment: Environment::Live };
    for (number, tenant) in [(1, short), (2, tenant())] {
        assert_eq!(store(&mut installation.writer, number, tenant, &sent(0..60)).await, 60);
    }
    let version = lake.table(Table::Events).version().await.unwrap();
    let job = RetentionJob::new(lake.clone(), control);
    let plan = job.plan(RunRequest::default(), &context(&clock)).await.unwrap();
    // Events of the last 60 hours; noon is 12 h after midnight, and yesterday is kept.
    assert_eq!(plan.parts.iter().map(|part| part.rows).sum::<u64>(), 60 - 37);
    job.run(RunRequest::default(), &context(&clock)).await.unwrap();
    let left = |tenant| {
        let engine = installation.engine.clone();
        async move { rows(&engine, Table::Events, tenant).await.unwrap().len() }
    };
    assert_eq!((left(short).await, left(tenant()).await), (37, 60));
    let changes = lake.table(Table::Events).changes(version, version + 1).await.unwrap().unwrap();
    assert_eq!(changes.by_tenant.keys().copied().collect::<Vec<_>>(), [short], "the jobs see that rows went");
    assert!(job.run(RunRequest::default(), &context(&clock)).await.unwrap().unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_takes_out_one_person_beside_a_compaction() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    for number in 0..10_u32 {
        store(&mut installation.writer, i64::from(number) + 1, tenant(), &sent(number * 20..number * 20 + 20)).await;
    }
    let lake = Lake::open(&folder.path().join("lake"), LakeOptions { checkpoint_interval: 20 }).await.unwrap();
    let needles = Needles::new([TypedId::visitor("visitor-2")].into(), "erased-1".into());
    let erased = Arc::new(Erased { needles, shared: Vec::new() });
    let shared_clock: touchline_schemas::clock::SharedClock = clock.clone();
    let table = installation.engine.lake().table(Table::Events);
    let dry = erase_rows(table, tenant(), &erased, true, &shared_clock).await.unwrap();
    assert_eq!((dry.rows_removed, dry.rows), (50, [200, 200]));
    let (report, _) =
        tokio::join!(erase_rows(table, tenant(), &erased, false, &shared_clock), compact(&lake, &clock, true));
    assert_eq!(report.unwrap().versions.len(), 2);
    let left = rows(&installation.engine, Table::Events, tenant()).await.unwrap();
    assert_eq!(left.len(), 150);
    assert!(left.iter().all(|row| !row.contains("visitor-2")));
    let again = erase_rows(table, tenant(), &erased, false, &shared_clock).await.unwrap();
    assert_eq!((again.rows_removed, again.versions[0]), (0, again.versions[1]));
}

fn certificate(account_id: AccountId) -> Certificate {
    Certificate {
        format: FORMAT,
        account_id,
        account: "acme".into(),
        requested_by: None,
        requested_at: begin(),
        completed_at: None,
        hash: HASH,
        id_hashes: Vec::new(),
        shared_ids: 0,
        has_short_ids: false,
        tables: Vec::new(),
        deleted_files: Vec::new(),
        unreadable_files: Vec::new(),
        verification: Verification::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_leaves_alone_what_ingest_may_be_about_to_commit() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut installation = Installation::open(folder.path(), clock.clone(), 2).await.unwrap();
    store(&mut installation.writer, 1, tenant(), &sent(0..20)).await;
    let lake = installation.engine.lake();
    let table = lake.table(Table::Events);
    let needles = Needles::new([TypedId::visitor("visitor-2")].into(), "erased-1".into());
    let erased = Arc::new(Erased { needles: needles.clone(), shared: Vec::new() });
    let shared_clock: touchline_schemas::clock::SharedClock = clock.clone();
    let before = stored(lake, Table::Events).await;
    erase_rows(table, tenant(), &erased, false, &shared_clock).await.unwrap();
    let after = stored(lake, Table::Events).await;
    // Ingest has written a file and not committed it yet; and a merge was in vain.
    let replaced = table.folder().join(before.iter().next().unwrap());
    let [written, merged] = ["node-1-000000000002.zstd.parquet", "sorted-1.zstd.parquet"].map(|name| {
        let copy = replaced.with_file_name(name);
        std::fs::copy(&replaced, &copy).unwrap();
        std::fs::File::open(&copy).unwrap().set_modified(begin().into()).unwrap();
        copy
    });
    let exported = Exported::default();
    let account_id = tenant().account_id;
    let unpack = |_: &std::path::Path, _: &[u8]| None;
    let sweeper = Sweeper { lake, account_id, needles: &needles, unpack: &unpack, exported: &exported, roots: &[] };
    let mut done = certificate(tenant().account_id);
    let unsettled = sweeper.strays(begin() + TimeDelta::minutes(9), &mut done).await.unwrap();
    assert_eq!(unsettled, std::slice::from_ref(&written));
    assert!(written.exists() && !merged.exists());
    assert_eq!(done.deleted_files.len(), before.len() + 1, "what was replaced goes at once: {before:?}");
    assert_eq!(sweeper.strays(begin() + TimeDelta::minutes(11), &mut done).await.unwrap(), [] as [PathBuf; 0]);
    assert!(!written.exists());
    let kept: BTreeSet<_> = after.difference(&before).cloned().collect();
    assert_eq!(stored(lake, Table::Events).await, kept);
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
