//! The tables' logs: old entries go, and what readers need of them stays.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use touchline_lake::{Commit, Lake, LakeOptions};
use touchline_schemas::tables::Table;
use touchline_schemas::{Clock, MockClock};
use touchline_tests::installation::Installation;
use touchline_tests::logged::tenant;

use super::{clock, sent, store};

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
