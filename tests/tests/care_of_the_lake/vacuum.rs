//! Vacuum and retention: what goes, when, and what stays.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use touchline_ingest::event_ids::EventIdIndex;
use touchline_ingest::lake_writer::LakeWriter;
use touchline_jobs::{Job, JobReport, RetentionJob, RunRequest, VacuumJob};
use touchline_lake::{Lake, LakeOptions};
use touchline_schemas::control::{AccountSettings, ControlDb, NewRun, RunOutcome, Trigger};
use touchline_schemas::tables::Table;
use touchline_schemas::{Environment, MockClock, Tenant};
use touchline_tests::installation::Installation;
use touchline_tests::logged::tenant;
use touchline_tests::rows::{only, rows};

use super::{begin, clock, compact, context, sent, store, stored};

const KEPT_HOURS: u64 = 24;

async fn vacuum(lake: &Lake, control: &ControlDb, clock: &Arc<MockClock>) -> JobReport {
    let job = VacuumJob::new(lake.clone(), control.clone(), KEPT_HOURS);
    job.run(RunRequest::default(), &context(clock)).await.unwrap()
}

async fn named(lake: &Lake, table: Table) -> BTreeSet<String> {
    lake.table(table).named_files().await.unwrap().into_iter().collect()
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
